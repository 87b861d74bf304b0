"""What a sweep costs, which pushes it may not disturb, and what it forgets."""

import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, insert, select, update

from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.oci.digest import Digest
from customhouse.registry.collector import Pace
from customhouse.registry.content import BlobUnknown
from customhouse.registry.service import RegistryService
from customhouse.registry.store import tables
from customhouse.registry.sweep import SHARDS, Grace, Swept, due_shards
from tests.conftest import Clock
from tests.registry.conftest import CONFIG, image
from tests.registry.test_service import LAYER, SOURCE, put_blob, put_image

OTHER = "staging/alice/other"


def fill(service: RegistryService, count: int, now: datetime) -> None:
    """One repository whose manifests need `count` blobs; rows only."""
    raw = image(LAYER)
    digests = [f"sha256:{sha256(str(number).encode()).hexdigest()}" for number in range(count)]
    parents = [f"sha256:{sha256(digest.encode()).hexdigest()}" for digest in digests]
    with service.store.write() as tx:
        tx.execute(insert(tables.blob), [{"digest": digest, "size": 1, "stored_at": now} for digest in digests])
        tx.execute(insert(tables.link), [
            {"repository": "full", "digest": digest, "linked_at": now} for digest in digests
        ])
        kept = {"media_type": "a/b", "raw": raw, "size": len(raw), "artifact_type": "", "annotations": {}}
        tx.execute(insert(tables.content), [{"digest": digest, **kept} for digest in parents])
        tx.execute(insert(tables.manifest), [
            {"repository": "full", "digest": digest, "pushed_at": now} for digest in parents
        ])
        tx.execute(insert(tables.need), [
            {"parent": parent, "child": child, "kind": "blob"} for parent, child in zip(parents, digests, strict=True)
        ])


