"""Runs checks on a subject: one finding per failure, or exactly one that says how else it ended.

1. A check that breaks is an `error`; it never stops the others and never counts as pass.
2. Facts found before a check gave up are kept beside its giving up.
3. A check that yields without end is cut off, and that is an error too.
"""

from collections.abc import Iterable
from itertools import islice

from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.policy import Policy

MOST_FAILURES = 1000


def run(checks: Iterable[Check], subject: Subject, policy: Policy) -> list[Finding]:
    """The findings of each check, in the order of the checks."""
    return [finding for check in checks for finding in _run_one(check, subject, policy)]


def _run_one(check: Check, subject: Subject, policy: Policy) -> list[Finding]:
    platform = str(subject.image.platform) or None

    def finding(outcome: Outcome, message: str, failure: Failure | None = None) -> Finding:
        severity = failure.severity if failure and failure.severity else check.severity
        evidence: dict[str, JSON] = dict(failure.evidence) if failure else {}
        remedy = check.remedy if failure else ""
        return Finding(check.id, outcome, severity, message, evidence, platform, remedy=remedy)

    found: list[Finding] = []
    try:
        failures = check.evaluate(subject, policy.params(check))
        for failure in islice(failures, MOST_FAILURES + 1):
            if len(found) == MOST_FAILURES:
                found.append(finding(Outcome.ERROR, f"more than {MOST_FAILURES} failures; the rest was not looked at"))
                break
            found.append(finding(Outcome.FAIL, failure.message, failure))
    except NotApplicable as reason:
        found.append(finding(Outcome.NOT_APPLICABLE, str(reason)))
    except NotEvaluable as reason:
        found.append(finding(Outcome.NOT_EVALUABLE, str(reason)))
    except Exception as error:  # the boundary of a check, its own or an extension's
        # The text of a foreign exception may quote a file's content, so only its kind is told.
        found.append(finding(Outcome.ERROR, f"the check broke: {type(error).__name__}"))
    return found or [finding(Outcome.PASS, check.title)]
