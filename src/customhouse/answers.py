"""Answers kept in memory for as long as the database has not changed at all.

SQLite counts commits: `PRAGMA data_version` on a connection that never writes tells whether any other connection, of
this process or another, has committed since (https://www.sqlite.org/pragma.html#pragma_data_version), and costs a
hundredth of a query. The count is read before the question is asked, so an answer can only be newer than its count.
PostgreSQL has snapshots, and telling whether there is a new one is a question that many requests ask together
(commits.py): `recall` answers from memory if nothing was committed since it was called. Everybody else asks.
"""

import sqlite3
import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock, get_ident
from typing import Any, TypeVar

from sqlalchemy import Engine

from customhouse.commits import Commits

T = TypeVar("T")
REMEMBERED = 8192
MOST_BYTES = 64 * 1024 * 1024


class NotAtHand(Exception):
    """The answer is not in memory: ask in a thread."""


class Answers:
    """What was asked since the last commit. `database` is a SQLite file; without one, `engine` is PostgreSQL's, or
    nothing is remembered."""

    def __init__(self, database: Path | None, engine: Engine | None = None) -> None:
        in_memory = database is None or str(database) in (":memory:", ".")  # another connection would see another one
        self._database = None if in_memory else database
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()
        self._version = -1
        self._known: dict[Hashable, Any] = {}
        self._held = 0
        self._commits = Commits(engine, self._changed) if engine is not None and database is None else None
        self._recalling = 0  # the thread in which nothing may be asked

    @property
    def at_hand(self) -> bool:
        """May the loop ask? SQLite always: that is quick. Others within `recall`."""
        return self._database is not None or self._recalling == get_ident()

    def stamp(self) -> int | None:
        """Changes with every commit; None where commits are not counted, and nothing may be remembered."""
        if self._database is None:
            return None
        with self._lock:
            return self._count(self._database)

    async def recall(self, question: Callable[..., T], *about: Any) -> T | None:
        """What `question`, which asks `get`, answers out of memory as of now; None: ask it in the ordinary way. Raises
        what it raises."""
        if self._commits is None or not await self._commits.look():
            return None
        self._recalling = get_ident()
        try:
            return question(*about)
        except NotAtHand:
            return None
        finally:
            self._recalling = 0

    def before_asking(self) -> None:
        """To be called by a question before it asks the database by itself. Raises NotAtHand within `recall`."""
        if self._recalling == get_ident():
            raise NotAtHand

    def _changed(self, snapshot: bytes) -> None:
        with self._lock:
            self._known, self._held = {}, 0

    def get(self, question: Hashable, ask: Callable[[], T], *, size: Callable[[T], int] = lambda _: 0) -> T:
        """The remembered answer, or that of `ask`. "No such thing" is not remembered, nor is what would fill the
        memory by its `size` in bytes."""
        if self._database is None and self._commits is None:
            return ask()
        if self._database is None:
            return self._get_beside(question, ask, size)
        with self._lock:
            version = self._count(self._database)
            if version != self._version or len(self._known) >= REMEMBERED:
                self._version, self._known, self._held = version, {}, 0
            known = self._known
            if question in known:
                return known[question]  # type: ignore[no-any-return]
        return self._remember(known, question, ask(), size)

    def _get_beside(self, question: Hashable, ask: Callable[[], T], size: Callable[[T], int]) -> T:
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known, self._held = {}, 0
            known = self._known
            if self._recalling == get_ident() and question in known:
                return known[question]  # type: ignore[no-any-return]
        self.before_asking()
        return self._remember(known, question, ask(), size)

    def _remember(self, known: dict[Hashable, Any], question: Hashable, answer: T, size: Callable[[T], int]) -> T:
        if answer is not None and (count := size(answer)) <= MOST_BYTES:
            with self._lock:
                if known is self._known and question not in known:  # no commit was seen since it was asked
                    if self._held + count > MOST_BYTES:
                        known.clear()
                        self._held = 0
                    known[question] = answer
                    self._held += count
        return answer

    def _count(self, database: Path) -> int:
        if self._connection is None:
            self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._connection.close)
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
