"""PostgreSQL's answers out of memory are never older than a commit that was over when they were asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from customhouse.answers import Answers
from customhouse.db import Database
from tests.peers.postgresql import PostgreSQL

pytestmark = pytest.mark.needs("postgresql")


@pytest.fixture
def server(postgres: PostgreSQL) -> Iterator[Database]:
    made = Database(postgres.url())
    with made.write() as tx:
        tx.exec_driver_sql("CREATE TABLE t (x integer)")
        tx.exec_driver_sql("INSERT INTO t VALUES (0)")
    yield made
    made.close()


class Reader:
    """The number in the table, as a store asks for it; counts how often the database was asked."""

    def __init__(self, server: Database) -> None:
        self.answers, self.asked, self._server = Answers(None, server.engine), 0, server

    def value(self) -> int:
        return self.answers.get("value", self._ask)

    def _ask(self) -> int:
        self.asked += 1
        with self._server.read() as tx:
            return int(tx.exec_driver_sql("SELECT x FROM t").scalar_one())

    async def now(self) -> int:
        """As the door asks: out of memory, else in a thread."""
        found = await self.answers.recall(self.value)
        return await asyncio.to_thread(self.value) if found is None else found


def change(server: Database, value: int) -> None:
    with server.write() as tx:
        tx.exec_driver_sql(f"UPDATE t SET x = {value}")


@asynccontextmanager
async def watched(reader: Reader) -> AsyncIterator[None]:
    for _ in range(200):
        if await reader.answers._commits.look():  # type: ignore[union-attr]
            break
        await asyncio.sleep(0.02)
    yield


def test_many_ask_and_the_database_is_asked_once(server: Database) -> None:
    reader = Reader(server)

    async def ask() -> None:
        async with watched(reader):
            await reader.now()
            before = reader.asked
            for _ in range(20):
                assert await asyncio.gather(*[reader.now() for _ in range(32)]) == [0] * 32
            assert reader.asked == before

    asyncio.run(ask())


def test_a_commit_that_is_over_is_seen_by_whoever_asks_then(server: Database) -> None:
    reader = Reader(server)

    async def one(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await reader.now()

    async def ask() -> None:
        stop = asyncio.Event()
        async with watched(reader):
            others = [asyncio.create_task(one(stop)) for _ in range(8)]
            for value in range(1, 150):
                await asyncio.to_thread(change, server, value)
                assert await reader.now() == value
            stop.set()
            await asyncio.gather(*others)

    asyncio.run(ask())


def test_what_is_not_committed_is_not_told_and_what_is_rolled_back_never(server: Database) -> None:
    reader = Reader(server)

    async def ask() -> None:
        async with watched(reader):
            with pytest.raises(ZeroDivisionError), server.write() as tx:
                tx.exec_driver_sql("UPDATE t SET x = 9")
                assert await reader.now() == 0
                raise ZeroDivisionError
            assert await reader.now() == 0

    asyncio.run(ask())


def test_a_connection_that_is_cut_is_made_again_and_nothing_old_is_told_meanwhile(server: Database) -> None:
    reader = Reader(server)

    async def ask() -> None:
        async with watched(reader):
            await reader.now()
            with server.write() as tx:
                tx.exec_driver_sql("UPDATE t SET x = 5")
                tx.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
            assert await reader.now() == 5
        async with watched(reader):
            asked = reader.asked
            await reader.now()
            assert [await reader.now() for _ in range(5)] == [5] * 5
            assert reader.asked <= asked + 1

    asyncio.run(ask())


def test_absent_things_and_other_threads_always_ask(server: Database, tmp_path: Path) -> None:
    reader = Reader(server)
    nothing: Callable[[], None] = lambda: None  # noqa: E731

    async def ask() -> None:
        async with watched(reader):
            for _ in range(2):
                assert reader.answers.get("nothing", nothing) is None
                assert await reader.answers.recall(lambda: reader.answers.get("nothing", nothing)) is None
            assert await asyncio.to_thread(lambda: [reader.value(), reader.value()]) == [0, 0]
            assert reader.asked == 2

    asyncio.run(ask())


def test_what_a_question_asks_by_itself_is_not_asked_in_the_loop(server: Database) -> None:
    reader = Reader(server)

    async def ask() -> None:
        async with watched(reader):
            def alone() -> str:
                reader.answers.before_asking()
                return "asked"

            assert await reader.answers.recall(alone) is None
            assert alone() == "asked"

    asyncio.run(ask())
