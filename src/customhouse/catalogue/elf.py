"""Where the named sections of an ELF file lie, and what its addresses mean. https://refspecs.linuxfoundation.org/elf/

Only what cataloguers ask is read: names, places and sizes of sections, and the loaded segments. A table that points out
of the file is as if it were absent; counts are bounded.
"""

import struct
from dataclasses import dataclass
from typing import Literal

from customhouse.oci.entry import FileEntry

MAGIC = b"\x7fELF"
LARGEST_PROGRAM = 192 << 20
MOST_SECTIONS = 20_000
MOST_SEGMENTS = 2_000
_NOBITS, _LOAD = 8, 1


@dataclass(frozen=True)
class Elf:
    """`table` is (offset, size of a row, rows) of the sections, `names` (offset, size) of their names; of `table` the
    rows are 0 where it cannot be used."""

    body: bytes
    order: Literal["<", ">"]
    wide: bool
    table: tuple[int, int, int]
    names: tuple[int, int]
    segments: tuple[int, int, int]

    def section(self, name: str) -> tuple[int, int] | None:
        """(offset, size) of the first section of this name with bytes in the file."""
        at, size, count = self.table
        base, length = self.names
        place = self.body.find(b"\0" + name.encode() + b"\0", base, base + length) if count else -1
        if place < 0:  # most files end here: no row was looked at
            return None
        form = self.order + ("IIQQQQ" if self.wide else "IIIIII")
        for number in range(count):
            known, kind, _, _, offset, room = struct.unpack_from(form, self.body, at + size * number)
            if known == place + 1 - base and kind != _NOBITS and offset + room <= len(self.body):
                return offset, room
        return None

    def offset_of(self, address: int) -> int | None:
        """Where the bytes of a loaded address lie in the file."""
        at, size, count = self.segments
        for number in range(count):
            if self.wide:
                kind, _, offset, start, _, length = struct.unpack_from(
                    self.order + "IIQQQQ", self.body, at + size * number
                )
            else:
                kind, offset, start, _, length = struct.unpack_from(self.order + "IIIII", self.body, at + size * number)
            if kind == _LOAD and start <= address < start + length and offset + length <= len(self.body):
                found: int = offset + address - start
                return found
        return None


def huge_library(file: FileEntry) -> bool:
    """A shared library that no reader of programs could take whole. Those of numeric packages are of gigabytes and hold
    no list of modules, so they are passed over; a program of that size is a problem."""
    return file.size > LARGEST_PROGRAM and ".so" in file.name


def parse_elf(body: bytes) -> Elf | None:
    """None if the bytes begin as no ELF file does."""
    if not body.startswith(MAGIC) or len(body) < 64 or body[4] not in (1, 2) or body[5] not in (1, 2):
        return None
    wide = body[4] == 2
    order: Literal["<", ">"] = "<" if body[5] == 1 else ">"
    phoff, shoff = struct.unpack_from(order + ("QQ" if wide else "II"), body, 32 if wide else 28)
    phsize, phnum, shsize, shnum, index = struct.unpack_from(f"{order}5H", body, 54 if wide else 42)
    if phsize != (56 if wide else 32) or phnum > MOST_SEGMENTS or phoff + phsize * phnum > len(body):
        phnum = 0
    names = (0, 0)
    if shsize != (64 if wide else 40) or shnum > MOST_SECTIONS or shoff + shsize * shnum > len(body) or index >= shnum:
        shnum = 0
    else:
        row = shoff + shsize * index
        names = struct.unpack_from(order + ("QQ" if wide else "II"), body, row + (24 if wide else 16))
        if sum(names) > len(body):
            shnum, names = 0, (0, 0)
    return Elf(body, order, wide, (shoff, shsize, shnum), names, (phoff, phsize, phnum))
