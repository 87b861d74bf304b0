"""Collection: rows first, bytes after, and never under somebody's feet."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.errors import NotFound
from customhouse.oci.digest import Digest
from customhouse.registry.content import BlobUnknown
from customhouse.registry.service import RegistryService
from customhouse.registry.sweep import Grace, Swept
from tests.conftest import Clock
from tests.registry.conftest import CONFIG, image
from tests.registry.test_service import LAYER, SOURCE, put_blob, put_image

AT_ONCE = Grace(timedelta(0), timedelta(0), timedelta(0), timedelta(0))


def age(path: Path, now: datetime, **delta: float) -> None:
    moment = (now - timedelta(**delta)).timestamp()
    os.utime(path, (moment, moment))


def test_a_grace_becomes_the_moments_before_which_things_may_go(now: datetime) -> None:
    cut = Grace(unused=timedelta(hours=2)).cut(now)
    assert cut.unused == now - timedelta(hours=2) and cut.unlinked < now
    with pytest.raises(ValueError):
        Grace(orphan=timedelta(seconds=-1))
    assert Swept(1, 2, 3, 4, 5).total == 15


def test_what_a_manifest_needs_is_kept_for_ever(service: RegistryService, clock: Clock) -> None:
    put_image(service, SOURCE)
    clock.advance(days=1000)
    assert service.sweep(clock()) == Swept()
    assert service.open_blob(SOURCE, Digest.of(LAYER)).read() == LAYER


def test_a_blob_waits_for_its_manifest_and_goes_when_none_comes(
    service: RegistryService, blobs: FileBlobs, clock: Clock
) -> None:
    digest = put_blob(service, SOURCE, LAYER)
    clock.advance(hours=23)
    assert service.sweep(clock()) == Swept()
    clock.advance(hours=2)
    assert service.sweep(clock()) == Swept(links=1, blobs=1)
    assert blobs.stat(digest) is None
    with pytest.raises(BlobUnknown):
        service.blob(SOURCE, digest)


def test_a_push_again_renews_the_time(service: RegistryService, clock: Clock) -> None:
    put_blob(service, SOURCE, LAYER)
    clock.advance(hours=23)
    put_blob(service, SOURCE, LAYER)
    clock.advance(hours=23)
    assert service.sweep(clock()) == Swept()


def test_a_clock_that_goes_back_collects_nothing(service: RegistryService, clock: Clock) -> None:
    put_blob(service, SOURCE, LAYER)
    clock.advance(days=-3000)
    assert service.sweep(clock()) == Swept()


def test_a_deleted_manifest_frees_its_blobs_and_its_bytes(
    service: RegistryService, blobs: FileBlobs, clock: Clock
) -> None:
    digest = put_image(service, SOURCE)
    service.delete_manifest(SOURCE, digest, "alice")
    clock.advance(days=2)
    assert service.sweep(clock()) == Swept(links=2, blobs=2, manifests=1)
    assert list(blobs.digests()) == []
    assert put_image(service, SOURCE) == digest
    assert list(service.breaches(rehash=True)) == []


def test_a_blob_that_another_repository_needs_stays(service: RegistryService, clock: Clock) -> None:
    put_image(service, "staging/alice/other")
    put_blob(service, SOURCE, LAYER)
    clock.advance(days=2)
    assert service.sweep(clock()) == Swept(links=1)
    assert service.open_blob("staging/alice/other", Digest.of(LAYER)).read() == LAYER


def test_bytes_that_a_crash_left_without_a_row_go_when_they_are_old(
    service: RegistryService, blobs: FileBlobs, now: datetime
) -> None:
    digest = blobs.add(b"orphan")
    age(blobs.path(digest), now, hours=23)
    assert service.sweep(now) == Swept()
    age(blobs.path(digest), now, hours=25)
    assert service.sweep(now) == Swept(orphans=1)
    assert blobs.stat(digest) is None


def test_old_bytes_with_a_row_are_no_orphans(service: RegistryService, blobs: FileBlobs, now: datetime) -> None:
    put_image(service, SOURCE)
    for digest in blobs.digests():
        age(blobs.path(digest), now, days=900)
    assert service.sweep(now) == Swept()
    assert list(service.breaches(rehash=True)) == []


def test_an_upload_that_nobody_goes_on_with_ends(service: RegistryService, blobs: FileBlobs, clock: Clock) -> None:
    name = service.uploads.begin(SOURCE)
    upload = service.uploads.resume(SOURCE, name)
    upload.write(b"half")
    upload.close()
    clock.advance(hours=23)
    service.uploads.resume(SOURCE, name).close()  # somebody goes on
    clock.advance(hours=23)
    assert service.sweep(clock()) == Swept()
    clock.advance(hours=2)
    assert service.sweep(clock()).uploads == 1
    with pytest.raises(NotFound):
        service.uploads.offset(SOURCE, name)


def test_an_upload_that_is_being_written_is_left_alone(service: RegistryService, clock: Clock) -> None:
    name = service.uploads.begin(SOURCE)
    upload = service.uploads.resume(SOURCE, name)
    clock.advance(days=2)
    assert service.sweep(clock()) == Swept()
    upload.write(LAYER)
    assert service.uploads.finish(SOURCE, name, upload, Digest.of(LAYER)).size == len(LAYER)


def test_a_file_of_an_upload_without_a_row_goes(service: RegistryService, blobs: FileBlobs, now: datetime) -> None:
    upload = blobs.upload("left")
    upload.write(b"half")
    upload.close()
    age(blobs.path(Digest.of(b"")).parents[2] / "uploads" / "left", now, hours=25)
    assert service.sweep(now) == Swept(uploads=1)


def test_pushes_and_sweeps_at_once_never_lose_a_byte_that_has_a_row(
    service: RegistryService, make_service: Callable[[], RegistryService], clock: Clock
) -> None:
    """Every moment is past every grace, so the sweep takes whatever is loose at the instant it looks."""
    over = threading.Event()
    failures: list[BaseException] = []

    def sweep_without_end() -> None:
        sweeper = make_service()
        try:
            while not over.is_set():
                sweeper.sweep(datetime.now(UTC) + timedelta(days=9000), AT_ONCE)
        except BaseException as error:
            failures.append(error)

    sweeper = threading.Thread(target=sweep_without_end)
    sweeper.start()
    kept = 0
    try:
        for turn in range(25):
            try:
                put_image(service, SOURCE, f"t{turn % 3}", f"layer {turn % 5}".encode())
                kept += 1
            except Exception as error:  # refused, as the grace of zero makes likely; never broken
                assert type(error).__module__.startswith("customhouse."), error
    finally:
        over.set()
        sweeper.join()
    assert failures == []
    assert list(service.breaches(rehash=True)) == []
    for tag in service.tags(SOURCE) if kept else ():
        raw = service.resolve(SOURCE, tag).raw
        for turn in range(5):
            layer = f"layer {turn}".encode()
            if raw == image(layer):
                assert service.open_blob(SOURCE, Digest.of(layer)).read() == layer


@contextmanager
def a_sweep_that_looks_now_and_acts_later(sweeper: RegistryService, now: datetime) -> Iterator[None]:
    """Inside, the sweep has its candidates and waits for the caller's transaction; afterwards it has acted."""
    swept: list[Swept | BaseException] = []

    def sweep() -> None:
        try:
            swept.append(sweeper.sweep(now))
        except BaseException as error:
            swept.append(error)

    thread = threading.Thread(target=sweep)
    thread.start()
    time.sleep(0.3)  # long enough to have looked; were it not, the test would pass and prove less
    yield
    thread.join(20)
    assert swept == [Swept()]


