import pytest

from customhouse.catalogue import python
from tests.catalogue.images import metadata


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
    ],
)
def test_evidence_is_told_by_the_path(path: str, counts: bool) -> None:
    assert python.is_evidence(path) is counts


def test_only_the_header_is_read() -> None:
    assert python.parse_metadata(metadata("Foo.Bar", "1.0")) == ("Foo.Bar", "1.0")


@pytest.mark.parametrize(
    "raw", [b"", b"\n\nName: x\nVersion: 1\n", b"Name: x\n", b"Name: a b\nVersion: 1\n", b"\xff\x00"]
)
def test_a_header_without_name_and_version_says_nothing(raw: bytes) -> None:
    assert python.parse_metadata(raw) is None


@pytest.mark.parametrize("name", ["Foo.Bar", "foo-bar", "FOO__bar", "foo.-_bar"])
def test_names_have_one_normal_form(name: str) -> None:
    assert python.normal_name(name) == "foo-bar"
