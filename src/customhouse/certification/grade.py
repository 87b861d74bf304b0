"""The grade of an examined image, A to F, and the days on which it drops if nothing is done.

1. Points: every check that has a meaning for the image is worth something by its severity; what it did not earn is
   lost, also where a waiver accepts it. The score is the share earned, 0 to 100, and gives a letter.
2. Age: a known flaw with a fix is excused for some days after it was published, by its severity; and what an
   examination says is believed for some days. Each day passed lowers the best letter that is possible.
3. The grade is the worse of the two. `steps` is the whole future of the second, so that a certification ages in the
   open: the letter of any later moment is known from the record alone.
4. The days are the policy's, `[grade]`. A refused image has F, today and later.
(After the idea of Red Hat's Container Health Index; the days and points are ours.)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from customhouse.certification.findings import JSON, Finding, Outcome, Severity

LETTERS = "ABCDEF"
# What a check is worth, by severity; the gate's own checks are worth nothing, they must hold anyway.
POINTS = {Severity.BLOCK: 0, Severity.HIGH: 20, Severity.MEDIUM: 10, Severity.LOW: 5, Severity.INFO: 0}
ENOUGH = ((90, "A"), (70, "B"), (50, "C"), (30, "D"), (10, "E"))

Days = Mapping[str, int]
"""For how many days a letter is still possible; after the last one it is F."""


@dataclass(frozen=True)
class Ageing:
    """`flaws` by the severity of a flaw that has a fix, from its publication; `examined` from the examination."""

    flaws: Mapping[str, Days] = field(default_factory=lambda: MappingProxyType(_FLAWS))
    examined: Days = field(default_factory=lambda: MappingProxyType(_EXAMINED))


_FLAWS: Mapping[str, Days] = {
    "critical": {"A": 0, "B": 7, "C": 30, "D": 90, "E": 365},
    "high": {"A": 0, "B": 30, "C": 90, "D": 365, "E": 730},
}
_EXAMINED: Days = {"A": 90, "B": 180, "C": 365, "D": 730, "E": 1095}


@dataclass(frozen=True)
class Step:
    """From `on` the grade is at best `grade`, `because` of one fact."""

    on: datetime
    grade: str
    because: str

    def as_json(self) -> dict[str, JSON]:
        """The form of records and of the API."""
        return {"on": self.on.isoformat(), "grade": self.grade, "because": self.because}


@dataclass(frozen=True)
class Grade:
    """`letter` is that of the examination's day, `score` the share of points, 0 to 100; `steps` are in order of time
    and each is worse than the one before."""

    letter: str
    score: int
    steps: tuple[Step, ...] = ()

    def at(self, moment: datetime) -> str:
        """The letter of a later moment."""
        return letter_at(self.letter, [step.as_json() for step in self.steps], moment)


def letter_at(letter: str, steps: Sequence[Mapping[str, JSON]], moment: datetime) -> str:
    """The letter of a moment, from a stored grade."""
    for step in steps:
        if datetime.fromisoformat(str(step["on"])) <= moment:
            letter = str(step["grade"])
    return letter


def score_of(findings: Iterable[Finding]) -> int:
    """The share of points earned, 0 to 100. A check counts once per platform, by its worst failure; an answer that is
    missing is points not earned."""
    worst: dict[tuple[str, str | None], Severity] = {}
    lost: set[tuple[str, str | None]] = set()
    for item in findings:
        if item.outcome is Outcome.NOT_APPLICABLE:
            continue
        place = (item.check, item.platform)
        if item.outcome is not Outcome.PASS:
            lost.add(place)
        worst[place] = max(worst.get(place, Severity.INFO), item.severity, key=lambda severity: severity.rank)
    possible = sum(POINTS[severity] for severity in worst.values())
    earned = sum(POINTS[severity] for place, severity in worst.items() if place not in lost)
    return round(100 * earned / possible) if possible else 100 if worst else 0


def grade(findings: Sequence[Finding], ageing: Ageing, now: datetime, *, refused: bool = False) -> Grade:
    """The grade at `now`, the moment of the examination's verdict."""
    score = score_of(findings)
    if refused:
        return Grade("F", score)
    letter = next((letter for limit, letter in ENOUGH if score > limit), "F")
    facts = [(now, ageing.examined, "the examination is old")]
    for item in findings:
        days = ageing.flaws.get(str(item.evidence.get("severity")))
        if days and item.outcome is Outcome.FAIL and item.evidence.get("fixed_versions"):
            facts.append((_published(item, now), days, f"{item.evidence.get('vulnerability')} has a fix"))
    steps: list[Step] = []
    for step in sorted(_steps(facts), key=lambda step: (step.on, step.grade)):
        if step.grade <= letter:
            continue
        if step.on <= now:
            letter = step.grade
        elif not steps or step.grade > steps[-1].grade:
            if steps and steps[-1].on == step.on:
                steps.pop()
            steps.append(step)
    return Grade(letter, score, tuple(step for step in steps if step.grade > letter))


def _steps(facts: Iterable[tuple[datetime, Days, str]]) -> Iterable[Step]:
    for since, days, because in facts:
        for better, worse in zip(LETTERS, LETTERS[1:], strict=False):
            if better in days:
                yield Step(since + timedelta(days=days[better]), worse, because)


def _published(finding: Finding, now: datetime) -> datetime:
    """When the flaw was published; one without a date counts from today."""
    try:
        found = datetime.fromisoformat(str(finding.evidence.get("published")))
    except ValueError:
        return now
    return found if found.tzinfo is not None else now
