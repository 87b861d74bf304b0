"""VUL-EPSS: no flaw that is likely to be exploited within 30 days (FIRST's EPSS).

1. Likely is a score of at least `score_percent` in a hundred, or, where there is no fix, a percentile of at least
   `unfixed_percentile`: what cannot be updated is to be looked at earlier.
2. A match fails whatever the state of the advisories. None found passes only if the scores and the advisories of every
   ecosystem in the image are fresh, and the list of packages is complete.
"""

from collections.abc import Iterator, Mapping

from customhouse.advisories.matching import Coverage, Match
from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.checks._vex import standing
from customhouse.certification.checks._vulnerability import evidence, in_grace, require_knowledge, way_out
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    report = subject.advisories
    due = [match for match in standing(subject) if not in_grace(subject, match, params)]
    likely = [match for match in due if _is_likely(match, params)]
    for match in likely:
        package, scored = match.package, match.likelihood
        chance = f"{100 * scored.score:.1f} %" if scored else "not known"
        yield Failure(
            f"{match.id} in {package.name} {package.version} is exploited within 30 days with a probability of "
            f"{chance}; {way_out(match)}",
            evidence(subject, match),
        )
    if likely:
        return
    require_knowledge(subject)
    if report.epss is not Coverage.COVERED:
        raise NotEvaluable(f"the table of EPSS scores is {report.epss.value}; import it")


def _is_likely(match: Match, params: Mapping[str, JSON]) -> bool:
    if match.likelihood is None:
        return False
    least, share = params["score_percent"], params["unfixed_percentile"]
    if isinstance(least, int) and 100 * match.likelihood.score >= least:
        return True
    return not match.fixed_versions and isinstance(share, int) and 100 * match.likelihood.percentile >= share


CHECK = Check(
    id="VUL-EPSS",
    title="No flaw that is likely to be exploited soon",
    why="Few flaws are ever exploited; EPSS says from what is seen on the net which ones will be.",
    remedy="Update the package to a fixed version; where there is none, leave it out, or ask a certifier for a waiver "
    "that says why the flaw cannot be reached.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    params={"grace_days": 0, "score_percent": 10, "unfixed_percentile": 95},
)
