"""VEX: what documents say, and which flaws of an image that covers."""

import json
from typing import Any

import pytest

from customhouse.advisories import csaf, openvex
from customhouse.advisories.vex import (
    Component,
    Flaw,
    InvalidVex,
    Stated,
    Status,
    Subject,
    VexStatement,
    apply,
    same_platform,
    same_purl,
)

DIGEST = "sha256:" + "ab" * 32
IMAGE = Subject(frozenset({DIGEST}), frozenset({"pkg:oci/web?repository_url=hub.example/acme/web"}))
SSL = "pkg:deb/debian/openssl@3.0.11-1?arch=amd64&distro=debian-12"
FLAW = Flaw(frozenset({"CVE-2026-1", "DEBIAN-CVE-2026-1"}), frozenset({SSL}))


def statement(product: Any, status: str = "not_affected", **more: Any) -> dict[str, Any]:
    reason = {"justification": "vulnerable_code_not_present"} if status == "not_affected" else {}
    return {"vulnerability": {"name": "CVE-2026-1"}, "products": [product], "status": status, **reason, **more}


def document(*statements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://acme.example/vex/1", "author": "Acme",
        "timestamp": "2026-11-01T00:00:00Z", "version": 1, "statements": list(statements), **more,
    }  # fmt: skip


def stated(*statements: dict[str, Any]) -> list[Stated]:
    read = openvex.from_document(document(*statements))
    return [Stated(each, "sha256:d", number) for number, each in enumerate(read.statements)]


@pytest.mark.parametrize(
    "product",
    [
        {"@id": "the image", "hashes": {"sha-256": "ab" * 32}},
        {"@id": f"pkg:oci/web@{DIGEST}"},
        {"@id": "pkg:oci/web?repository_url=hub.example/acme/web"},
        {"@id": "pkg:oci/web", "subcomponents": [{"@id": "pkg:deb/debian/openssl"}]},
        {"@id": "pkg:deb/debian/openssl"},
        {"identifiers": {"purl": "pkg:deb/debian/openssl@3.0.11-1?distro=debian-12"}},
    ],
)
def test_a_statement_covers_the_flaw_of_an_image_it_names_in_any_way(product: dict[str, Any]) -> None:
    found = apply(stated(statement(product)), [FLAW], IMAGE)
    assert found.ruling[0].statement.status is Status.NOT_AFFECTED and found.ruling[0].statement.acceptable
    assert not found.unmatched


@pytest.mark.parametrize(
    "product",
    [
        {"@id": "another image", "hashes": {"sha-256": "cd" * 32}},
        {"@id": "pkg:oci/web@sha256:" + "cd" * 32},
        {"@id": "pkg:oci/web?repository_url=other.example/web"},
        {"@id": "pkg:oci/web", "subcomponents": [{"@id": "pkg:deb/debian/curl"}]},
        {"@id": "pkg:deb/debian/openssl@3.0.12-1"},
        {"@id": "pkg:deb/debian/openssl?distro=debian-11"},
        {"@id": "pkg:deb/ubuntu/openssl"},
        {"@id": "pkg:generic/other", "subcomponents": [{"@id": "pkg:deb/debian/openssl"}]},
    ],
)
def test_a_statement_about_something_else_is_given_back(product: dict[str, Any]) -> None:
    found = apply(stated(statement(product)), [FLAW], IMAGE)
    assert not found.ruling and "none of its products" in found.unmatched[0].reason


def test_a_statement_about_another_flaw_is_given_back_and_an_alias_is_enough() -> None:
    other = statement({"@id": SSL}) | {"vulnerability": {"name": "CVE-2026-2"}}
    alias = statement({"@id": SSL}) | {"vulnerability": {"name": "GHSA-1", "aliases": ["CVE-2026-1"]}}
    found = apply(stated(other, alias), [FLAW], IMAGE)
    assert found.ruling[0].position == 1 and found.unmatched[0].reason == "the image has no flaw of this name"


