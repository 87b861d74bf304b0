"""A store of blobs on S3, without a copy of anything on this machine.

1. Bytes go on as they arrive, as parts of a multipart upload; of one upload a few parts (`bucket.PART`) are held.
2. An upload is a folder of segments, `uploads/ID/at-OFFSET-RANDOM`. A request that ends, or whose connection breaks,
   completes its segment; who goes on, here or on another host, reads the state from the listing. A process that dies
   loses the segment it was writing, and no more.
3. One writer at a time holds a lease (`leases.py`). Content never hangs on it: a segment is known by its random name,
   and a commit takes only segments whose bytes it has hashed.
4. A commit copies one segment inside the store; several, or more than a copy may have, are streamed together and
   hashed again on the way. The blob's key appears with the last step, whole; writing it again renews its time.
5. A blob small enough to be held is written to its key at once.

Layout below the prefix: <algorithm>/<first two of hex>/<hex>, uploads/<id>/…, owner.
"""

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

from customhouse import faults
from customhouse.blobs import BlobMissing, DigestMismatch
from customhouse.blobs.bucket import LARGEST_COPY, PART, Bucket, Buffer, Content, Object, Place, StoreFails, Writer
from customhouse.blobs.leases import Lease, Leases
from customhouse.errors import CustomhouseError, Invalid
from customhouse.oci.digest import Digest, Hasher, InvalidDigest

LARGEST_SEGMENT = 1024**3  # what a killed process may lose; more in one request is joined at the commit
ADDRESS_LASTS = timedelta(minutes=20)
_PIECE = 1024 * 1024
_UPLOADS, _OWNER = "uploads/", "owner"
_UPLOAD_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_SEGMENT = re.compile(r"at-([0-9]{20})-[0-9a-f]{32}")
_KEPT_HASHES = 512
_FIRST_GUESS = "sha256"


