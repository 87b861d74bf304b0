"""Rows: one database, SQLite or PostgreSQL, behind two kinds of transaction.

1. Stores declare their tables on `metadata`; nothing else writes SQL (stores, audit, workflows).
2. `read()` never blocks a writer; `write()` is one transaction that commits on leaving the block.
3. On SQLite writers queue in the process and begin IMMEDIATE, so that none of them ever meets "locked" after
   it has read; readers use the write-ahead log. https://www.sqlite.org/lang_transaction.html §2.2
4. On PostgreSQL `lock(tx, name)` serialises a read-modify-write of one named thing; SQLite needs no more than 3.
5. What every writer needs in the end (the audit log) is written by `at_end`, last of all, so that nobody holds it
   while waiting for something else: two writers cannot wait for each other there.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, DateTime, Dialect, MetaData, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.types import TypeDecorator

from customhouse.errors import StorageFull, Unavailable
from customhouse.faults import point

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BUSY_SECONDS = 30
# On a server: what a request waits for before it is told to come back, since whoever waits holds a thread.
POOL_SECONDS, LOCK_SECONDS, CONNECT_SECONDS = 10, 15, 5
LOG_BYTES = 64 * 1024 * 1024  # what the write-ahead log shrinks to after a large transaction
_DISK_FULL = ("database or disk is full", "disk i/o error", "no space left on device", "could not extend file")
_COLLISIONS = ("40P01", "40001", "55P03")  # PostgreSQL: deadlock, serialization failure, lock not available


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment; SQLite forgets the zone, so it is stored as UTC and given back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without its time zone was given to the database")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """One database by URL: `sqlite:///path` or `postgresql+psycopg://user@host/name`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.dialect: Literal["sqlite", "postgresql"] = "sqlite" if url.startswith("sqlite") else "postgresql"
        if self.dialect == "sqlite":
            self.engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=8, max_overflow=24)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = create_engine(
                url, pool_size=8, max_overflow=24, pool_pre_ping=True, pool_timeout=POOL_SECONDS,
                connect_args={"connect_timeout": CONNECT_SECONDS},
            )
            event.listen(self.engine, "connect", _prepare_postgresql)
        # PostgreSQL would otherwise show each statement another moment.
        view = {} if self.dialect == "sqlite" else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = self.engine.execution_options(**view)
        self._writers = threading.RLock() if self.dialect == "sqlite" else None
        self._depth = threading.local()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view, no lock."""
        with _translated(), self._reading.connect() as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed on leaving, rolled back on any error. Not to be nested."""
        if getattr(self._depth, "writing", False):
            raise RuntimeError("a write transaction inside another one; pass `tx` down instead")
        if self._writers is not None:
            self._writers.acquire()
        self._depth.writing, self._depth.endings = True, []
        try:
            with _translated(writing=True), self.engine.connect() as tx:
                tx = tx.execution_options(customhouse_write=True)
                with tx.begin():
                    yield tx
                    for ending in self._depth.endings:
                        ending()
                    point("db.commit")
                point("db.committed")
        finally:
            self._depth.writing, self._depth.endings = False, []
            if self._writers is not None:
                self._writers.release()

    def at_end(self, ending: Callable[[], None]) -> None:
        """Do this as the last thing before the commit of this thread's write transaction; in the order of asking."""
        if not getattr(self._depth, "writing", False):
            raise RuntimeError("there is no write transaction to end")
        self._depth.endings.append(ending)

    def lock(self, tx: Connection, *names: str) -> None:
        """Hold each name until this transaction ends. Take locks in one order: the narrow thing first, then by name."""
        if self.dialect == "postgresql" and names:
            keys = [int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True) for name in sorted(names)]
            held = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) key")
            tx.execute(held, {"keys": keys})

    def patient(self, tx: Connection) -> None:
        """Let this transaction wait for locks as long as it takes."""
        if self.dialect == "postgresql":
            tx.exec_driver_sql("SET LOCAL lock_timeout = 0")

    def create(self) -> None:
        """Make every declared table that is missing (tests and first start)."""
        with self.write() as tx:
            metadata.create_all(tx)

    def close(self) -> None:
        """Return every connection."""
        self.engine.dispose()

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database."""
        return Path(str(self.engine.url.database)) if self.dialect == "sqlite" else None


class Store:
    """What every room's store begins with: its tables live in one database, its caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> AbstractContextManager[Connection]:
        """A consistent view."""
        return self._database.read()

    def write(self) -> AbstractContextManager[Connection]:
        """One transaction."""
        return self._database.write()


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # pysqlite would begin DEFERRED by itself
    for pragma in (
        "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_SECONDS * 1000}",
        f"journal_size_limit={LOG_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    connection.commit()


def _begin_sqlite(tx: Connection) -> None:
    writing = tx.get_execution_options().get("customhouse_write")
    tx.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN DEFERRED")


@contextmanager
def _translated(writing: bool = False) -> Iterator[None]:
    """Say in our words what the engine says in its own, where a caller can act on it."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).lower()
        if any(sign in said for sign in _DISK_FULL):
            raise StorageFull("the database has no room left", hint="Free disk space; nothing was written.") from error
        if getattr(error.orig, "sqlstate", None) in _COLLISIONS:
            raise Unavailable("somebody else changed the same thing", hint="Try again in a moment.") from error
        # 25006: the server stands by for another one, or was told to take nothing. In `read()` it is our own defect.
        read_only = writing and getattr(error.orig, "sqlstate", None) == "25006"
        if read_only or "readonly database" in said or "read-only file system" in said:
            raise Unavailable("the database cannot be written", hint="Look at the hub's disk.") from error
        # SQLite calls a misspelt statement operational too; with a server, it is the server that does not answer.
        remote = not isinstance(error.orig, sqlite3.Error)
        if remote and error.connection_invalidated:
            raise Unavailable("the database does not answer", hint="Try again in a moment.") from error
        if isinstance(error, OperationalError) and (remote or "locked" in said or "unable to open" in said):
            raise Unavailable("the database does not answer", hint="Try again in a moment.") from error
        raise
    except PoolTimeout as error:
        raise Unavailable("the database is busy: every connection is in use", hint="Try again in a moment.") from error
