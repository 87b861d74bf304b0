"""CFG-ENVSECRET: no secret in the environment, labels or build history, which everyone who pulls can read."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.secretscan import Sighting, in_pair, in_text

_RULES = {"secret-name": "a value where its name promises a secret"}


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    accepted = params["accepted_names"]
    accepted = accepted if isinstance(accepted, list) else []
    told: set[tuple[str, str]] = set()
    for where, what, sighting in _sightings(subject):
        if sighting.name in accepted or (sighting.name and (sighting.rule, sighting.name) in told):
            continue
        told.add((sighting.rule, sighting.name))
        described = _RULES.get(sighting.rule, f"what looks like a {sighting.rule.replace('-', ' ')}")
        evidence: dict[str, JSON] = {
            "key": f"{where}:{sighting.name or sighting.rule}",
            "where": what,
            "rule": sighting.rule,
            "length": sighting.length,
        }
        yield Failure(f"{what} holds {described}", evidence)


def _sightings(subject: Subject) -> Iterator[tuple[str, str, Sighting]]:
    config = subject.image.config
    for name, value in config.environment.items():
        for sighting in in_pair(name, value):
            yield "env", f"the variable {name[:100]}", sighting
    for kind, pairs in (("label", config.labels), ("annotation", subject.image.manifest.annotations)):
        for name, value in pairs.items():
            for sighting in in_pair(name, value):
                yield kind, f"the {kind} {name[:100]}", sighting
    for number, line in enumerate(config.history):
        for text in (line.created_by, line.comment):
            for sighting in in_text(text):
                named = f" ({sighting.name})" if sighting.name else ""
                yield "history", f"line {number} of the build history{named}", sighting


CHECK = Check(
    id="CFG-ENVSECRET",
    title="No secret in the environment, labels or build history",
    why="The config is public to everyone who may pull, and stays so in every copy.",
    remedy="Give secrets at run time, or to a build step by --mount=type=secret; replace the ones that were published.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    params={"accepted_names": []},
)
