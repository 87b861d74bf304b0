"""The registry's rules inside other rooms' transactions, and what two at once may do to each other."""

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.errors import Conflict, Invalid, Unavailable
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.content import (
    BlobUnknown,
    ContentInUse,
    ContentMissing,
    InvalidName,
    InvalidTag,
    ManifestUnknown,
)
from customhouse.registry.service import RegistryService
from tests.conftest import Clock
from tests.registry.conftest import CONFIG, image, index

SOURCE, TARGET = "staging/alice/web", "quarantine/s1"
LAYER = b"a layer"


def put_blob(service: RegistryService, repository: str, content: bytes) -> Digest:
    uploads = service.uploads
    name = uploads.begin(repository)
    upload = uploads.resume(repository, name)
    upload.write(content)
    return uploads.finish(repository, name, upload, Digest.of(content)).digest


def put_image(service: RegistryService, repository: str, tag: str = "1", layer: bytes = LAYER) -> Digest:
    put_blob(service, repository, CONFIG)
    put_blob(service, repository, layer)
    return service.push_manifest(repository, tag, image(layer), None).digest


def put_index(service: RegistryService, repository: str) -> Digest:
    put_image(service, repository)
    return service.push_manifest(repository, "all", index(image(LAYER)), m.OCI_INDEX).digest


def test_a_tree_is_linked_whole_and_its_content_is_readable_there(service: RegistryService) -> None:
    parent = put_index(service, SOURCE)
    with service.store.write() as tx:
        linked = service.link_tree(tx, SOURCE, TARGET, parent)
        service.set_tag(tx, TARGET, "1", parent, service._clock())
    child = Digest.of(image(LAYER))
    assert linked[:2] == [parent, child]
    assert set(linked[2:]) == {Digest.of(CONFIG), Digest.of(LAYER)}
    assert service.resolve(TARGET, "1").raw == index(image(LAYER))
    assert service.manifest(TARGET, child).raw == image(LAYER)
    with service.open_blob(TARGET, Digest.of(LAYER)) as stream:
        assert stream.read() == LAYER
    assert list(service.breaches(rehash=True)) == []


def test_linking_a_tree_again_changes_nothing(service: RegistryService) -> None:
    digest = put_image(service, SOURCE)
    for _ in range(2):
        with service.store.write() as tx:
            assert len(service.link_tree(tx, SOURCE, TARGET, digest)) == 3


def test_a_transaction_that_fails_links_nothing(service: RegistryService) -> None:
    digest = put_image(service, SOURCE)
    with pytest.raises(RuntimeError), service.store.write() as tx:
        service.link_tree(tx, SOURCE, TARGET, digest)
        raise RuntimeError("another room's part failed")
    with pytest.raises(ManifestUnknown):
        service.resolve(TARGET, digest)
    assert service.repositories() == [SOURCE]


def test_a_tree_with_missing_bytes_is_not_linked_and_each_piece_is_named(
    service: RegistryService, blobs: FileBlobs
) -> None:
    digest = put_image(service, SOURCE)
    blobs.path(Digest.of(LAYER)).write_bytes(b"short")
    with pytest.raises(ContentMissing) as refused, service.store.write() as tx:
        service.link_tree(tx, SOURCE, TARGET, digest)
    assert refused.value.missing == (Digest.of(LAYER),)
    with pytest.raises(ContentMissing), service.store.write() as tx:
        service.link_tree(tx, "staging/bob/web", TARGET, digest)


def test_what_was_pinned_outlives_its_deletion_at_the_publisher(service: RegistryService, clock: Clock) -> None:
    digest = put_image(service, SOURCE)
    with service.store.write() as tx:
        service.link_tree(tx, SOURCE, TARGET, digest)
    service.delete_manifest(SOURCE, digest, "alice")
    for content in (CONFIG, LAYER):
        service.delete_blob(SOURCE, Digest.of(content), "alice")
    service.sweep(clock.advance(days=9))
    assert service.manifest(TARGET, digest).raw == image(LAYER)
    assert service.open_blob(TARGET, Digest.of(LAYER)).read() == LAYER
    with pytest.raises(ManifestUnknown):
        service.manifest(SOURCE, digest)


