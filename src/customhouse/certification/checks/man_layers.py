"""MAN-LAYERS: not more layers than engines handle well."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    count, most = len(subject.image.manifest.layers), params["most"]
    if isinstance(most, int | float) and count > most:
        evidence: dict[str, JSON] = {"key": "layers", "value": count, "most": most}
        yield Failure(f"the image has {count} layers; {most} are allowed", evidence)


CHECK = Check(
    id="MAN-LAYERS",
    title="Not more layers than allowed",
    why="Each layer costs a request at every pull and a mount at every start; engines stop at about 125.",
    remedy="Join RUN and COPY steps, or build in several stages and copy the result into the last.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"most": 40},
    sources=("preflight LayerCountAcceptable",),
)
