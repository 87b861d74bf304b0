import json

import pytest

from customhouse.catalogue.packages import catalogue
from tests.catalogue.images import image, metadata


def purls(**layer: bytes) -> list[str]:
    found = catalogue(image(layer))
    assert found.complete, found.problems
    return [package.purl for package in found.packages]


def test_conda_packages_say_channel_build_and_licence() -> None:
    said = {
        "name": "openssl", "version": "3.0.8", "build": "h7f8727e_0", "channel": "https://u:p@repo.example/pkgs/main",
        "subdir": "linux-64", "license": "Apache-2.0", "files": ["lib/x.so"] * 3, "depends": [],
    }  # fmt: skip
    found = catalogue(image({"opt/conda/conda-meta/openssl-3.0.8-h7f8727e_0.json": json.dumps(said).encode()}))
    [package] = found.packages
    assert package.purl == ("pkg:conda/openssl@3.0.8?build=h7f8727e_0&channel=repo.example/pkgs/main&subdir=linux-64")
    assert package.licenses == ("Apache-2.0",) and package.ecosystem == ""
    broken = catalogue(image({"opt/conda/conda-meta/x.json": b"{}"}))
    assert not broken.complete


def test_r_packages_count_when_they_were_built() -> None:
    description = b"Package: jsonlite\nVersion: 1.8.4\nLicense: MIT + file LICENSE\nDescription: A\n  Version: 9\n"
    built = description + b"Built: R 4.2.2; x86_64-pc-linux-gnu; 2023-01-01; unix\n"
    assert purls(**{"usr/lib/R/site-library/jsonlite/DESCRIPTION": built}) == ["pkg:cran/jsonlite@1.8.4"]
    assert purls(**{"src/jsonlite/DESCRIPTION": description, "x/DESCRIPTION": b"A text.\n"}) == []
    views = {"l/limma/DESCRIPTION": built + b"biocViews: ExonArray\n"}
    assert [package.ecosystem for package in catalogue(image(views)).packages] == ["Bioconductor"]


def test_a_rock_is_named_by_its_path_and_its_program_is_not_run() -> None:
    rock = b'os.execute("rm -rf /")\npackage = name()\ndescription = {\n   license = "MIT",\n}\n'
    path = "usr/local/lib/luarocks/rocks-5.4/luasocket/3.0rc1-2/luasocket-3.0rc1-2.rockspec"
    [found] = catalogue(image({path: rock})).packages
    assert found.purl == "pkg:luarocks/luasocket@3.0rc1-2" and found.licenses == ("MIT",)
    assert purls(**{"src/luasocket-3.0rc1-2.rockspec": rock}) == []


def test_applications_of_erlang_and_elixir_are_told_apart() -> None:
    app = b'{application, %s,\n [{description,"a"},\n  {modules,[a]}, {vsn,"%s"}]}.\n'
    layer = {
        "app/lib/jason-1.4.1/ebin/jason.app": app % (b"jason", b"1.4.1"),
        "usr/lib/erlang/lib/stdlib-4.2/ebin/stdlib.app": app % (b"stdlib", b"4.2"),
    }
    assert purls(**layer) == ["pkg:otp/stdlib@4.2", "pkg:hex/jason@1.4.1"]
    assert not catalogue(image({"lib/x/ebin/x.app": b"{application, x, [{vsn, git}]}"})).complete


def test_dart_packages_are_named_by_their_folder() -> None:
    path = "root/.pub-cache/hosted/pub.dev/http-0.13.5/pubspec.yaml"
    assert purls(**{path: b"name: http", "root/.pub-cache/hosted/pub.dev/http-0.13.5/example/pubspec.yaml": b""}) == [
        "pkg:pub/http@0.13.5"
    ]


def spdx(*urls: str) -> bytes:
    packages = [
        {
            "name": "x", "licenseDeclared": "BSD-2-Clause",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": url}, {"referenceType": "cpe23Type"}],
        }
        for url in urls
    ]  # fmt: skip
    return json.dumps({"spdxVersion": "SPDX-2.3", "packages": packages}).encode()


def test_bitnamis_lists_name_what_was_compiled_there() -> None:
    layer = {"opt/bitnami/nginx/.spdx-nginx.spdx": spdx("pkg:bitnami/nginx@1.25.3-0?arch=amd64&distro=debian-12")}
    [found] = catalogue(image(layer)).packages
    assert (found.ecosystem, found.name, found.version) == ("Bitnami", "nginx", "1.25.3-0")
    assert found.properties == {"evidence": "bitnami"} and found.licenses == ("BSD-2-Clause",)
    assert not catalogue(image({"opt/bitnami/nginx/.spdx-nginx.spdx": b"SPDXVersion: SPDX-2.3"})).complete


def test_a_claim_counts_once_and_not_where_the_package_itself_is_there() -> None:
    components = [
        {"purl": "pkg:pypi/requests@2.0", "licenses": [{"license": {"id": "Apache-2.0"}}]},
        {"components": [{"purl": "pkg:cargo/serde@1.0.1", "licenses": [{"expression": "MIT OR Apache-2.0"}]}]},
        {"purl": "pkg:deb/debian/bash@5.2"}, {"purl": "no url"}, {"purl": 3}, "x", {"purl": "pkg:npm/x"},
    ]  # fmt: skip
    document = json.dumps({"bomFormat": "CycloneDX", "components": components}).encode()
    layer = {
        "s/requests.dist-info/METADATA": metadata("requests", "2.0"),
        "s/requests.dist-info/sboms/a.cdx.json": document,
        "s/requests.dist-info/sboms/b.cdx.json": document,
    }
    found = catalogue(image(layer))
    assert found.complete
    told = {package.purl: package for package in found.packages}
    assert list(told) == ["pkg:pypi/requests@2.0", "pkg:cargo/serde@1.0.1"]
    assert told["pkg:cargo/serde@1.0.1"].properties == {"evidence": "claim"}
    assert told["pkg:cargo/serde@1.0.1"].licenses == ("MIT OR Apache-2.0",)
    assert told["pkg:pypi/requests@2.0"].properties == {}


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"3", b'{"components": {"a": 1}}', b'{"components":[' * 30_000])
def test_a_broken_list_that_is_only_a_claim_is_no_list(raw: bytes) -> None:
    assert catalogue(image({"x/bom.cdx.json": raw})) == catalogue(image({}))
