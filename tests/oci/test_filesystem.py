"""The merged view: whiteouts, replacement, links."""

import io
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.oci.digest import Digest
from customhouse.oci.filesystem import Filesystem
from customhouse.oci.layer import Budget, Wants, scan_layer
from customhouse.oci.manifest import OCI_LAYER, Descriptor
from customhouse.testing.images import File, Folder, Hardlink, Symlink, tar_of


def merged(*trees: Mapping[str, Any], wants: tuple[str, ...] = (), parents: bool = True) -> Filesystem:
    scans = []
    for position, tree in enumerate(trees):
        raw = tar_of(tree, parents=parents)
        descriptor = Descriptor(OCI_LAYER, Digest.of(raw), len(raw))
        scans.append(scan_layer(io.BytesIO(raw), descriptor, Wants(frozenset(wants)), Budget(), layer=position))
    return Filesystem.merged(scans)


def paths(fs: Filesystem) -> list[str]:
    return [entry.path for entry in fs.walk() if entry.kind != "dir"]


def test_a_whiteout_hides_the_lower_name_and_all_below_it() -> None:
    fs = merged({"a/x": b"", "a/y/z": b"", "b": b""}, {"a/.wh.y": b"", ".wh.b": b""})
    assert paths(fs) == ["a/x"] and not fs.exists("a/y/z")


def test_an_opaque_folder_hides_lower_children_wherever_it_stands_in_the_tar() -> None:
    fs = merged({"a/old": b"", "a/sub/old": b""}, {"a/new": b"", "a/.wh..wh..opq": b""})
    assert paths(fs) == ["a/new"]


def test_a_whiteout_does_not_act_on_its_own_layer() -> None:
    assert paths(merged({"a": b"1"}, {"a": b"2", ".wh.a": b""})) == ["a"]


def test_a_file_over_a_folder_replaces_it_and_a_folder_over_a_folder_keeps_its_children() -> None:
    fs = merged({"d/x": b"", "e/x": b""}, {"d": b"now a file", "e": Folder(mode=0o700)})
    assert paths(fs) == ["d", "e/x"]
    folder = fs.entry("e")
    assert folder is not None and folder.mode == 0o700 and folder.layer == 1


def test_a_folder_over_a_link_replaces_it() -> None:
    fs = merged({"usr/lib/a": b"", "lib": Symlink("usr/lib")}, {"lib": Folder(), "lib/b": b""})
    assert fs.exists("lib/b") and not fs.exists("lib/a") and fs.ambiguous == ()


def test_a_name_below_a_lower_link_is_reported_because_engines_differ() -> None:
    fs = merged({"usr/lib/a": b"", "lib": Symlink("usr/lib")}, {"lib/b": b""}, parents=False)
    assert fs.ambiguous == ((1, "lib/b", "lib"),)


def test_links_are_followed_within_the_image_only() -> None:
    fs = merged(
        {
            "usr/bin/tool": File(b"", mode=0o755),
            "bin": Symlink("usr/bin"),
            "abs": Symlink("/bin/tool"),
            "far": Symlink("../../../../bin/tool"),
            "deep/er/up": Symlink("../../bin/../bin/tool"),
            "loop": Symlink("loop"),
            "a": Symlink("b"),
            "b": Symlink("a"),
            "broken": Symlink("nowhere"),
        }
    )
    for name in ("bin/tool", "/bin/tool", "abs", "far", "deep/er/up", "./bin//tool"):
        assert fs.resolve(name) == "usr/bin/tool" and fs.executable(name), name
    for name in ("loop", "a", "broken", "usr/bin/tool/x", "nowhere/.."):
        assert fs.entry(name) is None, name
    link = fs.entry("bin", follow=False)
    assert link is not None and link.kind == "symlink" and link.link == "usr/bin"
    assert fs.children("bin") == ("tool",)


def test_a_long_chain_of_links_is_an_absent_name() -> None:
    chain: dict[str, Any] = {f"l{n}": Symlink(f"l{n + 1}") for n in range(60)}
    assert merged({**chain, "l60": b"end"}).entry("l0") is None


def test_a_hard_link_carries_its_target_even_when_that_is_gone() -> None:
    fs = merged({"a": File(b"#!/x", mode=0o4755), "b": Hardlink("a")}, {".wh.a": b""}, wants=("a",))
    linked = fs.entry("b")
    assert linked is not None and linked.executable and linked.mode & 0o4000 and linked.size == 4
    assert fs.read("b") == b"#!/x"


def test_contents_are_those_of_the_layer_that_won() -> None:
    assert merged({"etc/x": b"1"}, {"etc/x": b"2"}, wants=("etc/x",)).read("/etc/x") == b"2"
    assert merged({"etc/x": b"1"}, {"etc/.wh.x": b""}, wants=("etc/x",)).read("etc/x") is None


def test_globs_find_by_component() -> None:
    fs = merged({"a/1.txt": b"", "a/b/2.txt": b"", "c.txt": b"", "a/n.bin": b""})
    assert [entry.path for entry in fs.glob("a/*.txt")] == ["a/1.txt"]
    assert [entry.path for entry in fs.glob("**/*.txt")] == ["a/1.txt", "a/b/2.txt", "c.txt"]
    assert [entry.path for entry in fs.walk("a")] == ["a/1.txt", "a/b", "a/b/2.txt", "a/n.bin"]


def test_folders_that_no_tar_names_exist() -> None:
    fs = merged({"x/y/z": b""}, parents=False)
    folder = fs.entry("x/y")
    assert folder is not None and folder.kind == "dir" and folder.mode == 0o755


names = st.lists(st.sampled_from(["a", "b", "c", ".wh.a", ".wh.b"]), min_size=1, max_size=3).map("/".join)
nodes = st.sampled_from([b"x", Folder(), Symlink("a"), Symlink("../b/c"), Symlink("/c"), Hardlink("a")])
trees = st.dictionaries(names | st.just("a/.wh..wh..opq"), nodes, max_size=6)


@given(st.lists(trees, max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_layers_give_a_tree_in_which_every_name_has_its_folder(layers: list[dict[str, Any]]) -> None:
    fs = merged(*layers, parents=False)
    for entry in fs.walk():
        parent = fs.entry(entry.parent, follow=False)
        assert parent is not None and parent.kind == "dir"
        resolved = fs.resolve(entry.path)
        assert resolved is None or fs.entry(resolved, follow=False) is not None
