"""Answers of the trust door that are given again as they are, until somebody commits or their time is over.

1. One is found by the whole path and the whole Authorization header, so that nothing is judged by anything less than
   what was judged the first time; only what was authorised and found is kept.
2. It ends with its token, with the moment at which its file is to be signed anew, and with every commit of anybody.
3. A short one can be had before there is a task for its request (shortcut.py): header lines and body as they are sent.
4. Commits are counted, and the clock is read, once in a turn of the event loop: every request that is answered in
   that turn had arrived before it, and nobody was told of a later commit yet.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from starlette.types import Scope, Send

REMEMBERED = 4096
LONGEST_KEY = 4096  # longer tokens are judged each time: the table is for what is asked often
MOST_BYTES = 32 * 1024 * 1024
BODY = (b"content-length", b"transfer-encoding")
PIECE = 64 * 1024  # so much of a large file is handed on before the client has taken some


class Ready(NamedTuple):
    """A whole answer, and the moment until which it may be given to the same question."""

    headers: list[tuple[bytes, bytes]]
    body: bytes
    until: datetime

    async def send(self, send: Send) -> None:
        """As the answer of a request."""
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        sent = 0
        while len(self.body) - sent > PIECE:
            piece = self.body[sent : sent + PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += PIECE
        await send({"type": "http.response.body", "body": self.body[sent:]})

    @property
    def head(self) -> bytes:
        """The header lines."""
        return b"".join(b"%b: %b\r\n" % header for header in self.headers)


class ReadyAnswers:
    """A bounded table. `moment` gives now and a stamp that changes with every commit, or None."""

    def __init__(self, moment: Callable[[], tuple[datetime, int | None]]) -> None:
        self._moment = moment
        self._now = datetime.min.replace(tzinfo=UTC)
        self._stamp: int | None = None
        self._seen = False
        self._known: dict[tuple[str, bytes], tuple[Ready, bytes]] = {}
        self._held = 0

    def get(self, scope: Scope, make: Callable[[], Ready | None]) -> Ready | None:
        """What was made for the same path and token, if that is still right; else what is made now."""
        if not self._seen:
            self._look()
        key = (scope["path"], authorization(scope))
        known = self._known.get(key)
        if known is not None and self._now < known[0].until:
            return known[0]
        ready = make()
        if ready is not None and self._stamp is not None and len(key[0]) + len(key[1]) <= LONGEST_KEY:
            self._held += len(ready.body)
            if len(self._known) >= REMEMBERED or self._held > MOST_BYTES:
                self._known.clear()
                self._held = len(ready.body)
            if self._held <= MOST_BYTES:
                self._known[key] = ready, ready.head
        return ready

    def prepared(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
        """Header lines and body of what was made for a GET of this path and token, if that is still right."""
        token = None
        for name, value in headers:
            if name == b"authorization":
                token = value if token is None else token
            elif name in BODY:
                return None
        if not self._seen:
            self._look()
        known = self._known.get((target.decode("latin-1"), token or b""))
        if known is None or known[0].until <= self._now or len(known[0].body) > PIECE:
            return None
        return known[1], known[0].body

    def _look(self) -> None:
        """Once in a turn: what is said in between is as if it was said now."""
        self._now, stamp = self._moment()
        if stamp is None or stamp != self._stamp:
            self._stamp, self._held = stamp, 0
            self._known.clear()
        self._seen = True
        asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._seen = False


def authorization(scope: Scope) -> bytes:
    """The first Authorization header; empty when there is none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    return b""
