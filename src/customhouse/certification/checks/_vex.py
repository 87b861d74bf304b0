"""What makers' statements (VEX) make of the flaws of an image; shared by the checks about flaws.

1. A flaw is excused where the ruling statement says `fixed`, or `not_affected` with a justification that counts.
2. Malicious code is never excused: nobody is unaffected by what he ships.
3. A statement concerns the image when the image, or a package in it, is among its products; one that concerns it and
   covers no flaw is reported, others are about something else.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from customhouse.advisories import vex
from customhouse.advisories.matching import Match
from customhouse.certification.check import Subject


@dataclass(frozen=True)
class Stands:
    """A flaw, and the statement that rules it, if there is one."""

    match: Match
    ruling: vex.Stated | None

    @property
    def excused(self) -> bool:
        if self.ruling is None or self.match.malicious:
            return False
        said = self.ruling.statement
        return said.status in (vex.Status.FIXED, vex.Status.NOT_AFFECTED) and said.acceptable


def stands(subject: Subject) -> tuple[Stands, ...]:
    """Every flaw of the image with what rules it, in the order of the matches."""
    report = subject.advisories
    if not report.stated:
        return tuple(Stands(match, None) for match in report.matches)
    applied = vex.apply(report.stated, [_flaw(match) for match in report.matches], _image(subject))
    return tuple(Stands(match, applied.ruling.get(number)) for number, match in enumerate(report.matches))


def standing(subject: Subject) -> list[Match]:
    """The flaws that nobody excuses."""
    return [each.match for each in stands(subject) if not each.excused]


def idle(subject: Subject) -> Iterator[vex.Unmatched]:
    """Statements that concern the image and cover none of its flaws."""
    report, image = subject.advisories, _image(subject)
    purls = frozenset(package.purl for package in subject.catalogue.packages if package.purl)
    applied = vex.apply(report.stated, [_flaw(match) for match in report.matches], image)
    for unmatched in applied.unmatched:
        said = unmatched.stated.statement
        if vex.covers(said, vex.Flaw(frozenset(said.names), purls), image):
            yield unmatched


def _flaw(match: Match) -> vex.Flaw:
    return vex.Flaw(match.names, frozenset(each.purl for each in (match.package, *match.packages) if each.purl))


def _image(subject: Subject) -> vex.Subject:
    image = subject.image
    digests = {str(image.manifest_digest)}
    if image.manifest.config is not None:
        digests.add(str(image.manifest.config.digest))
    return vex.Subject(frozenset(digests))
