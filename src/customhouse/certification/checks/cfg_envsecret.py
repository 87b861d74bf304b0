"""CFG-ENVSECRET: no secret in the environment, labels or annotations, which everyone who pulls can read."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._pairs import described
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.secrets.text import in_pair


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    names = params["accepted_names"]
    accepted = names if isinstance(names, list) else []
    config = subject.image.config
    groups = (
        ("env", "variable", config.environment),
        ("label", "label", config.labels),
        ("annotation", "annotation", subject.image.manifest.annotations),
    )
    for where, word, pairs in groups:
        for name, value in pairs.items():
            for sighting in in_pair(name, value):
                if name not in accepted:
                    yield described(where, f"the {word} {name[:100]}", sighting)


CHECK = Check(
    id="CFG-ENVSECRET",
    title="No secret in the environment, labels or annotations",
    why="The config is public to everyone who may pull, and stays so in every copy.",
    remedy="Give secrets at run time, by environment or file; replace the ones that were published.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    params={"accepted_names": []},
    sources=("CIS 4.10", "CIS-DI-0010", "DS-0031"),
)
