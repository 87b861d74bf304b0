"""CFG-HEALTH: a health-check is declared and not switched off."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    health = subject.image.config.healthcheck
    test: list[JSON] = list(health.test) if health is not None else []
    evidence: dict[str, JSON] = {"key": "healthcheck", "value": test}
    if health is None or not health.test:
        yield Failure("no HEALTHCHECK is declared", evidence)
    elif health.disabled:
        yield Failure("HEALTHCHECK NONE switches the health-check off", evidence)
    elif health.test[0] not in ("CMD", "CMD-SHELL"):
        yield Failure(f"the health-check is of the unknown form {health.test[0]!r}", evidence)
    elif len(health.test) < 2 or not any(word.strip() for word in health.test[1:]):
        yield Failure("the health-check names no command", evidence)


CHECK = Check(
    id="CFG-HEALTH",
    title="A health-check is declared",
    why="Without one an engine only knows that a process exists, not that it answers.",
    remedy="Add a HEALTHCHECK that asks the service itself, with a program that is in the image. Tools that convert to "
    "OCI can lose it: push the docker format, or let the builder write it.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    sources=("CIS 4.6", "CIS-DI-0006", "DS-0026", "DL3057", "Docker certification"),
)
