"""Fuzzed besides: what a registry reads of strangers, manifests and everything in a path, a header or a reference."""

from collections.abc import Iterator

from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest, InvalidDigest
from customhouse.oci.reference import InvalidReference, Reference, valid_repository, valid_tag
from customhouse.registry import wire
from customhouse.registry.content import needs_of
from customhouse.testing.images import index, minimal_server_image
from tests.registry.conftest import descriptor, image

TYPES = (None, m.OCI_MANIFEST, m.OCI_INDEX, m.DOCKER_MANIFEST, m.DOCKER_LIST, "application/json")
SIZE = 1000


def manifest(data: bytes) -> bool:
    """The first byte says as what the rest was sent."""
    if not data:
        return False
    sent, raw = TYPES[data[0] % len(TYPES)], data[1:]
    try:
        found = m.parse_manifest(raw, sent)
    except m.InvalidManifest as error:
        assert error.message and len(error.message) < 1000
        return False
    assert found.media_type in m.MANIFEST_TYPES | m.INDEX_TYPES
    assert (found.kind == "index") is (found.media_type in m.INDEX_TYPES)
    assert not (found.manifests and (found.layers or found.config))
    assert sent is None or found.media_type == sent
    for child in (*found.references(), *((found.subject,) if found.subject else ())):
        assert Digest.well_formed(child.digest) and child.size >= 0
    assert needs_of(found).keys() == {child.digest for child in found.references()}
    assert m.parse_manifest(raw, found.media_type) == found
    return True


def manifest_seeds() -> Iterator[bytes]:
    built = minimal_server_image(style="oci")
    foreign = descriptor(b"far", m.OCI_FOREIGN_LAYER, urls=["https://cdn.example/x"], data="ZmFy")
    artifact = image(subject=descriptor(b"{}", m.OCI_MANIFEST), artifactType="text/x", annotations={"a": "b"})
    for raw in (built.manifest_raw, index([built, built], style="oci").manifest_raw, image(layers=[foreign]), artifact):
        yield b"\0" + raw
    yield bytes([TYPES.index(m.DOCKER_MANIFEST)]) + minimal_server_image().manifest_raw


def names(data: bytes) -> bool:
    """A text as each kind of name and header; accepted is what any of them takes."""
    text = data.decode("utf-8", "replace")
    taken = [_reference(text), _digest(text), valid_repository(text), valid_tag(text), _target(text)]
    taken += [_range(text), _chunk(text), _page(text)]
    assert wire.accepts(text, m.OCI_MANIFEST) in (True, False)
    assert wire.tag_matches(text, '"x"') in (True, False)
    return any(taken)


def _reference(text: str) -> bool:
    try:
        found = Reference.parse(text)
    except (InvalidReference, InvalidDigest):
        return False
    assert str(found) == text and Reference.parse(str(found)) == found
    assert valid_repository(found.repository) and (found.tag is None or valid_tag(found.tag))
    return True


def _digest(text: str) -> bool:
    try:
        found = Digest.parse(text)
    except InvalidDigest:
        return False
    assert f"{found.algorithm}:{found.hex}" == text and "/" not in text and len(found.hex) in (64, 128)
    return True


def _target(text: str) -> bool:
    found = wire.Target.parse(text)
    assert found is None or text == "/v2" or text.startswith("/v2/")
    assert found is None or not valid_repository(found.repository) or ".." not in found.repository
    return found is not None


def _range(text: str) -> bool:
    try:
        span = wire.parse_range(text, SIZE)
    except wire.RangeNotSatisfiable:
        return False
    assert span is None or 0 <= span.start <= span.last < SIZE
    return span is not None


def _chunk(text: str) -> bool:
    try:
        span = wire.parse_chunk(text)
    except wire.InvalidContentRange:
        return False
    assert span.count > 0 and span.start >= 0
    return True


def _page(text: str) -> bool:
    try:
        return 0 <= wire.parse_page(text, SIZE) <= SIZE
    except wire.InvalidPage:
        return False


def names_seeds() -> Iterator[bytes]:
    digest = Digest.of(b"x")
    for text in (
        f"localhost:5443/staging/acme/web:1@{digest}", "[::1]:5000/a/b", str(digest), str(Digest.of(b"x", "sha512")),
        "bytes=0-9", "bytes=-5", "bytes 0-9/10", "0-9", "100", f"/v2/a/b/manifests/{digest}", "/v2/a/b/blobs/uploads/",
        "/v2/a/tags/list", f"/v2/a/b/referrers/{digest}", "/v2/_catalog",
    ):  # fmt: skip
        yield text.encode()
