"""Manifests and indexes: OCI image-spec 1.1 and docker's schema 2, read strictly and never written again.

1. One reading only: `document.read_object` and the refusal of keys that differ in case; a manifest with `manifests`
   or an index with `layers` is refused (CVE-2021-41190), and so is a media type that contradicts its door.
2. What is unknown is kept in the bytes and ignored here; what is known has the right type or the manifest is refused.
3. docker's schema 1 is refused: it has no config, and its signature is not content-addressed.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest, InvalidDigest
from customhouse.oci.document import misspelt, read_object

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
FOREIGN_LAYERS = frozenset(
    {DOCKER_FOREIGN_LAYER, OCI_FOREIGN_LAYER, OCI_FOREIGN_LAYER + "+gzip", OCI_FOREIGN_LAYER + "+zstd"}
)
LARGEST_MANIFEST = 4 * 1024 * 1024
MOST_DESCRIPTORS = 10_000

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_MANIFEST_KEYS = (
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations",
    "fsLayers",
)  # fmt: skip
_DESCRIPTOR_KEYS = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
_PLATFORM_KEYS = ("os", "architecture", "variant", "os.version", "os.features")


class InvalidManifest(Invalid):
    """A manifest that is broken, ambiguous, or of a kind that is not taken."""

    def __init__(self, why: str, *, hint: str = "Build the image again with a current tool and push it.") -> None:
        super().__init__(f"the manifest {why}", hint=hint)
        self.why = why


@dataclass(frozen=True)
class Platform:
    """Where an image runs; empty texts where nothing was said."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True)
class Descriptor:
    """What a manifest says about one piece of content; `size` in bytes."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    artifact_type: str | None = None

    @property
    def foreign(self) -> bool:
        """Is the content to be fetched from elsewhere?"""
        return bool(self.urls) or self.media_type in FOREIGN_LAYERS


@dataclass(frozen=True)
class Manifest:
    """An image manifest (config and layers) or an index (manifests)."""

    media_type: str
    kind: Literal["image", "index"]
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def references(self) -> tuple[Descriptor, ...]:
        """All that it needs: config and layers, or manifests. A subject may be absent, so it is not needed."""
        return (*((self.config,) if self.config else ()), *self.layers, *self.manifests)

    @property
    def referrer_type(self) -> str:
        """The artifact type under which the referrers API lists it: its own, else its config's media type."""
        return self.artifact_type or (self.config.media_type if self.config else "")


def parse_manifest(raw: bytes, media_type: str | None) -> Manifest:
    """Read a manifest that came as `media_type` (no parameters; None where nobody said). Raises InvalidManifest."""
    document = read_object(raw, most_bytes=LARGEST_MANIFEST, refuse=InvalidManifest)
    _spelt(document, _MANIFEST_KEYS, "the manifest")
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise InvalidManifest("is docker schema 1", hint="Push it with docker 1.10 or newer: schema 2 or OCI.")
    version = document.get("schemaVersion")
    if not isinstance(version, int) or version != 2:
        raise InvalidManifest("has no schemaVersion 2")
    kind = _media_type(document, media_type)
    index = kind in INDEX_TYPES
    for foreign_key in ("config", "layers") if index else ("manifests",):
        if document.get(foreign_key) is not None:
            raise InvalidManifest(f"is of type {kind} and has {foreign_key!r}: it could be read as two things")
    if "layers" not in document and "manifests" not in document:
        raise InvalidManifest("names no layers and no manifests")
    config = document.get("config")
    if not index and config is None:
        raise InvalidManifest("has no config")
    subject = document.get("subject")
    return Manifest(
        media_type=kind,
        kind="index" if index else "image",
        config=None if index else _descriptor(config, "config"),
        layers=_descriptors(document.get("layers"), "layers"),
        manifests=_descriptors(document.get("manifests"), "manifests"),
        subject=None if subject is None else _descriptor(subject, "subject"),
        artifact_type=_optional_media_type(document.get("artifactType"), "artifactType"),
        annotations=_annotations(document.get("annotations"), "annotations"),
    )


