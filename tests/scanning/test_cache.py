"""The cache of scans: a torn file is a miss, what has a say in a scan is in its key, and it does not grow for ever."""

import hashlib
import io
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from customhouse.oci.digest import Digest
from customhouse.oci.layer import LayerScan, scan_layer
from customhouse.oci.manifest import OCI_LAYER_GZIP, Descriptor
from customhouse.oci.wants import Budget, Wants
from customhouse.scanning.cache import ScanCache
from customhouse.scanning.wire import FORMAT, Torn, pack, unpack
from customhouse.testing.images import File, Hardlink, Layer, layer
from tests.scanning.readers import WORDS, Counted

WANTS = Wants(frozenset({"etc/passwd"}), (WORDS,))
TREE = {
    "etc/passwd": b"root", "a.txt": b"one two", "bad.txt": b"fail", "c": Hardlink("b"), "etc/.wh.gone": b"",
    "b": File(b"\x7fELF", 0o4755, 1, 2, {"user.a": b"\0"}),
}  # fmt: skip


def scanned(built: Layer | None = None, wants: Wants = WANTS) -> LayerScan:
    raw = (built or layer(TREE)).blob
    return scan_layer(io.BytesIO(raw), Descriptor(OCI_LAYER_GZIP, Digest.of(raw), len(raw)), wants, Budget())


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_scan_comes_back_as_it_went() -> None:
    scan = scanned()
    assert unpack(pack(scan), scan.descriptor, 0) == scan
    assert {entry.layer for entry in unpack(pack(scan), scan.descriptor, 7).entries} == {7}


def test_a_kept_scan_is_found_at_any_position(tmp_path: Path) -> None:
    cache, scan = ScanCache(tmp_path / "cache", 10**6), scanned()
    assert cache.find(scan.descriptor, WANTS, Budget(), 0) is None
    cache.keep(scan, WANTS, Budget())
    assert cache.find(scan.descriptor, WANTS, Budget(), 0) == scan
    found = cache.find(scan.descriptor, WANTS, Budget(unpacked=10**6), 3)
    assert found is not None and found.entries[0].layer == 3


@pytest.mark.parametrize(
    "wants",
    [
        Wants(frozenset({"etc/group"}), (WORDS,)), Wants(WANTS.patterns), Wants(WANTS.patterns, (WORDS, Counted("a"))),
        Wants(WANTS.patterns, (Counted("a", "words"),)), Wants(WANTS.patterns, (Counted("a", "words", 2),)),
    ],
)  # fmt: skip
def test_whoever_asks_for_something_else_finds_nothing(tmp_path: Path, wants: Wants) -> None:
    cache, scan = ScanCache(tmp_path, 10**6), scanned()
    cache.keep(scan, WANTS, Budget())
    assert cache.find(scan.descriptor, wants, Budget(), 0) is None
    assert cache.find(scan.descriptor, WANTS, Budget(heads=1), 0) is None


def test_a_torn_or_altered_file_is_a_miss_and_goes(tmp_path: Path) -> None:
    cache, scan = ScanCache(tmp_path, 10**6), scanned()
    whole = pack(scan)
    for position in range(0, len(whole), max(1, len(whole) // 40)):
        for spoilt in (whole[:position], whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]):
            cache.keep(scan, WANTS, Budget(), spoilt)
            assert cache.find(scan.descriptor, WANTS, Budget(), 0) is None
    assert files(tmp_path) == []


def test_a_scan_of_another_layer_under_this_name_is_a_miss(tmp_path: Path) -> None:
    cache, scan = ScanCache(tmp_path, 10**6), scanned()
    cache.keep(scan, WANTS, Budget(), pack(scanned(layer({"other": b""}))))
    assert cache.find(scan.descriptor, WANTS, Budget(), 0) is None


def test_bytes_that_claim_to_be_huge_are_torn() -> None:
    def framed(body: bytes) -> bytes:
        return FORMAT + hashlib.sha256(body).digest() + body

    descriptor = scanned().descriptor
    bomb = zstandard.ZstdCompressor().compress(bytes(600 * 1024 * 1024))
    long, deep = zstandard.compress(b"\xdd\xff\xff\xff\xff"), zstandard.compress(b"\x91" * 9999)
    for body in (bomb, b"", zlib.compress(b"x"), long, deep):
        with pytest.raises(Torn):
            unpack(framed(body), descriptor, 0)


def test_only_what_will_be_the_same_again_is_kept(tmp_path: Path) -> None:
    cache, scan = ScanCache(tmp_path, 10**6), scanned()
    unsure = {**scan.facts, "words": replace(scan.facts["words"], unread={"a": "could not be read (MemoryError)"})}
    for other in (
        replace(scan, complete=False), replace(scan, damage="cut off"), replace(scan, computed=Digest.of(b"")),
        replace(scan, compressed_size=1), replace(scan, facts=unsure),
    ):  # fmt: skip
        cache.keep(other, WANTS, Budget())
    assert files(tmp_path) == []


def test_the_longest_unused_go_when_it_is_full(tmp_path: Path) -> None:
    scans = [scanned(layer({f"{n}.txt": os.urandom(40).hex().encode()})) for n in range(12)]
    cache = ScanCache(tmp_path, 8 * len(pack(scans[0])))
    for number, scan in enumerate(scans):
        cache.keep(scan, WANTS, Budget())
        for age, file in enumerate(sorted(files(tmp_path), key=lambda path: path.stat().st_mtime)):
            os.utime(file, (1000 + age, 1000 + age))  # clocks of file systems are coarse
        if number:
            assert cache.find(scans[0].descriptor, WANTS, Budget(), 0) is not None, "used all the time"
    assert sum(file.stat().st_size for file in files(tmp_path)) <= 9 * len(pack(scans[0]))
    assert cache.find(scans[1].descriptor, WANTS, Budget(), 0) is None
    assert cache.find(scans[11].descriptor, WANTS, Budget(), 0) is not None


def test_a_folder_that_cannot_be_used_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache, scan = ScanCache(tmp_path / "file" / "cache", 10**6), scanned()
    cache.keep(scan, WANTS, Budget())
    assert cache.find(scan.descriptor, WANTS, Budget(), 0) is None
