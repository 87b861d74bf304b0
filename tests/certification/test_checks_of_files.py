"""TAR-SAFE, LAY-*, FS-*: what stands in the layers and in the merged filesystem."""

from typing import Any

import pytest

from customhouse.certification.checks import fs_passwd, fs_setuid, lay_cache, lay_efficiency, lay_waste, tar_safe
from customhouse.certification.efficiency import efficiency
from customhouse.oci.image import load_image
from customhouse.oci.wants import Budget, Wants
from customhouse.testing.images import (
    Device,
    File,
    Folder,
    Hardlink,
    Layer,
    Symlink,
    image,
    layer,
    minimal_server_image,
    tar_of,
)

from .subjects import failed, findings, outcomes


def built(*trees: dict[str, Any], **more: Any) -> Any:
    return image([layer(tree, **more) for tree in trees])


CUT = image([Layer(tar_of({"a": bytes(5000)}), "none", stored=tar_of({"a": bytes(5000)})[:3000])])


# ---- TAR-SAFE


def test_a_usual_image_is_safe() -> None:
    assert outcomes(findings(tar_safe.CHECK, minimal_server_image(more=[layer({".wh.server": b""})]))) == {"pass"}


@pytest.mark.parametrize(
    ("tree", "kind"),
    [
        ({"dev/sda": Device(kind="block")}, "device"),
        ({"../x": b""}, "escape"),
        ({"/x": b""}, "absolute"),
        ({"x": b"", "l": Hardlink("../../x")}, "escape"),
        ({"a/.wh...": b""}, "whiteout"),
        ({"l": Symlink("d"), "l/x": b""}, "through"),
    ],
)
def test_each_violation_is_a_failure_with_path_and_layer(tree: dict[str, Any], kind: str) -> None:
    one = built(tree, parents=False)
    (found, *_) = failed(findings(tar_safe.CHECK, one))
    assert found.evidence["kind"] == kind and found.evidence["path"]
    assert str(found.evidence["layer"]).startswith("sha256:")


def test_a_bomb_and_a_million_entries_are_failures() -> None:
    bomb = built({"zeros": bytes(4 << 20)})
    (found,) = failed(findings(tar_safe.CHECK, bomb, budget=Budget(ratio_floor=1 << 16)))
    assert found.evidence["kind"] == "ratio"
    crowd = built({f"f{n}": b"" for n in range(300)})
    (found,) = failed(findings(tar_safe.CHECK, crowd, budget=Budget(entries=200)))
    assert found.evidence["kind"] == "entries"


def test_a_name_below_a_lower_link_is_a_failure() -> None:
    (found,) = failed(findings(tar_safe.CHECK, built({"lib": Symlink("usr")}, {"lib/x": b""}, parents=False)))
    assert found.evidence["kind"] == "ambiguous"


def test_what_was_not_read_is_not_called_safe() -> None:
    assert outcomes(findings(tar_safe.CHECK, CUT)) == {"not_evaluable"}


# ---- LAY-EFFICIENCY, LAY-WASTE: dive's own arithmetic, done by hand


def figures(*trees: dict[str, Any]) -> Any:
    one = built(*trees)
    return efficiency(load_image(one.content, one.manifest_raw, Wants()).layers)


def test_nothing_written_twice_is_fully_efficient() -> None:
    found = figures({"a": bytes(100)}, {"b": bytes(50)})
    assert (found.efficiency, found.wasted_bytes, found.user_bytes) == (1.0, 0, 50)


def test_a_rewritten_file_counts_all_its_copies_as_waste() -> None:
    found = figures({"a": bytes(100), "k": bytes(900)}, {"a": bytes(300)})
    assert found.efficiency == pytest.approx((100 + 900) / (400 + 900))
    assert (found.wasted_bytes, found.user_bytes) == (400, 300)
    assert found.wasted_percent == pytest.approx(400 / 300)
    assert [(item.path, item.size, item.times) for item in found.waste] == [("a", 400, 2)]


