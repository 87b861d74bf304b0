"""A store of blobs as files in a folder.

1. Temporary file, hash while writing, fsync, rename, fsync of the folder. A crash leaves an orphan file or an
   unfinished upload, never half a blob under its digest.
2. An upload's writer holds a lock on its file; its offset is the size of the file; a hash that was lost with the
   process is made again at the commit.
3. A full disk is StorageFull, one that cannot be written Unavailable; the upload is cut back to what was whole.
4. The disk begins to write while bytes still arrive, so that the commit's fsync has little left to wait for.

Layout: ROOT/<algorithm>/<first two of hex>/<hex>, ROOT/uploads/<id>, ROOT/owner.
"""

import ctypes
import errno
import fcntl
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from customhouse import faults
from customhouse.blobs import BlobMissing, DigestMismatch, UploadBusy
from customhouse.errors import Invalid, StorageFull, Unavailable
from customhouse.oci.digest import Digest, Hasher, InvalidDigest
from customhouse.wholefile import write_whole

CHUNK = 1024 * 1024
WRITE_BACK = 8 * CHUNK
_WRITE_ONLY = 2  # SYNC_FILE_RANGE_WRITE: begin to write, wait for nothing
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_DISK = (errno.EROFS, errno.EIO)
_UPLOAD_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_KEPT_HASHES = 512
_FIRST_GUESS = "sha256"


class FileBlobs:
    """A folder of blobs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._uploads = root / "uploads"
        self._uploads.mkdir(parents=True, exist_ok=True)
        self._hashes: OrderedDict[str, tuple[int, Hasher]] = OrderedDict()
        self._hashes_lock = threading.Lock()

    def open(self, digest: Digest) -> BinaryIO:
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise BlobMissing(digest) from None

    def stat(self, digest: Digest) -> int | None:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def path(self, digest: Digest) -> Path:
        return Path(self._where(digest))

    def _where(self, digest: Digest) -> str:
        algorithm, _, name = digest.partition(":")
        return f"{self._root}/{algorithm}/{name[:2]}/{name}"

    def address(self, digest: Digest) -> str | None:
        return None

    def close(self) -> None:
        pass

    def add(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        try:
            if self.path(digest).read_bytes() == content:
                with _full_disk():
                    os.utime(self.path(digest))
                return digest
        except FileNotFoundError:
            pass
        upload = self.upload(f"add-{uuid4().hex}")
        try:
            upload.write(content)
            upload.commit(digest)
        except BaseException:
            upload.cancel()
            raise
        return digest

    def upload(self, upload: str) -> "FileUpload":
        if not _UPLOAD_ID.fullmatch(upload):
            raise Invalid(f"{upload[:80]!r} is not the id of an upload")
        return FileUpload(self, upload, self._uploads / upload)

    def delete(self, digest: Digest) -> None:
        with _full_disk(), suppress(FileNotFoundError):
            os.unlink(self._where(digest))  # noqa: PTH108  a path object takes a quarter as long as the call

    def digests(self, before: datetime | None = None, shard: int | None = None) -> Iterator[Digest]:
        folder = "??" if shard is None else f"{shard:02x}"
        for algorithm in ("sha256", "sha512"):
            for file in (self._root / algorithm).glob(f"{folder}/*"):
                try:
                    digest = Digest.parse(f"{algorithm}:{file.name}")
                    if before is None or file.stat().st_mtime < before.timestamp():
                        yield digest
                except (InvalidDigest, FileNotFoundError):
                    continue

    def owner(self) -> str:
        try:
            return (self._root / "owner").read_text().strip()
        except FileNotFoundError:
            return ""

    def claim(self, owner: str) -> None:
        write_whole(self._root / "owner", f"{owner}\n".encode())

    def unfinished(self, before: datetime) -> Iterator[str]:
        for file in self._uploads.iterdir():
            try:
                if file.stat().st_mtime < before.timestamp():
                    yield file.name
            except FileNotFoundError:
                continue

    def keep_hash(self, upload: str, offset: int, hasher: Hasher) -> None:
        """Remember a running hash between two requests; the oldest are forgotten and made again when needed."""
        with self._hashes_lock:
            self._hashes[upload] = (offset, hasher)
            self._hashes.move_to_end(upload)
            while len(self._hashes) > _KEPT_HASHES:
                self._hashes.popitem(last=False)

    def take_hash(self, upload: str, offset: int) -> Hasher | None:
        """The running hash of an upload's first `offset` bytes, if this process has it."""
        with self._hashes_lock:
            known = self._hashes.pop(upload, None)
        return known[1] if known and known[0] == offset else None


