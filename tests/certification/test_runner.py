"""Running checks, and finding them: one finding at least per check, whatever the check does."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from customhouse.certification import checks
from customhouse.certification.check import (
    Check,
    Failure,
    InvalidCheck,
    NotApplicable,
    NotEvaluable,
    Subject,
    discover,
    ordered,
    wants,
)
from customhouse.certification.findings import JSON, Outcome, Severity
from customhouse.certification.policy import Policy
from customhouse.certification.runner import MOST_FAILURES, run
from customhouse.certification.verdict import judge
from customhouse.testing.images import busybox_image, minimal_server_image

from .subjects import NOW, subject


def check(evaluate: object, name: str = "XX-ONE", **more: object) -> Check:
    fields = {"title": "t", "why": "w", "remedy": "r", "severity": Severity.HIGH, **more}
    return Check(id=name, evaluate=evaluate, **fields)  # type: ignore[arg-type]


def ends_with(error: Exception | None, *failures: Failure) -> Check:
    def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
        yield from failures
        if error is not None:
            raise error

    return check(evaluate)


def findings(one: Check) -> list[tuple[str, str]]:
    found = run([one], subject(minimal_server_image()), Policy.default())
    return [(item.outcome.value, item.message) for item in found]


def test_a_check_without_failure_passes_with_its_title() -> None:
    assert findings(ends_with(None)) == [("pass", "t")]


def test_only_a_failure_carries_what_to_do() -> None:
    both = run([ends_with(NotEvaluable("not read"), Failure("bad"))], subject(minimal_server_image()), Policy.default())
    assert [(item.outcome, item.remedy) for item in both] == [(Outcome.FAIL, "r"), (Outcome.NOT_EVALUABLE, "")]


def test_each_way_to_end_is_an_outcome() -> None:
    assert findings(ends_with(NotApplicable("no such thing"))) == [("not_applicable", "no such thing")]
    assert findings(ends_with(NotEvaluable("not read"))) == [("not_evaluable", "not read")]
    both = findings(ends_with(NotEvaluable("not read"), Failure("bad")))
    assert both == [("fail", "bad"), ("not_evaluable", "not read")]


def test_a_broken_check_is_an_error_that_quotes_nothing() -> None:
    assert findings(ends_with(KeyError("hunter2"))) == [("error", "the check broke: KeyError")]

    def no_generator(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
        raise RecursionError

    assert findings(check(no_generator)) == [("error", "the check broke: RecursionError")]


def test_a_check_without_end_is_cut_off() -> None:
    def endless(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
        while True:
            yield Failure("again")

    found = run([check(endless)], subject(minimal_server_image()), Policy.default())
    assert len(found) == MOST_FAILURES + 1 and found[-1].outcome is Outcome.ERROR


def test_a_failure_carries_platform_evidence_and_its_own_severity() -> None:
    one = ends_with(None, Failure("bad", {"path": "a"}, Severity.LOW))
    (found,) = run([one], subject(minimal_server_image()), Policy.default())
    assert (found.platform, found.severity, found.evidence) == ("linux/amd64", Severity.LOW, {"path": "a"})


def test_every_file_in_the_folder_is_a_check_and_its_name_says_which() -> None:
    folder = Path(str(checks.__file__)).parent
    files = {path.stem for path in folder.glob("[a-z]*.py")}
    assert files == {item.id.lower().replace("-", "_") for item in discover()}
    assert [item.id for item in discover()] == sorted(item.id for item in discover())


def test_a_repeated_id_and_an_empty_text_stop_the_start() -> None:
    one = ends_with(None)
    with pytest.raises(InvalidCheck, match="two checks"):
        ordered([one, one])
    for field in ("title", "why", "remedy"):
        with pytest.raises(InvalidCheck, match=field):
            check(one.evaluate, **{field: " "})
    with pytest.raises(InvalidCheck, match="no id"):
        check(one.evaluate, name="lower-case")


def test_the_wants_of_checks_are_joined() -> None:
    one = check(ends_with(None).evaluate, needs=("etc/passwd",))
    assert wants([one], "etc/group").patterns == {"etc/passwd", "etc/group"}


STATIC = [item for item in discover() if item.id.split("-")[0] in ("MAN", "TAR", "CFG", "HIS", "LAY", "FS")]


def test_the_server_image_passes_every_static_check() -> None:
    found = run(STATIC, subject(minimal_server_image(), *STATIC), Policy.default())
    others = {item.check for item in found if item.outcome not in (Outcome.PASS, Outcome.NOT_APPLICABLE)}
    # A program of a few hand-made bytes, and a date for the same bytes every time.
    assert others == {"FS-BINHARD", "MAN-AGE"}
    assert judge(found, Policy.default().bind(STATIC + RUN_AND_REST), (), NOW).value == "needs_review"


RUN_AND_REST = [item for item in discover() if item not in STATIC]


@pytest.mark.needs("busybox")
def test_a_busybox_image_ends_as_the_shipped_policy_says() -> None:
    policy = Policy.default()

    def value(**changes: object) -> str:
        built = busybox_image(**changes)  # type: ignore[arg-type]
        return judge(run(STATIC, subject(built, *STATIC), policy), policy, (), NOW).value

    assert value() == "certified"
    assert value(Healthcheck=None) == "needs_review"
    assert value(User="0") == "refused"
