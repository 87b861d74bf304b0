"""Fuzzing of layers: the walk over a tar, the streams it may come in, and what a child says of it."""

import gzip
import hashlib
import io
from collections.abc import Iterator

import zstandard

from customhouse.oci.digest import Digest
from customhouse.oci.filesystem import Filesystem
from customhouse.oci.layer import LayerScan, scan_layer
from customhouse.oci.manifest import OCI_LAYER, Descriptor
from customhouse.oci.wants import Budget, Wants
from customhouse.scanning.wire import FORMAT, Torn, pack, unpack
from customhouse.testing.images import Device, File, Folder, Hardlink, Symlink, layer
from tests.scanning.readers import WORDS

SMALL = Budget(
    unpacked=1 << 20, entries=200, names=20_000, extension=4096, file=4096, contents=8192, heads=8192, facts=4096,
    ratio_floor=1 << 18,
)  # fmt: skip
WANTS = Wants(frozenset({"etc/passwd", "**/*.conf"}), (WORDS,))
TREES: tuple[dict[str, object], ...] = (
    {"etc/passwd": b"root:x:0:0\n", "a.txt": b"one two", "bad.txt": b"fail"},
    {"d": Folder(0o1777), "l": Symlink("../x"), "h": b"x", "k": Hardlink("h"), "f": Device(kind="fifo")},
    {"x/.wh..wh..opq": b"", "x/.wh.y": b"", "b": File(b"\x7fELF" + bytes(600), 0o4755, 1, 2, {"user.a": b"\0"})},
    {"n" * 90 + "/" + "m" * 150: b"long", "é.conf": b"a=1"},
)
COMPRESSIONS = 3


def _scanned(raw: bytes) -> LayerScan:
    found = scan_layer(io.BytesIO(raw), Descriptor(OCI_LAYER, Digest.of(raw), len(raw)), WANTS, SMALL)
    assert found.computed == found.digest and found.compressed_size == len(raw)
    assert len(found.entries) <= SMALL.entries and found.size <= SMALL.unpacked + (1 << 21)
    assert found.complete or found.damage or found.violations
    assert sum(map(len, found.contents.values())) <= SMALL.contents
    assert unpack(pack(found), found.descriptor, 0) == found
    for entry in Filesystem.merged([found, found]).walk():
        assert ".." not in entry.path.split("/") and not entry.path.startswith("/")
    return found


def tar(data: bytes) -> bool:
    """The bytes of a tar, as they are."""
    return _scanned(data).complete


def tar_seeds() -> Iterator[bytes]:
    yield from (layer(tree).tar for tree in TREES)  # type: ignore[arg-type]


def stream(data: bytes) -> bool:
    """The first byte says what is done with the rest: taken as a blob, or packed, so that the tar in it is reached."""
    if not data:
        return False
    kind, rest = data[0] % COMPRESSIONS, data[1:]
    if kind == 1:
        rest = gzip.compress(rest, 1, mtime=0)
    elif kind == 2:
        rest = zstandard.compress(rest)
    return _scanned(rest).complete


def stream_seeds() -> Iterator[bytes]:
    for tree in TREES:
        plain = layer(tree).tar  # type: ignore[arg-type]
        yield b"\0" + gzip.compress(plain, 6, mtime=0)
        yield b"\0" + zstandard.compress(plain)
        yield b"\1" + plain


def kept_scan(data: bytes) -> bool:
    """What a child said, or a file of the cache, behind a digest that fits."""
    packed = zstandard.compress(data)
    descriptor = Descriptor(OCI_LAYER, Digest.of(b""), 0)
    try:
        found = unpack(FORMAT + hashlib.sha256(packed).digest() + packed, descriptor, 1)
    except Torn:
        return False
    assert all(entry.layer == 1 for entry in found.entries)
    return True


def kept_scan_seeds() -> Iterator[bytes]:
    for raw in stream_seeds():
        if raw[0] == 0:
            yield zstandard.decompress(pack(_scanned(raw[1:]))[len(FORMAT) + 32 :])
