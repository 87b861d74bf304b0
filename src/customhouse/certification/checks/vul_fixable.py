"""VUL-FIXABLE: no critical or high flaw for which a fix exists.

1. A found flaw fails whatever the state of the advisories; nothing found passes only if every ecosystem of the image
   is covered by fresh advisories and the list of packages is complete.
2. A flaw whose severity nobody stated counts as `unknown_as` (high), and the message says so.
3. A flaw without a fix is no failure here. Malicious code is one: leaving the package out is the fix.
4. `grace_days` after an advisory was published it is not yet a failure; one without a date gets no grace.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from customhouse.advisories.matching import Match
from customhouse.advisories.severity import Rating
from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._vulnerability import evidence, require_knowledge
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    report = subject.advisories
    wanted = params["severities"]
    severities = {str(each) for each in wanted} if isinstance(wanted, list) else set()
    days = params["grace_days"]
    grace = timedelta(days=days if isinstance(days, int) else 0)
    found = False
    for match in report.matches:
        counted = str(params["unknown_as"]) if match.severity is Rating.UNKNOWN else match.severity.value
        if not match.fixable or counted not in severities:
            continue
        age = subject.now - match.published if match.published else None
        if age is not None and timedelta() <= age < grace and not match.malicious:
            continue
        found = True
        yield Failure(_message(match, counted), evidence(match))
    if not found:
        require_knowledge(subject)


def _message(match: Match, counted: str) -> str:
    package = match.package
    said = match.severity.value
    if match.severity is Rating.UNKNOWN:
        said = f"severity not stated, counted as {counted}"
    if match.malicious:
        return f"{package.name} {package.version} is malicious ({match.id}): leave it out"
    listed = " or ".join(match.fixed_versions[-3:])
    return f"{match.id} ({said}) in {package.name} {package.version} is fixed in {listed}"


CHECK = Check(
    id="VUL-FIXABLE",
    title="No critical or high flaw that has a fix",
    why="A known flaw with a published fix is the easiest way in, and the fix costs a rebuild.",
    remedy="Update the package to a fixed version (for a distribution's package: rebuild on the newest base image and "
    "install its updates), or ask a certifier for a waiver that says why the flaw does not matter here.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    params={"grace_days": 0, "severities": ["critical", "high"], "unknown_as": "high"},
)
