import os
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.catalogue import rpm
from customhouse.catalogue.packages import Catalogue, catalogue
from customhouse.catalogue.rpmdb import BrokenDatabase, headers
from customhouse.catalogue.rpmheader import BrokenHeader, parse_header
from tests.catalogue import rpms
from tests.catalogue.images import Link, image, metadata

CORPUS = Path(os.environ.get("CUSTOMHOUSE_TEST_CORPUS", "/nonexistent"))
ALMA = b'ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nPRETTY_NAME="AlmaLinux 9.4"\n'
OPENSSL = rpms.header(
    "openssl-libs", "3.0.7", "27.el9", epoch=1, source="openssl-3.0.7-27.el9.src.rpm", vendor="AlmaLinux",
    license="ASL 2.0", files=["/usr/lib64/libssl.so.3", "/usr/lib64/libcrypto.so.3", "/etc/pki/tls/openssl.cnf"],
)  # fmt: skip
PERL = rpms.header("perl-IO", "1.43", "421.module_el8", epoch=0, module="perl:5.26:820190:f1e9")
KEY = rpms.header("gpg-pubkey", "b86b3716", "61e69f29", arch="")
BIG = rpms.header("filesystem", "3.16", "2.el9", files=[f"/usr/share/f/{number:05}" for number in range(3000)])
ALL = [OPENSSL, PERL, KEY, BIG]


def of(found: Catalogue) -> list[tuple[str, str, str, str, int]]:
    return [(p.name, p.version, p.source_name, p.source_version, p.layer) for p in found.packages]


EXPECTED = [
    ("filesystem", "3.16-2.el9", "filesystem", "3.16-2.el9", 0),
    ("openssl-libs", "1:3.0.7-27.el9", "openssl", "1:3.0.7-27.el9", 0),
    ("perl-IO", "1.43-421.module_el8", "perl-IO", "1.43-421.module_el8", 0),
]


@pytest.mark.parametrize("name", rpms.FORMS)
@pytest.mark.parametrize("folder", rpm.FOLDERS)
def test_each_form_of_the_database_lists_the_same_packages(name: str, folder: str) -> None:
    found = catalogue(image({"etc/os-release": ALMA, f"{folder}/{name}": rpms.FORMS[name](ALL)}))
    assert found.complete, found.problems
    assert of(found) == EXPECTED
    ssl = found.packages[1]
    assert ssl.ecosystem == "AlmaLinux:9" and ssl.kind == "os" and ssl.supplier == "AlmaLinux"
    assert ssl.licenses == ("ASL 2.0",) and ssl.properties == {"epoch": "1"}
    assert ssl.purl == (
        "pkg:rpm/almalinux/openssl-libs@3.0.7-27.el9"
        "?arch=x86_64&distro=almalinux-9.4&epoch=1&upstream=openssl-3.0.7-27.el9.src.rpm"
    )
    assert found.packages[2].properties == {"epoch": "0", "module": "perl:5.26:820190:f1e9"}


def test_a_big_endian_hash_and_small_pages_are_read_too() -> None:
    assert list(headers(rpms.bdb(ALL, order=">"))) == ALL
    assert list(headers(rpms.sqlite(ALL, page=512))) == ALL
    assert list(headers(rpms.sqlite(ALL, page=65536))) == ALL


def test_thousands_of_packages_make_a_tree_of_many_pages() -> None:
    many = [rpms.header(f"package-{number}", files=["/usr/share/x"] * (number % 40)) for number in range(3000)]
    assert list(headers(rpms.sqlite(many))) == many


def test_a_package_belongs_to_the_first_layer_whose_database_lists_it() -> None:
    path = "var/lib/rpm/rpmdb.sqlite"
    newer = rpms.header("openssl-libs", "3.0.7", "28.el9", epoch=1)
    layers = [{path: rpms.sqlite([OPENSSL, PERL])}, {"srv/x": b""}, {path: rpms.sqlite([newer, PERL])}]
    found = catalogue(image({"etc/os-release": ALMA}, *layers))
    assert [(p.name, p.version, p.layer) for p in found.packages] == [
        ("openssl-libs", "1:3.0.7-28.el9", 3),
        ("perl-IO", "1.43-421.module_el8", 1),
    ]


