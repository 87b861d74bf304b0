"""MAL-SIG: no file in any layer that a signature of malware names."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.checks._sightings import failures, looked
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.malware.clamd import CLAMAV
from customhouse.certification.malware.yara import SHIPPED, WITH_FOLDER, YaraReader

ID = "MAL-SIG"


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    readers = (SHIPPED, WITH_FOLDER, CLAMAV)
    yield from failures(subject, readers, lambda fact: fact.get("check") == ID, lambda fact: str(fact["about"]))
    if not YaraReader().available:
        raise NotEvaluable("YARA-X is not installed: pip install 'customhouse[malware]'")
    if subject.image.layers and not looked(subject, CLAMAV) and not looked(subject, WITH_FOLDER):
        raise NotEvaluable(
            "only the few rules that are shipped were looked for: name a ClamAV daemon by the setting clamd, or a "
            "folder of YARA rules by malware_rules"
        )


CHECK = Check(
    id=ID,
    title="No known malware in any layer",
    why="What an image holds is run with the trust that the hub's signature gives it.",
    remedy="Find out how the file came into the image; build anew from sources that you trust.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    readers=(YaraReader(),),
    sources=("Iron Bank ClamAV",),
    not_evaluable=(
        "When YARA-X is not installed, when there are no signatures but the shipped ones (settings clamd and "
        "malware_rules), or when a file could not be looked at."
    ),
)