def test_a_removed_file_counts_nothing_for_its_whiteout() -> None:
    found = figures({"a": bytes(100), "k": bytes(100)}, {".wh.a": b""})
    assert found.efficiency == pytest.approx(100 / 200) and found.wasted_bytes == 100


def test_a_removed_folder_counts_the_bytes_that_lay_below_it() -> None:
    found = figures({"d/x": bytes(100), "d/y/z": bytes(50)}, {".wh.d": b""})
    # leaves: d/x (100), d/y/z (50), and the whiteout d (150, seen once)
    assert found.efficiency == 1.0 and found.wasted_bytes == 0
    again = figures({"d/x": bytes(100)}, {".wh.d": b""}, {"d": b"file"})
    assert again.waste[0].path == "d" and again.wasted_bytes == 100 + 4


def test_links_have_no_size_and_opaque_markers_do_not_count() -> None:
    found = figures({"a": bytes(10), "l": Hardlink("a")}, {"l": Symlink("a"), "d/.wh..wh..opq": b"", "d": Folder()})
    assert found.efficiency == 1.0 and found.user_bytes == 0 and found.wasted_percent is None


def test_an_empty_image_is_efficient() -> None:
    assert figures({}).efficiency == 1.0


def test_efficiency_and_waste_are_judged_against_their_limits() -> None:
    good = built({"a": bytes(1000)}, {"b": bytes(1000)})
    bad = built({"a": bytes(1000), "c": bytes(1000)}, {"a": bytes(1000), "b": bytes(100)})
    for check in (lay_efficiency.CHECK, lay_waste.CHECK):
        assert outcomes(findings(check, good)) == {"pass"}
        assert outcomes(findings(check, CUT)) == {"not_evaluable"}
    (low,) = failed(findings(lay_efficiency.CHECK, bad))
    assert low.evidence["value"] == round(2100 / 3100, 4)
    assert low.evidence["worst"] == [{"path": "a", "bytes": 2000, "times": 2}]
    (waste,) = failed(findings(lay_waste.CHECK, bad))
    assert waste.evidence["key"] == "percent" and waste.evidence["wasted_bytes"] == 2000
    both = failed(findings(lay_waste.CHECK, bad, params={"most_bytes": 1500}))
    assert [item.evidence["key"] for item in both] == ["percent", "bytes"]


def test_waste_without_a_second_layer_passes() -> None:
    assert outcomes(findings(lay_waste.CHECK, built({"a": bytes(10)}))) == {"pass"}


# ---- LAY-CACHE


@pytest.mark.parametrize(
    ("path", "cache"),
    [
        ("var/lib/apt/lists/deb.example_dists_InRelease", "apt lists"),
        ("var/cache/apt/archives/x.deb", "apt"),
        ("var/cache/apk/APKINDEX.tar.gz", "apk"),
        ("root/.cache/pip/http/x", "pip"),
        ("home/app/.npm/_cacache/x", "npm"),
        ("root/go/pkg/mod/cache/download/x", "go"),
        ("var/cache/dnf/x", "dnf"),
        ("home/app/.cache/other", "user"),
    ],
)
def test_a_cache_is_counted_and_named(path: str, cache: str) -> None:
    (found,) = failed(findings(lay_cache.CHECK, built({path: bytes(200_000)})))
    assert found.evidence["key"] == cache and found.evidence["bytes"] == 200_000 and found.evidence["files"] == 1


def test_small_removed_and_other_files_are_no_cache() -> None:
    for trees in (
        [{"var/cache/apt/pkgcache.bin": bytes(500)}],
        [{"var/cache/apt/x.deb": bytes(200_000)}, {"var/cache/.wh.apt": b""}],
        [{"srv/var/cache/apt/x.deb": bytes(200_000)}],
    ):
        assert outcomes(findings(lay_cache.CHECK, built(*trees))) == {"pass"}
    assert outcomes(findings(lay_cache.CHECK, CUT)) == {"not_evaluable"}


