from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customhouse.advisories.matching import AdvisoryReport, Coverage, Match, coverage_of, match
from customhouse.advisories.memory import MemoryAdvisories
from customhouse.advisories.severity import Rating
from customhouse.advisories.source import Holding
from tests.advisories.records import (
    CRITICAL,
    HIGH,
    LOW,
    Installed,
    affected,
    deb,
    dump,
    fixed_in,
    kev,
    lib,
    record,
    written,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
Matched = Callable[..., AdvisoryReport]


@pytest.fixture
def matched(tmp_path: Path) -> Matched:
    def run(packages: list[Installed], *records: dict[str, Any], exploited: tuple[str, ...] = ()) -> AdvisoryReport:
        paths = [written(tmp_path, "all.zip", dump(records))]
        if exploited:
            paths.append(written(tmp_path, "kev.json", kev(*exploited)))
        return match(packages, MemoryAdvisories.load(paths, NOW), NOW, timedelta(days=36500))

    return run


def only(report: AdvisoryReport) -> Match:
    assert len(report.matches) == 1, report.matches
    return report.matches[0]


def test_distribution_packages_are_looked_up_by_source(matched: Matched) -> None:
    flaw = record(
        "DEBIAN-CVE-2026-1", fixed_in("Debian:12", "openssl", "3.0.2"), upstream=["CVE-2026-1"], severity=HIGH
    )
    found = only(matched([deb("libssl3", "3.0.1+b1", "openssl", "3.0.1"), deb("openssl", "3.0.1")], flaw))
    assert (found.id, found.severity, found.fixed_versions) == ("CVE-2026-1", Rating.HIGH, ("3.0.2",))
    assert [each.name for each in found.packages] == ["libssl3", "openssl"], "one flaw of one source is one match"


def test_a_binary_that_bears_the_name_of_another_source_is_not_matched(matched: Matched) -> None:
    flaw = record("DEBIAN-CVE-2026-1", fixed_in("Debian:12", "python-foo", "2"))
    assert not matched([deb("python-foo", "1", source="other")], flaw).matches


def test_another_release_is_another_ecosystem(matched: Matched) -> None:
    flaw = record("DEBIAN-CVE-2026-1", fixed_in("Debian:13", "curl", "9"))
    report = matched([deb("curl", "8")], flaw)
    assert not report.matches
    assert report.coverage == {"Debian:12": Coverage.MISSING}


def test_a_record_without_a_release_holds_for_all(matched: Matched) -> None:
    flaw = record("DSA-1-1", fixed_in("Debian", "curl", "9"))
    assert only(matched([deb("curl", "8")], flaw)).id == "DSA-1-1"


def test_aliases_of_one_flaw_count_once(matched: Matched) -> None:
    report = matched(
        [lib("PyPI", "requests", "2.0.0")],
        record("PYSEC-2026-1", fixed_in("PyPI", "requests", "2.1"), aliases=["CVE-2026-1", "GHSA-aaaa-bbbb-cccc"]),
        record("GHSA-aaaa-bbbb-cccc", fixed_in("PyPI", "requests", "2.1.0"), aliases=["CVE-2026-1"], severity=CRITICAL),
        record("CVE-2026-1", fixed_in("PyPI", "requests", "2.1")),
    )
    found = only(report)
    assert found.id == "CVE-2026-1"
    assert set(found.aliases) == {"PYSEC-2026-1", "GHSA-aaaa-bbbb-cccc"}
    assert found.severity is Rating.CRITICAL


def test_a_chain_of_aliases_is_one_flaw(matched: Matched) -> None:
    entry = fixed_in("npm", "x", "2.0.0")
    report = matched(
        [lib("npm", "x", "1.0.0")],
        record("AAA-1", entry, aliases=["BBB-1"]),
        record("CCC-1", entry, aliases=["DDD-1"]),
        record("ZZZ-1", entry, aliases=["BBB-1", "DDD-1"]),
    )
    assert only(report).id == "AAA-1"


def test_two_flaws_that_are_only_related_stay_two(matched: Matched) -> None:
    entry = fixed_in("npm", "x", "2.0.0")
    report = matched([lib("npm", "x", "1.0.0")], record("AAA-1", entry, related=["BBB-1"]), record("BBB-1", entry))
    assert len(report.matches) == 2


def test_a_bulletin_counts_only_for_what_no_record_of_its_own_says(matched: Matched) -> None:
    entry = fixed_in("Debian:12", "curl", "9")
    bulletin = record("DSA-7-1", entry, upstream=["CVE-2026-1", "CVE-2026-2"])
    one = record("DEBIAN-CVE-2026-1", entry, upstream=["CVE-2026-1"])
    two = record("DEBIAN-CVE-2026-2", entry, upstream=["CVE-2026-2"])
    assert {m.id for m in matched([deb("curl", "8")], bulletin, one, two).matches} == {"CVE-2026-1", "CVE-2026-2"}
    assert {m.id for m in matched([deb("curl", "8")], bulletin, one).matches} == {"CVE-2026-1", "DSA-7-1"}


def test_withdrawn_records_say_nothing(matched: Matched) -> None:
    flaw = record("GHSA-aaaa-bbbb-cccc", fixed_in("npm", "x", "2.0.0"), withdrawn="2026-02-02T00:00:00Z")
    assert not matched([lib("npm", "x", "1.0.0")], flaw).matches


def test_kernel_headers_hold_no_kernel(matched: Matched) -> None:
    flaw = record("DEBIAN-CVE-2026-1", affected("Debian:12", "linux", {"introduced": "0"}))
    assert not matched([deb("linux-libc-dev", "6.1.1", "linux")], flaw).matches
    assert matched([deb("linux-image-6.1-amd64", "6.1.1", "linux")], flaw).matches


def test_debians_unimportant_is_negligible_whatever_the_score(matched: Matched) -> None:
    entry = fixed_in("Debian:12", "curl", "9", ecosystem_specific={"urgency": "unimportant"})
    assert (
        only(matched([deb("curl", "8")], record("DEBIAN-CVE-2026-1", entry, severity=CRITICAL))).severity
        is Rating.NEGLIGIBLE
    )


def test_malicious_packages_match_their_versions_only(matched: Matched) -> None:
    flaw = record("MAL-2026-1", affected("npm", "evil", versions=["6.6.6"]))
    found = only(matched([lib("npm", "evil", "6.6.6"), lib("npm", "evil", "1.0.0")], flaw))
    assert found.package.version == "6.6.6"
    assert found.malicious and found.fixable and not found.fixed_versions and found.severity is Rating.CRITICAL


def test_exploitation_is_found_through_aliases_and_upstream(matched: Matched) -> None:
    alias = record("GHSA-aaaa-bbbb-cccc", affected("npm", "x", {"introduced": "0"}), aliases=["CVE-2026-0001"])
    upstream = record("DSA-7-1", fixed_in("Debian:12", "curl", "9"), upstream=["CVE-2026-0002", "CVE-2026-0003"])
    harmless = record("GHSA-dddd-eeee-ffff", affected("npm", "x", {"introduced": "0"}), aliases=["CVE-2026-0009"])
    report = matched(
        [lib("npm", "x", "1.0.0"), deb("curl", "8")],
        alias,
        upstream,
        harmless,
        exploited=("CVE-2026-0001", "CVE-2026-0003"),
    )
    assert {(m.id, m.kev) for m in report.matches} == {
        ("CVE-2026-0001", True),
        ("DSA-7-1", True),
        ("CVE-2026-0009", False),
    }
    assert report.kev is Coverage.COVERED


def test_the_worst_comes_first(matched: Matched) -> None:
    entry = fixed_in("npm", "x", "2.0.0")
    report = matched(
        [lib("npm", "x", "1.0.0")],
        record("AAA-1", entry, severity=LOW), record("BBB-1", entry), record("CCC-1", entry, severity=CRITICAL),
        record("DDD-1", entry, severity=HIGH),
    )  # fmt: skip
    assert [m.severity.value for m in report.matches] == ["critical", "high", "unknown", "low"]


def test_python_names_match_in_every_spelling(matched: Matched) -> None:
    assert matched([lib("PyPI", "Foo_Bar", "1.0")], record("PYSEC-2026-1", fixed_in("PyPI", "foo.bar", "2"))).matches


def test_a_fixed_branch_is_told_apart_from_an_open_one(matched: Matched) -> None:
    flaw = record(
        "GHSA-aaaa-bbbb-cccc",
        affected("npm", "x", {"introduced": "0"}, {"fixed": "1.9.0"}),
        affected("npm", "x", {"introduced": "2.0.0"}, {"fixed": "2.4.0"}),
    )
    assert only(matched([lib("npm", "x", "2.1.0")], flaw)).fixed_versions == ("2.4.0",)
    assert not matched([lib("npm", "x", "1.9.5")], flaw).matches


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("holding", "coverage"),
    [
        (None, Coverage.MISSING),
        (Holding(0, NOW, NOW), Coverage.MISSING),
        (Holding(5, NOW, None), Coverage.PARTIAL),
        (Holding(5, NOW, NOW), Coverage.COVERED),
        (Holding(5, NOW - 399 * DAY, NOW - 7 * DAY), Coverage.COVERED),
        (Holding(5, NOW, NOW - 8 * DAY), Coverage.STALE),
        (Holding(5, NOW - 401 * DAY, NOW), Coverage.STALE),
        (Holding(5, None, NOW), Coverage.STALE),
        (Holding(5, NOW, NOW + DAY), Coverage.COVERED),
    ],
)
def test_coverage_needs_a_fresh_import_and_a_living_feed(holding: Holding | None, coverage: Coverage) -> None:
    assert coverage_of(holding, NOW) is coverage


def test_a_match_is_reported_from_stale_advisories_too(tmp_path: Path) -> None:
    path = written(
        tmp_path, "all.zip", dump([record("X-1", fixed_in("npm", "x", "2.0.0"), modified="2020-01-01T00:00:00Z")])
    )
    report = match([lib("npm", "x", "1.0.0")], MemoryAdvisories.load([path], NOW), NOW, timedelta(days=36500))
    assert report.matches and report.lacking() == {"npm": Coverage.STALE}
    assert report.kev is Coverage.MISSING


def test_an_old_download_is_stale_on_a_laptop(tmp_path: Path) -> None:
    path = written(tmp_path, "all.zip", dump([record("X-1", fixed_in("npm", "x", "2.0.0"))]))
    downloaded = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    held = MemoryAdvisories.load([path], downloaded + 8 * DAY)
    assert match([lib("npm", "x", "3.0.0")], held, downloaded + 8 * DAY).coverage == {"npm": Coverage.STALE}
