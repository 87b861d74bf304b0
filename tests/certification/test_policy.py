"""The policy file: nothing unknown is ignored, nothing passes by absence."""

import re
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.certification.check import discover
from customhouse.certification.findings import Finding, Outcome, Severity
from customhouse.certification.policy import VERIFICATION, Action, Policy, PolicyError
from customhouse.oci.digest import Digest

MINIMAL = """\
version = 1
name = "mine"
[severity]
block = "block"
high = "review"
medium = "note"
low = "note"
info = "note"
"""


def parse(text: str) -> Policy:
    return Policy.parse(text.encode())


def finding(check: str = "MAN-SIZE", outcome: Outcome = Outcome.FAIL, severity: Severity = Severity.MEDIUM) -> Finding:
    return Finding(check, outcome, severity, "x")


def test_the_shipped_policy_holds_for_the_shipped_checks() -> None:
    policy = Policy.default().bind(discover())
    assert policy.required == {check.id for check in discover()}
    assert policy.review.approvals == 1 and policy.advisories_max_age == timedelta(days=14)
    failures = {check.id: policy.action(Finding(check.id, Outcome.FAIL, check.severity, "x")) for check in discover()}
    assert failures["CFG-USER"] is Action.BLOCK and failures["CFG-HEALTH"] is Action.REVIEW
    assert failures["MAN-SIZE"] is Action.NOTE and failures["CFG-LABELS"] is Action.NOTE
    assert failures["MAN-TAG"] is Action.NOTE and failures["RUN-START"] is Action.BLOCK


def test_the_shipped_policy_lets_only_runs_builders_and_missing_signatures_pass_without_an_answer() -> None:
    policy = Policy.default()
    for check in discover():
        if check.id in VERIFICATION:
            continue
        action = policy.action(Finding(check.id, Outcome.NOT_EVALUABLE, check.severity, "x"))
        may_pass = check.id.startswith(("RUN-", "HIS-")) or check.id in ("MAN-AGE", "MAL-SIG", "MAL-MINER", "VUL-EPSS")
        assert action is (Action.NOTE if may_pass else Action.REVIEW), check.id
        assert policy.action(Finding(check.id, Outcome.ERROR, check.severity, "x")) is Action.REVIEW
        for outcome in (Outcome.PASS, Outcome.NOT_APPLICABLE):
            assert policy.action(Finding(check.id, outcome, check.severity, "x")) is None


def test_no_policy_lets_bytes_through_that_are_not_those_that_were_signed() -> None:
    lax = parse(MINIMAL)
    for outcome in Outcome:
        action = lax.action(Finding("MAN-DIGEST", outcome, Severity.INFO, "x"))
        assert action is (None if outcome is Outcome.PASS else Action.BLOCK)
    with pytest.raises(PolicyError, match="no policy changes that"):
        parse(MINIMAL + '[checks.MAN-DIGEST]\naction = "note"\n').bind(discover())


def test_the_digest_is_that_of_the_bytes() -> None:
    assert parse(MINIMAL).digest == Digest.of(MINIMAL.encode())
    assert parse(MINIMAL + "# a remark\n").digest != parse(MINIMAL).digest


def test_a_check_can_be_given_another_severity_action_and_parameters() -> None:
    policy = parse(MINIMAL + '[checks.MAN-SIZE]\nseverity = "high"\n[checks.MAN-SIZE.params]\napp_compressed_mb = 50\n')
    bound = policy.bind(discover())
    check = next(item for item in discover() if item.id == "MAN-SIZE")
    assert bound.action(finding()) is Action.REVIEW
    assert bound.params(check)["app_compressed_mb"] == 50 and bound.params(check)["class"] == "auto"
    assert parse(MINIMAL + '[checks.MAN-SIZE]\naction = "block"\n').action(finding()) is Action.BLOCK


