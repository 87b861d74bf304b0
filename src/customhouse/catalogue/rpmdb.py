"""The three forms in which rpm keeps its database, each read just as far as to give the header of every package.

1. sqlite (rpm ≥ 4.16): the table `Packages(hnum, blob)`, found in the schema on page 1 and walked leaf by leaf with the
   overflow pages of its rows. https://www.sqlite.org/fileformat2.html No SQL is run: a publisher's schema stays data.
2. ndb (SUSE): pages of slots that point at blobs in blocks of sixteen bytes. (rpm, lib/backend/ndb/rpmpkg.c)
3. bdb (rpm < 4.16): a hash of Berkeley DB; its values are chains of overflow pages. (db-5.3, src/dbinc/db_page.h)
4. A form is known by its magic, not by its name. Every page is visited once at most, so that a cycle ends; bytes given
   out are bounded by `budget`, since rows may share pages.
5. A row that cannot be put together is told as a problem and the others are still read.
"""

import struct
from collections.abc import Iterator

from customhouse.catalogue.package import MOST_PACKAGES

SQLITE_MAGIC = b"SQLite format 3\0"
NDB_MAGIC = b"RpmP"
BDB_HASH_MAGIC = 0x061561
LONGEST_BLOB = 64 << 20
MOST_TREE_DEPTH = 20


class BrokenDatabase(Exception):
    """The database as a whole cannot be read; the text says why."""


def headers(raw: bytes) -> Iterator[bytes | str]:
    """The blob of each package, or a sentence about one that cannot be read. Raises BrokenDatabase."""
    left = 4 * len(raw) + (1 << 20)
    for number, found in enumerate(_form(raw), start=1):
        if number > MOST_PACKAGES:
            raise BrokenDatabase(f"lists more than {MOST_PACKAGES} packages")
        left -= len(found) + 64
        if left < 0:
            raise BrokenDatabase("has rows that share their pages")
        yield found


def _form(raw: bytes) -> Iterator[bytes | str]:
    if raw.startswith(SQLITE_MAGIC):
        return _Sqlite(raw).rows()
    if raw.startswith(NDB_MAGIC):
        return _ndb(raw)
    for order in "<>":
        if len(raw) >= 512 and struct.unpack_from(order + "I", raw, 12)[0] == BDB_HASH_MAGIC:
            return _bdb(raw, order)
    raise BrokenDatabase("is in no form of an rpm database that is known (sqlite, ndb, bdb hash)")