def test_the_latest_statement_rules_and_of_one_moment_the_worse() -> None:
    clean = statement({"@id": SSL}, timestamp="2026-11-02T00:00:00Z")
    affected = statement({"@id": SSL}, "affected", timestamp="2026-11-03T00:00:00Z")
    assert apply(stated(affected, clean), [FLAW], IMAGE).ruling[0].statement.status is Status.AFFECTED
    clean["timestamp"] = "2026-11-03T00:00:00Z"
    assert apply(stated(affected, clean), [FLAW], IMAGE).ruling[0].statement.status is Status.AFFECTED
    clean["timestamp"] = "2026-11-04T00:00:00Z"
    assert apply(stated(affected, clean), [FLAW], IMAGE).ruling[0].statement.status is Status.NOT_AFFECTED


def test_a_part_of_a_package_is_covered_only_where_that_package_holds_it() -> None:
    helm = frozenset({"pkg:golang/helm.sh/helm/v3@v3.14.0"})
    product = {"@id": "pkg:golang/example.com/tool", "subcomponents": [{"@id": "pkg:golang/helm.sh/helm/v3"}]}
    inside = Flaw(frozenset({"CVE-2026-1"}), helm, frozenset({"pkg:golang/example.com/tool@v1"}))
    assert list(apply(stated(statement(product)), [inside, Flaw(inside.names, helm)], IMAGE).ruling) == [0]


def test_not_affected_without_a_justification_is_not_acceptable() -> None:
    read = openvex.from_document(document(statement({"@id": SSL}, justification="because we say so")))
    assert not read.statements[0].acceptable


@pytest.mark.parametrize(
    "change",
    [
        {"statements": [{"status": "not_affected", "products": [SSL]}]},
        {"statements": [statement({"@id": SSL}, "harmless")]},
        {"statements": [{"vulnerability": "CVE-2026-1", "status": "fixed"}]},
        {"statements": [statement({"@id": SSL}, timestamp="soon")]},
        {"statements": [statement({"@id": SSL, "subcomponents": [{"@id": "x"}] * 100_001})]},
        {"statements": {}}, {"timestamp": None}, {"@id": ""}, {"author": 1}, {"@context": "https://other.example"},
    ],
)  # fmt: skip
def test_a_document_that_might_mean_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidVex):
        openvex.parse(json.dumps({**document(statement({"@id": SSL})), **change}).encode())


def test_a_statement_without_a_product_is_about_what_it_came_with() -> None:
    raw = json.dumps(document({"vulnerability": "CVE-2026-1", "status": "fixed"})).encode()
    read = openvex.parse(raw, Component(digests=(DIGEST,)))
    assert apply([Stated(read.statements[0])], [FLAW], IMAGE).ruling


def vendor(**more: Any) -> dict[str, Any]:
    """In the form of Red Hat's: one file a CVE, components put into platforms."""
    platform = {
        "name": "Linux 9", "product_id": "linux-9",
        "product_identification_helper": {"cpe": "cpe:/o:vendor:linux:9::baseos"},
    }  # fmt: skip
    names = {"openssl": "pkg:rpm/vendor/openssl", "curl": "pkg:rpm/vendor/curl", "wget": "pkg:rpm/vendor/wget"}
    parts = [
        {"category": "product_version", "name": name,
         "product": {"name": name, "product_id": name, "product_identification_helper": {"purl": purl}}}
        for name, purl in names.items()
    ]  # fmt: skip
    joined = [
        {"category": "default_component_of", "product_reference": name, "relates_to_product_reference": "linux-9",
         "full_product_name": {"name": name, "product_id": f"linux-9:{name}"}}
        for name in names
    ]  # fmt: skip
    flaw = {
        "cve": "CVE-2026-1",
        "product_status": {"known_not_affected": ["linux-9:openssl"], "known_affected": ["linux-9:curl"],
                           "under_investigation": ["linux-9:wget"]},
        "flags": [{"label": "vulnerable_code_not_present", "product_ids": ["linux-9:openssl"]}],
        "remediations": [{"category": "no_fix_planned", "details": "Will not fix", "product_ids": ["linux-9:curl"]}],
    }  # fmt: skip
    return {
        "document": {
            "category": "csaf_vex", "csaf_version": "2.0", "publisher": {"name": "Vendor"},
            "tracking": {"id": "CVE-2026-1", "version": "2", "current_release_date": "2026-11-01T00:00:00+00:00"},
        },
        "product_tree": {
            "branches": [{"category": "vendor", "name": "Vendor", "branches": [
                {"category": "product_name", "name": "Linux", "product": platform}, *parts]}],
            "relationships": joined,
        },
        "vulnerabilities": [{**flaw, **more}],
    }  # fmt: skip


