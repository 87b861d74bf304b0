"""Uploads in progress: a row says whose they are, a file how far they are.

1. An upload belongs to one repository; under another name it does not exist.
2. The row comes before the file and goes in the transaction that links the blob, so whatever a crash leaves has a row
   that the sweep finds.
3. A publisher whose quota is used up begins no upload; one that would pass it ends before its bytes are kept.
4. What is claimed is never believed: a blob is linked only after its bytes came through this upload, also where the
   store has them already (R3).
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

from sqlalchemy import Connection

from customhouse import faults
from customhouse.blobs import BlobStore, DigestMismatch, Upload
from customhouse.oci.digest import Digest
from customhouse.oci.reference import valid_repository
from customhouse.registry.content import InvalidName, QuotaExceeded, StoredBlob, UploadUnknown
from customhouse.registry.rules import Used

_UPLOAD = re.compile(r"[0-9a-f]{32}")
TOUCHED_EVERY = timedelta(minutes=10)


class UploadRows(Protocol):
    """The rows of uploads, as the registry's store keeps them."""

    def read(self) -> AbstractContextManager[Connection]: ...
    def write(self) -> AbstractContextManager[Connection]: ...
    def begin_upload(self, tx: Connection, name: str, repository: str, now: datetime) -> None: ...
    def find_upload(self, tx: Connection, name: str, repository: str) -> datetime | None: ...
    def touch_upload(self, tx: Connection, name: str, now: datetime) -> None: ...
    def end_upload(self, tx: Connection, name: str) -> None: ...
    def limit_for(self, tx: Connection, repository: str, digest: Digest | None) -> Used | None: ...


class Uploads:
    """The uploads of one registry. `attach` is what makes a repository hold a blob."""

    def __init__(
        self,
        rows: UploadRows,
        blobs: BlobStore,
        attach: Callable[[Connection, str, Digest, datetime], int],
        clock: Callable[[], datetime],
    ) -> None:
        self._rows = rows
        self._blobs = blobs
        self._attach = attach
        self._clock = clock

    def begin(self, repository: str, name: str = "") -> str:
        """The id of a new upload, which may be chosen by a caller who wants to find it again.
        Raises InvalidName, QuotaExceeded."""
        if not valid_repository(repository):
            raise InvalidName(repository)
        name = name or uuid4().hex
        with self._rows.write() as tx:
            limit = self._rows.limit_for(tx, repository, None)
            if limit is not None and limit.full:
                raise QuotaExceeded(limit)
            self._rows.begin_upload(tx, name, repository, self._clock())
        faults.point("registry.upload.begun")
        return name

    def resume(self, repository: str, name: str) -> Upload:
        """Take the upload, until `close`, `finish` or `abandon`. Raises UploadUnknown, UploadBusy."""
        self._known(repository, name)
        return self._blobs.upload(name)

    def offset(self, repository: str, name: str) -> int:
        """How many bytes have arrived. Raises UploadUnknown, UploadBusy."""
        upload = self.resume(repository, name)
        try:
            return upload.offset
        finally:
            upload.close()

    def finish(self, repository: str, name: str, upload: Upload, expected: Digest) -> StoredBlob:
        """Make the blob visible in its repository. Raises StorageFull; DigestMismatch and QuotaExceeded, by which the
        upload is over."""
        try:
            self._fits(repository, expected, upload.offset)
            upload.commit(expected)
            faults.point("registry.upload.committed")
            with self._rows.write() as tx:
                size = self._attach(tx, repository, expected, self._clock())
                self._rows.end_upload(tx, name)
                faults.point("registry.upload.commit")
        except (DigestMismatch, QuotaExceeded):  # the latter also where another upload took the room meanwhile
            self.abandon(name, upload)
            raise
        return StoredBlob(expected, size)

    def abandon(self, name: str, upload: Upload) -> None:
        """Throw the upload away: file first, so that no file is without its row."""
        upload.cancel()
        faults.point("registry.upload.cancelled")
        with self._rows.write() as tx:
            self._rows.end_upload(tx, name)

    def _fits(self, repository: str, digest: Digest, size: int) -> None:
        with self._rows.read() as tx:
            limit = self._rows.limit_for(tx, repository, digest)
        if limit is not None and limit.over(size):
            raise QuotaExceeded(limit, size)

    def _known(self, repository: str, name: str) -> None:
        now = self._clock()
        if not _UPLOAD.fullmatch(name):
            raise UploadUnknown(name)
        with self._rows.read() as tx:
            touched = self._rows.find_upload(tx, name, repository)
        if touched is None:
            raise UploadUnknown(name)
        if now - touched > TOUCHED_EVERY:
            with self._rows.write() as tx:
                self._rows.touch_upload(tx, name, now)