class _Sqlite:
    """Page 1 is the schema's; numbers are big endian; a table is a tree of interior (5) and leaf (13) pages."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) < 512:
            raise BrokenDatabase("is cut off")
        size = struct.unpack_from(">H", raw, 16)[0]
        self.size = 65536 if size == 1 else size
        if self.size < 512 or self.size & (self.size - 1):
            raise BrokenDatabase("has no valid page size")
        self.usable = self.size - raw[20]
        if self.usable < 480:
            raise BrokenDatabase("has no valid page size")
        if struct.unpack_from(">I", raw, 56)[0] not in (0, 1):
            raise BrokenDatabase("keeps its texts in another encoding than UTF-8")
        self.raw = raw
        self.pages = len(raw) // self.size
        self._seen: set[int] = set()

    def rows(self) -> Iterator[bytes | str]:
        root = self._root()
        self._seen.clear()
        for payload in self._table(root):
            if isinstance(payload, str):
                yield payload
                continue
            columns = _record(payload)
            blob = columns[1] if len(columns) > 1 else None
            yield blob if isinstance(blob, bytes) else "a row of Packages holds no header"

    def _root(self) -> int:
        for payload in self._table(1):
            columns = _record(payload) if isinstance(payload, bytes) else []
            if len(columns) > 3 and columns[0] == b"table" and columns[1] == b"Packages":
                root = columns[3]
                if isinstance(root, int) and 1 < root <= self.pages:
                    return root
                raise BrokenDatabase("has a table Packages that lies nowhere")
        raise BrokenDatabase("has no table Packages")

    def _table(self, root: int) -> Iterator[bytes | str]:
        waiting = [(root, 0)]
        while waiting:
            number, depth = waiting.pop()
            page, kind, cells = self._page(number)
            if kind == 13:
                for at in cells:
                    yield self._payload(page, at)
                continue
            if depth > MOST_TREE_DEPTH:
                raise BrokenDatabase("is a tree that is too deep")
            head = 100 if number == 1 else 0
            below = [_u32(page, at) for at in cells] + [_u32(page, head + 8)]
            waiting.extend((child, depth + 1) for child in reversed(below))

    def _page(self, number: int) -> tuple[bytes, int, list[int]]:
        if not 1 <= number <= self.pages or number in self._seen:
            raise BrokenDatabase(f"names page {number} twice or without having it")
        self._seen.add(number)
        page = self.raw[(number - 1) * self.size : number * self.size]
        head = 100 if number == 1 else 0
        kind = page[head]
        if kind not in (5, 13):
            raise BrokenDatabase(f"has a page {number} that is none of a table")
        count = struct.unpack_from(">H", page, head + 3)[0]
        start = head + (12 if kind == 5 else 8)
        if start + 2 * count > len(page):
            raise BrokenDatabase(f"has a page {number} with more rows than room")
        return page, kind, list(struct.unpack_from(f">{count}H", page, start))

    def _payload(self, page: bytes, at: int) -> bytes | str:
        length, at = _varint(page, at)
        _, at = _varint(page, at)
        if length > min(LONGEST_BLOB, len(self.raw)):
            return "a row is longer than the file or than any package's header"
        # How much of a row stays on its page: file format §1.6, table leaf cells.
        most = self.usable - 35
        local = length
        if length > most:
            least = (self.usable - 12) * 32 // 255 - 23
            local = least + (length - least) % (self.usable - 4)
            local = local if local <= most else least
        parts, left = [page[at : at + local]], length - local
        following = _u32(page, at + local) if left else 0
        visited: set[int] = set()
        while left:
            if not 1 <= following <= self.pages or following in visited:
                return "a row goes on at a page that the file has not, or goes round in a circle"
            visited.add(following)
            start = (following - 1) * self.size
            parts.append(self.raw[start + 4 : start + min(self.usable, 4 + left)])
            left -= len(parts[-1])
            following = _u32(self.raw, start)
        return b"".join(parts)


def _record(payload: bytes) -> list[bytes | int | None]:
    """The first columns of a row (file format §2.1): texts and blobs as bytes, numbers as int, all else None."""
    end, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < min(end, len(payload)) and len(kinds) < 5:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    columns: list[bytes | int | None] = []
    at = end
    for kind in kinds:
        if kind >= 12:
            size = (kind - 12) // 2
            columns.append(payload[at : at + size] if at + size <= len(payload) else None)
        else:
            size = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[kind]
            number = int.from_bytes(payload[at : at + size], "big", signed=True)
            columns.append(number if kind in (1, 2, 3, 4, 5, 6) else int(kind == 9) if kind in (8, 9) else None)
        at += size
    return columns


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        byte = raw[at] if at < len(raw) else 0
        at += 1
        if index == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 127
        if byte < 128:
            break
    return value, at


def _u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "big")


def _ndb(raw: bytes) -> Iterator[bytes | str]:
    if len(raw) < 32:
        raise BrokenDatabase("is cut off")
    _, _, _, pages = struct.unpack_from("<4sIII", raw)
    end = min(pages * 4096, len(raw))
    seen: set[int] = set()
    for at in range(32, end - 15, 16):
        magic, index, block, _ = struct.unpack_from("<4sIII", raw, at)
        if magic != b"Slot":
            raise BrokenDatabase("has a page of slots that holds something else")
        if not index:
            continue
        start = block * 16
        if start in seen or start + 16 > len(raw):
            yield f"package {index} lies nowhere, or where another lies"
            continue
        seen.add(start)
        magic, again, _, length = struct.unpack_from("<4sIII", raw, start)
        if magic != b"BlbS" or again != index or start + 16 + length > len(raw):
            yield f"package {index} is cut off"
            continue
        yield raw[start + 16 : start + 16 + length]


def _bdb(raw: bytes, order: str) -> Iterator[bytes | str]:
    size, last = struct.unpack_from(order + "I", raw, 20)[0], struct.unpack_from(order + "I", raw, 32)[0]
    if size < 512 or size > 65536 or size & (size - 1):
        raise BrokenDatabase("has no valid page size")
    if raw[24]:
        raise BrokenDatabase("is encrypted")
    if (last + 1) * size > len(raw):
        raise BrokenDatabase("is cut off")
    used: set[int] = set()
    for number in range(1, last + 1):
        start = number * size
        if raw[start + 25] not in (2, 13):  # the two kinds of a hash page
            continue
        count = struct.unpack_from(order + "H", raw, start + 20)[0]
        if 26 + 2 * count > size:
            yield f"page {number} has more items than room"
            continue
        places = struct.unpack_from(f"{order}{count}H", raw, start + 26)
        for place in places[1::2]:  # keys and values take turns
            if place < size and raw[start + place] != 3:  # a value on the page itself is rpm's counter
                continue
            if place + 12 > size:
                yield f"page {number} has an item outside of it"
                continue
            following, length = struct.unpack_from(order + "II", raw, start + place + 4)
            yield _overflow(raw, order, size, following, length, used)


def _overflow(raw: bytes, order: str, size: int, following: int, length: int, used: set[int]) -> bytes | str:
    parts, left = [], length
    while following and left > 0:
        start = following * size
        if following in used or start + size > len(raw) or raw[start + 25] != 7:
            return "a package goes on at a page that is not there, is another's, or goes round in a circle"
        used.add(following)
        (following,) = struct.unpack_from(order + "I", raw, start + 16)
        (room,) = struct.unpack_from(order + "H", raw, start + 22)
        part = raw[start + 26 : start + size] if following else raw[start + 26 : start + 26 + room]
        parts.append(part[:left])
        left -= len(parts[-1])
    return "a package is cut off" if left else b"".join(parts)
