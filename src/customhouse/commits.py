"""Has anything been committed on a PostgreSQL server? One question for all requests that wait for the answer.

1. `pg_current_snapshot()` is the same text at two moments only if the same transactions are visible at both
   (https://www.postgresql.org/docs/current/functions-info.html, "Transaction ID and Snapshot Information Functions").
   Commits in other databases of the server change it as well: that costs speed, never truth.
2. A request joins the next question, never one that is under way: what it is told began after it arrived.
3. The question is asked on a connection of its own, by the event loop itself, without a thread. Where that connection
   does not answer, nothing is said (None), and the caller asks what it wants to know in the ordinary way.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

SECONDS = 2.0  # for an answer that takes tens of microseconds
PAUSE_SECONDS = 1.0
_log = logging.getLogger("customhouse.commits")


class Commits:
    """`changed` is called in the loop with each snapshot that differs from the one before."""

    def __init__(self, engine: Engine, changed: Callable[[bytes], None]) -> None:
        self._engine, self._changed = engine, changed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Any = None
        self._socket = -1
        self._connecting = False
        self._not_before = 0.0
        self._asked: list[asyncio.Future[bool]] = []
        self._waiting: list[asyncio.Future[bool]] = []
        self._seen = b""
        self._limit: asyncio.TimerHandle | None = None

    async def look(self) -> bool:
        """Look for commits; was there an answer? If so, `changed` has been called with the newest snapshot."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin(loop)
        if self._connection is None:
            self._connect(loop)
            return False
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(future)
        if not self._asked:
            self._ask()
        return await future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._connection is not None:
            self._connection.finish()  # that loop is over
        self._loop, self._connection, self._connecting, self._not_before = loop, None, False, 0.0
        self._asked, self._waiting = [], []

    def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._connecting or time.monotonic() < self._not_before:
            return
        self._connecting = True
        loop.run_in_executor(None, self._open).add_done_callback(lambda done: self._connected(loop, done))

    def _open(self) -> Any:
        from psycopg import conninfo, pq

        url = self._engine.url.set(drivername="postgresql")
        text = conninfo.make_conninfo(url.render_as_string(hide_password=False), connect_timeout=5)
        connection = pq.PGconn.connect(text.encode())
        if connection.status != pq.ConnStatus.OK:
            connection.finish()
            return None
        connection.nonblocking = 1
        return connection

    def _connected(self, loop: asyncio.AbstractEventLoop, done: "asyncio.Future[Any]") -> None:
        self._connecting = False
        connection = None if done.cancelled() or done.exception() else done.result()
        if loop is not self._loop or connection is None:
            self._not_before = time.monotonic() + PAUSE_SECONDS
            if not done.cancelled() and (error := done.exception()):
                _log.warning("commits cannot be watched: %s", type(error).__name__)  # its text may hold the password
            return
        self._connection, self._socket = connection, connection.socket  # one that is lost does not tell it
        loop.add_reader(self._socket, self._readable)

    def _ask(self) -> None:
        assert self._loop is not None
        self._asked, self._waiting = self._waiting, []
        try:
            self._connection.send_query(b"SELECT pg_current_snapshot()")
            self._connection.flush()
        except Exception as error:
            self._drop(error)
            return
        if self._limit is None:
            self._limit = self._loop.call_later(SECONDS, self._late, self._asked)

    def _late(self, asked: "list[asyncio.Future[bool]]") -> None:
        """Once in so many seconds, at most: is the question of that time still open?"""
        self._limit = None
        if asked is self._asked and asked:
            self._drop(TimeoutError("no answer"))
        elif self._asked and self._loop is not None:
            self._limit = self._loop.call_later(SECONDS, self._late, self._asked)

    def _readable(self) -> None:
        try:
            self._connection.consume_input()
            while self._asked and not self._connection.is_busy():
                result = self._connection.get_result()
                if result is None:
                    self._answered(True)
                elif (value := result.get_value(0, 0)) is None:
                    raise ConnectionError(result.error_message)
                elif value != self._seen:
                    self._seen = value
                    self._changed(value)
        except Exception as error:  # psycopg's, or the operating system's: nothing can be said
            self._drop(error)

    def _answered(self, told: bool) -> None:
        asked, self._asked = self._asked, []
        for future in asked:
            if not future.done():
                future.set_result(told)
        if self._waiting and told:
            self._ask()

    def _drop(self, error: Exception) -> None:
        _log.warning("commits cannot be watched: %s", error)
        assert self._loop is not None
        if self._connection is not None:
            self._loop.remove_reader(self._socket)
            self._connection.finish()
        self._connection, self._seen = None, b""
        self._not_before = time.monotonic() + PAUSE_SECONDS
        self._asked, self._waiting = [*self._asked, *self._waiting], []
        self._answered(False)
