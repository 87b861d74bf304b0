"""VUL-KEV: no flaw that is known to be exploited, fixed or not.

A match fails whatever the state of the advisories. None found passes only if the KEV list and the advisories of every
ecosystem in the image are fresh, and the list of packages is complete.
"""

from collections.abc import Iterator, Mapping

from customhouse.advisories.matching import Coverage
from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.checks._vex import standing
from customhouse.certification.checks._vulnerability import evidence, require_knowledge, way_out
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    report = subject.advisories
    exploited = [match for match in standing(subject) if match.kev]
    for match in exploited:
        package = match.package
        yield Failure(
            f"{match.id} in {package.name} {package.version} is being exploited; {way_out(match)}",
            evidence(subject, match),
        )
    if exploited:
        return
    require_knowledge(subject)
    if report.kev is not Coverage.COVERED:
        raise NotEvaluable(f"the list of known exploited vulnerabilities is {report.kev.value}; import it")


CHECK = Check(
    id="VUL-KEV",
    title="No flaw that is known to be exploited",
    why="CISA lists flaws that attackers use now; an image with one is a target from its first minute.",
    remedy="Update the package to a fixed version; where there is none, remove the package or ask a certifier for a "
    "waiver that says why the flaw cannot be reached.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
)
