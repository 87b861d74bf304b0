"""Where the named sections of an ELF file lie, and what its addresses mean. https://refspecs.linuxfoundation.org/elf/

Only what cataloguers ask is read: names, places and sizes of sections, and the loaded segments. A table that points out
of the file is as if it were absent; counts are bounded.
"""

import struct
from dataclasses import dataclass
from typing import Literal

MAGIC = b"\x7fELF"
MOST_SECTIONS = 20_000
MOST_SEGMENTS = 2_000
_NOBITS, _LOAD = 8, 1


@dataclass(frozen=True)
class Elf:
    """`sections`: (offset, size) by name, the first of a name; `loads`: (address, offset, size in the file)."""

    order: Literal["<", ">"]
    wide: bool
    sections: dict[str, tuple[int, int]]
    loads: tuple[tuple[int, int, int], ...]

    def offset_of(self, address: int) -> int | None:
        """Where the bytes of a loaded address lie in the file."""
        for start, offset, size in self.loads:
            if start <= address < start + size:
                return offset + address - start
        return None


def parse_elf(body: bytes) -> Elf | None:
    """None if the bytes begin as no ELF file does."""
    if not body.startswith(MAGIC) or len(body) < 64 or body[4] not in (1, 2) or body[5] not in (1, 2):
        return None
    wide = body[4] == 2
    order: Literal["<", ">"] = "<" if body[5] == 1 else ">"
    phoff, shoff = struct.unpack_from(order + ("QQ" if wide else "II"), body, 32 if wide else 28)
    phsize, phnum, shsize, shnum, names = struct.unpack_from(f"{order}5H", body, 54 if wide else 42)
    loads = _loads(body, order, wide, phoff, phsize, min(phnum, MOST_SEGMENTS))
    return Elf(order, wide, _sections(body, order, wide, shoff, shsize, min(shnum, MOST_SECTIONS), names), loads)


def _loads(body: bytes, order: str, wide: bool, at: int, size: int, count: int) -> tuple[tuple[int, int, int], ...]:
    if size != (56 if wide else 32) or at + size * count > len(body):
        return ()
    found = []
    for number in range(count):
        if wide:
            kind, _, offset, address, _, length = struct.unpack_from(order + "IIQQQQ", body, at + size * number)
        else:
            kind, offset, address, _, length = struct.unpack_from(order + "IIIII", body, at + size * number)
        if kind == _LOAD and offset + length <= len(body):
            found.append((address, offset, length))
    return tuple(found)


def _sections(
    body: bytes, order: str, wide: bool, at: int, size: int, count: int, names: int
) -> dict[str, tuple[int, int]]:
    if size != (64 if wide else 40) or at + size * count > len(body) or names >= count:
        return {}
    form = order + ("IIQQQQ" if wide else "IIIIII")
    table = [struct.unpack_from(form, body, at + size * number) for number in range(count)]
    _, _, _, _, base, length = table[names]
    if base + length > len(body):
        return {}
    found: dict[str, tuple[int, int]] = {}
    for name, kind, _, _, offset, room in table:
        if kind == _NOBITS or offset + room > len(body) or name >= length:
            continue
        end = body.find(b"\0", base + name, min(base + length, base + name + 64))
        if end > base + name:
            found.setdefault(body[base + name : end].decode("ascii", "replace"), (offset, room))
    return found
