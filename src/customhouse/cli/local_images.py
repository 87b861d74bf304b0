"""Images on this machine, read as they are: an OCI layout (folder or tar), or what `docker save` writes.

1. Bytes are never written again. Only docker's older archives have no manifest and plain layers: there a manifest is
   made, and each layer is compressed the same way every time, so that the same archive has the same digest.
2. `oci-layout:DIR[:TAG]`, `docker-archive:FILE` and `dir:DIR` say what a path is; a bare path is looked at. `dir:` is
   what `skopeo copy … dir:DIR` writes, which leaves the manifest as the registry has it.
"""

import gzip
import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from customhouse.errors import Invalid, NotFound
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    LARGEST_MANIFEST,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    parse_manifest,
)
from customhouse.oci.reference import valid_tag

REF_NAME = "org.opencontainers.image.ref.name"
DEEPEST, MOST_PIECES = 4, 10_000
_PIECE = 1024 * 1024
Opener = Callable[[str], BinaryIO]


@dataclass(frozen=True)
class LocalImage:
    """A manifest or index with its media type, and how to open what it names (NotFound for what is missing).

    `tag` is what the layout or archive calls it, empty where it says nothing.
    """

    manifest: bytes
    media_type: str
    content: Callable[[Digest], BinaryIO]
    tag: str = ""

    @property
    def digest(self) -> Digest:
        """Of the manifest."""
        return Digest.of(self.manifest)


def looks_local(text: str) -> bool:
    """Does this name a file or folder rather than a reference?"""
    return text.startswith(("oci-layout:", "docker-archive:", "dir:")) or Path(text).exists()


def open_image(text: str) -> LocalImage:
    """Raises NotFound, Invalid."""
    if text.startswith("docker-archive:"):
        return _archive(Path(text.removeprefix("docker-archive:")))
    if text.startswith("dir:"):
        return _directory(Path(text.removeprefix("dir:")))
    name, tag = text.removeprefix("oci-layout:"), ""
    if text.startswith("oci-layout:") and not Path(name).exists():
        name, _, tag = name.rpartition(":")
    path = Path(name)
    if path.is_dir():
        return _layout(lambda member: _open(path / member), tag, str(path))
    if path.is_file():
        return _archive(path, tag)
    raise NotFound(f"there is no image at {text}", hint="Name an OCI layout folder, or a tar of docker save.")


def examine_content(image: LocalImage) -> tuple[int, int]:
    """Hash everything that the image needs; how many pieces and bytes. Raises NotFound, Invalid for what is not so."""
    seen: dict[Digest, int] = {}
    _examine(image, parse_manifest(image.manifest, image.media_type), seen, 0)
    seen[image.digest] = len(image.manifest)
    return len(seen), sum(seen.values())


def _examine(image: LocalImage, manifest: Manifest, seen: dict[Digest, int], depth: int) -> None:
    if depth > DEEPEST or len(seen) > MOST_PIECES:
        raise Invalid(f"it needs more than {MOST_PIECES} pieces, or indexes more than {DEEPEST} deep")
    for blob in (*((manifest.config,) if manifest.config else ()), *manifest.layers, *manifest.manifests):
        if blob.digest in seen:
            continue
        hasher, size = blob.digest.hasher(), 0
        with image.content(blob.digest) as stream:
            while size <= blob.size and (piece := stream.read(_PIECE)):
                hasher.update(piece)
                size += len(piece)
        if size != blob.size or hasher.hexdigest() != blob.digest.hex:
            raise Invalid(f"{blob.digest} is not what it says", hint="Copy the image again.")
        seen[blob.digest] = size
    for member in manifest.manifests:
        with image.content(member.digest) as stream:
            raw = stream.read(LARGEST_MANIFEST + 1)
        if Digest.of(raw, member.digest.algorithm) != member.digest:
            raise Invalid(f"{member.digest} changes while it is read")
        _examine(image, parse_manifest(raw, member.media_type), seen, depth + 1)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise NotFound(f"{path} is missing from the image") from error


def _archive(path: Path, tag: str = "") -> LocalImage:
    try:
        archive = tarfile.open(path)  # noqa: SIM115  (kept open as long as the image is used)
        members = {member.name.removeprefix("./"): member for member in archive if member.isreg()}
    except (OSError, tarfile.TarError, EOFError) as error:
        raise Invalid(f"{path} is no tar of an image", hint="Write one with docker save, or name a folder.") from error

    def opened(name: str) -> BinaryIO:
        stream = archive.extractfile(members[name]) if name in members else None
        if stream is None:
            raise NotFound(f"{name} is missing from {path}")
        return cast(BinaryIO, stream)

    if "oci-layout" in members and "index.json" in members:
        return _layout(opened, tag, str(path))
    if "manifest.json" in members:
        return _docker_archive(opened, str(path))
    raise Invalid(f"{path} holds neither an OCI layout nor what docker save writes")


