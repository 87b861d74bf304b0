"""PKG-OS and the VUL checks on small images."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customhouse.advisories.matching import AdvisoryReport, Coverage, Likelihood, match
from customhouse.advisories.memory import MemoryAdvisories
from customhouse.catalogue.packages import catalogue
from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject
from customhouse.certification.checks import (
    pkg_os,
    vul_epss,
    vul_fixable,
    vul_highprofile,
    vul_kev,
    vul_malpkg,
    vul_unfixed,
)
from customhouse.certification.findings import Severity
from customhouse.oci.image import Image
from customhouse.oci.wants import Budget
from tests.advisories.records import CRITICAL, LOW, affected, dump, fixed_in, kev, record, written
from tests.catalogue.images import ALPINE, DEBIAN, image, stanza

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NPM = {"app/node_modules/x/package.json": b'{"name": "x", "version": "1.0.0"}'}
OTHER = record("X-9", fixed_in("npm", "unrelated", "1.0.0"))
KEV = kev("CVE-2026-0001")


ALL = (
    vul_fixable.CHECK, vul_kev.CHECK, vul_unfixed.CHECK, vul_highprofile.CHECK, vul_epss.CHECK, vul_malpkg.CHECK
)  # fmt: skip


def subject(of: Image, advisories: AdvisoryReport | None = None, now: datetime = NOW) -> Subject:
    return Subject(of, "1", None, catalogue(of), advisories or AdvisoryReport(), None, now)


def examined(tmp_path: Path, of: Image, *records: dict[str, Any], exploited: dict[str, Any] | None = KEV) -> Subject:
    paths = [written(tmp_path, "all.zip", dump([OTHER, *records]))]
    if exploited:
        paths.append(written(tmp_path, "kev.json", exploited))
    report = match(catalogue(of).packages, MemoryAdvisories.load(paths, NOW), NOW, timedelta(days=36500))
    return subject(of, report)


def failures(check: Check, of: Subject, **params: Any) -> list[Failure]:
    settings: Mapping[str, Any] = {**check.params, **params}
    return list(check.evaluate(of, settings))


def flaw(**more: Any) -> dict[str, Any]:
    return record("GHSA-aaaa-bbbb-cccc", fixed_in("npm", "x", "2.0.0"), aliases=["CVE-2026-0001"], **more)


def test_a_fixable_critical_flaw_fails_and_names_the_fix(tmp_path: Path) -> None:
    (failure,) = failures(vul_fixable.CHECK, examined(tmp_path, image(NPM), flaw(severity=CRITICAL)))
    assert failure.message == "CVE-2026-0001 (critical) in x 1.0.0 is fixed in 2.0.0"
    assert failure.evidence["purl"] == "pkg:npm/x@1.0.0"
    assert failure.evidence["vulnerability"] == "CVE-2026-0001"
    assert failure.evidence["paths"] == ["app/node_modules/x/package.json"]


def test_a_low_flaw_or_one_without_a_fix_is_no_failure_of_fixable(tmp_path: Path) -> None:
    open_ = record("X-1", affected("npm", "x", {"introduced": "0"}), severity=CRITICAL)
    assert not failures(vul_fixable.CHECK, examined(tmp_path, image(NPM), flaw(severity=LOW), open_))


def test_a_flaw_of_unknown_severity_counts_as_high_and_says_so(tmp_path: Path) -> None:
    of = examined(tmp_path, image(NPM), flaw())
    (failure,) = failures(vul_fixable.CHECK, of)
    assert "severity not stated, counted as high" in failure.message
    assert not failures(vul_fixable.CHECK, of, unknown_as="medium")


def test_malicious_code_fails_without_a_fix_and_once(tmp_path: Path) -> None:
    evil = record("MAL-2026-1", affected("npm", "x", {"introduced": "0"}, kind="SEMVER"))
    of = examined(tmp_path, image(NPM), evil)
    (failure,) = failures(vul_malpkg.CHECK, of)
    assert failure.message == "x 1.0.0 is malicious (MAL-2026-1): leave it out"
    assert not failures(vul_fixable.CHECK, of) and not failures(vul_unfixed.CHECK, of)


def test_what_a_distribution_publishes_is_not_asked_for_malice(tmp_path: Path) -> None:
    debian = image({"etc/os-release": DEBIAN, "var/lib/dpkg/status": stanza("bash", "1")})
    with pytest.raises(NotApplicable):
        failures(vul_malpkg.CHECK, examined(tmp_path, debian))
    with pytest.raises(NotEvaluable, match="Debian:12 is missing; import Debian/all.zip"):
        failures(vul_unfixed.CHECK, examined(tmp_path, debian))


def test_a_flaw_without_a_fix_is_for_a_reviewer(tmp_path: Path) -> None:
    open_ = record("CVE-2026-7", affected("npm", "x", {"introduced": "0"}), severity=CRITICAL)
    of = examined(tmp_path, image(NPM), open_, flaw(severity=CRITICAL))
    (failure,) = failures(vul_unfixed.CHECK, of)
    assert failure.message == "CVE-2026-7 (critical) in x 1.0.0: there is no fix yet"
    assert failure.evidence["fix_state"] == "not-fixed"
    assert not failures(vul_unfixed.CHECK, of, ignored_states=["not-fixed"])
    assert not failures(vul_unfixed.CHECK, of, severities=["low"])


def test_a_famous_flaw_fails_by_any_of_its_names(tmp_path: Path) -> None:
    shell = record("GHSA-jfh8-c2jp-5v3q", fixed_in("npm", "x", "2.0.0"), aliases=["CVE-2021-44228"], severity=LOW)
    of = examined(tmp_path, image(NPM), shell)
    (failure,) = failures(vul_highprofile.CHECK, of)
    assert failure.message == "CVE-2021-44228 (Log4Shell) in x 1.0.0: fixed in 2.0.0"
    assert not failures(vul_highprofile.CHECK, of, cves=["CVE-2014-0160"])


@pytest.mark.parametrize(
    ("score", "percentile", "fixed", "fails"),
    [(0.10, 0.5, True, True), (0.09, 0.99, True, False), (0.01, 0.95, False, True), (0.01, 0.94, False, False)],
)
def test_a_flaw_that_is_likely_exploited_fails(
    tmp_path: Path, score: float, percentile: float, fixed: bool, fails: bool
) -> None:
    entry = fixed_in("npm", "x", "2.0.0") if fixed else affected("npm", "x", {"introduced": "0"})
    of = examined(tmp_path, image(NPM), record("CVE-2026-7", entry))
    (found,) = of.advisories.matches
    scored = replace(found, likelihood=Likelihood(score, percentile))
    of = replace(of, advisories=replace(of.advisories, matches=(scored,), epss=Coverage.COVERED))
    found_by = failures(vul_epss.CHECK, of)
    assert bool(found_by) == fails
    if fails:
        assert f"probability of {100 * score:.1f} %" in found_by[0].message and found_by[0].evidence["epss"] == score


def test_scores_that_were_never_imported_are_not_evaluable(tmp_path: Path) -> None:
    with pytest.raises(NotEvaluable, match="EPSS scores is missing"):
        failures(vul_epss.CHECK, examined(tmp_path, image(NPM), flaw()))


def test_evidence_names_the_layer_that_brought_the_package(tmp_path: Path) -> None:
    of = examined(tmp_path, image({"bin/true": b""}, NPM), flaw(severity=CRITICAL))
    (failure,) = failures(vul_fixable.CHECK, of)
    assert failure.evidence["layer"] == str(of.image.layers[1].digest)
    assert failure.evidence["severity_source"] == "GHSA-aaaa-bbbb-cccc: CVSS 3.1"


def test_a_jar_of_unknown_name_makes_nothing_found_mean_nothing(tmp_path: Path) -> None:
    of = examined(tmp_path, image(NPM))
    (package,) = of.catalogue.packages
    jar = replace(package, ecosystem="Maven", name="core", path="opt/app/core.jar")
    of = replace(of, advisories=replace(of.advisories, unidentified=((jar, "the jar does not say its group"),)))
    with pytest.raises(NotEvaluable, match="does not say its group, so no advisory can be looked up for /opt/app/core"):
        failures(vul_fixable.CHECK, of)


def test_days_of_grace_begin_when_the_advisory_is_published(tmp_path: Path) -> None:
    of = examined(tmp_path, image(NPM), flaw(severity=CRITICAL, published="2026-11-20T00:00:00Z"))
    assert not failures(vul_fixable.CHECK, of, grace_days=7)
    assert failures(vul_fixable.CHECK, of, grace_days=3)
    ahead = examined(tmp_path, image(NPM), flaw(severity=CRITICAL, published="2027-11-20T00:00:00Z"))
    assert failures(vul_fixable.CHECK, ahead, grace_days=7), "a date in the future gives no grace"


def test_an_exploited_flaw_fails_even_without_a_fix(tmp_path: Path) -> None:
    open_ = record("X-1", affected("npm", "x", {"introduced": "0"}), aliases=["CVE-2026-0001"])
    (failure,) = failures(vul_kev.CHECK, examined(tmp_path, image(NPM), open_))
    assert failure.message == "CVE-2026-0001 in x 1.0.0 is being exploited; there is no fix yet"


def test_covered_and_clean_passes_both(tmp_path: Path) -> None:
    of = examined(tmp_path, image(NPM))
    assert not failures(vul_fixable.CHECK, of) and not failures(vul_kev.CHECK, of)


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.id)
def test_no_package_means_not_applicable(check: Check) -> None:
    with pytest.raises(NotApplicable):
        failures(check, subject(image({"bin/true": b"\x7fELF"})))


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.id)
def test_no_advisories_means_not_evaluable(check: Check) -> None:
    with pytest.raises(NotEvaluable, match="npm is missing"):
        failures(check, subject(image(NPM)))


@pytest.mark.parametrize("check", [vul_fixable.CHECK, vul_kev.CHECK])
def test_stale_advisories_mean_not_evaluable_unless_something_is_found(check: Check, tmp_path: Path) -> None:
    dusty = [{**each, "modified": "2020-01-01T00:00:00Z"} for each in (OTHER, flaw(severity=CRITICAL))]
    paths = [written(tmp_path, "all.zip", dump(dusty)), written(tmp_path, "kev.json", KEV)]
    held = MemoryAdvisories.load(paths, NOW)

    def run(of: Image) -> list[Failure]:
        return failures(check, subject(of, match(catalogue(of).packages, held, NOW, timedelta(days=36500))))

    assert run(image(NPM))
    with pytest.raises(NotEvaluable, match="npm is stale"):
        run(image({"app/node_modules/x/package.json": b'{"name": "x", "version": "3.0.0"}'}))


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.id)
def test_an_incomplete_list_of_packages_means_not_evaluable(check: Check, tmp_path: Path) -> None:
    broken = image({**NPM, "app/node_modules/y/package.json": b"{"})
    cut = image(NPM, {f"srv/{i}": b"" for i in range(50)}, budget=Budget(entries=20))
    for of in (broken, cut):
        with pytest.raises(NotEvaluable, match="not complete"):
            failures(check, examined(tmp_path, of))


def test_kev_that_was_never_imported_is_not_evaluable(tmp_path: Path) -> None:
    of = examined(tmp_path, image(NPM), exploited=None)
    assert not failures(vul_fixable.CHECK, of)
    with pytest.raises(NotEvaluable, match="exploited vulnerabilities is missing"):
        failures(vul_kev.CHECK, of)


def os_of(release: bytes, now: datetime = NOW, **params: Any) -> list[Failure]:
    of = image({"etc/os-release": release, "var/lib/dpkg/status": stanza("bash", "1")})
    return failures(pkg_os.CHECK, subject(of, now=now), **params)


def test_a_supported_release_passes() -> None:
    assert not os_of(DEBIAN)
    assert not os_of(b"ID=wolfi\nVERSION_ID=20230201\n")


def test_a_release_past_its_end_blocks() -> None:
    (failure,) = os_of(ALPINE)
    assert failure.severity is Severity.BLOCK and "2026-04-01" in failure.message
    (regular,) = os_of(DEBIAN, long_term_support=False)
    assert regular.severity is Severity.BLOCK


def test_the_last_ninety_days_are_of_medium_severity() -> None:
    for day, expected in (
        ("2028-06-30", Severity.MEDIUM),
        ("2028-04-05", Severity.MEDIUM),
        ("2028-07-01", Severity.BLOCK),
    ):
        (failure,) = os_of(DEBIAN, datetime.fromisoformat(day).replace(tzinfo=UTC))
        assert failure.severity is expected, day
    assert not os_of(DEBIAN, datetime(2028, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize("release", [b"ID=debian\n", b"ID=debian\nVERSION_ID=99\n", b"ID=home-made\nVERSION_ID=1\n"])
def test_what_the_dates_do_not_know_is_not_evaluable(release: bytes) -> None:
    with pytest.raises(NotEvaluable, match="no support dates are known"):
        os_of(release)


def test_an_image_without_a_distribution_is_not_applicable() -> None:
    with pytest.raises(NotApplicable):
        failures(pkg_os.CHECK, subject(image({"app": b"\x7fELF"})))


def test_packages_of_an_unnamed_distribution_are_not_evaluable() -> None:
    with pytest.raises(NotEvaluable):
        failures(pkg_os.CHECK, subject(image({"var/lib/dpkg/status": stanza("bash", "1")})))


def test_a_distribution_in_an_unread_layer_is_not_evaluable() -> None:
    of = image({f"srv/{i}": b"" for i in range(50)}, budget=Budget(entries=20))
    with pytest.raises(NotEvaluable):
        failures(pkg_os.CHECK, replace(subject(of)))