def test_one_named_check_may_pass_without_an_answer() -> None:
    policy = parse(MINIMAL + '[checks.MAN-SIZE]\nnot_evaluable = "note"\nerror = "block"\n')
    assert policy.action(finding(outcome=Outcome.NOT_EVALUABLE)) is Action.NOTE
    assert policy.action(finding(outcome=Outcome.ERROR)) is Action.BLOCK
    assert policy.action(finding("MAN-TAG", Outcome.NOT_EVALUABLE)) is Action.REVIEW


def test_people_are_asked_for_findings_or_always() -> None:
    assert [parse(MINIMAL).approvals(needed) for needed in (False, True)] == [0, 1]
    always = parse(MINIMAL + '[review]\napprovals = 2\nwhen = "always"\n')
    assert [always.approvals(needed) for needed in (False, True)] == [2, 2]


@pytest.mark.parametrize(
    ("addition", "line", "words"),
    [
        ("[outcomes]\nnot_evaluable = 'note'\n", 10, "named"),
        ("[outcomes]\nerror = 'maybe'\n", 10, "error must be"),
        ("[outcomes]\nskipped = 'note'\n", 10, "skipped"),
        ("[review]\napprovals = 0\n", 10, "approvals"),
        ("[review]\napprovals = true\n", 10, "approvals"),
        ("[review]\nwhen = 'never'\n", 10, "when"),
        ("[advisories]\nmax_age_days = -1\n", 10, "max_age_days"),
        ("[checks.man-size]\naction = 'note'\n", 9, "no check"),
        ("[checks.MAN-SIZE]\n\nacton = 'note'\n", 11, "acton"),
        ("[checks.MAN-SIZE]\nseverity = 'fatal'\n", 10, "fatal"),
        ("[checks.MAN-SIZE]\nparams = 3\n", 10, "params"),
        ("[checks]\nMAN-SIZE = 3\n", 10, "MAN-SIZE"),
        ("[sevrity]\nblock = 'note'\n", 9, "sevrity"),
        ("[review\n", 9, "TOML"),
        ("name = 'twice'\n[review]\napprovals = 1\napprovals = 2\n", 12, "TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(addition: str, line: int, words: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(words)) as raised:
        parse(MINIMAL + addition)
    assert raised.value.line == line and raised.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = 2\n",
        "version = true\n",
        MINIMAL.replace('name = "mine"', ""),
        MINIMAL.replace('info = "note"', ""),
    ],
)
def test_what_is_missing_is_an_error(text: str) -> None:
    with pytest.raises(PolicyError):
        parse(text)


@pytest.mark.parametrize(
    ("addition", "line", "words"),
    [
        ("[checks.MAN-SZIE]\naction = 'note'\n", 9, "MAN-SZIE"),
        ("[checks.MAN-SIZE]\n[checks.MAN-SIZE.params]\napp_mb = 3\n", 11, "app_mb"),
        ("[checks.MAN-LAYERS.params]\nmost = 'forty'\n", 10, "most"),
        ("[checks.MAN-LAYERS.params]\nmost = true\n", 10, "most"),
        ("[checks.MAN-TAG]\nparams = { moving = [1] }\n", 10, "moving"),
    ],
)
def test_a_check_or_parameter_that_is_not_there_is_an_error_with_its_line(addition: str, line: int, words: str) -> None:
    with pytest.raises(PolicyError, match=words) as raised:
        parse(MINIMAL + addition).bind(discover())
    assert raised.value.line == line


def test_bytes_that_are_no_text_and_files_without_end_are_refused() -> None:
    for raw in (b"\xff\xfe", b"#" * (1 << 21), b"a = " + b"[" * 50_000):
        with pytest.raises(PolicyError):
            Policy.parse(raw)


words = st.sampled_from(
    [*("version", "name", "[severity]", "block", "=", '"note"', "1", "[checks.MAN-SIZE]", "params"), *"{}[]\n"]
)


@given(st.lists(words, max_size=20).map(" ".join) | st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_policy_or_an_error(text: str) -> None:
    try:
        parse(MINIMAL + text)
    except PolicyError as error:
        assert error.line is None or error.line >= 1
