"""A scan as bytes: what a child process hands to its parent, and what the cache keeps.

1. The bytes carry their own SHA-256, so that torn or altered ones are `Torn` and nothing else.
2. Position and descriptor are not in them: the same layer stands in many images.
3. Decoding makes typed values only; no more than `LARGEST` bytes come out, whatever the bytes claim.
(MessagePack; Zstandard frames with content size, RFC 8878.)
"""

import hashlib
from typing import Any

import msgspec
import zstandard
from msgspec.structs import force_setattr

from customhouse.oci.compression import Compression
from customhouse.oci.digest import Digest, InvalidDigest
from customhouse.oci.entry import FileEntry, Violation
from customhouse.oci.layer import LayerScan
from customhouse.oci.manifest import Descriptor
from customhouse.oci.reader import Learnt

FORMAT = b"customhouse-scan-1\n"
LARGEST = 512 * 1024 * 1024
_HEAD = len(FORMAT) + 32


class Torn(Exception):
    """Not the bytes of a scan: cut off, altered, or of another version."""


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    computed: str | None
    diff_id: str | None
    compressed_size: int
    size: int
    compression: Compression
    entries: tuple[FileEntry, ...]
    whiteouts: tuple[str, ...]
    opaque: tuple[str, ...]
    contents: dict[str, bytes]
    unread: frozenset[str]
    facts: dict[str, tuple[dict[str, tuple[Any, ...]], dict[str, str]]]
    violations: tuple[Violation, ...]
    damage: str | None
    complete: bool


# ValueError: text that is no UTF-8.
_BROKEN = (msgspec.MsgspecError, zstandard.ZstdError, InvalidDigest, ValueError, RecursionError, MemoryError)
_encoder = msgspec.msgpack.Encoder(enc_hook=str)  # digests
_decoder = msgspec.msgpack.Decoder(_Packed)


def pack(scan: LayerScan) -> bytes:
    """The scan as bytes. Its facts must be JSON, as `oci.reader.learn` makes sure."""
    plain = _encoder.encode(
        _Packed(
            computed=scan.computed, diff_id=scan.diff_id, compressed_size=scan.compressed_size, size=scan.size,
            compression=scan.compression, entries=scan.entries, whiteouts=scan.whiteouts, opaque=scan.opaque,
            contents=dict(scan.contents), unread=scan.unread,
            facts={name: (learnt.facts, learnt.unread) for name, learnt in scan.facts.items()},
            violations=scan.violations, damage=scan.damage, complete=scan.complete,
        )  # fmt: skip
    )
    body = zstandard.ZstdCompressor(level=1).compress(plain)
    return FORMAT + hashlib.sha256(body).digest() + body


def unpack(raw: bytes | bytearray, descriptor: Descriptor, layer: int) -> LayerScan:
    """The scan of this layer at this position. Raises Torn."""
    view = memoryview(raw)
    if bytes(view[: len(FORMAT)]) != FORMAT:
        raise Torn("no scan, or one of another version")
    body = view[_HEAD:]
    if hashlib.sha256(body).digest() != view[len(FORMAT) : _HEAD]:
        raise Torn("the scan is not what was written")
    try:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= LARGEST:
            raise Torn("the scan is too large")
        packed = _decoder.decode(zstandard.ZstdDecompressor().decompress(body))
        computed = Digest(packed.computed) if packed.computed else None
        diff_id = Digest(packed.diff_id) if packed.diff_id else None
    except _BROKEN as error:
        raise Torn(f"the scan cannot be read ({type(error).__name__})") from None
    if layer:
        for entry in packed.entries:
            force_setattr(entry, "layer", layer)
    return LayerScan(
        descriptor=descriptor, computed=computed, diff_id=diff_id, compressed_size=packed.compressed_size,
        size=packed.size, compression=packed.compression, entries=packed.entries, whiteouts=packed.whiteouts,
        opaque=packed.opaque, contents=packed.contents, unread=packed.unread,
        facts={name: Learnt(facts, unread) for name, (facts, unread) in packed.facts.items()},
        violations=packed.violations, damage=packed.damage, complete=packed.complete,
    )  # fmt: skip
