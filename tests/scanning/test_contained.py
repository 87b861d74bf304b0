"""Layers read in other processes: the same as here, and no reader takes more than its layer with it."""

import io
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from customhouse.catalogue.packages import READERS
from customhouse.certification.check import discover, wants
from customhouse.oci.digest import Digest
from customhouse.oci.image import Content, Image, load_image
from customhouse.oci.layer import LayerScan
from customhouse.oci.scanner import Scanner, read_here
from customhouse.oci.wants import Budget, Wants
from customhouse.scanning import child
from customhouse.scanning.cache import ScanCache
from customhouse.scanning.child import Limits
from customhouse.scanning.contained import ContainedScanner, Progress, UnknownReader, reference
from customhouse.testing.images import BuiltImage, Layer, Symlink, image, layer, tar_layer
from tests.scanning.readers import HOSTILE, PREPARING, WORDS, Counted, Words

WANTS = Wants(frozenset({"etc/passwd", "etc/*.conf"}), (WORDS,))
TREES = [
    {
        "etc/passwd": b"root:x:0:0\n", "etc/a.conf": b"a", "notes.txt": b"one two", "bad.txt": b"fail",
        "bin/sh": Symlink("x"),
    },
    {"etc/.wh.a.conf": b"", "notes.txt": b"three", "var/x": b"\x7fELF" + b"x" * 5000},
    {".wh..wh..opq": b"", "etc/b.conf": b"b"},
]
KINDS = ("gzip", "zstd", "none")
BUILT = image([Layer(layer(tree).tar, kind) for tree, kind in zip(TREES, KINDS, strict=True)], style="oci")  # type: ignore[arg-type]
SHORT = Limits(memory=256 * 1024 * 1024, processor=1, clock=1.5)


def read(
    scanner: Scanner, built: BuiltImage = BUILT, wants: Wants = WANTS, budget: Budget | None = None,
    content: Content | None = None,
) -> Image:
    return load_image(
        content or built.content, built.manifest_raw, wants, budget, media_type=built.media_type, scanner=scanner
    )


def seen(found: Image) -> tuple[object, ...]:
    return found.layers, list(found.fs.walk()), found.fs.read("etc/passwd")


def of_files(built: BuiltImage, folder: Path) -> Content:
    """The blobs as files, which children get as they are."""
    folder.mkdir(exist_ok=True)

    def content(digest: Digest) -> io.BufferedReader:
        file = folder / digest.hex
        if not file.exists():
            with built.content(digest) as stream:
                file.write_bytes(stream.read())
        return file.open("rb")

    return content


def hostile(*words: str) -> BuiltImage:
    return image([layer({"good.txt": b"good"}), *(layer({"it.txt": word.encode()}) for word in words)])


@pytest.fixture(scope="module")
def contained() -> object:
    with ContainedScanner() as scanner:
        yield scanner


def test_an_image_read_by_children_is_the_image_read_here(contained: ContainedScanner, tmp_path: Path) -> None:
    here = read(read_here)
    assert here.layers[0].facts["words"].facts == {"notes.txt": ("one", "two")}
    assert here.layers[0].facts["words"].unread == {"bad.txt": "could not be read (ValueError)"}
    assert seen(read(contained)) == seen(here)
    assert seen(read(contained, content=of_files(BUILT, tmp_path / "blobs"))) == seen(here)


def test_what_a_damaged_layer_is_does_not_depend_on_who_reads_it(contained: ContainedScanner) -> None:
    tar = layer(TREES[0]).tar
    for spoilt in (tar_layer(tar[:700]), tar_layer(b"no tar"), Layer(tar + b"more", "none")):
        built = image([spoilt, layer(TREES[1])])
        assert seen(read(contained, built)) == seen(read(read_here, built))


def test_the_budget_is_that_of_the_whole_image_in_any_order(contained: ContainedScanner) -> None:
    built = image([layer({f"{n}/{m}": b"" for m in range(40)}) for n in range(4)])
    found = read(contained, built, budget=Budget(entries=100))
    assert [scan.complete for scan in found.layers] == [True, True, False, False]
    assert found.layers == read(read_here, built, budget=Budget(entries=100)).layers


@pytest.mark.parametrize("word", ["crash", "hang", "spin"])
def test_a_reader_that_takes_its_process_with_it_is_damage_of_one_layer(word: str) -> None:
    began = time.monotonic()
    with ContainedScanner(limits=SHORT) as scanner:
        found = read(scanner, hostile(word, "fine"), Wants(readers=(HOSTILE,)))
    assert [scan.complete for scan in found.layers] == [True, False, True]
    assert "ended the process" in (found.layers[1].damage or "")
    assert found.layers[2].facts["hostile"].facts == {"it.txt": ("fine",)}
    assert time.monotonic() - began < 20


def test_a_reader_that_eats_memory_is_stopped_at_the_limit() -> None:
    with ContainedScanner(limits=SHORT) as scanner:
        found = read(scanner, hostile("eat", "fine"), Wants(readers=(HOSTILE,)))
    eaten = found.layers[1]
    assert eaten.damage or eaten.facts["hostile"].unread == {"it.txt": "could not be read (MemoryError)"}
    assert found.layers[2].complete


