"""Answers of a door that are given again as they are, until somebody commits or their time is over.

1. One is found by the whole path and every line of the headers that its door looks at (Authorization first of all), so
   that nothing is judged by anything less than what was judged the first time; only what was authorised and found is
   kept.
2. It ends with its token, with the moment at which it would be another one, and with every commit of anybody.
3. A short one can be had before there is a task for its request (shortcut.py): header lines and body as they are sent.
4. Commits are counted, and the clock is read, once in a turn of the event loop: every request that is answered in
   that turn had arrived before it, and nobody was told of a later commit yet.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from starlette.types import Scope, Send

REMEMBERED = 4096
LONGEST_KEY = 4096  # longer tokens are judged each time: the table is for what is asked often
MOST_BYTES = 32 * 1024 * 1024
BODY = (b"content-length", b"transfer-encoding")
PIECE = 64 * 1024  # so much of a large file is handed on before the client has taken some


Headers = list[tuple[bytes, bytes]]


class Ready(NamedTuple):
    """A whole answer, and the moment until which it may be given to the same question; `given` is told each time that
    it is given before there is a task."""

    headers: Headers
    body: bytes
    until: datetime
    given: Callable[[], None] | None = None

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
    """A bounded table. `moment` gives now and a stamp that changes with every commit, or None. `varies` are the headers
    that the door looks at, `unusual` those with which it is always asked itself."""

    def __init__(
        self,
        moment: Callable[[], tuple[datetime, int | None]],
        varies: Iterable[bytes] = (b"authorization",),
        unusual: Iterable[bytes] = (),
    ) -> None:
        self._moment = moment
        self._varies, self._unusual = frozenset(varies), frozenset((*BODY, *unusual))
        self._now = datetime.min.replace(tzinfo=UTC)
        self._stamp: int | None = None
        self._seen = False
        self._known: dict[tuple[Any, ...], tuple[Ready, bytes]] = {}
        self._held = 0

    def get(self, scope: Scope, make: Callable[[], Ready | None]) -> Ready | None:
        """What was made for the same question, if that is still right; else what is made now."""
        stamp = self.stamp()
        known = self._known.get(self._key(scope["path"], scope["headers"]))
        if known is not None and self._now < known[0].until:
            return known[0]
        ready = make()
        if ready is not None:
            self.keep(scope, ready, stamp)
        return ready

    def stamp(self) -> int | None:
        """To be had before an answer is looked for that is to be kept."""
        if not self._seen:
            self._look()
        return self._stamp

    def keep(self, scope: Scope, ready: Ready, stamp: int | None) -> None:
        """This is the answer to this question, as of `stamp` or newer."""
        key = self._key(scope["path"], scope["headers"])
        if stamp is None or stamp != self._stamp or len(key[0]) + sum(len(value) for _, value in key[1:]) > LONGEST_KEY:
            return
        self._held += len(ready.body)
        if len(self._known) >= REMEMBERED or self._held > MOST_BYTES:
            self._known.clear()
            self._held = len(ready.body)
        if self._held <= MOST_BYTES:
            self._known[key] = ready, ready.head

    def prepared(self, target: bytes, headers: Headers) -> tuple[bytes, bytes] | None:
        """Header lines and body of what was made for a GET of this path with these headers, if that is still right."""
        for header in headers:
            if header[0] in self._unusual:
                return None
        if not self._seen:
            self._look()
        known = self._known.get(self._key(target.decode("latin-1"), headers))
        if known is None or known[0].until <= self._now or len(known[0].body) > PIECE:
            return None
        if known[0].given is not None:
            known[0].given()
        return known[1], known[0].body

    def _key(self, path: str, headers: Headers) -> tuple[Any, ...]:
        return (path, *[header for header in headers if header[0] in self._varies])

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
