"""CFG-MAINTAINER: who keeps the image is said where tools look, not by the deprecated MAINTAINER."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._history import history
from customhouse.certification.findings import JSON, Severity

_LABELS = ("maintainer", "org.opencontainers.image.authors", "org.opencontainers.image.vendor", "vendor")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    config = subject.image.config
    used = next((step for step in history(subject).of("MAINTAINER") if not step.base), None)
    if used is not None:
        evidence: dict[str, JSON] = {"key": "maintainer", "line": used.line, "value": used.text[:200]}
        yield Failure("MAINTAINER is deprecated since 2017", evidence)
    said = {**config.labels, **subject.image.manifest.annotations}
    if config.author and not any(said.get(name, "").strip() for name in _LABELS):
        message = "only the config's author says who keeps the image; no label or annotation does"
        yield Failure(message, {"key": "author", "value": config.author[:200]})


CHECK = Check(
    id="CFG-MAINTAINER",
    title="Who keeps the image is said by a label",
    why="Tools and registries show labels; the author field is written by old tools and read by none.",
    remedy="Set the label org.opencontainers.image.authors in place of MAINTAINER.",
    severity=Severity.INFO,
    evaluate=evaluate,
    sources=("DL4000", "DS-0022"),
)
