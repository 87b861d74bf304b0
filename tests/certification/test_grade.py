"""The grade: points for what was found, and letters that are lost by waiting."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.certification.findings import Finding, Outcome, Severity
from customhouse.certification.grade import LETTERS, Ageing, grade, letter_at, score_of

NOW = datetime(2026, 11, 23, tzinfo=UTC)
AGEING = Ageing()


def passed(check: str, severity: Severity = Severity.HIGH) -> Finding:
    return Finding(check, Outcome.PASS, severity, "fine")


def fails(check: str, severity: Severity = Severity.HIGH) -> Finding:
    return Finding(check, Outcome.FAIL, severity, "bad")


def flaw(severity: str, published: datetime | None, *, fixed: bool = True) -> Finding:
    evidence = {
        "vulnerability": "CVE-2026-1", "severity": severity, "fixed_versions": ["2"] if fixed else [],
        "published": published.isoformat() if published else None,
    }
    return Finding("VUL-FIXABLE", Outcome.FAIL, Severity.BLOCK, "flaw", evidence)


def days(count: int) -> timedelta:
    return timedelta(days=count)


def test_the_score_is_the_share_of_points_and_counts_a_check_once() -> None:
    high = [passed(f"CFG-X{number}") for number in range(9)]
    assert score_of([*high, passed("CFG-HEALTH")]) == 100
    assert score_of([*high, fails("CFG-HEALTH"), fails("CFG-HEALTH")]) == 90
    assert score_of([*high[:4], Finding("RUN-HEALTH", Outcome.NOT_EVALUABLE, Severity.HIGH, "?")]) == 80
    assert score_of([*high, Finding("CFG-Z", Outcome.NOT_APPLICABLE, Severity.HIGH, "x")]) == 100
    assert score_of([passed("MAN-DIGEST", Severity.BLOCK)]) == 100 and score_of([]) == 0


def test_ninety_of_a_hundred_is_no_a() -> None:
    found = grade([passed(f"CFG-X{number}") for number in range(9)] + [fails("CFG-HEALTH")], AGEING, NOW)
    assert (found.letter, found.score) == ("B", 90)


def test_a_clean_image_ages_from_the_day_it_was_examined() -> None:
    found = grade([passed("CFG-USER")], AGEING, NOW)
    assert found.letter == "A"
    assert [(step.on - NOW, step.grade) for step in found.steps] == [
        (days(90), "B"), (days(180), "C"), (days(365), "D"), (days(730), "E"), (days(1095), "F"),
    ]
    assert found.at(NOW + days(89)) == "A" and found.at(NOW + days(90)) == "B" and found.at(NOW + days(5000)) == "F"


def test_a_flaw_with_a_fix_lowers_the_grade_by_its_age_and_severity() -> None:
    found = grade([passed("CFG-USER"), flaw("critical", NOW - days(8))], AGEING, NOW)
    assert found.letter == "C", "older than seven days"
    assert [(step.on - NOW, step.grade) for step in found.steps][:2] == [(days(22), "D"), (days(82), "E")]
    assert "CVE-2026-1" in found.steps[0].because
    assert grade([passed("CFG-USER"), flaw("high", NOW - days(8))], AGEING, NOW).letter == "B"
    assert grade([passed("CFG-USER"), flaw("high", NOW - days(8), fixed=False)], AGEING, NOW).letter == "A"
    assert grade([passed("CFG-USER"), flaw("critical", None)], AGEING, NOW).letter == "B", "undated counts from today"


def test_refused_is_f_for_ever() -> None:
    found = grade([passed("CFG-USER")], AGEING, NOW, refused=True)
    assert found.letter == "F" and not found.steps and found.score == 100


ages = st.lists(st.tuples(st.sampled_from(["critical", "high", "low"]), st.integers(-30, 900)), max_size=5)


@given(ages, st.integers(0, 9), st.integers(0, 1500))
@settings(max_examples=60, deadline=None)
def test_the_steps_say_what_each_later_day_says(flaws: list[tuple[str, int]], lost: int, later: int) -> None:
    findings = [fails(f"CFG-L{number}") for number in range(lost)] + [passed(f"CFG-P{number}") for number in range(9)]
    findings += [flaw(severity, NOW - days(age)) for severity, age in flaws]
    found = grade(findings, AGEING, NOW)
    assert all(before.grade < after.grade for before, after in zip(found.steps, found.steps[1:], strict=False))
    moment = NOW + days(later)
    possible = [grade([fails(f"CFG-L{n}") for n in range(lost)] + findings[lost : lost + 9], AGEING, NOW).letter]
    for since, table in [(NOW, AGEING.examined)] + [
        (NOW - days(age), AGEING.flaws[severity]) for severity, age in flaws if severity in AGEING.flaws
    ]:
        possible.append(next((letter for letter in LETTERS[:-1] if moment < since + days(table[letter])), "F"))
    assert letter_at(found.letter, [step.as_json() for step in found.steps], moment) == max(possible)