def cost(database: Database, work: Callable[[], object]) -> int:
    """How many hundreds of steps SQLite's machine takes, in all connections."""
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    def watch(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(count, 100)

    database.engine.dispose()
    event.listen(database.engine, "connect", watch)
    try:
        work()
    finally:
        event.remove(database.engine, "connect", watch)
        database.engine.dispose()
    return steps[0]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_cost_of_a_sweep_grows_with_what_is_loose_and_not_with_what_is_kept(
    service: RegistryService, database: Database, clock: Clock
) -> None:
    def sweep(loose: int) -> int:
        for number in range(loose):
            put_blob(service, SOURCE, f"{loose} {number}".encode())
        now = clock.advance(days=2)
        swept: list[Swept] = []
        steps = cost(database, lambda: swept.append(service.sweep(now, shards=())))
        assert swept == [Swept(links=loose, blobs=loose)]
        return steps

    sweep(10)
    before, many = sweep(10), sweep(100)
    fill(service, 20_000, clock())
    after = sweep(10)
    assert after <= before * 1.2 + 2
    assert many > before * 3  # the measure does count
    assert sweep(100) <= many * 1.2 + 2


def test_a_candidate_that_is_used_after_all_is_forgotten_and_stays(
    service: RegistryService, database: Database, clock: Clock
) -> None:
    put_image(service, SOURCE)
    put_blob(service, SOURCE, LAYER)  # again: marked in vain
    with service.store.write() as tx:
        for table in (tables.blob, tables.content, tables.manifest):
            tx.execute(update(table).values(loose_since=clock()))
    clock.advance(days=9)
    assert service.sweep(clock()) == Swept()
    with service.store.read() as tx:
        for table in (tables.blob, tables.content, tables.manifest, tables.link):
            assert tx.execute(select(table.c.digest).where(table.c.loose_since.is_not(None))).first() is None
    assert service.open_blob(SOURCE, Digest.of(LAYER)).read() == LAYER


def test_a_push_and_a_sweep_that_meet_at_a_link_both_get_on(service: RegistryService, clock: Clock) -> None:
    put_image(service, SOURCE)
    put_blob(service, SOURCE, LAYER)  # again: marked in vain
    clock.advance(days=9)
    swept: list[Swept] = []
    sweeping = threading.Thread(target=lambda: swept.append(service.sweep(clock())))
    with service.store.write() as tx:
        service.store.usage.lock(tx, SOURCE)
        sweeping.start()
        sweeping.join(0.5)  # it has come to what the push holds
        assert sweeping.is_alive()
        service.attach_blob(tx, SOURCE, Digest.of(LAYER), clock())
    sweeping.join(20)
    assert swept == [Swept()]
    assert service.open_blob(SOURCE, Digest.of(LAYER)).read() == LAYER


def test_whoever_found_a_blob_has_half_its_grace_to_name_it(service: RegistryService, clock: Clock) -> None:
    """HEAD, then a long time, then the manifest; meanwhile the only other manifest that needed it is deleted."""
    digest = put_image(service, SOURCE)
    service.delete_manifest(SOURCE, digest, "alice")
    clock.advance(hours=11, minutes=59)
    assert service.blob(SOURCE, Digest.of(LAYER)).size == len(LAYER)  # the pusher's HEAD, at the last moment
    clock.advance(hours=12)
    service.sweep(clock())
    assert service.push_manifest(SOURCE, "2", image(LAYER), None).digest == digest
    clock.advance(days=30)
    service.sweep(clock())
    assert service.open_blob(SOURCE, Digest.of(LAYER)).read() == LAYER


def test_a_blob_that_may_soon_go_is_not_shown_and_comes_again(service: RegistryService, clock: Clock) -> None:
    put_blob(service, SOURCE, LAYER)
    put_blob(service, SOURCE, CONFIG)
    clock.advance(hours=12, minutes=1)
    with pytest.raises(BlobUnknown):
        service.blob(SOURCE, Digest.of(LAYER))
    put_blob(service, SOURCE, LAYER)
    put_blob(service, SOURCE, CONFIG)
    clock.advance(hours=11)
    service.push_manifest(SOURCE, "1", image(LAYER), None)
    clock.advance(days=2)
    assert service.sweep(clock()) == Swept()


def test_a_blob_that_was_marked_in_vain_is_shown(service: RegistryService, clock: Clock) -> None:
    put_image(service, SOURCE)
    put_blob(service, SOURCE, LAYER)
    clock.advance(hours=20)
    assert service.blob(SOURCE, Digest.of(LAYER)).size == len(LAYER)


def test_a_repository_that_goes_frees_what_no_other_holds(
    service: RegistryService, blobs: FileBlobs, clock: Clock
) -> None:
    put_image(service, SOURCE)
    put_image(service, OTHER, layer=b"another")
    with service.store.write() as tx:
        service.delete_repository(tx, SOURCE)
    clock.advance(hours=2)
    assert service.survey(clock()) == Swept(blobs=1, manifests=1)
    assert service.sweep(clock()) == Swept(blobs=1, manifests=1)
    assert set(blobs.digests()) == {Digest.of(CONFIG), Digest.of(b"another")}
    assert list(service.breaches(rehash=True)) == []


def test_what_a_sweep_would_free_is_what_it_frees(service: RegistryService, clock: Clock) -> None:
    put_image(service, SOURCE)
    put_image(service, OTHER)
    for content in (b"loose", b"loose too"):
        put_blob(service, SOURCE, content)
    put_blob(service, OTHER, b"loose")
    clock.advance(days=2)
    told = service.survey(clock())
    swept = service.sweep(clock())
    assert (told, told.freed) == (swept, swept.freed) == (Swept(links=3, blobs=2), len(b"loose" + b"loose too"))


def test_a_sweep_whose_time_is_over_says_so_and_the_next_one_goes_on(service: RegistryService, clock: Clock) -> None:
    put_blob(service, SOURCE, LAYER)
    clock.advance(days=2)
    begun = service.sweep(clock(), pace=Pace(seconds=0))
    assert (begun, begun.more) == (Swept(), True)
    ended = service.sweep(clock())
    assert (ended, ended.more) == (Swept(links=1, blobs=1), False)


def test_more_candidates_than_fit_into_one_transaction_all_go(
    service: RegistryService, clock: Clock
) -> None:
    for number in range(10):
        put_blob(service, SOURCE, b"%d" % number)
        put_blob(service, OTHER, b"%d" % number)
    steps: list[Swept] = []
    clock.advance(days=2)
    assert service.sweep(clock(), pace=Pace(batch=3), told=steps.append) == Swept(links=20, blobs=10)
    assert len(steps) > 8 and steps[-1].freed == 10
    assert list(service.breaches()) == []


def test_a_store_that_is_slow_at_everything_is_collected_all_the_same(
    service: RegistryService, blobs: FileBlobs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customhouse.registry.collector._BYTES_SECONDS", 0.0)
    for number in range(5):
        put_blob(service, SOURCE, b"%d" % number)
    clock.advance(days=2)
    assert service.sweep(clock()) == Swept(links=5, blobs=5)
    assert list(blobs.digests()) == []


def test_bytes_without_a_row_are_looked_for_in_the_shards_that_are_due(
    service: RegistryService, blobs: FileBlobs, clock: Clock
) -> None:
    digest = blobs.add(b"left by a crash")
    shard = int(digest.hex[:2], 16)
    clock.at = datetime.now(UTC) + timedelta(days=2)
    others = [number for number in range(SHARDS) if number != shard]
    assert service.sweep(clock(), shards=others) == Swept()
    assert service.sweep(clock(), shards=[shard]) == Swept(orphans=1)


@given(st.lists(st.integers(60, 1500), min_size=200, max_size=200))
def test_a_hub_that_looks_every_few_minutes_comes_round_in_a_day_or_so(pauses: list[int]) -> None:
    now = start = datetime(2026, 11, 23, tzinfo=UTC)
    last = None
    seen: set[int] = set()
    for pause in pauses * 10:
        shards = due_shards(last, now)
        assert len(shards) <= 8
        seen.update(shards)
        last, now = now, now + timedelta(seconds=pause)
        if now - start > timedelta(hours=22):
            break
    assert len(seen) == SHARDS


def test_a_clock_that_went_back_looks_nowhere_and_a_new_start_looks_at_two() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert list(due_shards(now, now - timedelta(days=3))) == []
    assert len(due_shards(None, now)) == 2


def test_the_doctor_names_what_no_sweep_would_find(service: RegistryService, clock: Clock) -> None:
    put_blob(service, SOURCE, LAYER)
    assert list(service.breaches()) == []
    with service.store.write() as tx:
        tx.execute(update(tables.link).values(loose_since=None))
    assert [(breach.invariant, breach.subject) for breach in service.breaches()] == [("R2", Digest.of(LAYER))]


def test_a_grace_that_is_shorter_is_shorter_for_those_who_ask_too(
    database: Database, blobs: FileBlobs, clock: Clock, make_service: Callable[[], RegistryService]
) -> None:
    usual = make_service()
    hasty = RegistryService(
        usual.store, usual.blobs, usual._audit, clock, Grace(unused=timedelta(minutes=2))
    )
    put_blob(hasty, SOURCE, LAYER)
    clock.advance(seconds=61)
    assert usual.blob(SOURCE, Digest.of(LAYER)).size == len(LAYER)
    with pytest.raises(BlobUnknown):
        hasty.blob(SOURCE, Digest.of(LAYER))
    clock.advance(seconds=60)
    assert hasty.sweep(clock()).links == 1
