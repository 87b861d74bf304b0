"""Two policies side by side, and what another policy would have said of what is certified.

1. The effect of a policy on a check is what its failure, its missing answer and its error do, and its parameters; two
   policies differ where one of these does, whatever their texts say.
2. A rehearsal judges the findings that are stored; it examines nothing again and changes nothing. Where the other
   policy would run a check with other parameters, the stored answer may be another one: such checks are named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from customhouse.certification.check import Check
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.policy import Policy
from customhouse.certification.store import CertificationStore
from customhouse.certification.submission import State
from customhouse.certification.verdict import judge
from customhouse.certification.waiver import Waiver

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Difference:
    """`what` is `failure`, `not_evaluable`, `error`, `severity`, a parameter of a check, or a setting of the policy
    itself (then `check` is empty)."""

    check: str
    what: str
    before: JSON
    after: JSON

    def as_json(self) -> dict[str, JSON]:
        return {"check": self.check, "what": self.what, "before": self.before, "after": self.after}


def effect(policy: Policy, check: Check) -> dict[str, JSON]:
    """What the policy makes of one check; parameters under `params.NAME`."""
    severity = policy.severity(check.id, check.severity)
    said: dict[str, JSON] = {"severity": severity.value}
    for outcome in (Outcome.FAIL, Outcome.NOT_EVALUABLE, Outcome.ERROR):
        name = "failure" if outcome is Outcome.FAIL else outcome.value
        said[name] = str(policy.action(Finding(check.id, outcome, check.severity, "")))
    return said | {f"params.{name}": value for name, value in policy.params(check).items()}


def differences(before: Policy, after: Policy, checks: Sequence[Check]) -> list[Difference]:
    """Where two bound policies differ: settings of the whole first, then check by check."""
    found = []
    ours, theirs = _whole(before), _whole(after)
    found += [Difference("", name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]]
    for check in checks:
        one, other = effect(before, check), effect(after, check)
        found += [Difference(check.id, name, one[name], other[name]) for name in one if one[name] != other[name]]
    return found


def changed_parameters(before: Policy, after: Policy, checks: Sequence[Check]) -> list[str]:
    """The checks that would run with other parameters."""
    return [check.id for check in checks if before.params(check) != after.params(check)]


@dataclass(frozen=True)
class Rehearsed:
    """A row for each certification, the checks that would run with other parameters, and the id after which the next
    page begins (None at the end)."""

    certifications: list[dict[str, JSON]]
    other_parameters: list[str]
    next: str | None


class Rehearsal:
    """Judges what is official now by another policy."""

    def __init__(
        self, store: CertificationStore, policy: Policy, checks: Sequence[Check],
        waivers: Callable[["Connection", str], Sequence[Waiver]], host: str, clock: Callable[[], datetime],
    ) -> None:
        self._store, self._policy, self._checks = store, policy, checks
        self._waivers, self._host, self._clock = waivers, host, clock

    @property
    def policy(self) -> Policy:
        """The policy that the hub judges by."""
        return self._policy

    def page(self, document: bytes, before: str | None, limit: int) -> "Rehearsed":
        """Newest first, the ones before id `before`. Raises PolicyError."""
        other = Policy.parse(document).bind(self._checks)
        now, answered = self._clock(), list[dict[str, JSON]]()
        with self._store.read() as tx:
            rows = self._store.page(
                tx, publishers=None, repository=None, state=State.PUBLISHED, before=before, limit=limit + 1
            )
            for row in rows[:limit]:
                parts = self._store.examinations(tx, row)
                findings = [Finding.parse(item) for found, _ in parts.values() for item in found]
                waivers = [item for item in self._waivers(tx, row.repository) if item.author != row.author]
                verdict, stands = judge(findings, other, waivers, now), row.verdict or {}
                answered.append(
                    {
                        "submission": row.id,
                        "reference": row.official_reference(self._host),
                        "digest": str(row.digest),
                        "before": _short(stands), "after": _short(verdict.as_json()),
                    }
                )
        after = rows[limit - 1].id if len(rows) > limit else None
        return Rehearsed(answered, changed_parameters(self._policy, other, self._checks), after)


def _short(verdict: Mapping[str, JSON]) -> JSON:
    return {name: verdict.get(name) for name in ("value", "grade", "score", "reason", "approvals")}


def _whole(policy: Policy) -> dict[str, JSON]:
    ageing = policy.ageing
    return {
        "review.approvals": policy.review.approvals,
        "review.when": policy.review.when,
        "waivers.approvals": policy.waiver_approvals,
        "advisories.max_age_days": policy.advisories_max_age.total_seconds() / 86400,
        **{f"grade.{name}": dict(days) for name, days in (*ageing.flaws.items(), ("examined", ageing.examined))},
    }
