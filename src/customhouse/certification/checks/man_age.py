"""MAN-AGE: the image was built lately enough to hold the fixes of its day.

An epoch as the date of creation is what reproducible builds write: the age is then not known. The newest date of the
history counts where the config itself has none.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.findings import JSON, Severity

_NONE = datetime(1981, 1, 1, tzinfo=UTC)  # 1970 and, in zip-based tools, 1980 stand for "no date"
SKEW = timedelta(days=1)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    config = subject.image.config
    said = config.created or max((line.created for line in config.history if line.created), default="")
    if not said:
        raise NotEvaluable("the image does not say when it was made")
    evidence: dict[str, JSON] = {"key": "created", "value": said[:60]}
    try:
        created = datetime.fromisoformat(said)
    except ValueError:
        created = None
    if created is None or created.tzinfo is None:
        yield Failure(f"the date of creation is {said[:60]!r}, no time as RFC 3339 writes it", evidence)
        return
    if created < _NONE:
        raise NotEvaluable("the build is reproducible and writes no date, so the age is not known")
    most = params["most_days"]
    age = subject.now - created
    if age < -SKEW:
        yield Failure(f"the image was made at {said[:60]}, which is in the future", {**evidence, "key": "future"})
    elif isinstance(most, int | float) and age > timedelta(days=most):
        message = f"the image was made {age.days} days ago; {most} may have passed"
        yield Failure(message, {**evidence, "days": age.days})


CHECK = Check(
    id="MAN-AGE",
    title="The image was built lately",
    why="An image is only as patched as the day it was built; fixes reach it by a rebuild.",
    remedy="Build again at least once a month, on the newest base, also when the source did not change.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"most_days": 90},
    sources=("CIS 4.4", "Chainguard"),
    not_evaluable="the image has no date of creation, or that of a reproducible build",
)