def test_a_child_knows_no_environment_and_no_file_of_its_parent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUSTOMHOUSE_SECRET", "secret")
    with (tmp_path / "open").open("w"), ContainedScanner() as scanner:
        found = read(scanner, hostile("look"), Wants(readers=(HOSTILE,)))
    environment, files, _ = found.layers[1].facts["hostile"].facts["it.txt"]
    assert set(environment) <= {"PYTHONPATH", "LC_ALL", "LC_CTYPE"}  # type: ignore[arg-type]
    assert len(files) <= 8  # type: ignore[arg-type]  # three of any process, the layer, the scan, the lock, the listing


def test_a_child_writes_no_file() -> None:
    target = Path("/tmp/customhouse-escaped")
    target.unlink(missing_ok=True)
    with ContainedScanner() as scanner:
        found = read(scanner, hostile("write"), Wants(readers=(HOSTILE,)))
    written = target.exists() and target.stat().st_size
    target.unlink(missing_ok=True)
    assert not written and (found.layers[1].damage or found.layers[1].facts["hostile"].unread)


def test_facts_that_cannot_be_written_make_the_file_unread(contained: ContainedScanner) -> None:
    found = read(contained, hostile("surrogate"), Wants(readers=(HOSTILE,)))
    assert seen(found) == seen(read(read_here, hostile("surrogate"), Wants(readers=(HOSTILE,))))
    assert "it.txt" in found.layers[1].facts["hostile"].unread


def test_a_reader_with_values_is_made_with_them_in_the_child(contained: ContainedScanner) -> None:
    found = read(contained, hostile("banana"), Wants(readers=(Counted("a"),)))
    assert found.layers[1].facts["counted"].facts == {"it.txt": (3,)}
    again = read(contained, hostile("banana"), Wants(readers=(Counted("n"),)))
    assert again.layers[1].facts["counted"].facts == {"it.txt": (2,)}


def test_every_reader_of_the_product_is_found_by_a_child() -> None:
    needed = wants(discover(), readers=READERS)
    named = [child._reader(reference(reader)) for reader in needed.readers]
    assert named == list(needed.readers) and len(named) > 5


def test_a_reader_that_is_no_constant_is_refused(contained: ContainedScanner) -> None:
    with pytest.raises(UnknownReader):
        read(contained, BUILT, Wants(readers=(Words(),)))


def test_content_that_fails_is_an_error_and_no_damage(contained: ContainedScanner) -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            raise OSError("the store is gone")

    config = BUILT.config_raw

    def content(digest: Digest) -> io.IOBase:
        return io.BytesIO(config) if digest == Digest.of(config) else Failing()

    with pytest.raises(OSError, match="gone"):
        read(contained, content=content)  # type: ignore[arg-type]


def test_progress_goes_up_to_the_whole() -> None:
    told: list[Progress] = []
    with ContainedScanner(report=told.append) as scanner:
        read(scanner)
    sizes = sum(len(one.blob) for one in BUILT.layers)
    assert told[-1] == Progress(sizes, sizes, 3, 3)
    assert [one.done for one in told] == sorted(one.done for one in told)


def test_a_scan_is_read_once_and_is_the_same_from_the_cache(tmp_path: Path) -> None:
    cache = ScanCache(tmp_path / "cache", 10**9)
    content = of_files(BUILT, tmp_path / "blobs")
    with ContainedScanner(cache) as scanner:
        first = read(scanner, content=content)
    scans = list((tmp_path / "cache").rglob("*.scan"))
    assert len(scans) == 3
    with ContainedScanner(cache, limits=Limits(processor=-1, clock=0)) as scanner:  # nothing could be read now
        assert seen(read(scanner, content=content)) == seen(first) == seen(read(read_here))
        assert not os.path.exists("/proc") or scanner._children._process is None


def test_bytes_that_changed_are_read_again(tmp_path: Path) -> None:
    cache = ScanCache(tmp_path / "cache", 10**9)
    content = of_files(BUILT, tmp_path / "blobs")
    with ContainedScanner(cache) as scanner:
        read(scanner, content=content)
        digest = BUILT.layers[1]
        file = tmp_path / "blobs" / Digest.of(digest.blob).hex
        file.write_bytes(digest.blob[:-1] + b"!")
        again = read(scanner, content=content)
    assert again.layers[0].complete and again.layers[1].computed != again.layers[1].digest


def lasting(scans: Sequence[LayerScan]) -> list[bool]:
    return [scan.complete for scan in scans]


def test_what_was_not_read_to_its_end_is_not_kept(tmp_path: Path) -> None:
    cache = ScanCache(tmp_path / "cache", 10**9)
    with ContainedScanner(cache, limits=SHORT) as scanner:
        found = read(scanner, hostile("crash"), Wants(readers=(HOSTILE,)))
        read(scanner, image([tar_layer(b"no tar")]))
    assert lasting(found.layers) == [True, False]
    assert len(list((tmp_path / "cache").rglob("*.scan"))) == 1


def test_what_a_reader_prepares_is_made_once_for_all_layers() -> None:
    built = image([layer({"a": b"1"}), layer({"b": b"2"})])
    with ContainedScanner() as scanner:
        found = read(scanner, built, Wants(readers=(PREPARING,)))
    facts = [fact for _, _, fact in found.layer_facts("preparing")]
    prepared, reading = {one[0] for one in facts}, {one[1] for one in facts}
    assert len(prepared) == 1 and len(reading) == 2 and not prepared & {0, os.getpid(), *reading}
