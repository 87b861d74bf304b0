"""MAN-TAG: a tag that names a version, not one that is meant to move."""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject
from customhouse.certification.findings import JSON, Severity

_VERSION = re.compile(r"[vV]?\d+(\.\d+){0,3}([-._+][0-9A-Za-z]+)*")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    if not subject.tag:
        raise NotApplicable("the image was named by digest")
    moving = params["moving"]
    evidence: dict[str, JSON] = {"key": "tag", "value": subject.tag}
    if isinstance(moving, list) and subject.tag.lower() in moving:
        yield Failure(f"the tag {subject.tag!r} says nothing about which version it is and is meant to move", evidence)
    elif not _VERSION.fullmatch(subject.tag):
        yield Failure(f"the tag {subject.tag!r} does not begin with a version such as 1.2.3", evidence)


CHECK = Check(
    id="MAN-TAG",
    title="The tag names a version",
    why="Who pulls `latest` cannot say what runs, nor go back to it.",
    remedy="Tag with the version, e.g. 1.4.2 or 1.4.2-alpine, and sign that tag.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"moving": ["latest", "stable", "edge", "nightly", "main", "master", "dev", "test", "current", "lts"]},
    sources=("preflight HasUniqueTag", "DKL-DI-0006", "DS-0001", "DL3007"),
    not_applicable="the image was named by digest",
)
