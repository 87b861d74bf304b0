"""MAL-MINER: no miner, no address of a mining pool, no packed program in any layer."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.checks._sightings import failures
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.malware.yara import SHIPPED, WITH_FOLDER, YaraReader

ID = "MAL-MINER"


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    readers = (SHIPPED, WITH_FOLDER)
    yield from failures(subject, readers, lambda fact: fact.get("check") == ID, lambda fact: str(fact["about"]))
    if not YaraReader().available:
        raise NotEvaluable("YARA-X is not installed: pip install 'customhouse[malware]'")


CHECK = Check(
    id=ID,
    title="No miner and no packed program in any layer",
    why="Miners are what stolen registries are used for most; packing hides what a program is from every scanner.",
    remedy="Remove it, or ship the program as its compiler made it. A miner that is meant to be needs a waiver.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    readers=(YaraReader(),),
    not_evaluable="When YARA-X is not installed, or a file could not be looked at.",
)