def test_rpm_owns_its_python_packages_also_behind_merged_folders() -> None:
    site = "usr/lib/python3.9/site-packages/six-1.16.0.dist-info"
    written = f"/{site}/METADATA".replace("/usr", "")
    owner = rpms.header("python3-six", "1.15.0", "9.el9", vendor="AlmaLinux", files=[written])
    found = catalogue(
        image(
            {
                "etc/os-release": ALMA, "lib": Link("usr/lib"), "var/lib/rpm/Packages": rpms.bdb([owner]),
                f"{site}/METADATA": metadata("six", "1.16.0"),
            }  # fmt: skip
        )
    )
    assert [p.name for p in found.packages] == ["python3-six"]
    assert found.owners[f"{site}/METADATA"].name == "python3-six"


def test_what_another_vendor_packaged_is_listed_besides() -> None:
    site = "usr/lib/python3.9/site-packages/six-1.16.0.dist-info/METADATA"
    for vendor, listed in (("AlmaLinux", False), ("Docker", True), ("", False)):
        owner = rpms.header("tool", "1", vendor=vendor, files=[f"/{site}"])
        files = {"etc/os-release": ALMA, "var/lib/rpm/Packages": rpms.bdb([owner]), site: metadata("six", "1.16.0")}
        assert ("six" in [each.name for each in catalogue(image(files)).packages]) is listed, vendor


def test_a_database_behind_a_link_is_a_problem_and_not_an_absence() -> None:
    hidden = {"var/lib/rpm": Link("/opt/db"), "opt/db/rpmdb.sqlite": rpms.sqlite([OPENSSL])}
    found = catalogue(image({"etc/os-release": ALMA, **hidden}))
    assert "behind a link" in found.problems[0].reason
    linked = {"var/lib/rpm": Link("../../usr/lib/sysimage/rpm"), "usr/lib/sysimage/rpm/rpmdb.sqlite": rpms.sqlite(ALL)}
    assert of(catalogue(image({"etc/os-release": ALMA, **linked}))) == EXPECTED


