"""A small file that is there whole or not at all, and durable before anything relies on it: keys, certificates."""

import os
from pathlib import Path

from customhouse import faults
from customhouse.errors import Conflict


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write beside it, sync, rename, sync the folder; folders that are missing are made for the owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".new")
    _synced(temporary, content, mode)
    faults.point("hub.secret.written")
    temporary.replace(path)
    faults.point("hub.secret.named")
    _sync_folder(path.parent)


def write_once(path: Path, content: bytes, mode: int = 0o600) -> None:
    """The same, but never over another file. Raises Conflict."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    _synced(temporary, content, mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise Conflict(f"there is already a file {path}", hint="Keep it, or name another one.") from None
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def _synced(temporary: Path, content: bytes, mode: int) -> None:
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
