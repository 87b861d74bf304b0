"""A small file that is there whole or not at all, and durable before anything relies on it: keys, certificates."""

import os
from pathlib import Path

from customhouse import faults


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write beside it, sync, rename, sync the folder; folders that are missing are made for the owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    faults.point("hub.secret.written")
    temporary.replace(path)
    faults.point("hub.secret.named")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