class FileUpload:
    """An upload as a file that only grows."""

    def __init__(self, blobs: FileBlobs, upload: str, file: Path) -> None:
        self._blobs, self._id, self._file = blobs, upload, file
        with _full_disk():
            self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have renamed or removed the file between our open and our lock.
            if os.fstat(self._fd).st_nlink == 0 or os.stat(file).st_ino != os.fstat(self._fd).st_ino:  # noqa: PTH116
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError):
            os.close(self._fd)
            raise UploadBusy(upload) from None
        self._offset = os.fstat(self._fd).st_size
        self._hasher = blobs.take_hash(upload, self._offset)
        if self._hasher is None and self._offset == 0:
            self._hasher = _empty_hasher()
        self._begun = self._offset
        self._open = True

    @property
    def offset(self) -> int:
        return self._offset

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        with _full_disk():
            try:
                written = 0
                while written < len(view):
                    written += os.write(self._fd, view[written:])
            except OSError:
                os.ftruncate(self._fd, self._offset)
                raise
        self._offset += len(view)
        if self._hasher is not None:
            self._hasher.update(view)
        if self._offset - self._begun >= WRITE_BACK:
            _begin_to_write(self._fd, self._begun, self._offset - self._begun)
            self._begun = self._offset

    def commit(self, expected: Digest) -> int:
        found = self._digest(expected.algorithm)
        if found != expected:
            raise DigestMismatch(expected, found)
        faults.point("blobs.commit.hashed")
        target = self._blobs.path(expected)
        with _full_disk():
            os.utime(self._fd)
            os.fsync(self._fd)
            faults.point("blobs.commit.synced")
            _make_folder(target.parent)
            self._file.rename(target)
            faults.point("blobs.commit.renamed")
            _sync_folder(target.parent)
        faults.point("blobs.commit.done")
        self._release()
        return self._offset

    def cancel(self) -> None:
        if self._open:
            with _full_disk():
                self._file.unlink(missing_ok=True)
            self._release()

    def close(self) -> None:
        if self._open:
            if self._hasher is not None:
                self._blobs.keep_hash(self._id, self._offset, self._hasher)
            self._release()

    def _digest(self, algorithm: str) -> Digest:
        if self._hasher is not None and algorithm == _FIRST_GUESS:
            return Digest(f"{algorithm}:{self._hasher.hexdigest()}")
        hasher = Digest.of(b"", algorithm).hasher()
        offset = 0
        while chunk := os.pread(self._fd, CHUNK, offset):
            hasher.update(chunk)
            offset += len(chunk)
        return Digest(f"{algorithm}:{hasher.hexdigest()}")

    def _release(self) -> None:
        self._open = False
        os.close(self._fd)


def _empty_hasher() -> Hasher:
    return Digest.of(b"", _FIRST_GUESS).hasher()


def _begin_to_write(fd: int, offset: int, count: int) -> None:
    """Only a hint (sync_file_range(2), which `os` has not): what fails here is told by fsync."""
    if _sync_file_range is not None:
        _sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(count), ctypes.c_uint(_WRITE_ONLY))


_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        missing = [folder, *(parent for parent in folder.parents if not parent.is_dir())]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _sync_folder(made.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("there is no room left to store this", hint="Free disk space on the hub.") from error
        if error.errno in _NO_DISK:
            why = os.strerror(error.errno)
            raise Unavailable(f"the disk cannot be written: {why}", hint="Look at the hub's disk.") from error
        raise
