"""ELF files with sections of our choice, and what Go's linker and cargo-auditable put into them."""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence

SENTINEL = bytes.fromhex("3077af0c9274080241e1c107e6d618e6")
END = bytes.fromhex("f932433186182072008242104116d8f2")


def elf(sections: Mapping[str, bytes], *, wide: bool = True, order: str = "<", tail: bytes = b"") -> bytes:
    """A file of a header, the sections' bytes (each on a multiple of sixteen) and the table of sections."""
    head = 64 if wide else 52
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    body, table = b"", [(0, 0, 0, 0)]
    start = 4096
    for name, content in {**sections, ".shstrtab": names}.items():
        body += bytes(-len(body) % 16)
        kind = 3 if name == ".shstrtab" else 1
        table.append((names.index(b"\0" + name.encode() + b"\0") + 1, kind, start + len(body), len(content)))
        body += content
    body += bytes(-len(body) % 16)
    word = "Q" if wide else "I"
    row = f"{order}II{word * 4}II{word * 2}"
    rows = b"".join(struct.pack(row, n, k, 0, 0x400000 + at, at, size, 0, 0, 1, 0) for n, k, at, size in table)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    program = start  # one segment: all of the file, loaded at 0x400000
    load = (
        struct.pack(order + "IIQQQQQQ", 1, 5, 0, 0x400000, 0, start + len(body), start + len(body), 16)
        if wide
        else struct.pack(order + "IIIIIIII", 1, 0, 0x400000, 0, start + len(body), start + len(body), 5, 16)
    )
    header = ident + struct.pack(
        f"{order}HHI{word * 3}I6H",
        2, 62, 1, 0, head, program + len(body), 0, head, len(load), 1, len(rows) // len(table), len(table),
        len(table) - 1,
    )  # fmt: skip
    return (header + load).ljust(start, b"\0") + body + rows + tail


def go_text(*lines: str) -> bytes:
    return SENTINEL + "".join(line + "\n" for line in lines).encode() + END


def go_section(version: str, *lines: str) -> bytes:
    """As Go ≥ 1.18 writes `.go.buildinfo`."""
    out = (b"\xff Go buildinf:" + bytes([8, 2])).ljust(32, b"\0")
    for text in (version.encode(), go_text(*lines)):
        out += _varint(len(text)) + text
    return out


def go_program(version: str, *lines: str) -> bytes:
    return elf({".text": bytes(5000), ".go.buildinfo": go_section(version, *lines)})


def go_program_of_old(version: str, *lines: str, wide: bool = True, order: str = "<") -> bytes:
    """Before Go 1.18: addresses of two texts."""
    width, word = (8, "Q") if wide else (4, "I")
    text = go_text(*lines)
    data = version.encode().ljust(64, b"\0") + text
    base = 0x400000 + 4096
    magic = b"\xff Go buildinf:" + bytes([width, 0 if order == "<" else 1])
    about = base + 64
    info = (magic + struct.pack(order + word * 2, about, about + 2 * width)).ljust(64, b"\0")
    strings = struct.pack(order + word * 4, base + 128, len(version), base + 192, len(text)).ljust(64, b"\0")
    return elf({".go.buildinfo": info + strings + data}, wide=wide, order=order)


def auditable(packages: Sequence[Mapping[str, object]]) -> bytes:
    return elf({".text": bytes(5000), ".dep-v0": zlib.compress(json.dumps({"packages": packages}).encode())})


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])
