"""Uvicorn's HTTP/1.1 with one short cut: an answer that lies ready is written at once, without a task of its own.

1. Only what `ready` knows, for a plain GET: nothing before it is unanswered, nothing is upgraded or expected first, the
   client takes what it is sent. Everything else goes uvicorn's way, and so does the next request of the connection.
2. What is written is what uvicorn would write of the same answer, in one piece.
3. After an answer that ends the connection, nothing that came with it is looked at.
"""

from collections.abc import Callable
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Headers = list[tuple[bytes, bytes]]
Prepared = Callable[[bytes, Headers], tuple[bytes, bytes] | None]
"""From the target of a GET, as it was sent, and its headers (names in lower case) to the header lines and the body of a
200. None: ask in the usual way."""


class ShortcutProtocol(HttpToolsProtocol):
    """One connection; `protocol` makes the class."""

    prepared: ClassVar[tuple[Prepared, ...]]
    _answered = _over = False

    def on_message_begin(self) -> None:
        """A new request."""
        self._answered = self._over
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """All is known of a request that has no body."""
        if self._over:
            return
        answer = self._answer()
        if answer is None:
            super().on_headers_complete()
            return
        head, body = answer
        own = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self._answered = True
        self._over = self.parser.get_http_version() == "1.0" or not self.parser.should_keep_alive()
        end = b"connection: close\r\n\r\n" if self._over else b"\r\n"
        self.transport.write(b"".join((b"HTTP/1.1 200 OK\r\n", *own, head, end, body)))
        if self._over:
            self.transport.close()
        self.on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Of a request that was answered, nothing is read any more."""
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        if not self._answered:
            super().on_message_complete()

    def _answer(self) -> tuple[bytes, bytes] | None:
        if (
            self.parser.get_method() != b"GET"
            or (self.cycle is not None and not self.cycle.response_complete)
            or self.pipeline
            or self.expect_100_continue
            or self.parser.should_upgrade()
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return None
        for prepared in self.prepared:
            answer = prepared(self.url, self.headers)
            if answer is not None:
                return answer
        return None


def protocol(*prepared: Prepared) -> type[ShortcutProtocol]:
    """The protocol of a server that has these answers ready."""
    return type("PreparedProtocol", (ShortcutProtocol,), {"prepared": prepared})
