"""Two policies side by side.

The effect of a policy on a check is what its failure, its missing answer and its error do, and its parameters; two
policies differ where one of these does, whatever their texts say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from customhouse.certification.check import Check
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.policy import Policy


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


def _whole(policy: Policy) -> dict[str, JSON]:
    ageing = policy.ageing
    return {
        "review.approvals": policy.review.approvals,
        "review.when": policy.review.when,
        "waivers.approvals": policy.waiver_approvals,
        "advisories.max_age_days": policy.advisories_max_age.total_seconds() / 86400,
        **{f"grade.{name}": dict(days) for name, days in (*ageing.flaws.items(), ("examined", ageing.examined))},
    }