def _layout(opened: Opener, tag: str, where: str) -> LocalImage:
    entries = _object(opened, "index.json", where).get("manifests")
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    if tag:
        entries = [entry for entry in entries if (entry.get("annotations") or {}).get(REF_NAME) == tag]
    if len(entries) != 1:
        raise Invalid(
            f"{where} holds {len(entries)} images" + (f" of tag {tag}" if tag else ""),
            hint="Name one as oci-layout:DIR:TAG, or build one image index of them.",
        )
    digest, media_type = Digest.parse(str(entries[0].get("digest"))), str(entries[0].get("mediaType"))
    if media_type not in MANIFEST_TYPES | INDEX_TYPES:
        raise Invalid(f"{where} names a manifest of unknown type {media_type[:100]!r}")

    def content(wanted: Digest) -> BinaryIO:
        return opened(f"blobs/{wanted.algorithm}/{wanted.hex}")

    with content(digest) as stream:
        raw = stream.read(LARGEST_MANIFEST + 1)
    if Digest.of(raw, digest.algorithm) != digest:
        raise Invalid(f"the manifest in {where} is not the content of its digest", hint="The layout is damaged.")
    named = str((entries[0].get("annotations") or {}).get(REF_NAME) or "").rpartition(":")[2]
    return LocalImage(raw, media_type, content, named if valid_tag(named) else "")


def _directory(path: Path) -> LocalImage:
    document, folder = _object(lambda name: _open(path / name), "manifest.json", str(path)), path.resolve()
    with _open(path / "manifest.json") as stream:
        raw = stream.read(LARGEST_MANIFEST + 1)
    kind = str(document.get("mediaType") or (OCI_INDEX if "manifests" in document else OCI_MANIFEST))

    def content(wanted: Digest) -> BinaryIO:
        member = folder / f"{wanted.hex}.manifest.json"
        return _open(member if member.exists() else folder / wanted.hex)

    return LocalImage(raw, kind, content)


def _docker_archive(opened: Opener, where: str) -> LocalImage:
    listed = _json(opened, "manifest.json", where)
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        raise Invalid(f"{where} does not hold exactly one image", hint="Save one image: docker save -o FILE IMAGE.")
    with opened(str(listed[0].get("Config"))) as stream:
        config = stream.read(LARGEST_MANIFEST + 1)
    folder = tempfile.TemporaryDirectory(prefix="customhouse-")  # lives as long as the content that names it
    held: dict[Digest, BinaryIO | Path] = {}
    layers = []
    for number, name in enumerate(listed[0].get("Layers") or []):
        packed = Path(folder.name, f"{number}.tar.gz")
        with opened(str(name)) as plain, packed.open("wb") as out:
            digest = _compress(plain, out)
        held[digest] = packed
        layers.append({"mediaType": DOCKER_LAYER_GZIP, "size": packed.stat().st_size, "digest": digest})
    config_digest = Digest.of(config)
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "size": len(config), "digest": config_digest},
        "layers": layers,
    }

    def content(wanted: Digest) -> BinaryIO:
        if wanted == config_digest:
            return io.BytesIO(config)
        file = held.get(wanted)
        if not isinstance(file, Path) or not folder.name:
            raise NotFound(f"{wanted} is missing from {where}")
        return file.open("rb")

    names = listed[0].get("RepoTags") or [""]
    named = str(names[0]).rpartition(":")[2]
    raw = json.dumps(document, indent=3).encode()
    return LocalImage(raw, DOCKER_MANIFEST, content, named if valid_tag(named) else "")


def _compress(plain: BinaryIO, out: BinaryIO) -> Digest:
    """gzip without time or name; an already compressed layer goes through as it is."""
    head = plain.read(2)
    plain.seek(0)
    target: Any = out if head == b"\x1f\x8b" else gzip.GzipFile("", "wb", 6, out, mtime=0)
    while piece := plain.read(_PIECE):
        target.write(piece)
    if target is not out:
        target.close()
    out.flush()
    with Path(out.name).open("rb") as again:
        hasher = Digest.of(b"").hasher()
        while piece := again.read(_PIECE):
            hasher.update(piece)
    return Digest(f"sha256:{hasher.hexdigest()}")


def _json(opened: Opener, name: str, where: str) -> Any:
    with opened(name) as stream:
        raw = stream.read(LARGEST_MANIFEST + 1)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{name} in {where} is not JSON") from error


def _object(opened: Opener, name: str, where: str) -> dict[str, Any]:
    document = _json(opened, name, where)
    if not isinstance(document, dict):
        raise Invalid(f"{name} in {where} is not an object")
    return document
