"""LAY-EFFICIENCY: how much of the layers' bytes is still there at the end (dive's efficiency)."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, whole_filesystem
from customhouse.certification.findings import JSON, Severity

MOST_NAMED = 10


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    whole_filesystem(subject)
    figures = subject.efficiency
    lowest = params["lowest"]
    if isinstance(lowest, int | float) and figures.efficiency < lowest:
        worst: list[JSON] = [
            {"path": item.path, "bytes": item.size, "times": item.times} for item in figures.waste[:MOST_NAMED]
        ]
        evidence: dict[str, JSON] = {
            "key": "efficiency",
            "value": round(figures.efficiency, 4),
            "lowest": lowest,
            "wasted_bytes": figures.wasted_bytes,
            "worst": worst,
        }
        message = f"efficiency is {figures.efficiency:.2f}; at least {lowest} is asked for"
        yield Failure(message + (f", mostly for {figures.waste[0].path}" if figures.waste else ""), evidence)


CHECK = Check(
    id="LAY-EFFICIENCY",
    title="What the layers carry is still there at the end",
    why="Files that a later layer replaces or removes are still pulled, stored and searched for secrets.",
    remedy="Remove files in the step that made them, and change owner or mode with COPY --chown and --chmod.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"lowest": 0.9},
    sources=("dive lowestEfficiency",),
    not_evaluable="a layer could not be read to its end",
)
