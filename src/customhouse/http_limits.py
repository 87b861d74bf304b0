"""What a connection may take of the server: how long a head may come, how slowly a body, how large a head may be.

1. A head is whole within HEAD_SECONDS of the connection, or of its first byte on a connection that is used again.
2. A body brings BODY_LEAST bytes in each BODY_SECONDS in which the server was ready to take them; an answer that is not
   taken moves at least once in that time. A client that is slow is served; one that only holds its place is not.
3. A head has at most HEAD_BYTES. What cannot be read as HTTP is refused, and the connection with it: nobody can tell
   where the next request begins (RFC 9112 §11.2, request smuggling).
4. Each refusal is told in the form of the OCI distribution specification, as far as an answer is still to come.
RFC 9110 §15.5.9 (408), RFC 6585 §5 (431).
"""

import asyncio
import json
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from customhouse.direct import DirectProtocol

HEAD_SECONDS, BODY_SECONDS = 20.0, 60.0
BODY_LEAST = 1024
HEAD_BYTES = 64 * 1024
LOOK_SECONDS = 5.0
_TITLES = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}
_IDLE, _HEAD, _BODY = range(3)


class BoundedProtocol(DirectProtocol):
    """One connection; to be put in front of another protocol of uvicorn's by `bounded`."""

    head_seconds: ClassVar[float] = HEAD_SECONDS
    body_seconds: ClassVar[float] = BODY_SECONDS
    look_seconds: ClassVar[float] = LOOK_SECONDS
    _phase, _size, _chunk, _since = _HEAD, 0, 0, 0.0
    _refused = False
    _stuck: tuple[int, float] | None = None
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(self.look_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._phase == _IDLE:
            self._phase, self._size, self._since = _HEAD, 0, self.loop.time()
        self._size += len(data)
        self._chunk = len(data)
        super().data_received(data)
        if self._phase == _HEAD and self._size > HEAD_BYTES and not self._refused:
            self._refuse(431, f"the head of the request is larger than {HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        self._phase, self._since = _HEAD, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # Most heads come in one small piece; only a large one is counted.
        if max(self._size, self._chunk) > HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > HEAD_BYTES:
                self._refuse(431, f"the head of the request is larger than {HEAD_BYTES} bytes")
        if self._refused:
            raise ValueError("refused")  # nothing behind it is read
        self._phase, self._size, self._since = _BODY, 0, self.loop.time()
        super().on_headers_complete()

    def body_came(self, count: int) -> None:
        self._size += count
        super().body_came(count)

    def on_message_complete(self) -> None:
        self._phase, self._size = _IDLE, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls for what it cannot read."""
        if not self._refused:
            self._refuse(400, "this is no request that can be read in one way only")

    # ---- inside

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        now = self.loop.time()
        waited = now - self._since
        if self._refused:
            pass  # the connection ends with the answer that is owed
        elif self._phase == _HEAD and waited >= self.head_seconds and not self.flow.read_paused:
            self._refuse(408, f"the head of the request was not whole after {self.head_seconds:.0f} seconds")
        elif self._phase == _BODY and (self.flow.read_paused or self.flow.write_paused):
            self._size, self._since = 0, now  # it is the server that waits
        elif self._phase == _BODY and waited >= self.body_seconds:
            if self._size < BODY_LEAST:
                self._refuse(408, f"the body stood still for {self.body_seconds:.0f} seconds")
            self._size, self._since = 0, now
        if self.flow.write_paused:
            self._look_at_answer(now)
        else:
            self._stuck = None
        self._watch = self.loop.call_later(self.look_seconds, self._look)

    def _look_at_answer(self, now: float) -> None:
        held = self.transport.get_write_buffer_size()
        if self._stuck is None or self._stuck[0] != held:
            self._stuck = held, now
        elif now - self._stuck[1] >= self.body_seconds:
            self.transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Answer if nothing was answered yet, and end the connection; after the answers that are owed, if there are."""
        self._refused = True
        owed = self.cycle is not None and not self.cycle.response_complete
        if owed and self._phase == _HEAD:  # what cannot be read came behind a request that was whole
            self.cycle.keep_alive = False
            return
        silent = status == 408 and self._phase == _HEAD and self._size == 0
        if not (silent or (owed and self.cycle.response_started) or self.transport.is_closing()):
            code = {408: "TIMEOUT", 431: "SIZE_INVALID"}.get(status, "UNSUPPORTED")
            body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, _TITLES[status], len(body), body)
            )
        self.transport.close()


def bounded(protocol: type[HttpToolsProtocol], **limits: float) -> type[HttpToolsProtocol]:
    """The same protocol within these bounds; `limits` are other seconds than the usual ones."""
    return type("Bounded", (BoundedProtocol, protocol), dict(limits))
