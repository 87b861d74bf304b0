"""Databases of rpm in its three forms, made here: headers of packages, and the files that hold them.

sqlite is written by SQLite itself, with rpm's table; ndb and bdb by a few lines each, after the same pages that
customhouse.catalogue.rpmdb names.
"""

import sqlite3
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

PAGE = 4096


def header(
    name: str,
    version: str = "1.0",
    release: str = "1.el9",
    *,
    epoch: int | None = None,
    arch: str = "x86_64",
    source: str = "",
    vendor: str = "A Vendor",
    license: str = "MIT",
    module: str = "",
    files: Sequence[str] = (),
) -> bytes:
    """One package as rpm stores it."""
    folders = sorted({path.rpartition("/")[0] + "/" for path in files})
    texts = {
        1000: name, 1001: version, 1002: release, 1011: vendor, 1014: license, 1022: arch, 1044: source, 5096: module,
    }  # fmt: skip
    tags: list[tuple[int, int, int, bytes]] = [(t, 6, 1, v.encode() + b"\0") for t, v in texts.items() if v]
    if epoch is not None:
        tags.append((1003, 4, 1, struct.pack(">I", epoch)))
    if files:
        names = [path.rpartition("/")[2] for path in files]
        indexes = [folders.index(path.rpartition("/")[0] + "/") for path in files]
        tags.append((1116, 4, len(files), struct.pack(f">{len(files)}I", *indexes)))
        tags.append((1117, 8, len(files), b"".join(each.encode() + b"\0" for each in names)))
        tags.append((1118, 8, len(folders), b"".join(each.encode() + b"\0" for each in folders)))
    entries, store = b"", b""
    for tag, kind, count, value in sorted(tags):
        store += bytes(-len(store) % 4)
        entries += struct.pack(">IIiI", tag, kind, len(store), count)
        store += value
    return struct.pack(">II", len(tags), len(store)) + entries + store


def sqlite(headers: Sequence[bytes], *, page: int = PAGE) -> bytes:
    """As rpm ≥ 4.16 keeps them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rpmdb.sqlite"
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA page_size={page}")
        connection.execute("CREATE TABLE IF NOT EXISTS 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL)")
        connection.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(each,) for each in headers])
        connection.commit()
        connection.close()
        return path.read_bytes()


def ndb(headers: Sequence[bytes]) -> bytes:
    """As SUSE keeps them: one page of slots, then blobs."""
    slots, blobs = struct.pack("<4sIIIIIII", b"RpmP", 0, 1, 1, len(headers) + 1, 0, 0, 0), b""
    for index, each in enumerate(headers, start=1):
        place = (PAGE + len(blobs)) // 16
        blob = struct.pack("<4sIII", b"BlbS", index, 1, len(each)) + each
        blob += bytes(-(len(blob) + 12) % 16) + struct.pack("<II4s", 0, len(each), b"BlbE")
        slots += struct.pack("<4sIII", b"Slot", index, place, len(blob) // 16)
        blobs += blob
    empty = struct.pack("<4sIII", b"Slot", 0, 0, 0)
    assert len(slots) <= PAGE
    return slots + empty * ((PAGE - len(slots)) // 16) + blobs


def bdb(headers: Sequence[bytes], *, order: str = "<") -> bytes:
    """As rpm kept them before 4.16: a hash whose values lie on overflow pages."""
    hash_items, overflow = [], b""
    first = 2
    for index, each in enumerate(headers, start=1):
        pages = [each[at : at + PAGE - 26] for at in range(0, len(each), PAGE - 26)]
        hash_items.append(b"\1" + struct.pack(order + "I", index))
        hash_items.append(struct.pack(order + "B3xII", 3, first, len(each)))
        for number, part in enumerate(pages):
            following = 0 if number == len(pages) - 1 else first + 1
            head = bytearray(26)
            struct.pack_into(order + "IIIHHBB", head, 8, first, 0, following, 1, len(part), 0, 7)
            overflow += bytes(head) + part + bytes(PAGE - 26 - len(part))
            first += 1
    page, offsets, end = bytearray(PAGE), [], PAGE
    for item in hash_items:
        end -= len(item)
        page[end : end + len(item)] = item
        offsets.append(end)
    struct.pack_into(order + "IIIHHBB", page, 8, 1, 0, 0, len(offsets), end, 0, 13)
    struct.pack_into(f"{order}{len(offsets)}H", page, 26, *offsets)
    meta = bytearray(PAGE)
    struct.pack_into(order + "QIIIIBBBB", meta, 0, 0, 0, 0x061561, 9, PAGE, 0, 8, 0, 0)
    struct.pack_into(order + "I", meta, 32, first - 1)
    return bytes(meta) + bytes(page) + overflow


FORMS = {"rpmdb.sqlite": sqlite, "Packages.db": ndb, "Packages": bdb}
