"""How findings are shown to people."""

from typing import Any

from customhouse.cli.submission import finding_lines


def finding(check: str, outcome: str, severity: str, message: str, **more: Any) -> dict[str, Any]:
    return {"check": check, "outcome": outcome, "severity": severity, "message": message, **more}


def test_failures_come_first_the_worst_before_all_and_each_check_says_once_what_to_do() -> None:
    lines = finding_lines([
        finding("CFG-A", "pass", "high", "fine"),
        finding("CFG-B", "not_evaluable", "block", "no idea"),
        finding("CFG-C", "fail", "medium", "three", remedy="repair C"),
        finding("CFG-D", "fail", "block", "four", remedy="repair D"),
        finding("CFG-D", "fail", "block", "five", remedy="repair D"),
        finding("CFG-E", "fail", "low", "six", remedy="repair E", waived="w-1"),
        finding("CFG-F", "not_applicable", "low", "nothing to look at"),
    ])  # fmt: skip
    assert [" ".join(line.split()) for line in lines] == [
        "fail block CFG-D: four", "-> repair D", "fail block CFG-D: five", "fail medium CFG-C: three", "-> repair C",
        "fail low CFG-E: six (waived: w-1)", "not_evaluable block CFG-B: no idea", "1 checks passed",
    ]  # fmt: skip


def test_fingerprints_are_named_for_waivers_and_only_where_they_are_asked_for() -> None:
    one = finding("CFG-C", "fail", "medium", "three", remedy="repair C", fingerprint="f" * 32)
    gone = finding("CFG-E", "fail", "low", "six", waived="w-1", fingerprint="e" * 32)
    shown = [" ".join(line.split()) for line in finding_lines([one, gone], fingerprints=True)]
    assert shown[:3] == ["fail medium CFG-C: three", "fingerprint " + "f" * 32, "-> repair C"]
    assert "e" * 32 not in " ".join(shown)
    assert "fingerprint" not in " ".join(finding_lines([one]))
