import json
from datetime import UTC, datetime
from typing import Any

import pytest

from customhouse.advisories.osv import InvalidRecord, from_document, normal_package, parse, parse_time
from customhouse.advisories.severity import BadVector, Rating, from_vector, worst
from customhouse.advisories.specifics import Specifics
from tests.advisories.records import HIGH, affected, fixed_in, record

WORST_4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H"


def test_a_record_is_read_with_all_that_matching_needs() -> None:
    found = from_document(
        record(
            "GHSA-xxxx-yyyy-zzzz",
            fixed_in("PyPI", "Foo.Bar", "2.0", versions=["1.0", "1.1"]),
            aliases=["CVE-2026-1", "CVE-2026-1"],
            upstream=["CVE-2026-2"],
            summary="A   flaw\nin\x00 two lines",
            severity=HIGH,
        )
    )
    assert found.affected[0].package == "foo-bar"
    assert found.affected[0].versions == ("1.0", "1.1")
    assert found.affected[0].ranges[0].events == (("introduced", "0"), ("fixed", "2.0"))
    assert found.aliases == ("CVE-2026-1",)
    assert found.cves == {"CVE-2026-1", "CVE-2026-2"}
    assert found.summary == "A flaw in two lines"
    assert found.rating is Rating.HIGH
    assert not found.flaws


def test_git_ranges_and_repositories_say_nothing_about_packages() -> None:
    git = affected("PyPI", "x", {"introduced": "0"}, {"fixed": "abc.patch"}, kind="GIT", versions=["1"])
    found = from_document(
        record("X-1", git, {"ranges": [{"type": "GIT", "repo": "r", "events": [{"introduced": "0"}]}]})
    )
    assert len(found.affected) == 1 and not found.affected[0].ranges


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": "../../x y"},
        {"modified": None},
        {"modified": "yesterday"},
        {"modified": "2026-13-40T00:00:00Z"},
        {"withdrawn": 5},
        {"affected": {}},
        {"affected": ["x"]},
        {"affected": [{"package": {"name": "x"}}]},
        {"affected": [{"package": {"ecosystem": "npm", "name": ""}}]},
        {"affected": [affected("npm", "x", {"fixed": "1"})]},
        {"affected": [affected("npm", "x", {"introduced": "0"}, {"vanished": "1"})]},
        {"affected": [affected("npm", "x", {"introduced": "0"}, {"fixed": 1})]},  # type: ignore[dict-item]
        {"affected": [affected("npm", "x", versions=[1])]},
        {"affected": [affected("npm", "x", versions=["1\x00"])]},
        {"affected": [affected("npm", "x", versions=["1" * 600])]},
        {"affected": [{"package": {"ecosystem": "npm", "name": "x"}}] * 20_001},
        {"aliases": "CVE-2026-1"},
        {"aliases": [7]},
    ],
)
def test_a_record_that_cannot_be_used_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord):
        from_document({**record("X-1", fixed_in("npm", "x", "1")), **change})


@pytest.mark.parametrize("raw", [b"", b"[]", b"7", b"{", b"\xff", b'{"a":' * 50_000])
def test_bytes_that_are_no_record_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRecord):
        parse(raw)


def test_a_vector_with_a_wrong_label_is_noted_and_scored_by_its_own_prefix() -> None:
    wrong = [{"type": "CVSS_V4", "score": HIGH[0]["score"]}]
    found = from_document(record("X-1", fixed_in("npm", "x", "1"), severity=wrong))
    assert found.rating is Rating.HIGH
    assert found.flaws == ("CVSS:3.1/ is labelled CVSS_V4",)


@pytest.mark.parametrize(
    "severity", [[{"type": "CVSS_V3", "score": "CVSS:3.1/AV:X"}], [{"type": "CVSS_V3"}], "high", [3]]
)
def test_an_unreadable_score_is_noted_and_the_record_stays(severity: Any) -> None:
    found = parse(json.dumps(record("X-1", fixed_in("npm", "x", "1"), severity=severity)).encode())
    assert found.rating is Rating.UNKNOWN and found.flaws


@pytest.mark.parametrize(
    ("more", "rating"),
    [
        ({"database_specific": {"severity": "MODERATE"}, "severity": HIGH}, Rating.MEDIUM),
        ({"severity": [{"type": "Ubuntu", "score": "low"}, *HIGH]}, Rating.LOW),
        ({"severity": [{"type": "CVSS_V4", "score": WORST_4}]}, Rating.CRITICAL),
        ({"severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:C/I:C/A:C"}]}, Rating.CRITICAL),
        ({}, Rating.UNKNOWN),
    ],
)  # fmt: skip
def test_the_rating_comes_from_the_most_trusted_word(more: dict[str, Any], rating: Rating) -> None:
    assert from_document(record("X-1", **more)).rating is rating


