"""One pass over a layer: digests, entries, contents, and everything a hostile tar can try."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from customhouse.oci.digest import Digest
from customhouse.oci.entry import FileEntry
from customhouse.oci.layer import Budget, LayerScan, Wants, scan_layer
from customhouse.oci.manifest import OCI_LAYER, Descriptor
from customhouse.oci.reader import JSON
from customhouse.testing.images import (
    Device,
    File,
    Folder,
    Hardlink,
    Layer,
    Symlink,
    layer,
    member,
    tar_layer,
    tar_of,
    tar_of_members,
)

SMALL = Budget(unpacked=1 << 22, entries=1000, ratio_floor=1 << 16, contents=1 << 16, file=1 << 14, heads=1 << 16)


def scan(
    built: Layer | bytes, wants: Wants | None = None, budget: Budget = SMALL, size: int | None = None
) -> LayerScan:
    raw = built.blob if isinstance(built, Layer) else built
    descriptor = Descriptor(OCI_LAYER, Digest.of(raw), len(raw) if size is None else size)
    return scan_layer(io.BytesIO(raw), descriptor, wants or Wants(), budget)


def kinds(found: LayerScan) -> set[str]:
    return {violation.kind for violation in found.violations}


def checked(header: bytes) -> bytes:
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


TREE = {
    "bin/tool": File(b"#!/bin/sh\nexit 0\n", mode=0o4755, uid=1, gid=2),
    "etc/passwd": b"root:x:0:0\n",
    "etc/mtab": Symlink("/proc/mounts"),
    "bin/same": Hardlink("bin/tool"),
    "var/cap": File(b"x", xattrs={"security.capability": b"\x01\x00\x00\x02"}),
    "tmp": Folder(mode=0o1777),
    "dev/pipe": Device(kind="fifo"),
}


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_good_layer_is_read_whole_in_every_compression(compression: str) -> None:
    built = layer(TREE, compression=compression)  # type: ignore[arg-type]
    found = scan(built, Wants(frozenset({"etc/passwd"})))
    assert found.violations == () and found.damage is None and found.complete
    assert found.compression == compression
    assert found.computed == Digest.of(built.blob) and found.compressed_size == len(built.blob)
    assert found.diff_id == built.diff_id and found.size == len(built.tar)
    assert found.contents == {"etc/passwd": b"root:x:0:0\n"}
    by_path = {entry.path: entry for entry in found.entries}
    tool = by_path["bin/tool"]
    assert (tool.kind, tool.mode, tool.uid, tool.gid, tool.head) == ("file", 0o4755, 1, 2, TREE["bin/tool"].content)
    assert by_path["etc/passwd"].head == b"", "heads are kept of programs only"
    assert (by_path["etc/mtab"].kind, by_path["etc/mtab"].link) == ("symlink", "/proc/mounts")
    assert (by_path["bin/same"].kind, by_path["bin/same"].link) == ("hardlink", "bin/tool")
    assert by_path["var/cap"].xattrs == {"security.capability": b"\x01\x00\x00\x02"}
    assert by_path["tmp"].mode == 0o1777 and by_path["dev/pipe"].kind == "fifo"


def test_the_walk_sees_what_python_and_gnu_formats_write() -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        names = ["a" * 90, "d/" * 60 + "long", "plain"] + ([] if form == tarfile.USTAR_FORMAT else ["n" * 240])
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size, info.mtime = 3, 12
                archive.addfile(info, io.BytesIO(b"abc"))
        found = scan(buffer.getvalue())
        assert [entry.path for entry in found.entries] == names
        assert found.violations == () and {entry.mtime for entry in found.entries} == {12}


def test_many_gzip_members_and_zstd_frames_are_one_layer() -> None:
    tar = tar_of(TREE)
    members = b"".join(gzip.compress(tar[at : at + 700], mtime=0) for at in range(0, len(tar), 700))
    assert scan(members).diff_id == Digest.of(tar)
    compressor = zstandard.ZstdCompressor()
    skippable = b"\x52\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"toc!"
    frames = skippable + compressor.compress(tar[:1000]) + skippable + compressor.compress(tar[1000:]) + skippable
    found = scan(frames)
    assert found.diff_id == Digest.of(tar) and found.compression == "zstd" and found.complete


def test_whiteouts_and_opaque_folders_are_told_apart_from_files() -> None:
    found = scan(layer({"a/.wh.gone": b"", ".wh.top": b"", "b/.wh..wh..opq": b"", "b/new": b"x"}))
    assert set(found.whiteouts) == {"a/gone", "top"} and found.opaque == ("b",)
    assert [entry.path for entry in found.entries if entry.kind == "file"] == ["b/new"]
    assert found.violations == ()


def test_patterns_keep_the_contents_they_name() -> None:
    tree = {"a/b/x-1.dist-info/METADATA": b"1", "a/METADATA": b"2", "x/package.json": b"3", "y.jar": b"4", "z": b"5"}
    wanted = Wants(frozenset({"**/*.dist-info/METADATA", "*/package.json", "**/*.jar"}))
    found = scan(layer(tree), wanted)
    assert set(found.contents) == {"a/b/x-1.dist-info/METADATA", "x/package.json", "y.jar"}


def test_a_wanted_file_beyond_its_budget_is_told_and_not_kept() -> None:
    found = scan(layer({"big": b"x" * ((1 << 14) + 1)}), Wants(frozenset({"big"})))
    assert found.contents == {} and found.unread == {"big"} and found.complete


# ---- what must not be


@pytest.mark.parametrize(
    ("kind", "tree"),
    [
        ("device", {"dev/null": Device()}),
        ("device", {"dev/sda": Device(kind="block")}),
        ("escape", {"../etc/passwd": b"x"}),
        ("escape", {"a/../../b": b"x"}),
        ("absolute", {"/etc/passwd": b"x"}),
        ("escape", {"a": Symlink("../b")}),
        ("escape", {"d/a": Symlink("x/../../../b")}),
        ("escape", {"f": b"x", "l": Hardlink("../f")}),
        ("absolute", {"f": b"x", "l": Hardlink("/f")}),
        ("hardlink", {"l": Hardlink("nowhere")}),
        ("hardlink", {"d": Folder(), "l": Hardlink("d")}),
        ("link", {"l": Symlink("")}),
        ("whiteout", {"a/.wh.": b""}),
        ("whiteout", {"a/.wh...": b""}),
        ("whiteout", {"a/.wh..": b""}),
        ("whiteout", {"a/.wh..wh.plnk": b""}),
        ("whiteout", {".wh.a": b"content"}),
        ("whiteout", {".wh.a": Symlink("b")}),
        ("whiteout", {".wh.a/b": b"x"}),
        ("through", {"l": Symlink("d"), "l/x": b"x"}),
        ("through", {"l/x": b"x", "l": Symlink("d")}),
        ("through", {"f": b"x", "f/y": b"y"}),
        ("name", {"a" * 300: b"x"}),
        ("name", {"a/" * 2500: Folder()}),
        ("name", {"a/" * 150 + "b": b"x"}),
    ],
)
def test_each_trick_is_named_and_the_layer_still_read_to_its_end(kind: str, tree: dict[str, object]) -> None:
    found = scan(tar_layer(tar_of(tree, parents=False)))  # type: ignore[arg-type]
    assert kind in kinds(found), found.violations
    assert found.damage is None and found.diff_id is not None
    for entry in found.entries:
        assert ".." not in entry.path.split("/") and not entry.path.startswith("/")


def test_one_path_twice_is_a_duplicate_but_a_folder_twice_is_none() -> None:
    twice = tar_of_members([member("a", b"1"), member("./a", b"2")])
    assert kinds(scan(twice)) == {"duplicate"}
    folders = tar_of_members([member("a", Folder()), member("a/", Folder(mode=0o700))])
    assert scan(folders).violations == ()


def test_a_nul_in_a_pax_name_is_refused() -> None:
    info, body = member("x", b"1")
    info.pax_headers = {"path": "good\0bad"}
    assert "name" in kinds(scan(tar_of_members([(info, body)])))


def test_bytes_after_the_end_of_the_tar_are_told() -> None:
    hidden = tar_of({"a": b"1"}) + tar_of({"hidden": b"2"})
    found = scan(hidden)
    assert kinds(found) == {"trailing"} and [entry.path for entry in found.entries] == ["a"]
    assert found.diff_id == Digest.of(hidden), "the digest is that of all bytes"


def test_content_on_a_link_is_read_as_headers_the_way_go_does() -> None:
    inner = tar_of({"smuggled": b"x"})[:1024]
    header = bytearray(tar_of({"l": Symlink("t")})[:512])
    header[124:136] = b"%011o\0" % len(inner)
    found = scan(checked(bytes(header)) + inner + bytes(1024))
    assert "size" in kinds(found)
    assert [entry.path for entry in found.entries] == ["l", "smuggled"]


def test_sparse_files_are_told_in_both_forms() -> None:
    header = bytearray(tar_of({"s": b"abc"})[:1024])
    header[156:157] = b"S"
    header[257:265] = b"ustar  \0"
    header[483:495] = b"%011o\0" % (1 << 20)
    found = scan(checked(bytes(header[:512])) + bytes(header[512:]) + bytes(1024))
    assert kinds(found) == {"sparse"} and found.entries[0].size == 1 << 20
    info, body = member("s", b"1\n0\n3\n".ljust(512, b"\0") + b"abc")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "real"}
    info.pax_headers["GNU.sparse.realsize"] = "3"
    found = scan(tar_of_members([(info, body)]))
    assert kinds(found) == {"sparse"} and found.entries[0].path == "real"


def test_a_global_header_that_renames_is_told_and_ignored() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "evil"}) as archive:
        info, body = member("good", b"x")
        info.size = len(body)
        archive.addfile(info, io.BytesIO(body))
    found = scan(buffer.getvalue())
    assert kinds(found) == {"extension"} and [entry.path for entry in found.entries] == ["good"]


def test_an_unknown_type_is_told_and_passed_over() -> None:
    header = bytearray(tar_of({"v": b"abc"})[:1024])
    header[156:157] = b"M"
    found = scan(checked(bytes(header[:512])) + bytes(header[512:]) + tar_of({"next": b"x"}))
    assert kinds(found) == {"type"} and [entry.path for entry in found.entries] == ["next"]


# ---- budgets


def test_more_entries_than_the_budget_stop_the_pass_but_not_the_digest() -> None:
    built = layer({f"f{number}": b"" for number in range(1500)})
    found = scan(built)
    assert kinds(found) == {"entries"} and not found.complete and len(found.entries) == 1000
    assert found.diff_id == built.diff_id


def test_folders_that_only_occur_in_names_cost_too() -> None:
    found = scan(layer({"/".join([f"{n}"] + ["d"] * 100): b"" for n in range(15)}, parents=False))
    assert kinds(found) == {"entries"}


def test_names_have_a_budget_in_all() -> None:
    found = scan(layer({f"{n}" + "x" * 200: b"" for n in range(50)}), budget=replace(SMALL, names=5000))
    assert kinds(found) == {"names"} and not found.complete


def test_an_extension_header_beyond_its_budget_stops_the_pass() -> None:
    info, body = member("x", b"1")
    info.pax_headers = {"comment": "c" * 5000}
    found = scan(tar_of_members([(info, body)]), budget=replace(SMALL, extension=4096))
    assert kinds(found) == {"extension"} and not found.complete


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_bomb_is_stopped_by_its_ratio(compress: object) -> None:
    bomb = compress(tar_of({"zeros": bytes(3 << 20)}))  # type: ignore[operator]
    found = scan(bomb)
    assert kinds(found) == {"ratio"} and not found.complete and found.diff_id is None
    assert found.computed == Digest.of(bomb)


def test_too_many_bytes_stop_the_pass() -> None:
    found = scan(layer({"big": bytes(5 << 20)}, compression="none"))
    assert kinds(found) == {"bytes"} and not found.complete


def test_a_zstd_window_beyond_the_budget_is_damage_not_memory() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    found = scan(stream.compress(tar_of(TREE)) + stream.flush())
    assert found.damage is not None and "zstd" in found.damage


def test_violations_are_counted_out() -> None:
    found = scan(layer({f"d{n}": Device() for n in range(500)}))
    assert len(found.violations) == SMALL.violations and found.complete


# ---- damage


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_cut_layer_is_damaged(compression: str) -> None:
    blob = layer({"f": bytes(range(256)) * 40}, compression=compression).blob  # type: ignore[arg-type]
    found = scan(blob[: len(blob) // 2])
    assert found.damage is not None and not found.complete and found.diff_id is None


def test_a_flipped_bit_is_damage_or_another_digest() -> None:
    built = layer(TREE)
    for at in range(0, len(built.blob), 7):
        spoilt = bytearray(built.blob)
        spoilt[at] ^= 0x10
        raw = bytes(spoilt)
        found = scan_layer(io.BytesIO(raw), Descriptor(OCI_LAYER, Digest.of(built.blob), len(raw)), Wants(), SMALL)
        assert found.computed != Digest.of(built.blob)


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 512, b"garbage"])
def test_bytes_after_a_gzip_stream_are_damage_as_in_go(tail: bytes) -> None:
    assert scan(layer(TREE).blob + tail).damage is not None


@pytest.mark.parametrize("head", [b"BZh91AY", b"\xfd7zXZ\x00", b"PK\x03\x04"])
def test_other_compressions_are_not_layers(head: bytes) -> None:
    found = scan(head + bytes(600))
    assert found.damage is not None and "compressed" in found.damage


def test_a_blob_longer_than_declared_is_not_read_on() -> None:
    raw = layer(TREE, compression="none").blob
    found = scan(raw + b"x" * 1_000_000, size=len(raw))
    assert found.compressed_size == len(raw) + 1


def test_a_wrong_checksum_is_damage() -> None:
    tar = bytearray(tar_of({"a": b"1"}))
    tar[0] = ord("b")
    assert "checksum" in (scan(bytes(tar)).damage or "")


def test_an_empty_blob_is_an_empty_layer() -> None:
    assert scan(b"").entries == () and scan(bytes(1024)).damage is None
    assert scan(gzip.compress(bytes(1024), mtime=0)).damage is None


# ---- anything at all


def holds(found: LayerScan, raw: bytes) -> None:
    assert found.computed == Digest.of(raw)
    assert found.complete == (found.damage is None and not (kinds(found) & {"entries", "names", "extension", "bytes"}))
    assert len(found.entries) <= SMALL.entries
    for entry in found.entries:
        entry.path.encode()
        assert ".." not in entry.path.split("/")


@given(st.binary(max_size=3000))
@settings(max_examples=150, deadline=None)
def test_any_bytes_end_in_a_scan(raw: bytes) -> None:
    holds(scan(raw), raw)


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_tar_with_changed_bytes_ends_in_a_scan(changes: list[tuple[int, int]], right_sums: bool) -> None:
    tar = bytearray(tar_of(TREE))
    for at, value in changes:
        tar[at % len(tar)] = value
    if right_sums:
        for at in range(0, len(tar), 512):
            if tar[at + 257 : at + 262] == b"ustar":
                tar[at : at + 512] = checked(bytes(tar[at : at + 512]))
    found = scan(bytes(tar))
    assert found.computed == Digest.of(bytes(tar))


@given(st.binary(max_size=400), st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_a_spoilt_stream_ends_in_a_scan(noise: bytes, at: int) -> None:
    for blob in (layer(TREE).blob, layer(TREE, compression="zstd").blob):
        raw = blob[:at] + noise + blob[at + len(noise) :]
        assert scan(raw).computed == Digest.of(raw)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30),
        st.sampled_from([b"x", Folder(), Symlink("../../x"), Symlink("a"), Hardlink("b"), Device()]),
        max_size=8,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_names_end_in_a_scan(tree: dict[str, object]) -> None:
    assume(not any(name.endswith("/") and node == b"x" for name, node in tree.items()))  # a folder with content
    tar = tar_of(tree, parents=False)  # type: ignore[arg-type]
    found = scan(tar)
    assert found.damage is None and found.diff_id == Digest.of(tar)


def test_raw_deflate_without_gzip_header_is_no_layer() -> None:
    assert scan(zlib.compress(tar_of(TREE))).damage is not None


class Words:
    """A reader of text files, as checks and cataloguers bring them."""

    name, version, limit = "words", 1, 100

    def wants(self, file: FileEntry) -> bool:
        return file.path.endswith(".txt")

    def read(self, path: str, body: bytes) -> Iterator[JSON]:
        if b"\0" in body:
            raise ValueError("no text")
        yield from body.decode().split()


def test_a_reader_keeps_facts_and_not_bytes() -> None:
    tree = {
        "a.txt": b"one two", "b.txt": b"\0", "c.txt": b"x" * 101, "d.bin": b"three", "e.txt": Hardlink("a.txt"),
    }
    learnt = scan(layer(tree), Wants(readers=(Words(),))).facts["words"]
    assert learnt.facts == {"a.txt": ("one", "two")}
    assert learnt.unread == {
        "b.txt": "could not be read (ValueError)", "c.txt": "is too large to be read (101 bytes)",
    }


def test_what_stands_twice_is_learnt_from_the_later_one() -> None:
    raw = tar_of_members([member("a.txt", b"one"), member("b.txt", b"\0"), member("a.txt", b""), member("b.txt", b"x")])
    learnt = scan(raw, Wants(readers=(Words(),))).facts["words"]
    assert (learnt.facts, learnt.unread) == ({"b.txt": ("x",)}, {})