def test_an_official_manifest_and_its_referrers_are_made_in_one_transaction(
    service: RegistryService, blobs: FileBlobs, clock: Clock
) -> None:
    digest = put_image(service, SOURCE)
    official = "alice/web"
    about = {"mediaType": m.OCI_MANIFEST, "digest": str(digest), "size": len(image(LAYER))}
    statement = image(b"statement", subject=about, artifactType="application/vnd.in-toto+json")
    blobs.add(b"statement")  # bytes first
    with service.store.write() as tx:
        service.link_tree(tx, SOURCE, official, digest)
        service.set_tag(tx, official, "1", digest, clock())
        service.attach_blob(tx, official, Digest.of(b"statement"), clock())
        service.put_manifest(tx, official, Digest.of(statement), statement, m.OCI_MANIFEST, clock())
    assert [found.digest for found in service.referrers(official, digest)] == [Digest.of(statement)]
    assert service.referrers(SOURCE, digest) == []
    assert service.tag_digest(official, "1") == digest


def test_bytes_that_are_not_there_get_no_row(service: RegistryService, clock: Clock) -> None:
    with pytest.raises(Unavailable), service.store.write() as tx:
        service.attach_blob(tx, SOURCE, Digest.of(b"never stored"), clock())
    assert list(service.breaches()) == []


def test_tags_and_names_are_checked_for_every_caller(service: RegistryService, clock: Clock) -> None:
    digest = put_image(service, SOURCE)
    with service.store.write() as tx:
        with pytest.raises(InvalidTag):
            service.set_tag(tx, SOURCE, "-", digest, clock())
        with pytest.raises(ManifestUnknown):
            service.set_tag(tx, TARGET, "1", digest, clock())
        with pytest.raises(InvalidName):
            service.link_tree(tx, SOURCE, "Upper/case", digest)
        assert service.remove_tag(tx, SOURCE, "1") == digest
        assert service.remove_tag(tx, SOURCE, "1") is None
    with pytest.raises(InvalidName):
        service.uploads.begin("../x")


def test_a_deleted_repository_leaves_what_others_hold(service: RegistryService, clock: Clock) -> None:
    digest = put_image(service, SOURCE)
    with service.store.write() as tx:
        service.link_tree(tx, SOURCE, TARGET, digest)
        service.delete_repository(tx, SOURCE)
    service.sweep(clock.advance(days=9))
    assert service.repositories() == [TARGET]
    assert service.manifest(TARGET, digest)
    assert service.repositories("quarantine/") == [TARGET] and service.repositories("staging/") == []


def test_a_refusal_belongs_to_one_repository(service: RegistryService) -> None:
    digest = put_image(service, SOURCE)
    with service.store.write() as tx:
        service.link_tree(tx, SOURCE, TARGET, digest)
        service.refuse(tx, TARGET, digest, "withdrawn")
    assert service.resolve(SOURCE, "1").digest == digest
    with pytest.raises(Exception, match="withdrawn"):
        service.resolve(TARGET, digest)
    with service.store.write() as tx:
        assert service.unrefuse(tx, TARGET, digest) and not service.unrefuse(tx, TARGET, digest)


def test_a_manifest_push_and_the_deletion_of_its_blob_end_in_one_of_two_orders(service: RegistryService) -> None:
    for turn in range(12):
        layer = f"layer {turn}".encode()
        put_blob(service, SOURCE, CONFIG)
        put_blob(service, SOURCE, layer)
        outcome: dict[str, Exception | None] = {}

        def attempt(name: str, act: Callable[[], object], outcome: dict[str, Exception | None] = outcome) -> None:
            try:
                act()
                outcome[name] = None
            except (Invalid, Conflict) as error:
                outcome[name] = error

        raw, digest = image(layer), Digest.of(layer)
        push = partial(service.push_manifest, SOURCE, "x", raw, None)
        drop = partial(service.delete_blob, SOURCE, digest, "alice")
        both = [
            threading.Thread(target=attempt, args=("push", push)),
            threading.Thread(target=attempt, args=("delete", drop)),
        ]
        for thread in both[:: 1 if turn % 2 else -1]:
            thread.start()
        for thread in both:
            thread.join()
        if outcome["push"] is None:
            assert isinstance(outcome["delete"], ContentInUse)
        else:
            assert isinstance(outcome["push"], ContentMissing) and outcome["delete"] is None
    assert list(service.breaches()) == []


