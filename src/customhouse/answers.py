"""Answers kept in memory for as long as the database has not changed at all.

SQLite counts commits: `PRAGMA data_version` on a connection that never writes tells whether any other connection, of
this process or another, has committed since (https://www.sqlite.org/pragma.html#pragma_data_version), and costs a
hundredth of a query. The count is read before the question is asked, so an answer can only be newer than its count.
PostgreSQL has no such count; there every question is asked.
"""

import sqlite3
import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
REMEMBERED = 8192
MOST_BYTES = 64 * 1024 * 1024


class Answers:
    """What was asked since the last commit. `database` is a SQLite file; None remembers nothing."""

    def __init__(self, database: Path | None) -> None:
        in_memory = database is None or str(database) in (":memory:", ".")  # another connection would see another one
        self._database = None if in_memory else database
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()
        self._version = -1
        self._known: dict[Hashable, Any] = {}
        self._held = 0

    @property
    def at_hand(self) -> bool:
        """Is asking so quick that it needs no thread? True of SQLite."""
        return self._database is not None

    def stamp(self) -> int | None:
        """Changes with every commit; None where commits are not counted, and nothing may be remembered."""
        if self._database is None:
            return None
        with self._lock:
            return self._count(self._database)

    def get(self, question: Hashable, ask: Callable[[], T], *, size: Callable[[T], int] = lambda _: 0) -> T:
        """The remembered answer, or that of `ask`. "No such thing" is not remembered, nor is what would fill the
        memory by its `size` in bytes."""
        if self._database is None:
            return ask()
        with self._lock:
            version = self._count(self._database)
            if version != self._version or len(self._known) >= REMEMBERED:
                self._version, self._known, self._held = version, {}, 0
            known = self._known
            if question in known:
                return known[question]  # type: ignore[no-any-return]
        answer = ask()
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