class S3Blobs:
    """The blobs of one hub in one bucket."""

    def __init__(self, place: Place, *, redirect: bool = True, largest_segment: int = LARGEST_SEGMENT) -> None:
        self.bucket, self._redirect = Bucket(place), redirect
        self.largest_segment = largest_segment
        self._leases = Leases(self.bucket)
        self._hashes: OrderedDict[str, tuple[tuple[str, ...], Hasher]] = OrderedDict()
        self._hashes_lock = threading.Lock()

    def check(self) -> None:
        """Can the store be used? Raises Unavailable, Invalid."""
        self.bucket.check()

    def open(self, digest: Digest) -> BinaryIO:
        key = _key(digest)
        size = self.bucket.size(key)
        if size is None:
            raise BlobMissing(digest)
        return cast(BinaryIO, io.BufferedReader(Content(self.bucket, key, size)))

    def stat(self, digest: Digest) -> int | None:
        return self.bucket.size(_key(digest))

    def path(self, digest: Digest) -> Path | None:
        return None

    def address(self, digest: Digest) -> str | None:
        return self.bucket.address(_key(digest), ADDRESS_LASTS) if self._redirect else None

    def add(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        self.bucket.put(_key(digest), content)
        return digest

    def upload(self, upload: str) -> "S3Upload":
        if not _UPLOAD_ID.fullmatch(upload):
            raise Invalid(f"{upload[:80]!r} is not the id of an upload")
        return S3Upload(self, upload, self._leases.take(f"{_UPLOADS}{upload}/", upload))

    def delete(self, digest: Digest) -> None:
        self.bucket.delete([_key(digest)])

    def digests(self, before: datetime | None = None, shard: int | None = None) -> Iterator[Digest]:
        below = "" if shard is None else f"{shard:02x}/"
        for algorithm in ("sha256", "sha512"):
            for found in self.bucket.list(f"{algorithm}/{below}"):
                try:
                    digest = Digest.parse(f"{algorithm}:{found.key.rpartition('/')[2]}")
                except InvalidDigest:
                    continue
                if before is None or found.changed < before:
                    yield digest

    def unfinished(self, before: datetime) -> Iterator[str]:
        newest: dict[str, datetime] = {}
        for found in self.bucket.list(_UPLOADS):
            name = found.key.split("/")[1]
            newest[name] = max(found.changed, newest.get(name, found.changed))
        yield from (name for name, changed in newest.items() if changed < before and _UPLOAD_ID.fullmatch(name))

    def owner(self) -> str:
        size = self.bucket.size(_OWNER)
        return bytes(self.bucket.read(_OWNER, 0, size)).decode() if size else ""

    def claim(self, owner: str) -> None:
        self.bucket.put(_OWNER, owner.encode())

    def close(self) -> None:
        self._leases.close()

    def keep_hash(self, upload: str, segments: Iterable[Object], hasher: Hasher) -> None:
        """Remember a running hash between two requests, with the segments that it is of."""
        with self._hashes_lock:
            self._hashes[upload] = (_names(segments), hasher)
            self._hashes.move_to_end(upload)
            while len(self._hashes) > _KEPT_HASHES:
                self._hashes.popitem(last=False)

    def take_hash(self, upload: str, segments: Iterable[Object]) -> Hasher | None:
        """The running hash of just these segments, if this process has it."""
        with self._hashes_lock:
            known = self._hashes.pop(upload, None)
        return known[1] if known and known[0] == _names(segments) else None


class S3Upload:
    """An upload as segments; see the rules above."""

    def __init__(self, blobs: S3Blobs, upload: str, lease: Lease) -> None:
        self._blobs, self._bucket, self._id, self._lease = blobs, blobs.bucket, upload, lease
        self._folder = lease.folder
        try:
            self._segments = _chain(self._bucket.list(self._folder))
        except BaseException:
            _quietly_release(lease)
            raise
        self._offset = self._whole
        self._hasher = blobs.take_hash(upload, self._segments)
        if self._hasher is None and not self._segments:
            self._hasher = Digest.of(b"", _FIRST_GUESS).hasher()
        self._buffer = bytearray()
        self._writer: Writer | None = None
        self._key = ""
        self._open, self._failed = True, False

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def _whole(self) -> int:
        """How many bytes are in segments."""
        return sum(each.size for each in self._segments)

    def write(self, data: Buffer) -> None:
        if self._failed:
            raise StoreFails
        try:
            if self._offset - self._whole >= self._blobs.largest_segment:
                self._complete()
            if self._writer is None:
                self._buffer += data
                if len(self._buffer) >= PART:
                    self._begin()
            else:
                self._writer.write(bytes(data))  # the caller's memory is the caller's again when this returns
        except BaseException:
            self._fail()
            raise
        self._offset += len(data)
        if self._hasher is not None:
            self._hasher.update(memoryview(data))

    def commit(self, expected: Digest) -> int:
        if self._failed:
            raise StoreFails
        self._lease.check()
        if not self._segments and self._writer is None:
            found = Digest.of(memoryview(self._buffer), expected.algorithm)
            if found != expected:
                raise DigestMismatch(expected, found)
            faults.point("blobs.commit.hashed")
            self._bucket.put(_key(expected), self._buffer)
            faults.point("blobs.commit.synced")
        else:
            try:
                self._complete()
            except BaseException:
                self._fail()
                raise
            self._assemble(expected)
        faults.point("blobs.commit.renamed")
        self._clear()
        faults.point("blobs.commit.done")
        return self._offset

    def cancel(self) -> None:
        if self._open:
            self._abort()
            self._lease.check()
            self._clear()

    def close(self) -> None:
        if not self._open:
            return
        try:
            if not self._failed:
                self._lease.check()
                self._complete()
                if self._hasher is not None:
                    self._blobs.keep_hash(self._id, self._segments, self._hasher)
        finally:
            self._abort()
            self._open = False
            _quietly_release(self._lease)

    def _begin(self) -> None:
        """Start sending a segment with what is held."""
        self._lease.check()
        self._key = f"{self._folder}at-{self._whole:020d}-{uuid4().hex}"
        self._writer = self._bucket.writer(self._key)
        self._writer.write(self._buffer)
        self._buffer = bytearray()

    def _complete(self) -> None:
        """What was written becomes a segment, durably."""
        size = self._offset - self._whole
        if self._writer is not None:
            self._writer.finish()
            self._writer = None
        elif self._buffer:
            self._key = f"{self._folder}at-{self._whole:020d}-{uuid4().hex}"
            self._bucket.put(self._key, self._buffer)
            self._buffer = bytearray()
        else:
            return
        self._segments.append(Object(self._key, size, datetime.min, ""))

    def _fail(self) -> None:
        """Back to what is whole in the store."""
        self._failed = True
        self._abort()
        self._hasher, self._offset = None, self._whole

    def _abort(self) -> None:
        writer, self._writer, self._buffer = self._writer, None, bytearray()
        if writer is not None:
            writer.abort()

    def _assemble(self, expected: Digest) -> None:
        known = self._hasher if expected.algorithm == _FIRST_GUESS else None
        single = len(self._segments) == 1 and self._offset <= LARGEST_COPY
        if known is None and single:
            known = expected.hasher()
            for piece in self._pieces():
                known.update(piece)
        if known is not None:
            _compare(expected, known)
        faults.point("blobs.commit.hashed")
        self._lease.check()
        if single:
            self._bucket.copy(self._segments[0].key, _key(expected), self._offset)
        else:
            self._join(expected)
        faults.point("blobs.commit.synced")

    def _join(self, expected: Digest) -> None:
        """Stream the segments into the blob; it appears only if what was sent has the digest."""
        hasher = expected.hasher()
        writer = self._bucket.writer(_key(expected), self._offset)
        try:
            for piece in self._pieces():
                hasher.update(piece)
                writer.write(piece)
            _compare(expected, hasher)
        except BaseException:
            writer.abort()
            raise
        writer.finish()

    def _pieces(self) -> Iterator[bytes]:
        for segment in self._segments:
            with io.BufferedReader(Content(self._bucket, segment.key, segment.size)) as stream:
                try:
                    while piece := stream.read(_PIECE):
                        yield piece
                except OSError:  # it was swept, or taken away
                    raise StoreFails from None

    def _clear(self) -> None:
        """Remove the upload, the lease last."""
        self._open = False
        try:
            self._bucket.delete([each.key for each in self._bucket.list(self._folder) if each.key != self._lease.key])
        finally:
            _quietly_release(self._lease)


def _chain(found: Iterable[Object]) -> list[Object]:
    """The segments that follow each other from the start; of two at one place the longer one."""
    at: dict[int, Object] = {}
    for each in found:
        match = _SEGMENT.fullmatch(each.key.rpartition("/")[2])
        if match and (int(match[1]) not in at or each.size > at[int(match[1])].size):
            at[int(match[1])] = each
    chain: list[Object] = []
    offset = 0
    while offset in at and at[offset].size:
        chain.append(at[offset])
        offset += at[offset].size
    return chain


def _compare(expected: Digest, hasher: Hasher) -> None:
    found = Digest(f"{expected.algorithm}:{hasher.hexdigest()}")
    if found != expected:
        raise DigestMismatch(expected, found)


def _quietly_release(lease: Lease) -> None:
    """A lease that stays behind because the store does not answer goes stale by itself."""
    try:
        lease.release()
    except CustomhouseError:
        pass


def _names(segments: Iterable[Object]) -> tuple[str, ...]:
    return tuple(each.key for each in segments)


def _key(digest: Digest) -> str:
    return f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


