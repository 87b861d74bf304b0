"""VUL-UNFIXED: which critical and high flaws have no fix, so that a person weighs them.

1. As VUL-FIXABLE, for flaws whose records name no later version without them. `ignored_states` are fix states that do
   not count, of `not-fixed`, `wont-fix` and `unknown`.
2. What a rebuild cannot change is not the publisher's fault, so it is for a reviewer and does not block by default.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._vex import standing
from customhouse.certification.checks._vulnerability import SEVERITIES, weighed
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    without = params["ignored_states"]
    ignored = {str(each) for each in without} if isinstance(without, list) else set()
    unfixed = [
        match
        for match in standing(subject)
        if not match.fixed_versions and not match.malicious and match.fix_state.value not in ignored
    ]
    yield from weighed(subject, unfixed, params, ": ")


CHECK = Check(
    id="VUL-UNFIXED",
    title="No critical or high flaw without a fix",
    why="A flaw that nobody has fixed yet is open to everyone who knows it, and no rebuild closes it.",
    remedy="Leave the package out if the image works without it, or take a base image that has none; else state by VEX "
    "why the flaw cannot be reached, or ask a certifier for a waiver with an end.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    params={"grace_days": 0, "ignored_states": [], "severities": SEVERITIES, "unknown_as": "high"},
)
