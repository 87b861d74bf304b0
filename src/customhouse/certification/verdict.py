"""Findings, judged: certified, needs_review or refused, with a grade and a sentence.

1. The gate is the worst action of any finding that no waiver accepts; the grade says how good the rest is.
2. A check that the policy requires and that gave no finding did not run; it is not_evaluable (S5).
3. No finding at all certifies nothing.
4. `digest` covers what was decided and on what (policy, findings, waivers), not the wording; approvals are bound to it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from customhouse.certification.findings import JSON, Finding, Outcome, Severity
from customhouse.certification.grade import Grade, grade
from customhouse.certification.policy import VERIFICATION, Action, Policy
from customhouse.certification.waiver import Waiver
from customhouse.oci.digest import Digest

Value = Literal["certified", "needs_review", "refused"]

MOST_NAMED = 3


@dataclass(frozen=True)
class Verdict:
    """`findings` carry the ids of the waivers that accept them and the severity the policy gives them; `approvals`
    is the number of people who must agree before publication."""

    value: Value
    graded: Grade
    reason: str
    findings: tuple[Finding, ...]
    approvals: int
    digest: Digest

    @property
    def grade(self) -> str:
        """The letter of the day of the verdict."""
        return self.graded.letter

    def needing_people(self, why: str) -> "Verdict":
        """The same findings, to be looked at by somebody all the same; approvals are bound to the reason too."""
        if self.value == "refused":
            return self
        return replace(
            self,
            value="needs_review",
            reason=f"to be reviewed: {why}; {self.reason}",
            approvals=max(1, self.approvals),
            digest=Digest.of(f"{self.digest}\n{why}".encode()),
        )

    def as_json(self) -> dict[str, JSON]:
        return {
            "value": self.value,
            "grade": self.grade,
            "score": self.graded.score,
            "grade_steps": [step.as_json() for step in self.graded.steps],
            "reason": self.reason,
            "findings": [finding.as_json() for finding in self.findings],
            "approvals": self.approvals,
            "digest": str(self.digest),
        }


def judge(findings: Sequence[Finding], policy: Policy, waivers: Sequence[Waiver], now: datetime) -> Verdict:
    """The verdict on one submission. `policy` is bound to the checks; `waivers` are those of its repository."""
    judged = [_waive(item, waivers, now) for item in (*findings, *_absent(findings, policy))]
    judged = [_graded(item, policy) for item in judged]
    acting: dict[Action | None, list[Finding]] = {action: [] for action in Action}
    for item in judged:
        acting.setdefault(None if item.waived else policy.action(item), []).append(item)
    value: Value
    if acting[Action.BLOCK]:
        value, reason = "refused", _sentence("refused", acting[Action.BLOCK])
    elif acting[Action.REVIEW] or not findings:
        value, reason = "needs_review", _sentence("to be reviewed", acting[Action.REVIEW])
    else:
        value, reason = "certified", _sentence("nothing blocks", [], notes=len(acting[Action.NOTE]))
    ordered = tuple(sorted(judged, key=lambda item: (item.check, item.platform or "", item.fingerprint)))
    return Verdict(
        value=value,
        graded=grade(judged, policy.ageing, now, refused=value == "refused"),
        reason=reason,
        findings=ordered,
        approvals=0 if value == "refused" else policy.approvals(value == "needs_review"),
        digest=_digest(value, ordered, policy),
    )


def _absent(findings: Sequence[Finding], policy: Policy) -> list[Finding]:
    platforms = {item.platform for item in findings} or {None}
    seen = {(item.check, item.platform) for item in findings}
    why = "the check did not run"
    return [
        Finding(check, Outcome.NOT_EVALUABLE, Severity.BLOCK, why, {}, platform)
        for check in sorted(policy.required)
        for platform in sorted(platforms, key=str)
        if (check, platform) not in seen and (check, None) not in seen
    ]


def _waive(finding: Finding, waivers: Sequence[Waiver], now: datetime) -> Finding:
    if finding.check in VERIFICATION:
        return replace(finding, waived=None)
    accepting = next((item for item in waivers if item.accepts(finding, now)), None)
    return replace(finding, waived=accepting.id if accepting else None)


def _graded(finding: Finding, policy: Policy) -> Finding:
    return replace(finding, severity=policy.severity(finding.check, finding.severity))


def _sentence(opening: str, findings: Sequence[Finding], *, notes: int = 0) -> str:
    if not findings:
        if notes:
            return f"{opening}; {notes} {'note' if notes == 1 else 'notes'}"
        return opening if opening == "nothing blocks" else f"{opening}: no check gave an answer"
    named = [f"{item.check}: {item.message}" for item in findings[:MOST_NAMED]]
    more = len(findings) - len(named)
    return f"{opening}: " + "; ".join(named) + (f"; and {more} more" if more else "")


def _digest(value: Value, findings: Sequence[Finding], policy: Policy) -> Digest:
    facts = [
        [item.check, item.outcome.value, item.severity.value, item.platform, item.fingerprint, item.waived]
        for item in findings
    ]
    document = {"verdict": value, "policy": str(policy.digest), "findings": facts}
    return Digest.of(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