# ---- FS-SETUID


def test_rights_are_graded_by_whether_a_distribution_gives_them() -> None:
    tree = {
        "usr/bin/passwd": File(b"x", mode=0o4755),
        "opt/passwd": File(b"x", mode=0o4755),
        "srv/tool": File(b"x", mode=0o2755),
        "srv/capable": File(b"x", mode=0o755, xattrs={"security.capability": b"\x01\x02"}),
        "srv/locked": File(b"x", mode=0o2644),
        "var/mail": Folder(mode=0o2775),
    }
    found = {str(item.evidence["path"]): item for item in failed(findings(fs_setuid.CHECK, built(tree)))}
    assert set(found) == {"usr/bin/passwd", "opt/passwd", "srv/tool", "srv/capable"}
    assert found["usr/bin/passwd"].severity == "medium" and found["opt/passwd"].severity == "high"
    assert found["srv/capable"].evidence["capabilities"] == "0102"
    assert found["opt/passwd"].evidence["mode"] == "4755"


def test_a_hard_link_to_a_setuid_file_and_a_removed_one() -> None:
    found = failed(findings(fs_setuid.CHECK, built({"a": File(b"x", mode=0o4755), "b": Hardlink("a")})))
    assert [item.evidence["path"] for item in found] == ["a", "b"]
    assert outcomes(findings(fs_setuid.CHECK, built({"a": File(b"x", mode=0o4755)}, {".wh.a": b""}))) == {"pass"}
    assert outcomes(findings(fs_setuid.CHECK, CUT)) == {"not_evaluable"}


# ---- FS-PASSWD

GOOD = {
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\napp:x:10:10::/:/bin/false\n",
    "etc/shadow": b"root:*:19000:0:::::\napp:!:19000::::::\n",
    "etc/group": b"root:x:0:\napp:x:10:\n",
}


def test_locked_accounts_pass() -> None:
    assert outcomes(findings(fs_passwd.CHECK, built(GOOD))) == {"pass"}


@pytest.mark.parametrize(
    ("path", "content", "key"),
    [
        ("etc/shadow", b"root:::0:::::\n", "empty:root"),
        ("etc/shadow", b"root:$6$salt$hash:19000::::::\n", "hash:root"),
        ("etc/passwd", b"root::0:0::/:/bin/sh\n", "empty:root"),
        ("etc/passwd", b"root:x:0:0::/:\ntoor:x:0:0::/:\n", "root:toor"),
        ("etc/passwd", b"root:x:0:0::/:\na:x:5:5::/:\nb:x:05:5::/:\n", "twice:2:5"),
        ("etc/passwd", b"a:x:4:5::/:\na:x:5:5::/:\n", "twice:0:a"),
        ("etc/group", b"a:x:5:\nb:x:5:\n", "twice:2:5"),
        ("etc/master.passwd", b"root::0:0::0:0::/:\n", "empty:root"),
    ],
)
def test_each_open_door_is_named(path: str, content: bytes, key: str) -> None:
    (found,) = failed(findings(fs_passwd.CHECK, built({**GOOD, path: content})))
    assert found.evidence["key"] == key and found.evidence["path"] == path


def test_an_image_without_users_has_none_to_judge() -> None:
    assert outcomes(findings(fs_passwd.CHECK, built({"app": b""}))) == {"not_applicable"}


def test_a_user_database_that_was_not_kept_is_not_evaluable() -> None:
    big = built({"etc/passwd": b"a:x:1:1::/:\n" * 200})
    assert outcomes(findings(fs_passwd.CHECK, big, budget=Budget(file=1000))) == {"not_evaluable"}
    assert outcomes(findings(fs_passwd.CHECK, CUT)) == {"not_evaluable"}
