"""Bytes by digest: what every store of layers, configs and other blobs promises; `files.py` keeps them in a folder,
`s3.py` in a bucket of an object store.

1. Bytes before rows: once `commit` or `add` has returned, the bytes are durable, and only then may a row be written.
2. A commit renews the blob's time, so that what looks for orphans can leave alone what has just arrived.
3. An upload has one writer at a time, across processes, and outlives the process that began it.
4. Where there is no room left, StorageFull; the upload is cut back to what was whole. A store elsewhere that does not
   answer is Unavailable, within seconds.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from customhouse.errors import Conflict, Invalid, NotFound
from customhouse.oci.digest import Digest


class BlobMissing(NotFound):
    """No bytes of this digest are in the store."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"the bytes of {digest} are not in the store")
        self.digest = digest


class DigestMismatch(Invalid):
    """The bytes that arrived are not those of the digest that was named."""

    def __init__(self, expected: Digest, found: Digest) -> None:
        super().__init__(
            f"the content has the digest {found}, not {expected}",
            hint="The content was changed or cut on its way: send it again.",
        )
        self.expected = expected
        self.found = found


class UploadBusy(Conflict):
    """Another request is writing to this upload."""

    def __init__(self, upload: str) -> None:
        super().__init__(
            f"upload {upload} is being written by another request", hint="Wait for it, then ask for the status."
        )
        self.upload = upload


class Upload(Protocol):
    """One upload, held by one writer until `commit`, `cancel` or `close`."""

    @property
    def offset(self) -> int:
        """How many bytes are there."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; the memory is the caller's again afterwards. Raises StorageFull, and then `offset` is as before."""

    def commit(self, expected: Digest) -> int:
        """Make it the blob `expected`, durably; returns the size in bytes. Raises DigestMismatch, StorageFull."""

    def cancel(self) -> None:
        """Throw it away."""

    def close(self) -> None:
        """Let go; what was written stays for the next writer."""


class BlobStore(Protocol):
    """Content by digest. Nothing here knows repositories or rights."""

    def open(self, digest: Digest) -> BinaryIO:
        """The bytes, at their start; the caller closes. Raises BlobMissing."""

    def stat(self, digest: Digest) -> int | None:
        """The size in bytes, or None where there are none."""

    def path(self, digest: Digest) -> Path | None:
        """The file of the blob (which may be absent), or None where the store has no files."""

    def address(self, digest: Digest) -> str | None:
        """A URL by which whoever has it can GET the bytes for a while, or None where they come from the hub alone."""

    def add(self, content: bytes) -> Digest:
        """Store something small, durably. Raises StorageFull."""

    def upload(self, upload: str) -> Upload:
        """Open a new upload or go on with one. Raises UploadBusy."""

    def delete(self, digest: Digest) -> None:
        """Remove the bytes; nothing happens where there are none."""

    def digests(self, before: datetime | None = None, shard: int | None = None) -> Iterator[Digest]:
        """Every blob, or those that arrived before a moment; of a 256th of the store, by the digest's first byte."""

    def owner(self) -> str:
        """The mark of the one hub whose blobs these are; empty where there is none."""

    def claim(self, owner: str) -> None:
        """Leave a hub's mark, durably."""

    def close(self) -> None:
        """Let go of what serves it; nothing of it is used any more."""


@runtime_checkable
class HasUnfinished(Protocol):
    """A store that can list uploads which a crash left without anyone who knows them."""

    def unfinished(self, before: datetime) -> Iterator[str]:
        """Uploads that nobody has written to since a moment."""