def _media_type(document: dict[str, Any], declared: str | None) -> str:
    inside = document.get("mediaType")
    if inside is not None and not isinstance(inside, str):
        raise InvalidManifest("has a mediaType that is no text")
    inside = inside or None
    if inside and declared and inside != declared:
        raise InvalidManifest(f"says it is {inside[:120]!r} and was sent as {declared[:120]!r}")
    found = inside or declared or (OCI_INDEX if document.get("manifests") is not None else OCI_MANIFEST)
    if found not in MANIFEST_TYPES | INDEX_TYPES:
        raise InvalidManifest(f"is of the unknown type {found[:120]!r}", hint=f"Taken are {OCI_MANIFEST} and the like.")
    if inside is None and found in (DOCKER_MANIFEST, DOCKER_LIST):
        raise InvalidManifest(f"was sent as {found!r} and does not say so inside")
    return found


def _descriptors(value: Any, where: str) -> tuple[Descriptor, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidManifest(f"has {where!r} that is no list")
    if len(value) > MOST_DESCRIPTORS:
        raise InvalidManifest(f"has more than {MOST_DESCRIPTORS} {where}")
    return tuple(_descriptor(item, f"{where}[{place}]") for place, item in enumerate(value))


def _descriptor(value: Any, where: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidManifest(f"has {where!r} that is no object")
    _spelt(value, _DESCRIPTOR_KEYS, where)
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise InvalidManifest(f"has no valid size in {where!r}")
    try:
        digest = Digest.parse(value.get("digest", ""))
    except InvalidDigest as error:
        raise InvalidManifest(f"has no valid digest in {where!r}: {error}") from None
    media_type = _optional_media_type(value.get("mediaType"), f"{where}.mediaType")
    if media_type is None:
        raise InvalidManifest(f"has no mediaType in {where!r}")
    urls = value.get("urls")
    if urls is not None and not (isinstance(urls, list) and all(isinstance(url, str) for url in urls)):
        raise InvalidManifest(f"has urls in {where!r} that are no list of texts")
    _inline(value.get("data"), digest, size, where)
    return Descriptor(
        media_type=media_type,
        digest=digest,
        size=size,
        urls=tuple(urls or ()),
        annotations=_annotations(value.get("annotations"), f"{where}.annotations"),
        platform=_platform(value.get("platform"), where),
        artifact_type=_optional_media_type(value.get("artifactType"), f"{where}.artifactType"),
    )


def _inline(value: Any, digest: Digest, size: int, where: str) -> None:
    # image-spec descriptor.md: embedded content has to be the content of the digest; a client may use it unasked.
    if value is None:
        return
    try:
        content = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        content = None
    if content is None or len(content) != size or Digest.of(content, digest.algorithm) != digest:
        raise InvalidManifest(f"embeds content in {where!r} that is not that of its digest")


def _platform(value: Any, where: str) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidManifest(f"has a platform in {where!r} that is no object")
    _spelt(value, _PLATFORM_KEYS, f"{where}.platform")
    parts = [value.get(key, "") for key in ("os", "architecture", "variant", "os.version")]
    if not all(isinstance(part, str) and len(part) <= 255 for part in parts):
        raise InvalidManifest(f"has a platform in {where!r} whose parts are no short texts")
    return Platform(*parts)


def _optional_media_type(value: Any, where: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _MEDIA_TYPE.fullmatch(value):
        raise InvalidManifest(f"has {where!r} that is no media type")
    return value


def _annotations(value: Any, where: str) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidManifest(f"has {where!r} that are no texts by name")
    return value


def _spelt(document: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    wrong = misspelt(document, known)
    if wrong is not None:
        raise InvalidManifest(f"has the key {wrong[:80]!r} in {where}, which some tools would read as another")
