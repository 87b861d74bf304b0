"""What scanners are known to report wrongly, and to miss: a test for each class.

Some classes are decided before matching, when packages are listed; those tests go from an image to the report."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customhouse.advisories.matching import SUBSCRIBERS_ONLY, AdvisoryReport, Coverage, match
from customhouse.advisories.memory import MemoryAdvisories
from customhouse.advisories.severity import Rating
from customhouse.advisories.specifics import FixState
from customhouse.catalogue.packages import catalogue
from tests.advisories.records import CRITICAL, Installed, affected, deb, dump, fixed_in, lib, record, written
from tests.catalogue.images import DEBIAN, image, stanza

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPEN = {"introduced": "0"}
Found = Callable[..., AdvisoryReport]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    def run(packages: Any, *records: dict[str, Any]) -> AdvisoryReport:
        held = MemoryAdvisories.load([written(tmp_path, "all.zip", dump(records))], NOW)
        return match(packages, held, NOW, timedelta(days=36500))

    return run


def rpm(name: str, version: str, ecosystem: str = "AlmaLinux:9", source: str = "", **properties: str) -> Installed:
    return Installed(
        ecosystem, name, version, source or name, version, f"pkg:rpm/{name}@{version}", properties=properties
    )


# Reported though it is not there


def test_a_backported_fix_is_not_taken_for_the_upstream_version(found: Found) -> None:
    """7.88.1-10+deb12u5 has the fix that upstream made in 8.3.0."""
    debian = record("DEBIAN-CVE-2026-1", fixed_in("Debian:12", "curl", "7.88.1-10+deb12u5"), upstream=["CVE-2026-1"])
    upstream = record("BIT-curl-2026-1", fixed_in("Bitnami", "curl", "8.3.0"), aliases=["CVE-2026-1"])
    assert not found([deb("curl", "7.88.1-10+deb12u5")], debian, upstream).matches
    assert found([deb("curl", "7.88.1-10+deb12u4")], debian, upstream).matches


def test_a_language_package_that_a_distribution_owns_is_the_distributions(found: Found) -> None:
    metadata = "usr/lib/python3/dist-packages/requests-2.28.1.dist-info/METADATA"
    of = image(
        {
            "etc/os-release": DEBIAN,
            "var/lib/dpkg/status": stanza("python3-requests", "2.28.1+dfsg-1"),
            "var/lib/dpkg/info/python3-requests.list": f"/.\n/{metadata}\n".encode(),
            metadata: b"Metadata-Version: 2.1\nName: requests\nVersion: 2.28.1\n",
        }
    )
    flaw = record("PYSEC-2026-1", fixed_in("PyPI", "requests", "2.31.0"))
    assert not found(catalogue(of).packages, flaw).matches


def test_a_manifest_that_is_not_installed_is_no_package(found: Found) -> None:
    body = b'{"name": "x", "version": "1.0.0"}'
    of = image({"app/test/fixtures/x/package.json": body, "app/node_modules/y/package.json": body.replace(b"x", b"y")})
    report = found(catalogue(of).packages, *(record(f"X-{n}", affected("npm", n, OPEN)) for n in "xy"))
    assert [m.package.name for m in report.matches] == ["y"]


@pytest.mark.parametrize(
    ("ecosystem", "source", "headers", "kernel"),
    [
        ("Debian:12", "linux", "linux-libc-dev", "linux-image-6.1.0-1-amd64"),
        ("Ubuntu:22.04:LTS", "linux", "linux-headers-5.15.0-1", "linux-image-5.15.0-1"),
        ("Rocky Linux:9", "kernel", "kernel-headers", "kernel-core"),
        ("AlmaLinux:9", "kernel", "kernel-headers", "kernel-core"),
    ],
)
def test_kernel_headers_hold_no_kernel(found: Found, ecosystem: str, source: str, headers: str, kernel: str) -> None:
    flaws = [record(f"X-{name}", affected(ecosystem, name, OPEN)) for name in {source, headers, kernel}]
    packages = [Installed(ecosystem, name, "1.0-1", source, "1.0-1") for name in (headers, kernel)]
    assert {m.package.name for m in found(packages, *flaws).matches} == {kernel}


def test_a_flaw_of_one_binary_is_not_that_of_another_of_the_same_source(found: Found) -> None:
    """Where advisories name binaries; where they name sources, one match tells all binaries."""
    flaw = record("ALSA-2026:1", fixed_in("AlmaLinux:9", "openssl-perl", "2-1"))
    installed = [rpm("openssl-libs", "1-1", source="openssl"), rpm("openssl-perl", "1-1", source="openssl")]
    assert [m.package.name for m in found(installed, flaw).matches] == ["openssl-perl"]


def test_debians_unimportant_is_negligible_and_what_has_no_dsa_stays_affected(found: Found) -> None:
    unimportant = affected("Debian:12", "curl", OPEN, ecosystem_specific={"urgency": "unimportant"})
    no_dsa = affected("Debian:12", "curl", OPEN, ecosystem_specific={"urgency": "no-dsa"})
    ended = affected("Debian:12", "curl", OPEN, ecosystem_specific={"urgency": "end-of-life"})
    records = [record(f"DEBIAN-CVE-2026-{n}", each, severity=CRITICAL) for n, each in enumerate((unimportant, no_dsa))]
    first, second, third = sorted(
        found([deb("curl", "1")], *records, record("DEBIAN-CVE-2026-2", ended)).matches, key=lambda m: m.id
    )
    assert first.severity is Rating.NEGLIGIBLE and second.severity is Rating.CRITICAL
    assert (second.fix_state, third.fix_state) == (FixState.NOT_FIXED, FixState.WONT_FIX)


def test_a_missing_epoch_of_a_source_package_is_not_zero(found: Found) -> None:
    bare = record("RLSA-2026:1", fixed_in("Rocky Linux:9", "perl", "5.32.1-481.el9"))
    assert not found([rpm("perl-libs", "4:5.32.1-481.el9", "Rocky Linux:9", "perl")], bare).matches
    assert found([rpm("perl-libs", "4:5.32.1-480.el9", "Rocky Linux:9", "perl")], bare).matches
    full = record("RLSA-2026:1", fixed_in("Rocky Linux:9", "perl", "4:5.32.1-481.el9"))
    assert found([rpm("perl-libs", "5.32.1-481.el9", "Rocky Linux:9", "perl")], full).matches


def test_a_module_stream_is_fixed_by_its_own_builds(found: Found) -> None:
    eighteen = record(
        "ALSA-2026:1", fixed_in("AlmaLinux:9", "nodejs", "1:18.20.1-1.module_el9.2.0+1"),
        summary="Important: nodejs:18 security update",
    )  # fmt: skip
    twenty = record(
        "ALSA-2026:2", fixed_in("AlmaLinux:9", "nodejs", "1:20.12.0-1.module_el9.2.0+2"),
        summary="Important: nodejs:20 security update",
    )  # fmt: skip
    base = record("ALSA-2026:3", fixed_in("AlmaLinux:9", "nodejs", "1:16.20.2-4.el9"))
    old = rpm("nodejs", "1:18.12.0-1.module_el9.2.0+0", module="nodejs:18:9020020230101:rhel9")
    assert [m.id for m in found([old], eighteen, twenty, base).matches] == ["ALSA-2026:1"]
    plain = rpm("nodejs", "1:16.18.0-1.el9")
    assert [m.id for m in found([plain], eighteen, twenty, base).matches] == ["ALSA-2026:3"]


@pytest.mark.parametrize("ecosystem", ["Alpine:v3.20", "Wolfi", "Debian:12"])
def test_fixed_in_zero_means_never_affected(found: Found, ecosystem: str) -> None:
    flaw = record("CVE-2026-1", fixed_in(ecosystem, "curl", "0"))
    assert not found([Installed(ecosystem, "curl", "8.0-r0", "curl", "8.0-r0")], flaw).matches


def test_one_name_in_two_ecosystems_is_two_packages(found: Found) -> None:
    flaws = [record("X-1", affected("PyPI", "redis", OPEN)), record("X-2", affected("npm", "redis", OPEN))]
    assert not found([deb("redis", "7.0"), lib("RubyGems", "redis", "4.0.0")], *flaws).matches
    assert [m.id for m in found([lib("npm", "redis", "4.0.0")], *flaws).matches] == ["X-2"]


def test_a_jar_without_its_group_is_unidentified_and_not_guessed(found: Found) -> None:
    flaw = record("GHSA-aaaa-bbbb-cccc", affected("Maven", "org.example:core", OPEN))
    report = found([lib("Maven", "core", "1.0"), lib("Maven", "com.other:core", "1.0")], flaw)
    assert not report.matches
    assert [(package.name, reason) for package, reason in report.unidentified] == [
        ("core", "the jar does not say which group it belongs to")
    ]
    assert found([lib("Maven", "org.example:core", "1.0")], flaw).matches


def test_a_jar_whose_group_is_guessed_is_known_only_where_advisories_know_that_name(found: Found) -> None:
    flaw = record("GHSA-aaaa-bbbb-cccc", fixed_in("Maven", "org.example:core", "2.0"))
    guess = {"properties": {"group": "guess"}}
    right = replace(lib("Maven", "org.example:core", "1.0"), **guess)
    safe = replace(lib("Maven", "org.example:core", "3.0"), **guess)
    wrong = replace(lib("Maven", "org.examples:core", "1.0"), **guess)
    report = found([right, safe, wrong], flaw)
    assert [match.package for match in report.matches] == [right]
    assert [package for package, _ in report.unidentified] == [wrong]


def test_each_artifact_of_a_shaded_jar_is_looked_up_by_its_own_name(found: Found) -> None:
    flaw = record("GHSA-aaaa-bbbb-cccc", fixed_in("Maven", "com.google.guava:guava", "32.0.0-jre"))
    shaded = [lib("Maven", "org.example:all", "1.0"), lib("Maven", "com.google.guava:guava", "31.1-jre")]
    assert [m.package.name for m in found(shaded, flaw).matches] == ["com.google.guava:guava"]


def test_a_go_programs_own_module_without_a_version_is_nobodys(found: Found) -> None:
    flaw = record("GO-2026-0001", affected("Go", "example.org/app", OPEN, kind="SEMVER"))
    main = replace(lib("Go", "example.org/app", "v0.0.0-20260101000000-abcdefabcdef"), properties={"main": "true"})
    assert not found([lib("Go", "example.org/app", "(devel)"), main], flaw).matches
    assert found([replace(main, properties={})], flaw).matches, "as a dependency it has a place in the order"


def test_a_replaced_go_module_counts_as_what_replaces_it(found: Found) -> None:
    """Of a replaced module without a version of its own only the placeholder is left, which is no version."""
    flaw = record("GO-2026-0001", fixed_in("Go", "example.org/dep", "1.5.0"))
    assert not found([lib("Go", "example.org/dep", "v0.0.0-00010101000000-000000000000")], flaw).matches
    assert not found([lib("Go", "example.org/fork", "v1.0.0")], flaw).matches


def test_the_standard_library_is_judged_by_the_toolchain_that_built_it(found: Found) -> None:
    flaw = record("GO-2026-0001", affected("Go", "stdlib", OPEN, {"fixed": "1.21.8"}, {"introduced": "1.22.0-0"},
                                           {"fixed": "1.22.1"}, kind="SEMVER"))  # fmt: skip
    versions = ("go1.21.7", "1.21.8", "go1.22rc1", "v1.22.0", "1.22.1")
    report = found([lib("Go", "stdlib", version) for version in versions], flaw)
    assert {m.package.version for m in report.matches} == {"go1.21.7", "go1.22rc1", "v1.22.0"}


def test_functions_that_may_not_be_used_are_noted(found: Found) -> None:
    imports = [{"path": "golang.org/x/net/http2", "symbols": ["Server.ServeConn"]}]
    flaw = record("GO-2026-0001", affected("Go", "golang.org/x/net", OPEN, ecosystem_specific={"imports": imports}))
    (only,) = found([lib("Go", "golang.org/x/net", "v0.1.0")], flaw).matches
    assert only.notes == ("only functions of golang.org/x/net/http2; whether they are used was not looked at",)


def test_a_malicious_release_is_its_version_and_no_range(found: Found) -> None:
    flaw = record("MAL-2026-1", affected("npm", "chalk", OPEN, versions=["5.6.1"]))
    assert not found([lib("npm", "chalk", "5.6.0"), lib("npm", "chalk", "5.6.2")], flaw).matches
    (only,) = found([lib("npm", "chalk", "5.6.1")], flaw).matches
    assert only.malicious and only.severity is Rating.CRITICAL and only.rated_by == "MAL-2026-1: malicious"


def test_withdrawn_records_do_not_count_and_disputed_ones_are_noted(found: Found) -> None:
    withdrawn = record("GHSA-aaaa-bbbb-cccc", affected("npm", "x", OPEN), withdrawn="2026-02-02T00:00:00Z")
    disputed = record("CVE-2026-1", affected("npm", "x", OPEN), summary="** DISPUTED ** x takes what it is given")
    (only,) = found([lib("npm", "x", "1.0.0")], withdrawn, disputed).matches
    assert only.id == "CVE-2026-1" and only.notes == ("disputed: somebody denies that it is a flaw",)


def test_three_names_are_one_flaw_also_when_no_record_knows_both_others(found: Found) -> None:
    entry = fixed_in("PyPI", "jinja2", "2.11.3")
    records = [
        record("PYSEC-2026-1", entry, aliases=["CVE-2026-1"]),
        record("GHSA-aaaa-bbbb-cccc", entry, aliases=["CVE-2026-1"]),
        record("CVE-2026-1", entry),
    ]
    (only,) = found([lib("PyPI", "Jinja2", "2.11.2")], *records).matches
    assert only.names == {"PYSEC-2026-1", "GHSA-aaaa-bbbb-cccc", "CVE-2026-1"}
    assert only.records == ("CVE-2026-1", "GHSA-aaaa-bbbb-cccc", "PYSEC-2026-1")


def test_a_flaw_of_windows_alone_is_none_of_an_image(found: Found) -> None:
    windows = affected("Go", "stdlib", OPEN, ecosystem_specific={"imports": [{"path": "os", "goos": ["windows"]}]})
    both = affected("crates.io", "mio", OPEN, ecosystem_specific={"affects": {"os": ["windows", "linux"]}})
    only_windows = affected("crates.io", "mio", OPEN, ecosystem_specific={"affects": {"os": ["windows"]}})
    report = found(
        [lib("Go", "stdlib", "1.20.0"), lib("crates.io", "mio", "0.8.0")],
        record("GO-2026-1", windows), record("RUSTSEC-2026-1", both), record("RUSTSEC-2026-2", only_windows),
    )  # fmt: skip
    assert [m.id for m in report.matches] == ["RUSTSEC-2026-1"]


def test_a_project_that_is_no_longer_cared_for_is_no_flaw(found: Found) -> None:
    notice = affected("crates.io", "ansi_term", OPEN, database_specific={"informational": "unmaintained"})
    assert not found([lib("crates.io", "ansi_term", "0.12.1")], record("RUSTSEC-2021-0139", notice)).matches


def test_an_unsound_interface_is_a_flaw_when_it_has_a_name(found: Found) -> None:
    unsound = affected("crates.io", "x", OPEN, database_specific={"informational": "unsound"})
    records = [record("RUSTSEC-2026-1", unsound), record("RUSTSEC-2026-2", unsound, aliases=["CVE-2026-2"])]
    assert [m.id for m in found([lib("crates.io", "x", "0.1.0")], *records).matches] == ["CVE-2026-2"]


def test_an_update_that_mends_no_flaw_is_none(found: Found) -> None:
    mends = record("ALBA-2026:1", fixed_in("AlmaLinux:9", "bash", "2-1"))
    flaw = record("ALSA-2026:2", fixed_in("AlmaLinux:9", "bash", "2-1"), related=["CVE-2026-1"])
    assert [m.id for m in found([rpm("bash", "1-1")], mends, flaw).matches] == ["CVE-2026-1"]


@pytest.mark.parametrize("version", ["7.88.1-10+root.io.3", "7.88.1-10+echo.1", "7.88.1-10.rapidfort"])
def test_a_vendors_build_is_judged_by_that_vendors_advisories(found: Found, version: str) -> None:
    """Its version does not say which fixes it has. Without the vendor's advisories that is not known."""
    report = found([deb("curl", version)], record("DEBIAN-CVE-2026-1", fixed_in("Debian:12", "curl", "9")))
    assert not report.matches
    assert any(state is Coverage.MISSING and name.endswith(":Debian:12") for name, state in report.coverage.items())


