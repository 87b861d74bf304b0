"""Findings, waivers and policy give a verdict; nothing is certified by absence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from customhouse.certification.findings import Finding, Outcome, Severity, fingerprint
from customhouse.certification.policy import Policy
from customhouse.certification.verdict import Verdict, judge
from customhouse.certification.waiver import InvalidWaiver, Waiver, in_force

NOW = datetime(2026, 11, 23, tzinfo=UTC)
POLICY = Policy.default()
LEVELS = {"MAN-DIGEST": Severity.BLOCK, "CFG-HEALTH": Severity.HIGH, "MAN-SIZE": Severity.MEDIUM}


def passed(check: str) -> Finding:
    return Finding(check, Outcome.PASS, LEVELS.get(check, Severity.HIGH), "fine", {}, "linux/amd64")


def fails(check: str, severity: Severity | None = None, **evidence: str) -> Finding:
    return Finding(check, Outcome.FAIL, severity or LEVELS[check], "bad", dict(evidence), "linux/amd64")


def unknown(check: str, outcome: Outcome = Outcome.NOT_EVALUABLE) -> Finding:
    return Finding(check, outcome, LEVELS.get(check, Severity.HIGH), "no idea", {}, "linux/amd64")


def verdict(*findings: Finding, waivers: tuple[Waiver, ...] = (), policy: Policy = POLICY) -> Verdict:
    return judge(findings, policy, waivers, NOW)


def waiver(**more: object) -> Waiver:
    fields: dict[str, object] = {
        "id": "w1",
        "repository": "staging/acme/web",
        "reason": "known",
        "author": "carol",
        "expires": NOW + timedelta(days=1),
        **more,
    }
    return Waiver(**fields)  # type: ignore[arg-type]


def test_all_passed_is_certified_with_the_best_grade_and_nobody_asked() -> None:
    found = verdict(*[passed(check) for check in LEVELS])
    assert (found.value, found.grade, found.approvals, found.reason) == ("certified", "A", 0, "nothing blocks")


def test_a_blocking_failure_refuses_whatever_else_there_is() -> None:
    found = verdict(fails("MAN-DIGEST"), fails("CFG-HEALTH"), passed("MAN-SIZE"))
    assert (found.value, found.grade, found.approvals) == ("refused", "F", 0)
    assert "MAN-DIGEST: bad" in found.reason and "CFG-HEALTH" not in found.reason


def test_a_high_failure_needs_review_and_a_medium_one_is_a_note() -> None:
    assert verdict(passed("MAN-DIGEST"), fails("CFG-HEALTH")).value == "needs_review"
    assert verdict(passed("MAN-DIGEST"), fails("CFG-HEALTH")).approvals == 1
    noted = verdict(passed("MAN-DIGEST"), fails("MAN-SIZE"))
    assert noted.value == "certified" and noted.reason == "nothing blocks; 1 note"


@pytest.mark.parametrize("outcome", [Outcome.NOT_EVALUABLE, Outcome.ERROR])
def test_a_missing_answer_needs_review_unless_the_policy_names_the_check(outcome: Outcome) -> None:
    assert verdict(passed("MAN-DIGEST"), unknown("MAN-SIZE", outcome)).value == "needs_review"
    value = verdict(passed("MAN-DIGEST"), unknown("RUN-START", outcome)).value
    assert value == ("certified" if outcome is Outcome.NOT_EVALUABLE else "needs_review")


def test_no_finding_at_all_certifies_nothing() -> None:
    found = verdict()
    assert found.value == "needs_review" and found.grade == "F" and "no check" in found.reason


def test_a_required_check_that_did_not_run_is_not_evaluable_on_each_platform() -> None:
    policy = replace(POLICY, required=frozenset({"MAN-SIZE", "CFG-HEALTH"}))
    arm = replace(passed("CFG-HEALTH"), platform="linux/arm64", fingerprint="")
    found = verdict(passed("MAN-SIZE"), passed("CFG-HEALTH"), arm, policy=policy)
    absent = [(item.check, item.platform) for item in found.findings if item.outcome is Outcome.NOT_EVALUABLE]
    assert found.value == "needs_review" and absent == [("MAN-SIZE", "linux/arm64")]


def test_a_waiver_accepts_a_failure_and_is_named_in_it() -> None:
    bad = fails("CFG-HEALTH", key="healthcheck")
    for accepting in (waiver(fingerprint=bad.fingerprint), waiver(check="CFG-HEALTH")):
        found = verdict(passed("MAN-DIGEST"), bad, waivers=(accepting,))
        assert found.value == "certified"
        kept = next(item for item in found.findings if item.check == "CFG-HEALTH")
        assert kept.outcome is Outcome.FAIL and kept.waived == "w1"


def test_a_waiver_that_expired_or_names_another_thing_accepts_nothing() -> None:
    bad = fails("CFG-HEALTH", path="a", purl="pkg:x")
    for useless in (
        waiver(fingerprint=bad.fingerprint, expires=NOW),
        waiver(check="CFG-HEALTH", path="b"),
        waiver(check="CFG-HEALTH", purl="pkg:y"),
        waiver(check="MAN-SIZE"),
        waiver(fingerprint="0" * 32),
    ):
        assert verdict(passed("MAN-DIGEST"), bad, waivers=(useless,)).value == "needs_review"
    assert verdict(passed("MAN-DIGEST"), bad, waivers=(waiver(check="CFG-HEALTH", path="a"),)).value == "certified"


def test_a_missing_answer_cannot_be_waived() -> None:
    missing = unknown("MAN-SIZE")
    named = (waiver(check="MAN-SIZE"), waiver(fingerprint=missing.fingerprint))
    assert verdict(passed("MAN-DIGEST"), missing, waivers=named).value == "needs_review"


def test_scope_and_time_decide_which_waivers_are_in_force() -> None:
    one, all_of_acme = waiver(check="MAN-SIZE"), waiver(id="w2", check="MAN-SIZE", repository="staging/acme/*")
    gone = waiver(id="w3", check="MAN-SIZE", expires=NOW)
    everything = (one, all_of_acme, gone)
    assert in_force(everything, "staging/acme/web", NOW) == (one, all_of_acme)
    assert in_force(everything, "staging/acme/api", NOW) == (all_of_acme,)
    assert in_force(everything, "staging/acmeplus/web", NOW) == ()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"check": "MAN-SIZE", "fingerprint": "0" * 32},
        {"fingerprint": "xyz"},
        {"fingerprint": "0" * 32, "path": "a"},
        {"check": "MAN-SIZE", "reason": "  "},
        {"check": "MAN-SIZE", "author": ""},
        {"check": "MAN-SIZE", "repository": "*"},
        {"check": "MAN-SIZE", "repository": "../x"},
        {"check": "MAN-SIZE", "expires": datetime(2027, 1, 1)},
    ],
)
def test_a_waiver_without_thing_reason_scope_or_end_cannot_be_made(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidWaiver):
        waiver(**fields)


def test_the_fingerprint_names_the_fact_and_not_the_sentence() -> None:
    first = fails("MAN-SIZE", path="a", value="1")
    assert first.fingerprint == replace(first, message="other words", severity=Severity.LOW).fingerprint
    assert first.fingerprint == fails("MAN-SIZE", path="a", value="2").fingerprint
    others = [
        fails("MAN-SIZE", path="b"),
        fails("CFG-HEALTH", path="a"),
        unknown("MAN-SIZE"),
        replace(first, platform="linux/arm64", fingerprint=""),
        fails("MAN-SIZE", path="a", vulnerability="CVE-1"),
    ]
    assert len({item.fingerprint for item in (first, *others)}) == 6
    assert fingerprint("MAN-SIZE", {"path": "a"}, "linux/amd64") == first.fingerprint


def test_the_digest_changes_with_what_was_decided_and_not_with_words_or_order() -> None:
    one, two = fails("MAN-SIZE", path="a"), passed("MAN-DIGEST")
    digest = verdict(one, two).digest
    assert digest == verdict(two, replace(one, message="said otherwise")).digest
    assert digest != verdict(one, two, fails("MAN-SIZE", path="b")).digest
    assert digest != verdict(one, two, waivers=(waiver(check="MAN-SIZE"),)).digest
    assert digest != verdict(one, two, policy=Policy.parse((POLICY.text + "# other").encode())).digest


def test_findings_and_verdicts_survive_json() -> None:
    original = replace(fails("MAN-SIZE", path="a"), waived="w1", remedy="make it smaller")
    assert Finding.parse(original.as_json()) == original
    document = verdict(passed("MAN-DIGEST"), fails("CFG-HEALTH")).as_json()
    assert document["value"] == "needs_review" and document["approvals"] == 1
    with pytest.raises((KeyError, ValueError)):
        Finding.parse({"check": "X"})
