"""Zip archives in memory, as far as a catalogue needs them: the names, and a few members.

1. Only the central directory is read (APPNOTE.TXT 4.3.12), as a Java runtime does; members by their offsets.
2. One `Allowance` bounds a whole file with all archives in it: entries, bytes that are inflated, bytes that are held
   at a time, depth. What goes beyond is refused.
3. Members that are read may not overlap, be encrypted, or have another length or checksum than the directory says.
4. Bytes before the archive (the start script of an executable jar) are skipped. Zip64 is read (4.3.14).
"""

import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MIB = 1024 * 1024
_STORED, _DEFLATED = 0, 8
_END = struct.Struct("<4s4xHHLLH")
_END64 = struct.Struct("<4s20xQQQQ")
_LOCATOR64 = struct.Struct("<4s4xQ4x")
_ENTRY = struct.Struct("<4s4xHH4xLLLHHH8xL")
_LOCAL = struct.Struct("<4s2xHH4x12xHH")
_ENCRYPTED = 0x1
_UTF8 = 0x800
_LONGEST_COMMENT = 0xFFFF
_MANY = 0xFFFFFFFF


class BadZip(Exception):
    """The archive is none, is damaged, or is beyond what may be read. The reason stands after a path."""


class NoZip(BadZip):
    """There is no directory of a zip archive in the bytes: no program opens them as one."""


@dataclass
class Allowance:
    """What is left for one file of the image: entries of directories, bytes inflated in all, bytes inflated and held
    at one time, bytes of texts that are looked through, archives, and how deep they may lie in one another."""

    entries: int = 1_000_000
    archives: int = 10_000
    texts: int = 64 * MIB
    inflated: int = 512 * MIB
    held: int = 96 * MIB
    depth: int = 6


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the central directory; sizes in bytes, `offset` of its local header from the archive's start."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


@dataclass
class Zip:
    """An archive in `body`; its directory has been found, members are read on demand."""

    body: memoryview
    allowance: Allowance
    start: int = 0
    entries: int = 0
    directory: int = 0
    directory_size: int = 0
    _taken: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def open(cls, body: bytes | memoryview, allowance: Allowance) -> "Zip":
        """Raises NoZip or BadZip."""
        view = memoryview(body)
        if allowance.archives == 0:
            raise BadZip("holds more archives than are read")
        allowance.archives -= 1
        at = _end_of_directory(view)
        _, here, entries, size, offset, _ = _END.unpack_from(view, at)
        end = at
        if 0xFFFF in (here, entries) or _MANY in (size, offset):
            end, entries, size, offset = _zip64(view, at, (end, entries, size, offset))
        start = end - size - offset
        if start < 0 or entries > allowance.entries or entries * _ENTRY.size > size:
            raise BadZip("has a directory that cannot be right, or is too long to read")
        allowance.entries -= entries
        return cls(view, allowance, start, entries, end - size, size)

    def members(self, wanted: Callable[[bytes], bool]) -> Iterator[Member]:
        """The entries whose raw name is wanted, in the order of the directory. Raises BadZip."""
        at, end = self.directory, self.directory + self.directory_size
        view = self.body
        for _ in range(self.entries):
            if at + _ENTRY.size > end:
                raise BadZip("has a directory that is cut off")
            magic, flags, method, crc, packed, size, n, e, c, offset = _ENTRY.unpack_from(view, at)
            if magic != b"PK\x01\x02":
                raise BadZip("has a damaged directory")
            begin = at + _ENTRY.size
            at = begin + n + e + c
            if at > end:
                raise BadZip("has a directory that is cut off")
            name = bytes(view[begin : begin + n])
            if not wanted(name):
                continue
            if _MANY in (packed, size, offset):
                packed, size, offset = _large(bytes(view[begin + n : begin + n + e]), packed, size, offset)
            text = name.decode("utf-8" if flags & _UTF8 else "cp437", "replace")
            yield Member(text, flags, method, crc, packed, size, offset)

    def read(self, member: Member, most: int) -> memoryview:
        """The bytes of a member of at most `most` bytes; a stored one is not copied. Raises BadZip."""
        if member.flags & _ENCRYPTED:
            raise BadZip("is encrypted")
        if member.size > most:
            raise BadZip(f"is larger than {most} bytes")
        packed = self._packed(member)
        if member.method == _STORED:
            if member.packed != member.size:
                raise BadZip("has a false length")
            return packed
        if member.method != _DEFLATED:
            raise BadZip(f"is compressed by method {member.method}, which is not read")
        self._spend(member.size)
        try:
            inflater = zlib.decompressobj(-15)
            out = inflater.decompress(packed, member.size + 1)
        except zlib.error as error:
            raise BadZip("is damaged") from error
        if len(out) != member.size or not inflater.eof or zlib.crc32(out) != member.crc:
            raise BadZip("is damaged, or has a false length")
        return memoryview(out)

    def _packed(self, member: Member) -> memoryview:
        at = self.start + member.offset
        if at + _LOCAL.size > self.directory:
            raise BadZip("lies outside of the archive")
        magic, flags, method, n, e = _LOCAL.unpack_from(self.body, at)
        begin = at + _LOCAL.size + n + e
        end = begin + member.packed
        if magic != b"PK\x03\x04" or end > self.directory:
            raise BadZip("lies outside of the archive")
        if flags & _ENCRYPTED or method != member.method:
            raise BadZip("is described in two different ways")
        place = bisect_left(self._taken, (at, 0))
        before = self._taken[place - 1][1] if place else 0
        after = self._taken[place][0] if place < len(self._taken) else end
        if after != at:  # else the same entry is listed twice
            if at < before or after < end:
                raise BadZip("overlaps with another entry")
            self._taken.insert(place, (at, end))
        return self.body[begin:end]

    def _spend(self, size: int) -> None:
        allowed = self.allowance
        if size > allowed.inflated or size > allowed.held:
            raise BadZip("holds more than may be unpacked")
        allowed.inflated -= size


