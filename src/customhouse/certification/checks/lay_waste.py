"""LAY-WASTE: bytes written more than once, as a share of what the publisher added (dive's wasted user percent)."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, whole_filesystem
from customhouse.certification.findings import JSON, Severity

MOST_NAMED = 10


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    whole_filesystem(subject)
    figures = subject.efficiency
    worst: list[JSON] = [
        {"path": item.path, "bytes": item.size, "times": item.times} for item in figures.waste[:MOST_NAMED]
    ]
    evidence: dict[str, JSON] = {
        "wasted_bytes": figures.wasted_bytes,
        "user_bytes": figures.user_bytes,
        "worst": worst,
    }
    most_percent, most_bytes = params["most_user_percent"], params["most_bytes"]
    percent = figures.wasted_percent
    if percent is not None and isinstance(most_percent, int | float) and percent > most_percent:
        message = f"{percent:.0%} of what the layers add is written more than once; {most_percent:.0%} may be"
        yield Failure(message, {"key": "percent", "value": round(percent, 4), "most": most_percent, **evidence})
    if isinstance(most_bytes, int | float) and 0 < most_bytes < figures.wasted_bytes:
        message = f"{figures.wasted_bytes} bytes are written more than once; {most_bytes} may be"
        yield Failure(message, {"key": "bytes", "value": figures.wasted_bytes, "most": most_bytes, **evidence})


CHECK = Check(
    id="LAY-WASTE",
    title="Little is written more than once",
    why="Each copy of a file in another layer is pulled and stored by everybody, and only the last one is seen.",
    remedy="Put what changes together into one step; do not touch files of the base only to change their owner.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"most_user_percent": 0.1, "most_bytes": 0},
    sources=("dive highestUserWastedPercent", "dive highestWastedBytes"),
    not_evaluable="a layer could not be read to its end",
)
