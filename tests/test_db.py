"""Transactions of both engines: one view for readers, one writer at a time, errors in our words."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, event, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError

from customhouse import db
from customhouse.db import Database, UtcDateTime
from customhouse.errors import StorageFull, Unavailable
from tests.certification.test_service import at_once

own = MetaData()
thing = Table("thing", own, Column("id", Integer, primary_key=True), Column("at", UtcDateTime))


@pytest.fixture
def things(database: Database) -> Iterator[Database]:
    with database.write() as tx:
        own.create_all(tx)
    return database


def count(tx: Connection) -> int:
    return len(tx.execute(select(thing.c.id)).all())


def add(tx: Connection, number: int) -> None:
    tx.execute(insert(thing).values(id=number))


def test_a_write_is_there_after_the_block_and_gone_after_an_error(things: Database) -> None:
    with things.write() as tx:
        add(tx, 1)
    with pytest.raises(ZeroDivisionError), things.write() as tx:
        add(tx, 2)
        raise ZeroDivisionError
    with things.read() as tx:
        assert count(tx) == 1


def test_a_write_inside_a_write_is_a_defect_and_leaves_nothing_locked(things: Database) -> None:
    with pytest.raises(RuntimeError, match="inside another one"), things.write() as tx:
        add(tx, 1)
        with things.write():
            pass
    with things.write() as tx:
        add(tx, 1)


def test_a_reader_sees_one_moment_and_waits_for_nobody(things: Database) -> None:
    with things.read() as reading:
        assert count(reading) == 0
        with things.write() as tx:
            add(tx, 1)
            assert count(reading) == 0
        assert count(reading) == 0, "one view, also after the commit"
    with things.read() as reading:
        assert count(reading) == 1


def test_what_is_written_in_a_reading_transaction_is_never_kept(things: Database) -> None:
    try:
        with things.read() as tx:
            add(tx, 1)
    except DBAPIError as error:
        assert "read-only" in str(error)
    with things.read() as tx:
        assert count(tx) == 0


def test_writers_that_read_first_lose_no_update(things: Database) -> None:
    """On SQLite by IMMEDIATE, on PostgreSQL by the named lock."""
    with things.write() as tx:
        add(tx, 1)
        tx.execute(update(thing).values(at=datetime(2026, 1, 1, tzinfo=UTC)))

    def later() -> None:
        with things.write() as tx:
            things.lock(tx, "thing")
            at = tx.execute(select(thing.c.at)).scalar_one()
            time.sleep(0.01)
            tx.execute(update(thing).values(at=at + timedelta(days=1)))

    assert at_once(*[later] * 6) == [None] * 6
    with things.read() as tx:
        assert tx.execute(select(thing.c.at)).scalar_one() == datetime(2026, 1, 7, tzinfo=UTC)


def test_a_lock_of_another_name_does_not_wait_on_a_server(things: Database) -> None:
    if things.dialect == "sqlite":
        return  # writers queue there, whatever they lock
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with things.write() as tx:
            things.lock(tx, "one")
            held.set()
            assert done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    with things.write() as tx:
        things.lock(tx, "two")
    done.set()
    thread.join(20)


def test_endings_come_last_in_the_order_of_asking_and_in_the_same_transaction(things: Database) -> None:
    said: list[str] = []
    with things.write() as tx:
        things.at_end(lambda: (add(tx, 1), said.append("one"))[1])
        things.at_end(lambda: said.append("two"))
        assert said == []
    assert said == ["one", "two"]
    with pytest.raises(RuntimeError, match="no write transaction"):
        things.at_end(lambda: None)
    with things.read() as tx:
        assert count(tx) == 1


def test_an_ending_that_fails_undoes_everything_and_is_not_asked_again(things: Database) -> None:
    with pytest.raises(ZeroDivisionError), things.write() as tx:
        add(tx, 1)
        things.at_end(lambda: 1 // 0)
    with things.write() as tx:
        assert count(tx) == 0


def test_moments_come_back_as_they_went_in(things: Database) -> None:
    moment = datetime(2026, 11, 23, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    with things.write() as tx:
        tx.execute(insert(thing).values(id=1, at=moment))
        tx.execute(insert(thing).values(id=2, at=None))
    with things.read() as tx:
        assert list(tx.execute(select(thing.c.at).order_by(thing.c.id)).scalars()) == [moment, None]
        assert tx.execute(select(thing.c.at)).scalars().first().tzinfo is UTC
    with pytest.raises(StatementError, match="without its time zone"), things.write() as tx:
        tx.execute(insert(thing).values(id=3, at=datetime(2026, 1, 1)))


def test_a_defect_of_ours_stays_a_defect(things: Database) -> None:
    with pytest.raises(DBAPIError) as raised, things.write() as tx:
        tx.execute(text("SELECT nothing FROM nowhere"))
    assert not isinstance(raised.value, Unavailable)


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    """A real one: the database may not grow beyond its pages."""
    database = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    with database.write() as tx:
        own.create_all(tx)
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
    with pytest.raises(StorageFull, match="no room left"), database.write() as tx:
        tx.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        for number in range(10_000):
            add(tx, number)
    with database.read() as tx:
        assert count(tx) == 0
    database.close()


def test_a_file_that_another_process_holds_is_said_to_be_busy(tmp_path: Path) -> None:
    database, other = (Database(f"sqlite:///{tmp_path / 'hub.db'}") for _ in range(2))
    hurry = "PRAGMA busy_timeout=50"  # not the thirty seconds that writers have
    event.listen(other.engine, "connect", lambda raw, _record: raw.execute(hurry))
    with database.write() as tx:
        own.create_all(tx)
        with pytest.raises(Unavailable, match="does not answer"), other.write():
            pass
    database.close()
    other.close()


@pytest.mark.needs("postgresql")
def test_a_server_that_is_gone_is_unavailable(database_url: str) -> None:
    if database_url.startswith("sqlite"):
        return
    gone = Database(database_url.replace("customhouse@127.0.0.1", "nobody@127.0.0.1"))
    with pytest.raises(Unavailable, match="does not answer") as raised, gone.read():
        pass
    assert isinstance(raised.value.__cause__, OperationalError)
    gone.close()


def test_a_database_that_takes_nothing_is_said_to_be_so(things: Database) -> None:
    """A server that stands by for another one; a file on a disk that became read-only."""
    said = "PRAGMA query_only = ON" if things.dialect == "sqlite" else "SET TRANSACTION READ ONLY"
    with pytest.raises(Unavailable, match="cannot be written"), things.write() as tx:
        tx.exec_driver_sql(said)
        add(tx, 1)


@pytest.mark.needs("postgresql")
def test_two_writers_who_wait_for_each_other_are_told_to_try_again(database: Database) -> None:
    if database.dialect == "sqlite":
        return
    barrier = threading.Barrier(2)

    def write(first: str, second: str) -> str:
        with database.write() as tx:
            database.lock(tx, first)
            barrier.wait(20)
            database.lock(tx, second)
            return "done"

    found = at_once(lambda: write("a", "b"), lambda: write("b", "a"))
    assert sorted(type(item).__name__ for item in found) == ["Unavailable", "str"], found


@pytest.mark.needs("postgresql")
def test_a_lock_that_nobody_lets_go_of_is_not_waited_for_without_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database_url.startswith("sqlite"):
        return
    monkeypatch.setattr(db, "LOCK_SECONDS", 1)
    database = Database(database_url)
    with database.write() as holder:
        database.lock(holder, "a")

        def wait() -> None:
            with database.write() as tx:
                database.lock(tx, "a")

        (found,) = at_once(wait)
    assert isinstance(found, Unavailable)
    database.close()