def _end_of_directory(view: memoryview) -> int:
    """Where the end record is: the last one whose comment ends within the bytes."""
    if len(view) < _END.size:
        raise NoZip("is no zip archive")
    first = max(0, len(view) - _END.size - _LONGEST_COMMENT)
    tail = bytes(view[first:])
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        behind = len(tail) - at - _END.size
        if behind >= 0 and int.from_bytes(tail[at + 20 : at + 22], "little") <= behind:
            return first + at
        at = tail.rfind(b"PK\x05\x06", 0, at + 3)
    raise NoZip("is no zip archive")


def _zip64(view: memoryview, at: int, known: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """(end of the directory, entries, size, offset) of a zip64 archive; `known` if it is none after all."""
    if at < _LOCATOR64.size:
        return known
    magic, where = _LOCATOR64.unpack_from(view, at - _LOCATOR64.size)
    if magic != b"PK\x06\x07":
        return known
    # The stated place is from the start of the archive, which other bytes may precede; the record has 56 bytes.
    for place in (where, at - _LOCATOR64.size - _END64.size):
        if 0 <= place <= at - _LOCATOR64.size - _END64.size and bytes(view[place : place + 4]) == b"PK\x06\x06":
            _, _, entries, size, offset = _END64.unpack_from(view, place)
            return place, entries, size, offset
    raise BadZip("has a damaged directory")


def _large(extra: bytes, packed: int, size: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset of an entry with the extra field of zip64 (APPNOTE.TXT 4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field8 = extra[at + 4 : at + 4 + length]
            values = iter(struct.unpack_from(f"<{len(field8) // 8}Q", field8))
            size = next(values, -1) if size == _MANY else size
            packed = next(values, -1) if packed == _MANY else packed
            offset = next(values, -1) if offset == _MANY else offset
            if min(size, packed, offset) >= 0:
                return packed, size, offset
            break
        at += 4 + length
    raise BadZip("has a damaged directory")
