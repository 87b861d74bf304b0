import pytest

from customhouse.catalogue import npm
from customhouse.catalogue.language import Unreadable
from customhouse.catalogue.package import LARGEST_MANIFEST
from customhouse.catalogue.packages import Package, catalogue
from tests.catalogue.images import image
from tests.catalogue.zips import zipped


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
    said = npm.parse_manifest(b'\xef\xbb\xbf{"name": "@s/x", "version": "v1.2.3"}')
    assert said == {"type": "npm", "namespace": "@s", "name": "x", "version": "1.2.3"}


@pytest.mark.parametrize(
    "raw", [b'{"type": "module"}', b'{"name": 3, "version": "1"}', b'{"name": "a b", "version": "1"}']
)
def test_a_file_that_names_no_published_package_is_none(raw: bytes) -> None:
    assert npm.parse_manifest(raw) is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' * 20_000])
def test_a_broken_manifest_says_so(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        npm.parse_manifest(raw)


@pytest.mark.parametrize(
    ("said", "licenses"),
    [
        (b'"license": "MIT"', ("MIT",)),
        (b'"license": {"type": "ISC", "url": "x"}', ("ISC",)),
        (b'"licenses": [{"type": "MIT"}, "Apache-2.0", 3, null]', ("MIT", "Apache-2.0")),
        (b'"license": 4', ()),
    ],
)
def test_licences_are_read_in_every_form_they_once_had(said: bytes, licenses: tuple[str, ...]) -> None:
    [found] = catalogue(image({"node_modules/x/package.json": b'{"name":"x","version":"1",%s}' % said})).packages
    assert found.licenses == licenses and found.purl == "pkg:npm/x@1"


def test_an_application_counts_beside_its_modules_and_only_if_it_is_not_private() -> None:
    app = b'{"name": "ghost", "version": "5.0.0"}'
    module = b'{"name": "x", "version": "1.0.0"}'
    beside = {"srv/package.json": app, "srv/node_modules/x/package.json": module}
    assert [p.name for p in catalogue(image(beside)).packages] == ["ghost", "x"]
    alone = {"usr/share/template/package.json": app}
    assert catalogue(image(alone)) == catalogue(image({}))
    private = beside | {"srv/package.json": app.replace(b"}", b', "private": true}')}
    assert [p.name for p in catalogue(image(private)).packages] == ["x"]
    at_the_root = catalogue(image({"package.json": app, "node_modules/x/package.json": module}))
    assert [p.name for p in at_the_root.packages] == ["ghost", "x"]


def test_a_broken_or_huge_manifest_of_an_installed_package_is_a_problem() -> None:
    huge = b'{"name": "x", "version": "1", "a": "' + b"x" * (10 << 20) + b'"}'
    assert len(huge) > LARGEST_MANIFEST
    found = catalogue(image({"node_modules/x/package.json": huge, "node_modules/y/package.json": b"{"}))
    assert not found.packages
    assert sorted(str(problem) for problem in found.problems) == [
        f"node_modules/x/package.json: is too large to be read ({len(huge)} bytes)",
        "node_modules/y/package.json: is no JSON",
    ]


def test_packages_of_plug_and_play_are_found_in_yarns_cache() -> None:
    cached = zipped({"node_modules/lodash/package.json": b'{"name": "lodash", "version": "4.17.20"}', "x": b""})
    layer = {"app/.yarn/cache/lodash-npm-4.17.20-1.zip": cached, "app/.pnp.cjs": b"#!/usr/bin/env node"}
    found = catalogue(image(layer))
    assert [(p.name, p.version, p.path) for p in found.packages] == [
        ("lodash", "4.17.20", "app/.yarn/cache/lodash-npm-4.17.20-1.zip")
    ]
    assert found.complete
    layer.pop("app/.pnp.cjs")
    assert not catalogue(image(layer)).packages


def test_plug_and_play_with_its_cache_elsewhere_is_a_problem() -> None:
    found = catalogue(image({"app/.pnp.cjs": b"x"}))
    assert [problem.path for problem in found.problems] == ["app/.pnp.cjs"]


def test_what_lies_in_a_removed_folder_is_gone() -> None:
    module = {"node_modules/x/package.json": b'{"name": "x", "version": "1.0.0"}'}
    assert not catalogue(image(module, {"-node_modules/x/package.json": b""})).packages


def test_the_layer_that_holds_the_file_is_at_fault() -> None:
    module = {"node_modules/x/package.json": b'{"name": "x", "version": "1.0.0"}'}
    [found] = catalogue(image({"a": b""}, module)).packages
    assert isinstance(found, Package) and found.layer == 1
