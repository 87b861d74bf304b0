import pytest

from customhouse.catalogue import npm


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("app/node_modules/lodash/package.json", True),
        ("node_modules/lodash/package.json", True),
        ("app/node_modules/@scope/name/package.json", True),
        ("app/node_modules/a/node_modules/@s/b/node_modules/c/package.json", True),
        ("app/node_modules/.pnpm/lodash@4.17.21/node_modules/lodash/package.json", True),
        ("app/node_modules/.pnpm/@s+b@1.0.0/node_modules/@s/b/package.json", True),
        ("app/package.json", False),
        ("node_modules/package.json", False),
        ("app/node_modules/@scope/package.json", False),
        ("app/node_modules/.bin/package.json", False),
        ("app/node_modules/resolve/test/fixtures/package.json", False),
        ("app/node_modules/resolve/test/x/node_modules/y/package.json", False),
        ("app/node_modules/a/dist/esm/package.json", False),
    ],
)
def test_only_the_root_of_an_installed_package_is_evidence(path: str, counts: bool) -> None:
    assert npm.is_evidence(path) is counts


def test_the_name_inside_counts_and_a_leading_v_does_not() -> None:
    assert npm.parse_manifest(b'\xef\xbb\xbf{"name": "@s/x", "version": "v1.2.3"}') == ("@s/x", "1.2.3")


@pytest.mark.parametrize(
    "raw", [b'{"type": "module"}', b'{"name": 3, "version": "1"}', b'{"name": "a b", "version": "1"}']
)
def test_a_file_that_names_no_published_package_is_none(raw: bytes) -> None:
    assert npm.parse_manifest(raw) is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' * 20_000])
def test_a_broken_manifest_says_so(raw: bytes) -> None:
    with pytest.raises(npm.BrokenPackage):
        npm.parse_manifest(raw)