def test_a_blob_that_is_linked_while_a_sweep_wants_it_stays(
    service: RegistryService, make_service: Callable[[], RegistryService], clock: Clock
) -> None:
    digest = put_blob(service, SOURCE, LAYER)
    service.delete_blob(SOURCE, digest, "alice")
    clock.advance(hours=2)
    with ExitStack() as stack, service.store.write() as tx:
        assert service.store.hold_blob(tx, digest) == len(LAYER)
        service.store.link_blobs(tx, "staging/alice/other", [digest], clock())
        stack.enter_context(a_sweep_that_looks_now_and_acts_later(make_service(), clock()))
    assert service.open_blob("staging/alice/other", digest).read() == LAYER
    assert list(service.breaches()) == []


def test_a_link_that_a_manifest_needs_while_a_sweep_wants_it_stays(
    service: RegistryService, make_service: Callable[[], RegistryService], clock: Clock
) -> None:
    put_blob(service, SOURCE, CONFIG)
    put_blob(service, SOURCE, LAYER)
    clock.advance(days=2)
    with ExitStack() as stack, service.store.write() as tx:
        service.put_manifest(tx, SOURCE, "1", image(LAYER), None, clock())
        stack.enter_context(a_sweep_that_looks_now_and_acts_later(make_service(), clock()))
    assert service.open_blob(SOURCE, Digest.of(LAYER)).read() == LAYER
    assert list(service.breaches()) == []