def test_a_vendors_advisories_are_in_the_order_of_what_it_builds(found: Found) -> None:
    flaw = record("ROOT-2026-1", fixed_in("Root:Debian:12", "curl", "7.88.1-10+root.io.10"))
    installed = [deb("curl", "7.88.1-10+root.io.9"), deb("curl", "7.88.1-10+root.io.10")]
    assert [m.package.version for m in found(installed, flaw).matches] == ["7.88.1-10+root.io.9"]


# A fix is not one for everybody


def test_a_fix_for_subscribers_only_leaves_the_flaw_without_a_fix(found: Found) -> None:
    flaw = record("UBUNTU-CVE-2026-1", fixed_in("Ubuntu:Pro:20.04:LTS", "curl", "7.68-1ubuntu2.22+esm1"))
    (only,) = found([deb("curl", "7.68-1ubuntu2.22", ecosystem="Ubuntu:20.04:LTS")], flaw).matches
    assert not only.fixed_versions and only.fix_state is FixState.WONT_FIX and only.notes == (SUBSCRIBERS_ONLY,)


def test_a_free_fix_is_not_outweighed_by_the_one_for_subscribers(found: Found) -> None:
    flaw = record(
        "UBUNTU-CVE-2026-1", fixed_in("Ubuntu:22.04:LTS", "curl", "7.81-1ubuntu1.5"),
        fixed_in("Ubuntu:Pro:22.04:LTS", "curl", "7.81-1ubuntu1.9+esm1"),
    )  # fmt: skip
    assert not found([deb("curl", "7.81-1ubuntu1.5", ecosystem="Ubuntu:22.04:LTS")], flaw).matches
    (only,) = found([deb("curl", "7.81-1ubuntu1.4", ecosystem="Ubuntu:22.04:LTS")], flaw).matches
    assert only.fixed_versions == ("7.81-1ubuntu1.5",)


