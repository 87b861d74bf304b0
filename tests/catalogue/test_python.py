import pytest

from customhouse.catalogue import python
from customhouse.catalogue.language import Unreadable
from customhouse.catalogue.packages import catalogue
from tests.catalogue.images import image, metadata
from tests.catalogue.zips import zipped


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("usr/lib/python3/dist-packages/requests-2.28.1.dist-info/METADATA", True),
        ("site-packages/x.egg-info/PKG-INFO", True),
        ("site-packages/x-1.0-py3.11.egg-info", True),
        ("site-packages/x.dist-info/RECORD", False),
        ("srv/METADATA", False),
        ("srv/x.dist-info/sub/METADATA", False),
        (".egg-info", False),
        ("site-packages/x-1.0-py3.egg/EGG-INFO/PKG-INFO", True),
        ("site-packages/x-1.0-py3.egg", True),
        ("srv/EGG-INFO/PKG-INFO", False),
    ],
)
def test_evidence_is_told_by_the_path(path: str, counts: bool) -> None:
    assert python.is_evidence(path) is counts


def test_only_the_header_is_read() -> None:
    said = python.parse_metadata(metadata("Foo.Bar", "1.0"))
    assert (said["name"], said["version"]) == ("foo-bar", "1.0")


@pytest.mark.parametrize(
    "raw", [b"", b"\n\nName: x\nVersion: 1\n", b"Name: x\n", b"Name: a b\nVersion: 1\n", b"\xff\x00"]
)
def test_a_header_without_name_and_version_says_nothing(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        python.parse_metadata(raw)


@pytest.mark.parametrize("name", ["Foo.Bar", "foo-bar", "FOO__bar", "foo.-_bar"])
def test_names_have_one_normal_form(name: str) -> None:
    assert python.normal_name(name) == "foo-bar"


@pytest.mark.parametrize(
    ("header", "licenses"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other", ("MIT OR Apache-2.0",)),
        ("License: BSD\nClassifier: License :: OSI Approved :: BSD License", ("BSD", "BSD License")),
        ("License: UNKNOWN\nClassifier: Topic :: Text", ()),
    ],
)
def test_licences_are_the_expression_or_else_what_is_said_besides(header: str, licenses: tuple[str, ...]) -> None:
    raw = f"Name: x\nVersion: 1\n{header}\n\n".encode()
    [found] = catalogue(image({"s/x.dist-info/METADATA": raw})).packages
    assert found.licenses == licenses


def test_a_distribution_from_elsewhere_says_so_and_keeps_its_password() -> None:
    url = b'{"url": "https://me:geheim@git.example/x", "vcs_info": {"vcs": "git", "commit_id": "0123"}}'
    layer = {"s/x.dist-info/METADATA": metadata("x", "1"), "s/x.dist-info/direct_url.json": url}
    [found] = catalogue(image(layer)).packages
    assert found.properties == {"vcs_url": "git+https://git.example/x@0123"}
    assert found.purl == "pkg:pypi/x@1?vcs_url=git%2Bhttps://git.example/x%400123"
    [plain] = catalogue(image(layer | {"s/x.dist-info/direct_url.json": b"["})).packages
    assert plain.purl == "pkg:pypi/x@1"


def test_eggs_are_found_zipped_and_unzipped() -> None:
    layer = {
        "s/a-1.egg": zipped({"EGG-INFO/PKG-INFO": metadata("a", "1"), "a.py": b""}),
        "s/b-1.egg/EGG-INFO/PKG-INFO": metadata("b", "1"),
        "s/c.egg": b"no archive at all, which Python does not import either",
    }
    found = catalogue(image(layer))
    assert [package.name for package in found.packages] == ["a", "b"] and found.complete


def test_a_broken_egg_is_a_problem() -> None:
    broken = bytearray(zipped({"EGG-INFO/PKG-INFO": metadata("a", "1") * 9}))
    broken[60] ^= 0xFF
    found = catalogue(image({"s/a-1.egg": bytes(broken)}))
    assert not found.packages and [problem.path for problem in found.problems] == ["s/a-1.egg"]


def test_the_programs_of_a_distribution_are_its_files() -> None:
    base = "usr/local/lib/python3.11/site-packages"
    record = b"x/__init__.py,sha256=a,1\n../../../bin/x,sha256=b,2\n../../../share/x,,\n"
    record += b"../../../../../../bin/../etc/passwd,,\n../../../../bin/miner,,\n../../../bin/sub/y,,\n"
    record += b"../" * 300 + b"bin/y,,\n\xff\n"
    layer = {f"{base}/x.dist-info/METADATA": metadata("x", "1"), f"{base}/x.dist-info/RECORD": record}
    [found] = catalogue(image(layer)).packages
    assert found.files == ("usr/local/bin/x",)
    many = b"".join(b"../../../bin/x%d,,\n" % number for number in range(1000))
    assert len(python.parse_record(f"{base}/x.dist-info/RECORD", many)) == python.MOST_PROGRAMS