def test_altered_bytes_are_found_when_everything_is_hashed_again(service: RegistryService, blobs: FileBlobs) -> None:
    put_image(service, SOURCE)
    layer = Digest.of(LAYER)
    blobs.path(layer).write_bytes(b"A LAYER")
    assert list(service.breaches()) == []
    (found,) = service.breaches(rehash=True)
    assert (found.invariant, found.subject) == ("R1", layer)
    blobs.delete(layer)
    (found,) = service.breaches()
    assert (found.invariant, found.subject) == ("R1", layer)


def test_altered_bytes_are_thrown_away_and_a_push_brings_them_again(
    service: RegistryService, blobs: FileBlobs, database: Database
) -> None:
    manifest, layer = put_image(service, SOURCE), Digest.of(LAYER)
    assert service.integrity.discard_altered(manifest, service._clock()) == []
    blobs.path(layer).write_bytes(b"A LAYER")
    assert service.integrity.discard_altered(manifest, service._clock()) == [layer]
    assert service.integrity.discard_altered(manifest, service._clock()) == []
    with pytest.raises(BlobUnknown):
        service.blob(SOURCE, layer)
    assert service.mount("staging/alice/other", layer, SOURCE) is None
    with database.read() as tx:
        assert [(entry.actor, entry.action) for entry in service._audit.entries(tx, limit=10)][-1:] == [
            ("hub", "blob.discard")
        ]
    put_blob(service, SOURCE, LAYER)
    assert service.blob(SOURCE, layer).size == len(LAYER)
    assert list(service.breaches(rehash=True)) == []


PUSH = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from customhouse import faults
from customhouse.audit import Audit
from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.oci.digest import Digest
from customhouse.registry.service import RegistryService
from customhouse.registry.store import RegistryStore
url, root, point, repository, *contents = sys.argv[1:]
database = Database(url)
service = RegistryService(RegistryStore(database), FileBlobs(Path(root)), Audit(database),
                          lambda: datetime(2026, 11, 23, 12, tzinfo=UTC))
faults.arm(point)
*blobs, raw = [content.encode() for content in contents]
for content in blobs:
    name = service.uploads.begin(repository)
    upload = service.uploads.resume(repository, name)
    upload.write(content)
    service.uploads.finish(repository, name, upload, Digest.of(content))
service.push_manifest(repository, "1", raw, None)
service.delete_manifest(repository, Digest.of(raw), "alice")
"""
POINTS = [
    "registry.upload.begun", "blobs.commit.hashed", "blobs.commit.synced", "blobs.commit.renamed",
    "registry.upload.committed", "registry.blob.seen", "registry.blob.linked", "registry.upload.commit:2",
    "registry.manifest.checked", "registry.manifest.stored", "registry.manifest.commit", "registry.manifest.deleted",
]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_anywhere_in_a_push_leaves_every_invariant_and_the_push_can_be_made_again(
    service: RegistryService, database: Database, blobs: FileBlobs, clock: Clock, point: str
) -> None:
    root = blobs.path(Digest.of(b"")).parents[2]
    contents = [CONFIG.decode(), LAYER.decode(), image(LAYER).decode()]
    program = [sys.executable, "-c", PUSH, database.url, str(root), point, SOURCE, *contents]
    assert subprocess.run(program, cwd=Path(__file__).parents[2]).returncode == -9
    assert list(service.breaches(rehash=True)) == []
    if point.startswith("registry.manifest.") and point != "registry.manifest.deleted":
        assert service.tag_digest(SOURCE, "1") is None, "the transaction had not been committed"
    digest = put_image(service, SOURCE)
    assert service.resolve(SOURCE, "1").digest == digest
    clock.advance(days=30_000)  # past the files' real times too
    service.sweep(clock())
    assert list(service.breaches(rehash=True)) == []
    assert set(blobs.digests()) == {Digest.of(CONFIG), Digest.of(LAYER)}
    assert list((root / "uploads").iterdir()) == []
