"""What publishers build: folders with a Dockerfile, over busybox, each with one thing that is different."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.sandbox.boxes import ASK, SERVE, layer_tar

PASSWD = "root:x:0:0:root:/:/bin/false\nserver:x:1000:1000::/:/bin/false\n"
USER = "USER 1000:1000"
HEALTHCHECK = f"HEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD {ASK}"
CMD = 'CMD ["/bin/serve"]'
LABELS = (
    'LABEL org.opencontainers.image.title="web" org.opencontainers.image.description="a page" '
    'org.opencontainers.image.source="https://code.example/web" org.opencontainers.image.version="1" '
    'org.opencontainers.image.licenses="Apache-2.0"'
)


def context(
    folder: Path,
    *,
    user: str = USER,
    health: str = HEALTHCHECK,
    cmd: str = CMD,
    more: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    page: str = "",
) -> Path:
    """A build context of a web server; `page` makes the content, and so the digest, another one."""
    folder.mkdir(parents=True)
    tree = {"etc/passwd": PASSWD, "www/page.html": page, "bin/serve": f"#!/bin/sh\n{SERVE}\n", **(files or {})}
    (folder / "root.tar").write_bytes(layer_tar(tree))
    lines = ["FROM scratch", "ADD root.tar /", "ENV PATH=/bin", LABELS, *more, health, user, cmd]
    (folder / "Dockerfile").write_text("\n".join(line for line in lines if line) + "\n")
    return folder


def tar_of(files: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A plain tar: bytes are a file's content, a TarInfo stands as it is."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