def test_a_write_ahead_log_with_rows_is_a_problem(tmp_path: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(tmp_path / "rpmdb.sqlite")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    connection.execute("INSERT INTO Packages (blob) VALUES (?)", (OPENSSL,))
    connection.commit()
    log = (tmp_path / "rpmdb.sqlite-wal").read_bytes()
    connection.close()
    saved = (tmp_path / "rpmdb.sqlite").read_bytes()
    files = {"etc/os-release": ALMA, "var/lib/rpm/rpmdb.sqlite": saved}
    assert catalogue(image({**files, "var/lib/rpm/rpmdb.sqlite-wal": b""})).complete
    found = catalogue(image({**files, "var/lib/rpm/rpmdb.sqlite-wal": log}))
    assert [(p.path, "out of date" in p.reason) for p in found.problems] == [("var/lib/rpm/rpmdb.sqlite-wal", True)]


def test_the_manifest_of_distroless_images_lists_packages() -> None:
    by = "Microsoft Corporation"
    lines = [
        f"bash\t5.1.8-4.cm2\t1653816591\t1646164822\t{by}\t(none)\t5842000\tx86_64\t0\tbash-5.1.8-4.cm2.src.rpm",
        f"openssl-libs\t1.1.1k-21.cm2\t1\t1\t{by}\t(none)\t5\tx86_64\t2\topenssl-1.1.1k-21.cm2.src.rpm",
        "gpg-pubkey\t3135ce90-5e6fda74\t1\t1\t(none)\t(none)\t0\t(none)\t0\t(none)",
        "broken",
    ]
    release = b'ID=mariner\nVERSION_ID="2.0"\nPRETTY_NAME="CBL-Mariner/Linux"\n'
    found = catalogue(image({"etc/os-release": release, rpm.MANIFEST: "\n".join(lines).encode()}))
    assert of(found) == [
        ("bash", "5.1.8-4.cm2", "bash", "5.1.8-4.cm2", 0),
        ("openssl-libs", "2:1.1.1k-21.cm2", "openssl", "2:1.1.1k-21.cm2", 0),
    ]
    assert {p.ecosystem for p in found.packages} == {"Azure Linux:2"}
    assert [p.reason for p in found.problems] == ["1 lines name no package with a version"]


def test_content_sets_of_red_hat_are_kept() -> None:
    sets = b'{"metadata": {}, "content_sets": ["rhel-9-for-x86_64-baseos-rpms", "rhel-9-for-x86_64-appstream-rpms", 7]}'
    release = b'ID="rhel"\nVERSION_ID="9.4"\nCPE_NAME="cpe:/o:redhat:enterprise_linux:9::baseos"\n'
    files = {"root/buildinfo/content_manifests/ubi9.json": sets, "var/lib/rpm/rpmdb.sqlite": rpms.sqlite([OPENSSL])}
    (package,) = catalogue(image({"etc/os-release": release, **files})).packages
    assert package.ecosystem == "Red Hat:enterprise_linux:9"
    assert package.properties["content_sets"].split() == [
        "rhel-9-for-x86_64-appstream-rpms", "rhel-9-for-x86_64-baseos-rpms",
    ]  # fmt: skip
    files["root/buildinfo/content_manifests/ubi9.json"] = b"["
    assert not catalogue(image({"etc/os-release": release, **files})).complete


@pytest.mark.parametrize("name", rpms.FORMS)
def test_a_broken_database_is_a_problem(name: str) -> None:
    whole = rpms.FORMS[name](ALL)
    for raw in (whole[: len(whole) // 2], whole[:600], b"SQLite format 3\0", b"RpmP", b"nothing"):
        found = catalogue(image({"etc/os-release": ALMA, f"var/lib/rpm/{name}": raw}))
        assert not found.complete, (name, len(raw))
        assert len(found.packages) < 3


def test_a_row_that_is_no_package_is_a_problem_and_the_others_are_read() -> None:
    rows = [OPENSSL, b"\0" * 40, rpms.header("has space", "1")]
    found = catalogue(image({"etc/os-release": ALMA, "var/lib/rpm/Packages.db": rpms.ndb(rows)}))
    assert [p.name for p in found.packages] == ["openssl-libs"]
    assert [p.reason for p in found.problems] == ["2 packages in it cannot be read"]


def test_pages_that_go_round_in_a_circle_end() -> None:
    tree = bytearray(rpms.sqlite([rpms.header(f"p{number}", files=["/a"] * 300) for number in range(800)], page=512))
    for number in range(1, len(tree) // 512):
        if tree[number * 512] == 5:  # an interior page whose last child is itself
            struct.pack_into(">I", tree, number * 512 + 8, number + 1)
    with pytest.raises(BrokenDatabase, match="twice"):
        list(headers(bytes(tree)))
    chain = bytearray(rpms.bdb([BIG]))
    struct.pack_into("<I", chain, 3 * rpms.PAGE + 16, 2)
    assert [type(row) for row in headers(bytes(chain))] == [str]


def test_rows_that_share_their_pages_do_not_multiply_the_work() -> None:
    raw = bytearray(rpms.bdb([BIG, *(rpms.header(f"p{number}") for number in range(100))]))
    page = 1 * rpms.PAGE
    count = struct.unpack_from("<H", raw, page + 20)[0]
    for place in struct.unpack_from(f"<{count}H", raw, page + 26)[1::2]:
        struct.pack_into("<II", raw, page + place + 4, 2, len(BIG))
    assert sum(isinstance(row, bytes) for row in headers(bytes(raw))) == 1


def test_a_view_or_a_trigger_in_the_schema_is_not_run(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "rpmdb.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE VIEW Packages AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) "
        "SELECT x AS hnum, x AS blob FROM c"
    )
    connection.commit()
    connection.close()
    with pytest.raises(BrokenDatabase, match="no table Packages"):
        list(headers(path.read_bytes()))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([rpms.sqlite(ALL[:3], page=512), rpms.ndb(ALL[:3]), rpms.bdb(ALL[:3])]), st.data())
def test_no_damage_to_a_database_raises_anything_else(whole: bytes, data: st.DataObject) -> None:
    raw = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 8)) if raw else 0):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert list(rpm.READER.read("var/lib/rpm/Packages", bytes(raw))) is not None


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.binary(min_size=1, max_size=1))
def test_no_header_raises_anything_else(noise: bytes, at: int, byte: bytes) -> None:
    for raw in (noise, OPENSSL[:at] + byte + OPENSSL[at + 1 :]):
        try:
            parse_header(raw)
        except BrokenHeader:
            pass


if CORPUS.is_dir():

    def test_real_databases_are_read_whole() -> None:
        expected = {
            "cbl-mariner-2.0/rpmdb.sqlite": (129, ("zlib", "1.2.11-5.cm2")),
            "libuuid/Packages": (1, ("libuuid", "2.32.1-42.el8_8")),
            "sle15-bci/Packages.db": (35, ("system-user-root", "20190513-3.3.1")),
        }
        with zipfile.ZipFile(CORPUS / "fixtures/rpmdb-samples.zip") as samples:
            for name, (count, package) in expected.items():
                facts = list(rpm.READER.read(name, samples.read(name)))
                found = [(f["name"], f"{f['version']}-{f['release']}") for f in facts if isinstance(f, dict)]
                assert len(found) == count and package in found, name
                assert all("name" in f for f in facts if isinstance(f, dict))
