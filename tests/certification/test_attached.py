"""Run profiles and structure tests as referrers of an image in staging, and who may stand beside it."""

import json

import pytest

from customhouse.certification.attached import MOST_BYTES, attached, companion_of
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import OCI_EMPTY, OCI_MANIFEST
from customhouse.sandbox.setup import MEDIA_TYPE, TESTS_MEDIA_TYPE, Companion
from tests.rooms import HOST, PAULA, WEB, Rooms, image


def attach(rooms: Rooms, subject: Digest, kind: str, raw: bytes, created: str, *, layers: int = 1) -> None:
    blobs = (b"{}", raw)
    with rooms.database.write() as tx:
        for blob in blobs:
            rooms.blobs.add(blob)
            rooms.registry.attach_blob(tx, WEB, Digest.of(blob), rooms.clock())
    layer = {"mediaType": kind, "digest": str(Digest.of(raw)), "size": len(raw)}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind,
        "config": {"mediaType": OCI_EMPTY, "digest": str(Digest.of(b"{}")), "size": 2}, "layers": [layer] * layers,
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(subject), "size": 1},
        "annotations": {"org.opencontainers.image.created": created},
    }).encode()  # fmt: skip
    rooms.registry.push_manifest(WEB, str(Digest.of(manifest)), manifest, OCI_MANIFEST)


def test_the_newest_document_of_each_type_counts(rooms: Rooms) -> None:
    built = image()
    rooms.push(built)
    assert attached(rooms.registry, WEB, built.digest) == {}
    attach(rooms, built.digest, MEDIA_TYPE, b"version = 1 # new", "2026-02-01T00:00:00Z")
    attach(rooms, built.digest, MEDIA_TYPE, b"version = 1 # old", "2026-01-01T00:00:00Z")
    attach(rooms, built.digest, TESTS_MEDIA_TYPE, b"schemaVersion: 2.0.0", "")
    attach(rooms, image("other").digest, MEDIA_TYPE, b"version = 1 # of another", "2026-03-01T00:00:00Z")
    assert attached(rooms.registry, WEB, built.digest) == {
        MEDIA_TYPE: b"version = 1 # new", TESTS_MEDIA_TYPE: b"schemaVersion: 2.0.0",
    }  # fmt: skip


@pytest.mark.parametrize(("raw", "layers"), [(b"version = 1", 2), (b"#" * (MOST_BYTES + 1), 1)])
def test_a_document_that_cannot_be_read_is_one_that_fails(rooms: Rooms, raw: bytes, layers: int) -> None:
    built = image()
    rooms.push(built)
    attach(rooms, built.digest, MEDIA_TYPE, raw, "", layers=layers)
    assert attached(rooms.registry, WEB, built.digest) == {MEDIA_TYPE: b""}


def test_structure_tests_that_do_not_hold_are_findings_of_the_submission_and_bound_to_its_verdict(
    rooms: Rooms,
) -> None:
    built = image()
    rooms.push(built)
    tests = b"schemaVersion: 2.0.0\nfileExistenceTests: [{name: licence, path: /LICENCE}]"
    attach(rooms, built.digest, TESTS_MEDIA_TYPE, tests, "")
    row = rooms.go(rooms.submit(built))
    assert row.state == "awaiting_review"
    assert row.verdict is not None
    found = {item["check"]: item for item in row.verdict["findings"]}
    assert (found["CST-USER"]["outcome"], found["CST-USER"]["evidence"]["key"]) == ("fail", "file:licence")
    assert row.verdict["inputs"]["content"]["attached"] == {TESTS_MEDIA_TYPE: str(Digest.of(tests))}


def test_a_companion_is_official_here_by_digest_and_not_withdrawn(rooms: Rooms) -> None:
    built = image("db")
    wanted = Companion("db", f"{HOST}/acme/web", built.digest)
    assert companion_of(rooms.registry, HOST, wanted) is None
    done = rooms.publish(built)
    found = companion_of(rooms.registry, HOST, wanted)
    assert found is not None
    assert found.manifest == built.manifest_raw
    with found.content(next(iter(built.blobs))) as blob:
        assert blob.read() == built.blobs[next(iter(built.blobs))]
    assert companion_of(rooms.registry, HOST, Companion("db", "acme/web", built.digest)) is not None
    assert companion_of(rooms.registry, HOST, Companion("db", "staging/acme/web", built.digest)) is None
    assert companion_of(rooms.registry, HOST, Companion("db", "acme/web", Digest.of(b"x"))) is None
    assert companion_of(rooms.registry, HOST, Companion("db", "elsewhere.example/acme/web", built.digest)) is None
    rooms.publication.withdraw(PAULA, done.id, "a flaw")
    assert companion_of(rooms.registry, HOST, wanted) is None