def test_a_subscribers_build_has_the_subscribers_fix(found: Found) -> None:
    flaw = record(
        "UBUNTU-CVE-2026-1", affected("Ubuntu:20.04:LTS", "curl", OPEN),
        fixed_in("Ubuntu:Pro:20.04:LTS", "curl", "7.68-1ubuntu2.22+esm2"),
    )  # fmt: skip
    assert not found([deb("curl", "7.68-1ubuntu2.22+esm2", ecosystem="Ubuntu:20.04:LTS")], flaw).matches
    (only,) = found([deb("curl", "7.68-1ubuntu2.22+esm1", ecosystem="Ubuntu:20.04:LTS")], flaw).matches
    assert only.fixed_versions == ("7.68-1ubuntu2.22+esm2",)


# Missed though it is there


def test_a_package_database_that_was_deleted_is_no_clean_image(found: Found) -> None:
    of = image({"etc/os-release": DEBIAN, "var/lib/dpkg/status": stanza("curl", "7")}, {"var/lib/dpkg/.wh.status": b""})
    assert catalogue(of).problems


def test_a_release_whose_feed_fell_silent_is_stale(tmp_path: Path) -> None:
    old = record("DSA-1-1", fixed_in("Debian:9", "curl", "7.1"), modified="2022-07-01T00:00:00Z")
    held = MemoryAdvisories.load([written(tmp_path, "all.zip", dump([old]))], NOW)
    report = match([deb("bash", "4", ecosystem="Debian:9")], held, NOW, timedelta(days=36500))
    assert report.lacking() == {"Debian:9": Coverage.STALE}


