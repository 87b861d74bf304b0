"""The fields of a tar header and of its pax extension, read as Go's archive/tar reads them.

Each function raises Damaged for what no reader could take for a header. (POSIX pax §ustar, §pax Extended Header; GNU
base-256 numbers; SCHILY and LIBARCHIVE extended attributes.)
"""

import base64
import binascii
from collections.abc import Mapping

from customhouse.oci.compression import Damaged
from customhouse.oci.entry import NO_XATTRS


def checksum_holds(header: bytes) -> bool:
    try:
        stored = number(header[148:156])
    except Damaged:
        return False
    unsigned = sum(header) - sum(header[148:156]) + 8 * 32
    if stored == unsigned:
        return True
    rest = header[:148] + header[156:]
    return stored == unsigned - 256 * sum(byte > 127 for byte in rest)


def number(field: bytes) -> int:
    """Octal text or GNU base-256, as Go reads them. Raises Damaged."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if not -(2**63) <= value < 2**63:
            raise Damaged("a number in a tar header does not fit 64 bits")
        return value
    text = field.strip(b" \0").split(b"\0", 1)[0]
    if not text:
        return 0
    if not text.isdigit() or b"8" in text or b"9" in text:
        raise Damaged(f"a tar header holds {text[:20]!r} for a number")
    return int(text, 8)


def stored_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0", 1)[0]
        if prefix:
            return prefix + b"/" + name
    return name


def pax_records(body: bytes) -> dict[str, bytes]:
    """The records `LENGTH KEY=VALUE\\n`. Raises Damaged."""
    found: dict[str, bytes] = {}
    start = 0
    while start < len(body):
        space = body.find(b" ", start, start + 20)
        digits = body[start:space] if space > 0 else b""
        if not digits.isdigit():
            raise Damaged("a pax header holds no record length")
        end = start + int(digits)
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if end > len(body) or end <= space + 1 or body[end - 1 : end] != b"\n" or not equals or not key:
            raise Damaged("a pax header is broken")
        name = key.decode("utf-8", "backslashreplace")
        if value or name not in found:
            found[name] = value
        start = end
    return found


def decimal(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 19 or int(text) >= 2**63:
        raise Damaged(f"a pax header holds {text[:20]!r} for {what}")
    return int(text)


def seconds(text: bytes) -> int:
    whole = text.split(b".", 1)[0]
    sign = -1 if whole.startswith(b"-") else 1
    digits = whole.removeprefix(b"-")
    return sign * decimal(digits, "mtime") if digits else 0


def xattrs(pax: dict[str, bytes]) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for key, value in pax.items():
        if key.startswith("SCHILY.xattr."):
            found[key.removeprefix("SCHILY.xattr.")] = value
        elif key.startswith("LIBARCHIVE.xattr."):
            try:
                found.setdefault(key.removeprefix("LIBARCHIVE.xattr."), base64.b64decode(value + b"==", validate=False))
            except (binascii.Error, ValueError):
                raise Damaged("a pax header holds an extended attribute that is no base64") from None
    return found or NO_XATTRS


def shown(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