def test_bytes_that_get_their_row_while_a_sweep_wants_them_stay(
    service: RegistryService, make_service: Callable[[], RegistryService], blobs: FileBlobs, now: datetime
) -> None:
    digest = blobs.add(LAYER)
    age(blobs.path(digest), now, days=2)
    with ExitStack() as stack, service.store.write() as tx:
        service.attach_blob(tx, SOURCE, digest, now)
        stack.enter_context(a_sweep_that_looks_now_and_acts_later(make_service(), now))
    assert service.open_blob(SOURCE, digest).read() == LAYER
    assert list(service.breaches()) == []


def test_a_manifest_that_is_pushed_again_while_a_sweep_wants_it_stays(
    service: RegistryService, make_service: Callable[[], RegistryService], clock: Clock
) -> None:
    digest = put_image(service, SOURCE)
    service.delete_manifest(SOURCE, digest, "alice")
    with ExitStack() as stack, service.store.write() as tx:
        service.put_manifest(tx, SOURCE, "1", image(LAYER), None, clock())
        stack.enter_context(a_sweep_that_looks_now_and_acts_later(make_service(), clock()))
    assert make_service().resolve(SOURCE, "1").raw == image(LAYER)
    assert list(service.breaches()) == []


SWEEP = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from customhouse import faults
from customhouse.audit import Audit
from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.registry.service import RegistryService
from customhouse.registry.store import RegistryStore
url, root, point = sys.argv[1:]
database, far = Database(url), datetime(2100, 1, 1, tzinfo=UTC)
service = RegistryService(RegistryStore(database), FileBlobs(Path(root)), Audit(database), lambda: far)
faults.arm(point)
service.sweep(far)
"""


@pytest.mark.parametrize("point", ["registry.sweep.links", "registry.sweep.row", "registry.sweep.bytes"])
def test_a_kill_in_a_sweep_leaves_orphans_and_the_next_one_takes_them(
    service: RegistryService, database: Database, blobs: FileBlobs, point: str
) -> None:
    put_image(service, SOURCE)
    put_blob(service, SOURCE, b"loose")
    root = blobs.path(Digest.of(b"")).parents[2]
    program = [sys.executable, "-c", SWEEP, database.url, str(root), point]
    assert subprocess.run(program, cwd=Path(__file__).parents[2]).returncode == -9
    assert list(service.breaches(rehash=True)) == []
    service.sweep(datetime(2100, 1, 1, tzinfo=UTC))
    assert set(blobs.digests()) == {Digest.of(CONFIG), Digest.of(LAYER)}
    assert list(service.breaches(rehash=True)) == []
