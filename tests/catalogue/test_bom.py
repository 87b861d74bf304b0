"""Bills of materials: valid for the tools of both standards, the same each time, and true to the catalogue."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from customhouse.catalogue.bom import Described, cyclonedx, spdx
from customhouse.catalogue.distro import Distro
from customhouse.catalogue.package import Catalogue, Package, Problem
from customhouse.cli.program import run
from customhouse.testing.images import image, index, layer, minimal_server_image, server_config, write_oci_layout

LAYERS = ("sha256:" + "1" * 64, "sha256:" + "2" * 64)
IMAGE = Described(
    "example.com/acme/Web:1.0.0", "sha256:" + "a" * 64, "linux/amd64", LAYERS, datetime(2026, 11, 24, tzinfo=UTC),
    "0.1.0",
)


def package(name: str, layer: int = 0, **more: Any) -> Package:
    purl = f"pkg:deb/debian/{name}@1%3A2.0-1"
    found = Package("Debian:12", name, "1:2.0-1", name, "1:2.0-1", purl, "var/lib/x", layer)
    return replace(found, **more)


PACKAGES = Catalogue(
    (
        package("bash", kind="os", licenses=("GPL-3+",), supplier="Matthias Klose", architecture="amd64"),
        package("odd", 1, licenses=("MIT OR ISC", "some words"), locations=("usr/lib/odd", "usr/lib/odd")),
        package("bare", 9, purl="", ecosystem="", kind="binary", properties={"epoch": "1", "module": "x"}),
    ),
    Distro("debian", "12", "Debian GNU/Linux 12 (bookworm)"),
)
INCOMPLETE = Catalogue((), None, (Problem("var/lib/rpm/Packages", "is broken"),))


def test_cyclonedx_is_valid_and_names_layers_paths_and_licences() -> None:
    document: Any = cyclonedx(IMAGE, PACKAGES)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    bash, odd, bare, system = document["components"]
    assert bash["licenses"] == [{"expression": "GPL-3.0-or-later"}] and bash["supplier"] == {"name": "Matthias Klose"}
    assert {"name": "customhouse:layer", "value": LAYERS[0]} in bash["properties"]
    assert odd["licenses"] == [{"license": {"name": "MIT OR ISC"}}, {"license": {"name": "some words"}}]
    assert odd["evidence"]["occurrences"] == [{"location": "/var/lib/x"}, {"location": "/usr/lib/odd"}]
    assert "purl" not in bare and {"name": "customhouse:module", "value": "x"} in bare["properties"]
    assert (system["type"], system["name"], system["version"]) == ("operating-system", "debian", "12")
    assert document["compositions"][0]["aggregate"] == "complete"


def test_spdx_is_valid_and_keeps_unknown_licences_by_their_text() -> None:
    document: Any = spdx(IMAGE, PACKAGES)
    parsed = JsonLikeDictParser().parse(document)
    assert validate_full_spdx_document(parsed) == []
    (_, bash, odd, _) = document["packages"]
    assert bash["licenseDeclared"] == "GPL-3.0-or-later" and LAYERS[0] in bash["sourceInfo"]
    (text,) = document["hasExtractedLicensingInfos"]
    assert odd["licenseDeclared"] == f"(MIT OR ISC) AND {text['licenseId']}" and text["extractedText"] == "some words"


def test_a_list_with_gaps_says_so_in_both() -> None:
    first: Any = cyclonedx(IMAGE, INCOMPLETE)
    second: Any = spdx(IMAGE, INCOMPLETE)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(first)) is None
    assert validate_full_spdx_document(JsonLikeDictParser().parse(second)) == []
    assert first["compositions"][0]["aggregate"] == "incomplete" and "incomplete" in second["packages"][0]["comment"]


def test_the_same_image_has_the_same_bytes_and_another_another_identity() -> None:
    other = replace(IMAGE, digest="sha256:" + "b" * 64)
    for make, key in ((cyclonedx, "serialNumber"), (spdx, "documentNamespace")):
        assert json.dumps(make(IMAGE, PACKAGES)) == json.dumps(make(IMAGE, PACKAGES))
        assert make(IMAGE, PACKAGES)[key] != make(other, PACKAGES)[key]


def test_the_command_writes_what_is_in_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    manifest = b'{"name": "left-pad", "version": "1.3.0", "license": "WTFPL"}'
    built = image([layer({"app/node_modules/left-pad/package.json": manifest})], config=server_config())
    write_oci_layout(built, tmp_path / "one")
    for form in ("cyclonedx", "spdx"):
        assert run(["sbom", str(tmp_path / "one"), "--format", form]) == 0
        assert "pkg:npm/left-pad@1.3.0" in capsys.readouterr().out
    several = index([minimal_server_image(), image([layer({"a": b""})], config=server_config(), architecture="arm64")])
    write_oci_layout(several, tmp_path / "two")
    assert run(["sbom", str(tmp_path / "two")]) == 2
    assert "--platform, one of linux/amd64, linux/arm64" in capsys.readouterr().err
    assert run(["sbom", str(tmp_path / "two"), "--platform", "linux/arm64", "--out", str(tmp_path / "b.json")]) == 0
    component = json.loads((tmp_path / "b.json").read_text())["metadata"]["component"]
    assert component["properties"] == [{"name": "customhouse:platform", "value": "linux/arm64"}]
