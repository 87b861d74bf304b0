"""The image as checks see it: manifest, config, layers and merged filesystem of one platform.

Reading is by digest through a function that opens a blob; nothing here knows where blobs live. What is wrong with the
content of a layer is in its scan; what makes the whole unreadable raises (InvalidManifest, InvalidConfig, NotAnImage).
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeVar

from customhouse.errors import Invalid
from customhouse.oci.config import MAX_CONFIG_BYTES, ImageConfig, InvalidConfig
from customhouse.oci.digest import Digest
from customhouse.oci.entry import FileEntry
from customhouse.oci.filesystem import Filesystem
from customhouse.oci.layer import LayerScan
from customhouse.oci.manifest import DOCKER_CONFIG, OCI_CONFIG, Descriptor, Manifest, Platform, parse_manifest
from customhouse.oci.reader import JSON, Learnt
from customhouse.oci.scanner import Account, Content, Scanner, read_here
from customhouse.oci.wants import Budget, Wants

__all__ = [
    "Content",
    "FileEntry",
    "Filesystem",
    "Image",
    "NotAnImage",
    "is_attestation",
    "load_image",
    "load_platforms",
    "opened",
]

T = TypeVar("T")
REFERENCE_TYPE = "vnd.docker.reference.type"
MOST_PLATFORMS = 64


class NotAnImage(Invalid):
    """A well-formed manifest that is no container image: an artifact, a signature, a chart."""


@dataclass(frozen=True)
class Image:
    """One platform of one image. `reference` and `tag` are what the submission names ("" if nothing)."""

    reference: str
    tag: str
    manifest: Manifest
    manifest_raw: bytes
    manifest_digest: Digest
    config: ImageConfig
    config_raw: bytes
    layers: tuple[LayerScan, ...]
    fs: Filesystem
    platform: Platform

    @property
    def complete(self) -> bool:
        """Was every layer read to its end?"""
        return all(scan.complete for scan in self.layers)

    def facts(self, reader: str) -> Iterator[tuple[FileEntry, tuple[JSON, ...]]]:
        """What a reader learnt of the files that the merged view still holds, by path; a file with several names
        (hard links) is answered under each."""
        return self._seen(learnt.facts for learnt in self._learnt(reader))

    def unread(self, reader: str) -> Iterator[tuple[FileEntry, str]]:
        """The files of the merged view that a reader wanted and could not have, and why."""
        return self._seen(learnt.unread for learnt in self._learnt(reader))

    def layer_facts(self, reader: str) -> Iterator[tuple[int, str, tuple[JSON, ...]]]:
        """(position of the layer, path, facts) for every layer by itself: also what a later layer hides."""
        for position, scan in enumerate(self.layers):
            learnt = scan.facts.get(reader)
            if learnt is not None:
                yield from ((position, path, found) for path, found in learnt.facts.items())

    def _learnt(self, reader: str) -> Iterator[Learnt]:
        return (scan.facts.get(reader, _NOTHING) for scan in self.layers)

    def _seen(self, said: Iterable[Mapping[str, T]]) -> Iterator[tuple[FileEntry, T]]:
        found = [
            (entry.path.split("/"), entry, what)
            for layer, of_layer in enumerate(said)
            for path, what in of_layer.items()
            for entry in self.fs.names(layer, path)
        ]
        found.sort(key=lambda item: item[0])
        return ((entry, what) for _, entry, what in found)


_NOTHING = Learnt()


def load_image(
    content: Content,
    manifest_raw: bytes,
    wants: Wants,
    budget: Budget | None = None,
    *,
    media_type: str | None = None,
    reference: str = "",
    tag: str = "",
    layers: bool = True,
    scanner: Scanner = read_here,
) -> Image:
    """Read one image manifest and all it names; each layer once. `budget` is that of the whole image.

    With `layers` False only manifest and config are read, and the filesystem is empty: enough to run it.
    """
    manifest = parse_manifest(manifest_raw, media_type)
    if manifest.kind != "image" or manifest.config is None:
        raise NotAnImage("this is an index of images, not an image", hint="Name one platform's manifest.")
    if manifest.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise NotAnImage(f"this is no container image: its config is {manifest.config.media_type}")
    config_raw = _config(content, manifest.config)
    config = ImageConfig.parse(config_raw)
    scans: tuple[LayerScan, ...] = ()
    fs = Filesystem.merged(scans)
    if layers:
        scans = _scan(content, manifest.layers, wants, budget or Budget(), scanner)
        scans, fs = _behind_links(content, scans, wants, scanner)
    return Image(
        reference=reference,
        tag=tag,
        manifest=manifest,
        manifest_raw=manifest_raw,
        manifest_digest=Digest.of(manifest_raw),
        config=config,
        config_raw=config_raw,
        layers=scans,
        fs=fs,
        platform=config.platform,
    )


def load_platforms(
    content: Content,
    manifest_raw: bytes,
    wants: Wants,
    budget: Budget | None = None,
    *,
    media_type: str | None = None,
    reference: str = "",
    tag: str = "",
    layers: bool = True,
    scanner: Scanner = read_here,
) -> Iterator[Image]:
    """Each image of an index, one in memory at a time, or the one image of a plain manifest. Attestations that
    build tools list beside the images are passed over; an index without any image raises NotAnImage."""
    top = parse_manifest(manifest_raw, media_type)
    if top.kind == "image":
        yield load_image(
            content, manifest_raw, wants, budget, media_type=media_type, reference=reference, tag=tag, layers=layers,
            scanner=scanner,
        )  # fmt: skip
        return
    members = [member for member in top.manifests if not is_attestation(member)]
    if not members or len(members) > MOST_PLATFORMS:
        raise NotAnImage(f"the index names {len(members)} images; 1 to {MOST_PLATFORMS} are taken")
    for member in members:
        with content(member.digest) as stream:
            raw = stream.read(member.size + 1)
        if len(raw) != member.size or Digest.of(raw, member.digest.algorithm) != member.digest:
            raise NotAnImage(f"the manifest {member.digest} in the index is not the content of its digest")
        kind = member.media_type
        yield load_image(
            content, raw, wants, budget, media_type=kind, reference=reference, tag=tag, layers=layers, scanner=scanner
        )


def is_attestation(member: Descriptor) -> bool:
    """A statement about another member of the index (docker buildx), which nobody can run."""
    unknown = member.platform is not None and member.platform.os == member.platform.architecture == "unknown"
    return unknown and member.annotations.get(REFERENCE_TYPE) == "attestation-manifest"


def _config(content: Content, descriptor: Descriptor) -> bytes:
    with content(descriptor.digest) as stream:
        raw = stream.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise InvalidConfig(f"the image config is larger than {MAX_CONFIG_BYTES} bytes")
    return raw


def _scan(
    content: Content, layers: Sequence[Descriptor], wants: Wants, budget: Budget, scanner: Scanner
) -> tuple[LayerScan, ...]:
    held = [(position, layer) for position, layer in enumerate(layers) if not layer.foreign]
    scans = iter(list(scanner(content, held, wants, Account(budget))))
    return tuple(_foreign(layer) if layer.foreign else next(scans) for layer in layers)


def _foreign(descriptor: Descriptor) -> LayerScan:
    # Fetching from wherever a publisher points is not done; MAN-MEDIA says so.
    why = "the layer is kept elsewhere and was not read"
    return LayerScan(descriptor, None, None, 0, 0, damage=why, complete=False)


def _behind_links(
    content: Content, layers: tuple[LayerScan, ...], wants: Wants, scanner: Scanner
) -> tuple[tuple[LayerScan, ...], Filesystem]:
    """A wanted name may be a link, or lie behind one, to a file that no pattern names: read those layers once more.
    Otherwise moving a package database behind a link would hide it."""
    fs = Filesystem.merged(layers)
    candidates = set(wants.literal)
    for scan in layers:
        links = (entry.path for entry in scan.entries if entry.kind in ("symlink", "hardlink"))
        candidates.update(path for path in links if path in wants)
    missing: dict[int, set[str]] = {}
    for path in candidates:
        stored = fs.stored_at(path)
        if stored is not None and fs.read(path) is None and stored[1] not in layers[stored[0]].unread:
            missing.setdefault(stored[0], set()).add(stored[1])
    if not missing:
        return layers, fs
    found = list(layers)
    for position, paths in sorted(missing.items()):
        scan = layers[position]
        (again,) = scanner(content, [(position, scan.descriptor)], Wants(frozenset(paths)), Account(Budget()))
        found[position] = replace(
            scan, contents={**scan.contents, **again.contents}, unread=scan.unread | again.unread
        )
    return tuple(found), Filesystem.merged(found)


def opened(raw: bytes) -> BinaryIO:
    """Bytes as an open blob."""
    return io.BytesIO(raw)
