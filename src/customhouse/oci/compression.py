"""A layer blob as a stream of decompressed bytes, hashed on both sides, that cannot be made to run away.

1. The compression is what the bytes say (gzip, zstd, none), as engines do it; the media type is judged elsewhere.
2. No more than the declared size plus one byte is read, and each step yields a bounded amount.
3. Truncated, corrupt or trailing bytes are `Damaged`; too many bytes or too high a ratio are `Overrun`.
(RFC 1952 members, RFC 8878 frames and skippable frames; both may be concatenated.)
"""

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO, Literal, cast

import zstandard
from isal import igzip_lib

from customhouse.oci.digest import Digest
from customhouse.oci.wants import Budget

Compression = Literal["gzip", "zstd", "none", "unknown"]

CHUNK = 1024 * 1024
RAW_CHUNK = 64 * 1024
# 2 KiB of a zstd stream may stand for 64 MiB (blocks of one repeated byte), gzip allows to ask for less.
ZSTD_STEP = 2048
ZSTD_WINDOW = 128 * 1024 * 1024
MAX_MEMBERS = 1_000_000
# The stubs of isal give its exception class as an instance.
_GZIP_ERRORS = (cast("type[Exception]", igzip_lib.error), ValueError, EOFError)


class Damaged(Exception):
    """The bytes are not a whole, well-formed stream."""


class Overrun(Exception):
    """The stream goes beyond its budget."""

    def __init__(self, kind: str, message: str, value: int) -> None:
        super().__init__(message)
        self.kind = kind
        self.value = str(value)


class Decompressed:
    """Reading side of one blob. `produced` counts decompressed bytes."""

    def __init__(self, stream: BinaryIO, digest: Digest, size: int, budget: Budget) -> None:
        self._stream = stream
        self._declared = size
        self._budget = budget
        self._algorithm = digest.algorithm
        self._raw_hash = digest.hasher()
        self._tar_hash = hashlib.sha256()
        self._raw_bytes = 0
        self._chunk = memoryview(b"")
        self.produced = 0
        self.compression: Compression = "unknown"
        self._chunks = self._decompress()

    def take(self, count: int) -> bytes:
        """The next `count` bytes; fewer only at the end. Raises Damaged, Overrun."""
        if len(self._chunk) >= count:
            found = bytes(self._chunk[:count])
            self._chunk = self._chunk[count:]
            return found
        parts = []
        while count and (self._chunk or self._fill()):
            part = self._chunk[:count]
            parts.append(part)
            count -= len(part)
            self._chunk = self._chunk[len(part) :]
        return b"".join(parts)

    def body(self, head: bytes, count: int) -> bytes:
        """`head` and the next `count` bytes, held once; fewer only at the end. Raises Damaged, Overrun."""
        if len(self._chunk) >= count:
            found = b"".join((head, self._chunk[:count]))
            self._chunk = self._chunk[count:]
            return found
        into = io.BytesIO()  # grows in place, and gives its bytes without another copy
        into.write(head)
        while count and (self._chunk or self._fill()):
            part = self._chunk[:count]
            into.write(part)
            count -= len(part)
            self._chunk = self._chunk[len(part) :]
        return into.getvalue()

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; answers how many were missing at the end."""
        while count and (self._chunk or self._fill()):
            step = min(count, len(self._chunk))
            self._chunk = self._chunk[step:]
            count -= step
        return count

    def only_zeros_follow(self) -> bool:
        """Read on to the first byte that is not NUL, or to the end."""
        while self._chunk or self._fill():
            chunk = bytes(self._chunk)
            self._chunk = memoryview(b"")
            if chunk.count(0) != len(chunk):
                return False
        return True

    def finish(self) -> Digest:
        """Read to the end: the diff_id. Raises Damaged, Overrun."""
        while self._fill():
            pass
        self._chunk = memoryview(b"")
        return Digest(f"sha256:{self._tar_hash.hexdigest()}")

    def drain(self) -> int:
        """Hash what is left of the blob; answers its size (declared size + 1 when it is longer)."""
        while self._raw():
            pass
        return self._raw_bytes

    def computed(self) -> Digest:
        """The digest of the blob's bytes, after `drain`."""
        return Digest(f"{self._algorithm}:{self._raw_hash.hexdigest()}")

    def _fill(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self.produced += len(chunk)
        self._tar_hash.update(chunk)
        self._chunk = memoryview(chunk)
        if self.produced > self._budget.unpacked:
            raise Overrun("bytes", f"unpacks to more than {self._budget.unpacked} bytes", self.produced)
        if self.produced > self._budget.ratio_floor and self.produced > self._budget.ratio * self._raw_bytes:
            raise Overrun("ratio", f"unpacks to more than {self._budget.ratio} times its size", self.produced)
        return True

    def _raw(self, most: int = RAW_CHUNK) -> bytes:
        allowed = min(most, self._declared + 1 - self._raw_bytes)
        found = self._stream.read(allowed) if allowed > 0 else b""
        self._raw_bytes += len(found)
        self._raw_hash.update(found)
        return found

    def _decompress(self) -> Iterator[bytes | memoryview]:
        first = b""
        while len(first) < 512 and (more := self._raw()):
            first += more
        if first.startswith(b"\x1f\x8b"):
            self.compression = "gzip"
            yield from self._gzip(first)
        elif first.startswith(b"\x28\xb5\x2f\xfd") or first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50:
            self.compression = "zstd"
            yield from self._zstd(first)
        elif first.startswith((b"BZh", b"\xfd7zXZ\x00", b"PK\x03\x04", b"7z\xbc\xaf")):
            raise Damaged("the layer is compressed in a way that no layer media type allows")
        elif first:
            self.compression = "none"
            yield first
            while more := self._raw(CHUNK):
                yield more

    def _gzip(self, pending: bytes) -> Iterator[bytes]:
        reader = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        members = 1
        while True:
            try:
                out: bytes = reader.decompress(pending, CHUNK)
            except _GZIP_ERRORS as error:
                raise Damaged(f"the gzip stream is corrupt: {error}") from None
            pending = b""
            if out:
                yield out
            if reader.eof:
                pending = reader.unused_data or self._raw()
                if not pending:
                    return
                members += 1
                if members > MAX_MEMBERS:
                    raise Overrun("members", f"has more than {MAX_MEMBERS} gzip members", members)
                reader = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            elif reader.needs_input:
                pending = self._raw()
                if not pending:
                    raise Damaged("the gzip stream is cut off")
            elif not out:
                raise Damaged("the gzip stream does not go on")

    def _zstd(self, pending: bytes) -> Iterator[memoryview]:
        decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        frames = 0
        while pending:
            frames += 1
            if frames > MAX_MEMBERS:
                raise Overrun("members", f"has more than {MAX_MEMBERS} zstd frames", frames)
            frame = decoder.decompressobj()
            while not frame.eof:
                if not pending:
                    raise Damaged("the zstd stream is cut off")
                step, pending = pending[:ZSTD_STEP], pending[ZSTD_STEP:]
                try:
                    out = memoryview(frame.decompress(step))
                except zstandard.ZstdError as error:
                    raise Damaged(f"the zstd stream is corrupt: {error}") from None
                for start in range(0, len(out), CHUNK):
                    yield out[start : start + CHUNK]
                pending = pending or self._raw(16 * 1024)
            pending = frame.unused_data + pending
            pending = pending or self._raw(16 * 1024)
