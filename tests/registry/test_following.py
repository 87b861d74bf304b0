"""Signatures and attestations follow their subject, and wait for it."""

from typing import Any

import pytest

from customhouse.errors import NotFound
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.content import ContentInUse
from customhouse.registry.service import RegistryService
from customhouse.registry.sweep import Swept
from tests.conftest import Clock
from tests.registry.conftest import descriptor, image, index
from tests.registry.test_service import LAYER, SOURCE, put_blob, put_image


def about(raw: bytes) -> dict[str, Any]:
    return descriptor(raw, m.OCI_MANIFEST)


def signed(service: RegistryService, subject: bytes, kind: str, tag: str = "") -> bytes:
    """A referrer of a manifest, pushed by tag or by digest."""
    raw = image(LAYER, subject=about(subject), artifactType=f"application/vnd.{kind}")
    service.push_manifest(SOURCE, tag or Digest.of(raw), raw, None)
    return raw


def holds(service: RegistryService, *manifests: bytes) -> list[bool]:
    found = []
    for raw in manifests:
        try:
            found.append(service.manifest(SOURCE, Digest.of(raw)).raw == raw)
        except NotFound:
            found.append(False)
    return found


def test_referrers_and_their_referrers_go_with_their_subject(service: RegistryService, clock: Clock) -> None:
    subject = image(LAYER)
    digest = put_image(service, SOURCE)
    signature = signed(service, subject, "signature")
    of_signature = signed(service, signature, "timestamp")
    service.delete_manifest(SOURCE, digest, "alice")
    assert holds(service, subject, signature, of_signature) == [False, False, False]
    with service.store.read() as tx:
        (entry,) = service._audit.entries(tx)
    assert entry.detail["followers"] == 2
    assert set(entry.detail["first"]) == {Digest.of(signature), Digest.of(of_signature)}
    clock.advance(days=2)
    assert service.sweep(clock()).manifests == 3
    assert list(service.breaches(rehash=True)) == []


def test_a_referrer_with_a_tag_of_its_own_stays(service: RegistryService) -> None:
    subject = image(LAYER)
    digest = put_image(service, SOURCE)
    named, nameless = signed(service, subject, "a", tag="sbom-of-1"), signed(service, subject, "b")
    service.delete_manifest(SOURCE, digest, "alice")
    assert holds(service, named, nameless) == [True, False]
    assert service.resolve(SOURCE, "sbom-of-1").raw == named


def test_a_referrer_that_an_index_needs_stays(service: RegistryService) -> None:
    digest = put_image(service, SOURCE)
    wanted = signed(service, image(LAYER), "a")
    service.push_manifest(SOURCE, "collection", index(wanted), m.OCI_INDEX)
    service.delete_manifest(SOURCE, digest, "alice")
    assert holds(service, wanted) == [True]
    assert list(service.breaches()) == []


@pytest.mark.parametrize("suffix", [".sig", ".att", ".sbom"])
def test_what_cosign_tagged_goes_too(service: RegistryService, suffix: str) -> None:
    digest = put_image(service, SOURCE)
    put_blob(service, SOURCE, b"a signature")
    signature = image(b"a signature")
    service.push_manifest(SOURCE, f"sha256-{digest.hex}{suffix}", signature, None)
    service.delete_manifest(SOURCE, digest, "alice")
    assert holds(service, signature) == [False]
    assert service.store.known  # the repository may still hold blobs
    with service.store.read() as tx:
        assert service.store.tags(tx, SOURCE, "", 10) == []


def test_the_index_of_the_fallback_tag_goes_with_the_referrers_that_it_names(service: RegistryService) -> None:
    digest = put_image(service, SOURCE)
    signature = signed(service, image(LAYER), "a")
    fallback = index(signature)
    service.push_manifest(SOURCE, f"sha256-{digest.hex}", fallback, m.OCI_INDEX)
    service.delete_manifest(SOURCE, digest, "alice")
    assert holds(service, signature, fallback) == [False, False]
    assert list(service.breaches()) == []


def test_what_a_derived_tag_shares_with_another_tag_stays(service: RegistryService) -> None:
    digest = put_image(service, SOURCE)
    put_blob(service, SOURCE, b"a signature")
    for tag in (f"sha256-{digest.hex}.sig", "kept"):
        service.push_manifest(SOURCE, tag, image(b"a signature"), None)
    service.delete_manifest(SOURCE, digest, "alice")
    assert service.tags(SOURCE) == ["kept"]


def test_the_images_of_an_index_do_not_follow_it(service: RegistryService) -> None:
    put_blob(service, SOURCE, b"another layer")
    put_image(service, SOURCE)
    child = image(LAYER)
    both = index(child)
    service.push_manifest(SOURCE, "all", both, m.OCI_INDEX)
    with pytest.raises(ContentInUse):
        service.delete_manifest(SOURCE, Digest.of(child), "alice")
    service.delete_manifest(SOURCE, Digest.of(both), "alice")
    assert holds(service, both, child) == [False, True]


def test_a_referrer_waits_for_its_subject_and_goes_when_none_comes(service: RegistryService, clock: Clock) -> None:
    put_image(service, SOURCE)
    absent, late = image(LAYER, annotations={"n": "absent"}), image(LAYER, annotations={"n": "late"})
    lost, early, named = signed(service, absent, "a"), signed(service, late, "a"), signed(service, absent, "b", "named")
    of_lost = signed(service, lost, "c")
    clock.advance(days=6)
    assert service.sweep(clock()) == Swept()
    service.push_manifest(SOURCE, "late", late, None)
    clock.advance(days=2)
    assert service.sweep(clock()).manifests == 2
    assert holds(service, lost, of_lost, early, named) == [False, False, True, True]
    with service.store.read() as tx:
        assert [entry.action for entry in service._audit.entries(tx)] == ["manifest.collect"]
    service.delete_tag(SOURCE, "named", "alice")
    clock.advance(days=8)
    assert service.sweep(clock()).manifests == 1
    assert list(service.breaches()) == []


def test_a_referrer_of_a_subject_that_stays_is_never_looked_at(service: RegistryService, clock: Clock) -> None:
    put_image(service, SOURCE)
    signature = signed(service, image(LAYER), "a")
    clock.advance(days=400)
    assert service.sweep(clock()) == Swept()
    assert holds(service, signature) == [True]
