"""Small images for the catalogue's tests: layers given as {path: bytes | Link}, "-path" hides a path."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from customhouse.catalogue.packages import READERS, WANTS
from customhouse.oci.digest import Digest
from customhouse.oci.image import Image, load_image
from customhouse.oci.wants import Budget, Wants


@dataclass(frozen=True)
class Link:
    target: str


Layer = Mapping[str, "bytes | Link"]


def tar(layer: Layer) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, content in layer.items():
            if path.startswith("-"):
                folder, _, name = path[1:].rpartition("/")
                path, content = f"{folder}/.wh.{name}".lstrip("/"), b""
            info = tarfile.TarInfo(path)
            if isinstance(content, Link):
                info.type, info.linkname = tarfile.SYMTYPE, content.target
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def image(*layers: Layer, budget: Budget | None = None) -> Image:
    """The image of these layers, lowest first, read as the examination reads it."""
    tars = [tar(layer) for layer in layers]
    zipped = [gzip.compress(each, mtime=0) for each in tars]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(each)) for each in tars]},
        }
    ).encode()
    blobs = {Digest.of(each): each for each in (*zipped, config)}

    def descriptor(kind: str, raw: bytes) -> dict[str, object]:
        return {"mediaType": kind, "digest": str(Digest.of(raw)), "size": len(raw)}

    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", each) for each in zipped],
        }
    ).encode()
    return load_image(lambda digest: io.BytesIO(blobs[digest]), manifest, Wants(frozenset(WANTS), READERS), budget)


DEBIAN = b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
ALPINE = b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME="Alpine Linux v3.20"\n'


def stanza(
    name: str, version: str, source: str = "", state: str = "install ok installed", arch: str = "amd64"
) -> bytes:
    lines = [f"Package: {name}", f"Status: {state}", f"Architecture: {arch}", f"Version: {version}"]
    if source:
        lines.append(f"Source: {source}")
    lines += ["Description: a package", " with a long: description", ""]
    return "\n".join(lines).encode() + b"\n"


def metadata(name: str, version: str) -> bytes:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not-this\n".encode()
