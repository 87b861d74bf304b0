"""CFG-ONBUILD: the image does not carry steps that run in other people's builds."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.history import shown


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    for number, trigger in enumerate(subject.image.config.on_build):
        words = trigger.split(maxsplit=1)
        evidence: dict[str, JSON] = {"key": f"onbuild:{number}", "value": shown(trigger)}
        yield Failure(f"ONBUILD runs {words[0][:40] if words else 'nothing'} in the builds of others", evidence)


CHECK = Check(
    id="CFG-ONBUILD",
    title="No ONBUILD steps",
    why="They do nothing here and act unseen in every image built from this one; OCI's config does not even know them.",
    remedy="Move the steps into the Dockerfiles that need them, or publish a base image that says what it does.",
    severity=Severity.LOW,
    evaluate=evaluate,
)
