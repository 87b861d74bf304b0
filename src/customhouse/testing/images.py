"""Small real images, built in memory: the same bytes every time, with everything right until it is changed.

`layer({...})` makes a layer from paths, `tar_layer(...)` one from raw tar bytes with whatever tricks they hold,
`image(...)` a whole image of docker's or OCI's format, `index(...)` several platforms. The result knows its blobs and
can be written as an OCI layout or as what `docker save` writes. `minimal_server_image()` runs on any x86-64 Linux; it
needs nothing.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import zstandard

from customhouse.errors import NotFound
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
)
from customhouse.testing.server_program import PORT, server_program

Compression = Literal["gzip", "zstd", "none"]
Style = Literal["docker", "oci"]
SECOND = 1_000_000_000
CREATED = "2026-01-01T00:00:00Z"
PASSWD = b"root:x:0:0:root:/root:/sbin/nologin\nserver:x:10001:10001:server:/:/sbin/nologin\n"
GROUP = b"root:x:0:\nserver:x:10001:\n"
_LAYER_TYPES: Mapping[tuple[Style, Compression], str] = {
    ("docker", "gzip"): DOCKER_LAYER_GZIP,
    ("docker", "none"): DOCKER_LAYER,
    ("docker", "zstd"): OCI_LAYER_ZSTD,
    ("oci", "gzip"): OCI_LAYER_GZIP,
    ("oci", "none"): OCI_LAYER,
    ("oci", "zstd"): OCI_LAYER_ZSTD,
}


@dataclass(frozen=True)
class File:
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Folder:
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Symlink:
    target: str


@dataclass(frozen=True)
class Hardlink:
    target: str


@dataclass(frozen=True)
class Device:
    major: int = 1
    minor: int = 3
    kind: Literal["char", "block", "fifo"] = "char"


Node: TypeAlias = "File | Folder | Symlink | Hardlink | Device | bytes | str"
"""What stands at a path; bytes and text are a plain file."""


@dataclass(frozen=True)
class Layer:
    """A tar and how it is stored. `media_type` None takes the usual one of the image's format."""

    tar: bytes
    compression: Compression = "gzip"
    media_type: str | None = None
    stored: bytes | None = None
    created_by: str = "COPY files / # buildkit"

    @cached_property
    def blob(self) -> bytes:
        if self.stored is not None:
            return self.stored
        if self.compression == "gzip":
            return gzip.compress(self.tar, 6, mtime=0)
        return zstandard.ZstdCompressor(level=3).compress(self.tar) if self.compression == "zstd" else self.tar

    @property
    def diff_id(self) -> Digest:
        return Digest.of(self.tar)

    def descriptor(self, style: Style) -> dict[str, Any]:
        media_type = self.media_type or _LAYER_TYPES[style, self.compression]
        return {"mediaType": media_type, "size": len(self.blob), "digest": str(Digest.of(self.blob))}


@dataclass(frozen=True)
class BuiltImage:
    """An image or index with every blob and manifest it needs, by digest."""

    manifest_raw: bytes
    media_type: str
    blobs: Mapping[Digest, bytes]
    config_raw: bytes = b""
    layers: tuple[Layer, ...] = ()
    members: tuple["BuiltImage", ...] = ()

    @property
    def digest(self) -> Digest:
        return Digest.of(self.manifest_raw)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.manifest_raw))

    def content(self, digest: Digest) -> BinaryIO:
        """Open a blob or manifest; raises NotFound."""
        raw = self.manifest_raw if digest == self.digest else self.blobs.get(digest)
        if raw is None:
            raise NotFound(f"there is no blob {digest}")
        return io.BytesIO(raw)


def layer(files: Mapping[str, Node], *, compression: Compression = "gzip", parents: bool = True, **more: Any) -> Layer:
    """A layer of these paths (no leading slash). `parents` adds the folders above them, as docker does."""
    return Layer(tar_of(files, parents=parents), compression, **more)


def tar_layer(tar: bytes, *, compression: Compression = "gzip", **more: Any) -> Layer:
    """A layer of raw tar bytes, right or wrong."""
    return Layer(tar, compression, **more)


def tar_of(files: Mapping[str, Node], *, parents: bool = True) -> bytes:
    """A pax tar of these paths in their order, parents first."""
    members: dict[str, Node] = {}
    for path, node in files.items():
        parts = path.split("/")
        if parents:
            for length in range(1, len(parts)):
                members.setdefault("/".join(parts[:length]), Folder())
        members[path] = node
    return tar_of_members(member(path, node) for path, node in members.items())


