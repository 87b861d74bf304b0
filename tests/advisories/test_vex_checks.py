"""VUL-VEX, and what statements of makers change for the other checks of flaws."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from customhouse.advisories.vex import JUSTIFICATIONS, Product, Stated, Status, VexStatement
from customhouse.certification.check import Failure, Subject
from customhouse.certification.checks import vul_fixable, vul_kev, vul_malpkg, vul_vex
from customhouse.certification.findings import Severity
from tests.advisories.records import CRITICAL, record
from tests.advisories.test_checks import NOW, NPM, examined, failures, flaw
from tests.catalogue.images import image

X = "pkg:npm/x@1.0.0"
REASON = sorted(JUSTIFICATIONS)[0]


def stated(
    status: str = "not_affected", *, name: str = "CVE-2026-0001", purl: str = X, by: str = "", **more: Any
) -> Stated:
    said = VexStatement((name,), (Product(purl),), Status(status), NOW, **{"justification": REASON, **more})
    return Stated(said, "sha256:" + "0" * 64, 0, "https://example.com/vex/1", "Example Maker", by)


def told(tmp_path: Path, *statements: Stated, records: tuple[dict[str, Any], ...] = ()) -> Subject:
    found = examined(tmp_path, image(NPM), *(records or (flaw(severity=CRITICAL),)))
    return replace(found, advisories=replace(found.advisories, stated=statements))


def vex(of: Subject) -> list[Failure]:
    return failures(vul_vex.CHECK, of)


def test_a_justified_statement_excuses_a_flaw_from_every_check_and_is_told(tmp_path: Path) -> None:
    assert len(failures(vul_fixable.CHECK, told(tmp_path))) == 1
    of = told(tmp_path, stated())
    (failure,) = vex(of)
    assert failure.severity is Severity.INFO and "not affected" in failure.message
    assert failure.evidence["purl"] == X and failure.evidence["vulnerability"] == "CVE-2026-0001"
    assert failures(vul_fixable.CHECK, of) == [] and failures(vul_kev.CHECK, of) == []


def test_a_publisher_s_own_statement_is_signed_off_by_people(tmp_path: Path) -> None:
    (failure,) = vex(told(tmp_path, stated(by="acme")))
    assert failure.severity is Severity.HIGH and "its publisher acme" in failure.message


def test_fixed_excuses_and_affected_does_not(tmp_path: Path) -> None:
    assert "stated as fixed" in vex(told(tmp_path, stated("fixed", justification="")))[0].message
    for status in ("affected", "under_investigation"):
        of = told(tmp_path, stated(status, justification=""))
        assert len(failures(vul_fixable.CHECK, of)) == 1 and vex(of) == []


def test_without_a_justification_nothing_is_excused_and_it_is_said(tmp_path: Path) -> None:
    of = told(tmp_path, stated(justification=""))
    (failure,) = vex(of)
    assert failure.severity is Severity.MEDIUM and "without a justification" in failure.message
    assert len(failures(vul_fixable.CHECK, of)) == 1


def test_malicious_code_is_never_excused(tmp_path: Path) -> None:
    bad = record("MAL-2026-1", {"package": {"ecosystem": "npm", "name": "x"}, "versions": ["1.0.0"]})
    of = told(tmp_path, stated(name="MAL-2026-1"), records=(bad,))
    assert len(failures(vul_malpkg.CHECK, of)) == 1
    (failure,) = vex(of)
    assert "malicious code is not excused" in failure.message


def test_a_statement_that_matches_nothing_is_told_and_one_about_others_is_not(tmp_path: Path) -> None:
    of = told(tmp_path, stated(name="CVE-1999-1"), stated(purl="pkg:npm/elsewhere"))
    (failure,) = vex(of)
    assert failure.severity is Severity.LOW and "covers nothing: the image has no flaw of this name" in failure.message
    assert len(failures(vul_fixable.CHECK, of)) == 1


def test_another_version_s_statement_is_about_something_else(tmp_path: Path) -> None:
    of = told(tmp_path, stated(purl="pkg:npm/x@2.0.0"))
    assert vex(of) == [] and len(failures(vul_fixable.CHECK, of)) == 1
