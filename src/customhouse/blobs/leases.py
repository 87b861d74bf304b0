"""One writer at a time in a store that has no locks: a lease is an object that only one can make.

1. Whoever makes `FOLDER/lease-000000` (If-None-Match: *) holds the folder; `release` removes it.
2. A holder writes its lease anew every few seconds. One that was not renewed for STALE is nobody's: the next writer
   makes `lease-000001` beside it, and so on; the highest number holds.
3. How old a lease is, is said by the store's clock alone: hosts need not agree about the time.
4. A holder that could not renew in time, or finds a higher number, has lost it and is told so at its next `check`.
"""

import logging
import threading
import time
from datetime import timedelta
from uuid import uuid4

from customhouse.blobs import UploadBusy
from customhouse.blobs.bucket import Bucket, Taken
from customhouse.errors import CustomhouseError

RENEW_SECONDS = 5.0
STALE = timedelta(seconds=20)
_NAME = "lease-"
_log = logging.getLogger("customhouse.blobs")


class Lease:
    """The right to write in one folder, until `release`."""

    def __init__(self, leases: "Leases", folder: str, subject: str, number: int) -> None:
        self.folder, self.subject, self.number = folder, subject, number
        self.key = _key(folder, number)
        self.lost = False
        self._leases = leases
        self._renewed = time.monotonic()

    def check(self) -> None:
        """Raises UploadBusy unless the right is still ours."""
        if time.monotonic() - self._renewed > STALE.total_seconds() - RENEW_SECONDS:
            self.renew()
        if self.lost:
            raise UploadBusy(self.subject)

    def renew(self) -> None:
        """Write it anew, unless another one holds the folder by now."""
        keys = [each.key for each in self._leases.bucket.list(self.folder) if is_lease(each.key)]
        if self.key not in keys or max(keys) != self.key:
            self.lost = True
        else:
            self._leases.bucket.put(self.key, _token())
            self._renewed = time.monotonic()

    def release(self) -> None:
        """Let go; leases that we took over go with it."""
        self._leases.forget(self)
        if not self.lost:
            self._leases.bucket.delete([_key(self.folder, number) for number in range(self.number + 1)])


class Leases:
    """All leases that this process holds, and the thread that renews them."""

    def __init__(self, bucket: Bucket, renew_seconds: float = RENEW_SECONDS) -> None:
        self.bucket = bucket
        self._seconds = renew_seconds
        self._held: set[Lease] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, folder: str, subject: str) -> Lease:
        """The lease of `folder`, which ends in a slash. Raises UploadBusy, naming `subject`."""
        number = 0
        try:
            self.bucket.put_new(_key(folder, 0), _token())
        except Taken:
            number = self._take_over(folder, subject)
        taken = Lease(self, folder, subject, number)
        found = [each.key for each in self.bucket.list(folder) if is_lease(each.key)]
        if max(found, default="") != taken.key:  # somebody went ahead, or a holder let go of all at this moment
            self.bucket.delete([taken.key])
            raise UploadBusy(subject)
        with self._lock:
            self._held.add(taken)
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
                self._thread.start()
        return taken

    def forget(self, lease: Lease) -> None:
        """It need not be renewed any more."""
        with self._lock:
            self._held.discard(lease)

    def close(self) -> None:
        """Stop renewing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _take_over(self, folder: str, subject: str) -> int:
        knock = f"{folder}knock-{uuid4().hex}"  # its time is the store's own
        self.bucket.put(knock, b"")
        changed = {each.key: each.changed for each in self.bucket.list(folder)}
        self.bucket.delete([knock])
        newest = max(filter(is_lease, changed), default="")
        if not newest or knock not in changed or changed[knock] - changed[newest] < STALE:
            raise UploadBusy(subject)
        number = int(newest.rpartition("-")[2]) + 1
        try:
            self.bucket.put_new(_key(folder, number), _token())
        except Taken:
            raise UploadBusy(subject) from None
        return number

    def _keep(self) -> None:
        while not self._stop.wait(self._seconds):
            with self._lock:
                held = list(self._held)
            for lease in held:
                try:
                    lease.renew()
                except CustomhouseError as error:  # the next turn tries again; `check` knows how long it is ago
                    _log.warning("a lease was not renewed: %s", error.message)


def is_lease(key: str) -> bool:
    """Is this object a lease or a question about one, and no content?"""
    return key.rpartition("/")[2].startswith(_NAME)


def _key(folder: str, number: int) -> str:
    return f"{folder}{_NAME}{number:06d}"


def _token() -> bytes:
    return uuid4().hex.encode()