def tar_of_members(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of raw members, written as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, body in members:
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def member(path: str, node: Node) -> tuple[tarfile.TarInfo, bytes]:
    """One tar member."""
    info, body = tarfile.TarInfo(path), b""
    if isinstance(node, str | bytes):
        node = File(node.encode() if isinstance(node, str) else node)
    if isinstance(node, File):
        body = node.content
        info.size, info.mode, info.uid, info.gid = len(body), node.mode, node.uid, node.gid
        info.pax_headers = {f"SCHILY.xattr.{name}": value.decode("latin-1") for name, value in node.xattrs.items()}
    elif isinstance(node, Folder):
        info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, node.mode, node.uid, node.gid
    elif isinstance(node, Device):
        info.type = {"char": tarfile.CHRTYPE, "block": tarfile.BLKTYPE, "fifo": tarfile.FIFOTYPE}[node.kind]
        info.devmajor, info.devminor = node.major, node.minor
    else:
        info.type = tarfile.SYMTYPE if isinstance(node, Symlink) else tarfile.LNKTYPE
        info.linkname, info.mode = node.target, 0o777
    return info, body


def image(
    layers: Sequence[Layer],
    *,
    config: Mapping[str, Any] | None = None,
    style: Style = "docker",
    architecture: str = "amd64",
    variant: str = "",
    annotations: Mapping[str, str] | None = None,
    config_changes: Mapping[str, Any] | None = None,
    manifest_changes: Mapping[str, Any] | None = None,
) -> BuiltImage:
    """An image. `config` is the inner object (User, Env, Entrypoint, Healthcheck …); the `changes` replace top-level
    keys of the config and of the manifest at the end, to make them wrong."""
    document: dict[str, Any] = {
        "architecture": architecture,
        **({"variant": variant} if variant else {}),
        "os": "linux",
        "created": CREATED,
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [str(item.diff_id) for item in layers]},
        "history": [{"created": CREATED, "created_by": item.created_by} for item in layers],
    }
    config_raw = encode({**document, **(config_changes or {})})
    media_type = DOCKER_MANIFEST if style == "docker" else OCI_MANIFEST
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": DOCKER_CONFIG if style == "docker" else OCI_CONFIG,
            "size": len(config_raw),
            "digest": str(Digest.of(config_raw)),
        },
        "layers": [item.descriptor(style) for item in layers],
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    blobs = {Digest.of(config_raw): config_raw, **{Digest.of(item.blob): item.blob for item in layers}}
    raw = encode({**manifest, **(manifest_changes or {})})
    return BuiltImage(raw, media_type, blobs, config_raw, tuple(layers))


def index(
    members: Sequence[BuiltImage], *, style: Style = "docker", platforms: Sequence[str | None] = ()
) -> BuiltImage:
    """An index of images. `platforms` ("linux/arm64/v8", None for none) replaces what their configs say."""
    entries, blobs = [], {}
    for place, built in enumerate(members):
        config = json.loads(built.config_raw)
        said = f"{config['os']}/{config['architecture']}" + (f"/{config['variant']}" if "variant" in config else "")
        platform = platforms[place] if platforms else said
        entry = {"mediaType": built.media_type, "size": len(built.manifest_raw), "digest": str(built.digest)}
        if platform is not None:
            names = ("os", "architecture", "variant")
            entry["platform"] = dict(zip(names, platform.split("/"), strict=False))
        entries.append(entry)
        blobs.update({**built.blobs, built.digest: built.manifest_raw})
    media_type = DOCKER_LIST if style == "docker" else OCI_INDEX
    raw = encode({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})
    return BuiltImage(raw, media_type, blobs, members=tuple(members))


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON as docker writes manifests: indented by three, keys in order of writing."""
    return json.dumps(document, indent=3).encode()


def write_oci_layout(built: BuiltImage, folder: Path, *, tag: str = "1") -> Path:
    """An OCI image layout (image-layout.md)."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for digest, raw in {**built.blobs, built.digest: built.manifest_raw}.items():
        (blobs / digest.hex).write_bytes(raw)
    entry = {
        "mediaType": built.media_type,
        "size": len(built.manifest_raw),
        "digest": str(built.digest),
        "annotations": {"org.opencontainers.image.ref.name": tag},
    }
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_bytes(encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}))
    return folder


