"""Small runnable images made by hand from busybox: one layer, one config."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from customhouse.oci.digest import Digest
from customhouse.sandbox.runner import ImageLayer, ImageSource

APPLETS = ("sh", "httpd", "nc", "grep", "sleep", "cat", "ls", "touch", "true", "false", "dd", "head", "id")
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Box:
    """An image as a registry would hold it."""

    config: bytes
    blobs: Mapping[Digest, bytes]
    layer: ImageLayer

    def open(self, digest: Digest) -> BinaryIO:
        return io.BytesIO(self.blobs[digest])

    def source(self, submission: str = "s1") -> ImageSource:
        return ImageSource(submission, self.config, (self.layer,), self.open)


def layer_tar(
    files: Mapping[str, str] | None = None, *, busybox: bool = True, applets: Sequence[str] = APPLETS
) -> bytes:
    """A plain tar with busybox, its applets, /tmp, /var, /www/index.html and these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("var", 0o777), ("www", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        contents = {name: text.encode() for name, text in (files or {}).items()}
        contents["www/index.html"] = b"it works\n"
        if busybox:
            contents["bin/busybox"] = Path("/bin/busybox").resolve().read_bytes()
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
        for applet in applets:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return out.getvalue()


def box(
    cmd: Sequence[str],
    health: Mapping[str, Any] | None = None,
    *,
    files: Mapping[str, str] | None = None,
    compressed: bool = True,
    sized: bool = True,
    architecture: str = "amd64",
    busybox: bool = True,
    applets: Sequence[str] = APPLETS,
    **more: Any,
) -> Box:
    """An image that runs `cmd`. `more` are further fields of its config (User, StopSignal, Volumes …)."""
    plain = layer_tar(files, busybox=busybox, applets=applets)
    stored = gzip.compress(plain, 1, mtime=0) if compressed else plain
    inner: dict[str, Any] = {"Cmd": list(cmd), "Env": ["PATH=/bin"], "User": "1000:1000", **more}
    if health is not None:
        inner["Healthcheck"] = dict(health)
    config = json.dumps(
        {
            "architecture": architecture, "os": "linux", "config": inner,
            "rootfs": {"type": "layers", "diff_ids": [Digest.of(plain)]},
        }
    ).encode()  # fmt: skip
    layer = ImageLayer(Digest.of(stored), len(stored), Digest.of(plain), len(plain) if sized else None)
    return Box(config, {layer.digest: stored}, layer)


def shell(script: str, health: Mapping[str, Any] | None = None, **more: Any) -> Box:
    """An image whose first process is a shell running this script."""
    return box(["/bin/sh", "-c", script], health, **more)


# A server that ends on SIGTERM: the shell is PID 1 and hands the signal on.
SERVE = "trap 'kill $!; exit 0' TERM; httpd -f -p 8080 -h /www & wait"
# Not wget: the static busybox of Debian looks up names through libraries that a bare image does not have.
ASK = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 1 127.0.0.1 8080 | grep -q works"
HONEST = {"Test": ["CMD-SHELL", ASK], "Interval": SECOND, "Retries": 2}
GREEN = {"Test": ["CMD", "true"], "Interval": SECOND, "Retries": 2}