def ruled(name: str, cpe: str, source: dict[str, Any]) -> VexStatement | None:
    flaw = Flaw(frozenset({"CVE-2026-1"}), frozenset({f"pkg:rpm/vendor/{name}@1-1?arch=x86_64"}))
    read = csaf.parse(json.dumps(source).encode())
    found = apply([Stated(each) for each in read.statements], [flaw], Subject(cpe=cpe)).ruling
    return found[0].statement if found else None


def test_a_vendor_says_what_is_affected_on_which_platform_and_what_will_not_be_fixed() -> None:
    nine = "cpe:/o:vendor:linux:9.4::baseos"
    clean, stays, open_ = (ruled(name, nine, vendor()) for name in ("openssl", "curl", "wget"))
    assert clean and clean.status is Status.NOT_AFFECTED and clean.acceptable
    assert stays and stays.status is Status.AFFECTED and stays.will_not_fix and stays.action == "Will not fix"
    assert open_ and open_.status is Status.UNDER_INVESTIGATION
    assert ruled("openssl", "cpe:/o:vendor:linux:8", vendor()) is None, "another release"
    assert ruled("openssl", "", vendor()) is None, "a system that is not known"


def test_a_platform_alone_or_a_part_that_cannot_be_told_stands_for_nothing() -> None:
    source = vendor(product_status={"known_not_affected": ["linux-9", "linux-9:curl"]}, flags=[], remediations=[])
    del source["product_tree"]["branches"][0]["branches"][2]["product"]["product_identification_helper"]
    assert ruled("curl", "cpe:/o:vendor:linux:9", source) is None
    assert ruled("openssl", "cpe:/o:vendor:linux:9", source) is None


def _deep() -> dict[str, Any]:
    node: dict[str, Any] = {"branches": []}
    for _ in range(40):
        node = {"branches": [node]}
    return {"product_tree": node}


@pytest.mark.parametrize(
    "change",
    [
        _deep(), {"vulnerabilities": [{"cve": "CVE-2026-1", "product_status": {"fixed": ["unknown"]}}]},
        {"vulnerabilities": [{"product_status": {}}]}, {"product_tree": []}, {"vulnerabilities": {}},
        {"document": {"csaf_version": "2.0"}},
    ],
)  # fmt: skip
def test_a_csaf_document_that_is_broken_or_too_deep_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidVex):
        csaf.parse(json.dumps({**vendor(), **change}).encode())


def test_purls_and_platforms_are_compared_as_their_specifications_say() -> None:
    assert same_purl("pkg:pypi/Django", "pkg:pypi/django@4.2")
    assert not same_purl("no purl", SSL) and not same_purl("pkg:npm/a", "pkg:npm/b")
    assert same_platform("cpe:2.3:o:vendor:linux:9:*:*:*:*:*:*:*", "cpe:/o:vendor:linux:9.2")
    assert not same_platform("cpe:/o:vendor:linux:9", "cpe:/o:vendor:linux:90")
