"""The audit chain proves itself and shows every kind of tampering, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from time import sleep

import pytest
from sqlalchemy import text

from customhouse.audit import Audit, ChainBroken
from customhouse.db import Database
from tests.peers.postgresql import PostgreSQL


@pytest.fixture
def audit(database: Database, now: datetime) -> Audit:
    log = Audit(database)
    for number in range(5):
        with database.write() as tx:
            log.append(tx, actor="root", action="user.add", subject=f"user {number}", detail={"n": number}, now=now)
    return log


def test_an_untouched_chain_proves_itself_from_any_checkpoint(audit: Audit, database: Database) -> None:
    with database.read() as tx:
        seq, head = audit.verify(tx)
        assert seq == 5
        third = list(audit.entries(tx))[2]
        assert audit.verify(tx, f"3:{third.hash}") == (seq, head)


@pytest.mark.parametrize(
    ("tampering", "seq"),
    [
        ("UPDATE audit_entry SET actor = 'somebody' WHERE seq = 3", 3),
        ("DELETE FROM audit_entry WHERE seq = 2", 2),
        ("UPDATE audit_entry SET seq = 9 WHERE seq = 5", 5),
        ("UPDATE audit_entry SET detail = '{\"n\": 7}' WHERE seq = 4", 4),
    ],
)
def test_an_edit_a_gap_or_a_reordering_is_found_at_its_place(
    audit: Audit, database: Database, tampering: str, seq: int
) -> None:
    with database.write() as tx:
        tx.execute(text(tampering.replace(":", "\\:")))
    with database.read() as tx, pytest.raises(ChainBroken) as caught:
        audit.verify(tx)
    assert caught.value.seq == seq


def test_a_rewritten_log_does_not_fit_an_earlier_checkpoint(audit: Audit, database: Database) -> None:
    with database.read() as tx, pytest.raises(ChainBroken):
        audit.verify(tx, "3:" + "ab" * 32)


def test_an_entry_of_a_transaction_that_failed_is_not_there(audit: Audit, database: Database, now: datetime) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        audit.append(tx, actor="root", action="user.add", subject="ghost", now=now)
        raise ZeroDivisionError
    with database.read() as tx:
        assert audit.verify(tx)[0] == 5


@pytest.mark.needs("postgresql")
def test_writers_that_log_and_then_wait_for_each_other_both_arrive(postgres: PostgreSQL, now: datetime) -> None:
    """One logs and then wants what the other holds, who logs as well: the log is taken last, so neither dies."""
    database = Database(postgres.url())
    database.create()
    log, met = Audit(database), Barrier(2)

    def logs_first() -> None:
        with database.write() as tx:
            log.append(tx, actor="a", action="user.add", subject="a", now=now)
            met.wait(10)
            sleep(0.2)  # the other one holds the thing by now
            database.lock(tx, "thing")

    def holds_first() -> None:
        with database.write() as tx:
            database.lock(tx, "thing")
            met.wait(10)
            log.append(tx, actor="b", action="user.add", subject="b", now=now)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(logs_first), pool.submit(holds_first)]:
            done.result(timeout=20)
    with database.read() as tx:
        assert log.verify(tx)[0] == 2
        assert [entry.actor for entry in log.entries(tx)] == ["b", "a"]
    database.close()