def test_debians_urgency_is_the_word_about_its_package() -> None:
    entry = fixed_in("Debian:12", "curl", "1", ecosystem_specific={"urgency": "unimportant"})
    open_ = fixed_in("Debian:12", "curl", "1", ecosystem_specific={"urgency": "not yet assigned"})
    assert from_document(record("DEBIAN-CVE-1", entry)).affected[0].rating is Rating.NEGLIGIBLE
    assert from_document(record("DEBIAN-CVE-1", open_)).affected[0].rating is Rating.UNKNOWN


def test_malicious_packages_are_critical() -> None:
    found = from_document(record("MAL-2026-1", affected("npm", "x", {"introduced": "0"}, kind="SEMVER")))
    assert found.malicious and found.rating is Rating.CRITICAL


def test_times_are_utc_and_cut_to_microseconds() -> None:
    assert parse_time("2026-01-02T03:04:05.123456789Z") == datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)
    assert parse_time("2026-01-02T03:04:05+02:00") == datetime(2026, 1, 2, 1, 4, 5, 0, UTC)
    assert parse_time("0001-01-01T00:00:00+23:00") is None
    assert parse_time(7) is None


def test_names_of_other_ecosystems_keep_their_case() -> None:
    assert normal_package("npm", "JSONStream") == "JSONStream"
    assert normal_package("PyPI", "Foo_Bar") == "foo-bar"


def test_the_worst_known_rating_wins_and_unknown_needs_all_to_be_unknown() -> None:
    assert worst([Rating.UNKNOWN, Rating.LOW]) is Rating.LOW
    assert worst([Rating.HIGH, Rating.CRITICAL]) is Rating.CRITICAL
    assert worst([]) is Rating.UNKNOWN


@pytest.mark.parametrize("vector", ["", "CVSS:3.1/", "CVSS:9.9/AV:N", "AV:N", "CVSS:4.0/AV:N", "x" * 500])
def test_a_broken_vector_says_so(vector: str) -> None:
    with pytest.raises(BadVector):
        from_vector(vector)


def test_what_databases_add_is_kept_where_matching_needs_it() -> None:
    entry = affected(
        "Go", "example.com/x", {"introduced": "0"}, kind="SEMVER",
        ecosystem_specific={"imports": [{"path": "example.com/x/y", "goos": ["windows"], "symbols": ["F"]}]},
    )  # fmt: skip
    found = from_document(record("GO-1", entry)).affected[0].specifics
    assert (found.imports, found.platforms, found.symbols) == (("example.com/x/y",), ("windows",), True)
    everywhere = {"imports": [{"path": "a", "goos": ["windows"]}, {"path": "b"}]}
    entry["ecosystem_specific"] = everywhere
    assert from_document(record("GO-1", entry)).affected[0].specifics.platforms == ()
    rust = affected("crates.io", "x", {"introduced": "0"}, database_specific={"informational": "unmaintained"})
    assert from_document(record("RUSTSEC-1", rust)).affected[0].specifics.informational == "unmaintained"
    odd = affected("Go", "x", {"introduced": "0"}, ecosystem_specific={"imports": [1, {"path": 2}], "urgency": []})
    assert from_document(record("GO-1", odd)).affected[0].specifics == Specifics()


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        (affected("Debian:12", "x", {"introduced": "0"}), "not-fixed"),
        (affected("Debian:10", "x", {"introduced": "0"}, ecosystem_specific={"urgency": "end-of-life"}), "wont-fix"),
        (affected("npm", "x", {"introduced": "0"}, {"last_affected": "2"}), "unknown"),
        (affected("npm", "x", versions=["1"]), "unknown"),
    ],
)
def test_without_a_fix_the_record_says_whether_one_will_come(entry: dict[str, Any], state: str) -> None:
    found = from_document(record("X-1", entry)).affected[0]
    assert found.fix_state(False).value == state and found.fix_state(True).value == "fixed"


def test_a_rating_says_where_it_stands() -> None:
    assert from_document(record("X-1", severity=HIGH)).rated_by == "CVSS 3.1"
    assert from_document(record("X-1", severity=HIGH)).vectors == (HIGH[0]["score"],)
    said = from_document(record("GHSA-1", severity=HIGH, database_specific={"severity": "LOW"}))
    assert (said.rating, said.rated_by) == (Rating.LOW, "database_specific.severity")
    urgent = affected("Debian:12", "x", {"introduced": "0"}, ecosystem_specific={"urgency": "unimportant"})
    assert from_document(record("X-1", urgent)).affected[0].rated_by == "ecosystem_specific.urgency"
