"""VUL-VEX: what makers state about flaws in this image (OpenVEX, CSAF), and what became of it.

1. A publisher's own statement that excuses a flaw is signed off by a reviewer: it is a failure of severity high until
   somebody approves the submission or waives the finding. One that the hub's people imported counts, and is only told.
2. `not_affected` without one of the five justifications excuses nothing.
3. A statement that concerns this image and covers none of its flaws is told: a name or a version in it may be wrong.
(OpenVEX v0.2.0 §"Status Labels", CSAF 2.0 profile VEX, CISA "Minimum Requirements for VEX".)
"""

from collections.abc import Iterator, Mapping
from itertools import islice

from customhouse.advisories.vex import Stated, Status
from customhouse.certification.check import Check, Failure, NotApplicable, Subject, identity
from customhouse.certification.checks._vex import Stands, idle, stands
from customhouse.certification.findings import JSON, Severity

MOST_IDLE = 100
_UNJUSTIFIED = "without a justification that counts"


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    if not subject.advisories.stated:
        raise NotApplicable("nobody states anything about the flaws of this image")
    for each in stands(subject):
        if each.ruling is not None:
            yield from _ruled(each, each.ruling)
    for unmatched in islice(idle(subject), MOST_IDLE):
        stated = unmatched.stated
        names = " ".join(stated.statement.names[:5])
        found = {"key": f"{stated.document} {stated.position}", "vulnerability": names, **_document(stated)}
        what = f"what {_who(stated)} states about {names} covers nothing: {unmatched.reason}"
        yield Failure(what, found, Severity.LOW)


def _ruled(each: Stands, ruling: Stated) -> Iterator[Failure]:
    package = each.match.package
    evidence = {
        "purl": identity(package),
        "vulnerability": each.match.id,
        **_document(ruling),
    }
    what = f"{each.match.id} in {package.name} {package.version} is stated as"
    if each.excused:
        severity = Severity.HIGH if ruling.publisher else Severity.INFO
        yield Failure(f"{what} {_words(ruling)} by {_who(ruling)}", evidence, severity)
    elif ruling.statement.status is Status.NOT_AFFECTED:
        why = "malicious code is not excused" if each.match.malicious else _UNJUSTIFIED
        yield Failure(f"{what} not affected by {_who(ruling)}: {why}", evidence, Severity.MEDIUM)


def _document(stated: Stated) -> dict[str, JSON]:
    said = stated.statement
    return {
        "status": said.status.value, "justification": said.justification, "impact": said.impact[:500],
        "stated": said.at.isoformat(), "document": stated.identifier, "document_digest": stated.document,
        "author": stated.author, "publisher": stated.publisher,
    }


def _words(stated: Stated) -> str:
    said = stated.statement
    return "fixed" if said.status is Status.FIXED else f"not affected ({said.justification.replace('_', ' ')})"


def _who(stated: Stated) -> str:
    return f"its publisher {stated.publisher}" if stated.publisher else stated.author or "an unnamed author"


CHECK = Check(
    id="VUL-VEX",
    title="What is stated about flaws in this image is looked at",
    why="Who ships software knows best whether a flaw can be reached in it; a statement without a reason, or one that "
    "matches nothing, is no knowledge.",
    remedy="Give each not_affected statement one of the five justifications, and the exact purl or digest of the "
    "product; a reviewer signs a publisher's statements off by approving the submission or waiving the finding.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    not_applicable="nobody states anything about the flaws of this image",
    sources=("OpenVEX", "CSAF VEX"),
)
