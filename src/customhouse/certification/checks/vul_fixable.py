"""VUL-FIXABLE: no critical or high flaw for which a fix exists.

1. A found flaw fails whatever the state of the advisories; nothing found passes only if every ecosystem of the image
   is covered by fresh advisories and the list of packages is complete.
2. A flaw whose severity nobody stated counts as `unknown_as` (high), and the message says so.
3. A flaw without a fix is VUL-UNFIXED's, malicious code VUL-MALPKG's.
4. `grace_days` after an advisory was published it is not yet a failure; one without a date gets no grace.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._vex import standing
from customhouse.certification.checks._vulnerability import SEVERITIES, weighed
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    fixable = [match for match in standing(subject) if match.fixed_versions and not match.malicious]
    yield from weighed(subject, fixable, params, " is ")


CHECK = Check(
    id="VUL-FIXABLE",
    title="No critical or high flaw that has a fix",
    why="A known flaw with a published fix is the easiest way in, and the fix costs a rebuild.",
    remedy="Update the package to a fixed version (for a distribution's package: rebuild on the newest base image and "
    "install its updates), or ask a certifier for a waiver that says why the flaw does not matter here.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    params={"grace_days": 0, "severities": SEVERITIES, "unknown_as": "high"},
)