def test_a_package_from_a_newer_release_is_compared_with_the_release_of_the_image(found: Found) -> None:
    flaw = record(
        "DEBIAN-CVE-2026-1",
        fixed_in("Debian:12", "curl", "7.88.1-10+deb12u5"),
        fixed_in("Debian:13", "curl", "8.3.0-1"),
    )
    assert found([deb("curl", "7.87.0-1")], flaw).matches
    assert not found([deb("curl", "8.14.1-2")], flaw).matches


def test_a_source_that_only_signs_has_the_flaws_of_what_it_signs(found: Found) -> None:
    flaw = record("DEBIAN-CVE-2026-1", fixed_in("Debian:12", "linux", "6.1.135-1"))
    signed = [
        deb("linux-image-6.1.0-33-amd64", version, "linux-signed-amd64", version)
        for version in ("6.1.133+1", "6.1.135+1")
    ]
    assert [m.package.version for m in found(signed, flaw).matches] == ["6.1.133+1"]


def test_a_static_program_is_matched_by_what_it_was_linked_from(found: Found) -> None:
    flaw = record("GO-2026-0001", fixed_in("Go", "golang.org/x/net", "0.17.0"), aliases=["CVE-2026-1"])
    assert found([lib("Go", "golang.org/x/net", "v0.15.0")], flaw).matches


def test_names_match_whatever_their_case_where_case_means_nothing(found: Found) -> None:
    records = [
        record("X-1", affected("NuGet", "Newtonsoft.Json", OPEN)),
        record("X-2", affected("Packagist", "A/B", OPEN)),
    ]
    installed = [lib("NuGet", "newtonsoft.json", "1.0.0"), lib("Packagist", "a/b", "1.0.0")]
    assert len(found(installed, *records).matches) == 2
