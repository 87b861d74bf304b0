"""SEC-HISTORY: no secret in build arguments and commands, which the history keeps."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject
from customhouse.certification.checks._pairs import described
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.secrets.text import in_pair, in_text


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    names = params["accepted_names"]
    accepted = names if isinstance(names, list) else []
    config = subject.image.config
    # What still stands in the environment is told by CFG-ENVSECRET; here would be the same fact once more.
    told = {(seen.rule, name) for name, value in config.environment.items() for seen in in_pair(name, value)}
    history = config.history
    if not any(line.created_by or line.comment for line in history):
        raise NotApplicable("the image has no build history")
    for number, line in enumerate(history):
        for text in (line.created_by, line.comment):
            for sighting in in_text(text):
                if sighting.name in accepted or (sighting.name and (sighting.rule, sighting.name) in told):
                    continue
                told.add((sighting.rule, sighting.name))
                named = f" ({sighting.name})" if sighting.name else ""
                what = f"line {number} of the build history{named}"
                yield described("history", what, sighting)


CHECK = Check(
    id="SEC-HISTORY",
    title="No secret in the build history",
    why="Build arguments and commands stay in the config, which everyone who may pull can read.",
    remedy="Give secrets to build steps by --mount=type=secret, never by ARG; replace the ones that were published.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    params={"accepted_names": []},
    sources=("CIS 4.10", "DS-0031", "DL3064"),
    not_applicable="When the image has no build history.",
)
