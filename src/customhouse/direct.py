"""The bytes of a large body straight from the connection into buffers, past the parser of HTTP and its small pieces.

1. Offered in the scope's extensions for a body of a length that was declared. What had come with the head is read in
   the usual way first; `DirectProtocol.take` then sets another protocol in its place (asyncio's BufferedProtocol) until
   the body is whole, over TLS as well as without. Who does not ask for it receives as ever.
2. Never a byte behind the body is taken: it is the next request's.
3. Memory is bounded: BUFFERS of BUFFER bytes for each body. While all are full nothing is read, and it is the server
   that waits; else the body's pace is watched like any other (http_limits.py).
4. Whoever leaves a body before its end leaves the rest to be thrown away, as uvicorn does.
"""

import asyncio
from collections import deque

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "customhouse.direct"
BUFFER, BUFFERS = 1024 * 1024, 3
LEAST = 256 * 1024


class Gone(Exception):
    """The connection ended before the body did."""


class DirectProtocol(HttpToolsProtocol):
    """One connection of uvicorn's whose large bodies can be taken in this way."""

    _to_come = 0

    def on_headers_complete(self) -> None:
        """The length of a body, if it was declared; the parser has refused what could be read in two ways."""
        self._to_come = 0
        for name, value in self.headers:
            if name == b"content-length" and len(value) < 19 and value.isdigit():
                self._to_come = int(value)
        if self._to_come >= LEAST and not self.parser.should_upgrade():
            self.scope["extensions"] = {EXTENSION: self.take}  # type: ignore[dict-item]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece that came through the parser."""
        self._to_come -= len(body)
        super().on_body(body)

    def body_came(self, count: int) -> None:
        """So many bytes of it came past the parser."""
        self._to_come -= count

    def take(self) -> "Body | None":
        """What is still to come of the body of the request in progress; None if that is little, or all is over.

        To be asked for after a `receive`, and before the next.
        """
        if self.cycle.disconnected or self.transport.is_closing() or self._to_come < LEAST:
            return None
        self.flow.pause_reading()
        body = Body(self, bytes(self.cycle.body), self._to_come)
        self.cycle.body = bytearray()
        self.transport.set_protocol(body)
        self.flow.resume_reading()
        return body

    def body_ended(self) -> None:
        """All of it was taken: what follows is parsed anew."""
        if self.transport.is_closing() or self.parser is None:
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.flow.pause_reading()
        self.transport.set_protocol(self)
        self.on_message_complete()
        self.flow.resume_reading()


class Body(asyncio.BufferedProtocol):
    """The rest of one body, for one reader: `next` until it gives nothing, each piece back by `give_back`."""

    def __init__(self, http: DirectProtocol, came: bytes, to_come: int) -> None:
        self._http, self._to_come = http, to_come
        self._full: deque[memoryview] = deque([memoryview(came)] if came else [])
        self._free: list[bytearray] = []
        self._made = 0
        self._filling: bytearray | None = None
        self._filled = 0
        self._waiting: asyncio.Future[None] | None = None
        self._lost = self._left = False

    # ---- for the reader

    async def next(self) -> memoryview | None:
        """The next piece; None at the end. Raises Gone, after all that had come."""
        while not self._full:
            if self._to_come == 0:
                return None
            if self._lost:
                raise Gone
            self._waiting = self._http.loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._full.popleft()

    def give_back(self, piece: memoryview) -> None:
        """Its memory is used again."""
        buffer = piece.obj
        piece.release()
        if isinstance(buffer, bytearray):
            self._free.append(buffer)
            if self._to_come and not self._lost:
                self._http.flow.resume_reading()

    def leave(self) -> None:
        """Nobody reads on."""
        if self._to_come and not self._lost:
            self._left = True
            self._full.clear()
            self._http.flow.resume_reading()

    # ---- for the loop

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go."""
        if self._filling is None:
            if not self._free:
                self._free.append(bytearray(min(BUFFER, self._to_come)))
                self._made += 1
            self._filling, self._filled = self._free.pop(), 0
        end = min(len(self._filling), self._filled + self._to_come)
        return memoryview(self._filling)[self._filled : end]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came."""
        self._to_come -= nbytes
        self._filled += nbytes
        self._http.body_came(nbytes)
        if self._filling is not None and (self._to_come == 0 or self._filled == len(self._filling)):
            self._hand_over()
        if self._to_come == 0:
            self._http.flow.pause_reading()
            self._http.loop.call_soon(self._http.body_ended)

    def _hand_over(self) -> None:
        if self._filling is None or not self._filled:
            return
        if self._left:
            self._filled = 0
            return
        self._full.append(memoryview(self._filling)[: self._filled])
        self._filling = None
        if not self._free and self._made >= BUFFERS:
            self._http.flow.pause_reading()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # ---- what goes on to the other protocol

    def eof_received(self) -> None:
        self._http.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._hand_over()
        self._http.connection_lost(exc)
        self._wake()

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