def write_docker_save(built: BuiltImage, path: Path, *, reference: str = "demo/web:1") -> Path:
    """What `docker save` of engines before 25 writes: `docker load` takes it."""
    config_name = f"{Digest.of(built.config_raw).hex}.json"
    files: dict[str, Node] = {config_name: built.config_raw}
    names = []
    for item in built.layers:
        names.append(f"{item.diff_id.hex}/layer.tar")
        files[names[-1]] = item.tar
    listing = [{"Config": config_name, "RepoTags": [reference], "Layers": names}]
    files["manifest.json"] = json.dumps(listing).encode()
    path.write_bytes(tar_of(files))
    return path


def server_config(**changes: Any) -> dict[str, Any]:
    """The inner config of `minimal_server_image`: a non-root user, exec form, a health-check, all labels."""
    config: dict[str, Any] = {
        "User": "10001:10001",
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "Env": ["PATH=/"],
        "Entrypoint": ["/server"],
        "WorkingDir": "/",
        "Healthcheck": {
            "Test": ["CMD", "/server", "health"],
            "Interval": 2 * SECOND,
            "Timeout": 2 * SECOND,
            "StartPeriod": SECOND,
            "Retries": 2,
        },
        "Labels": labels(),
    }
    return {key: value for key, value in {**config, **changes}.items() if value is not None}


def labels() -> dict[str, str]:
    """OCI's annotations, each in its right form."""
    prefix = "org.opencontainers.image."
    said = {
        "title": "web",
        "version": "1.0.0",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "source": "https://git.example/acme/web",
        "licenses": "Apache-2.0",
        "vendor": "Acme",
        "created": CREATED,
        "base.name": "scratch",
        "base.digest": "sha256:" + "0" * 64,
    }
    return {prefix + key: value for key, value in said.items()}


def minimal_server_image(
    *,
    style: Style = "docker",
    files: Mapping[str, Node] | None = None,
    more: Sequence[Layer] = (),
    compression: Compression = "gzip",
    **changes: Any,
) -> BuiltImage:
    """A real image of one small layer: an HTTP server on port 8080 with a health-check that asks it. linux/amd64.
    `files` are added to its layer (None as content is not possible: leave a key out), `more` layers stand on top,
    `changes` replace keys of the inner config (None removes one)."""
    tree: dict[str, Node] = {
        "etc/passwd": File(PASSWD),
        "etc/group": File(GROUP),
        "server": File(server_program(), mode=0o755),
        **(files or {}),
    }
    return image([layer(tree, compression=compression), *more], config=server_config(**changes), style=style)


def busybox_image(
    *, style: Style = "docker", files: Mapping[str, Node] | None = None, more: Sequence[Layer] = (), **changes: Any
) -> BuiltImage:
    """An image of the static busybox of this machine: httpd on port 8080, wget as probe, a shell. Raises
    FileNotFoundError where busybox-static is not installed."""
    program = busybox()
    applets = ("sh", "httpd", "wget", "nc", "sleep", "cat", "ls", "ps", "true", "false", "kill", "env")
    tree: dict[str, Node] = {
        "bin/busybox": File(program, mode=0o755),
        **{f"bin/{name}": Symlink("busybox") for name in applets},
        "etc/passwd": File(PASSWD),
        "etc/group": File(GROUP),
        "tmp": Folder(mode=0o1777),
        "www/index.html": File(b"hello\n"),
        **(files or {}),
    }
    config: dict[str, Any] = {
        "User": "10001:10001",
        "Env": ["PATH=/bin"],
        "Entrypoint": ["/bin/httpd", "-f", "-p", str(PORT), "-h", "/www"],
        "Healthcheck": {
            "Test": ["CMD", "/bin/wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{PORT}/"],
            "Interval": 2 * SECOND,
            "Timeout": 2 * SECOND,
            "Retries": 2,
        },
        **changes,
    }
    architecture = {62: "amd64", 183: "arm64"}.get(int.from_bytes(program[18:20], "little"), "unknown")
    config = {key: value for key, value in config.items() if value is not None}
    return image([layer(tree), *more], config=config, style=style, architecture=architecture)


def busybox() -> bytes:
    """The static busybox of this machine. Raises FileNotFoundError."""
    for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        if path.exists():
            return path.read_bytes()
    raise FileNotFoundError("busybox-static is not installed")
