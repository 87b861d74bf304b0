"""What the checks of files share: failures for each file up to a limit, and which layers are the base image's."""

from collections.abc import Iterable, Iterator

from customhouse.certification.check import Failure, Subject, at_layer
from customhouse.certification.findings import JSON
from customhouse.certification.history import base_layers
from customhouse.oci.image import FileEntry

MOST_NAMED = 100
UNREAD = "a layer could not be read to its end"


def named(failures: Iterable[Failure], what: str) -> Iterator[Failure]:
    """The first hundred failures, and one that counts the rest, as grave as the gravest of it."""
    rest, gravest, example = 0, None, None
    for number, failure in enumerate(failures):
        if number < MOST_NAMED:
            yield failure
            continue
        rest += 1
        example = example or failure.evidence.get("path")
        if failure.severity is not None and (gravest is None or failure.severity.rank > gravest.rank):
            gravest = failure.severity
    if rest:
        yield Failure(f"{rest} more {what}, e.g. /{example}", {"key": "more", "count": rest}, gravest)


def at_file(subject: Subject, entry: FileEntry, **more: JSON) -> dict[str, JSON]:
    """Evidence of one file: path and layer, and what is said besides."""
    return {"path": entry.path, **more, **at_layer(subject, entry.layer)}


def grouped(subject: Subject, key: str, entries: Iterable[FileEntry]) -> dict[str, JSON]:
    """Evidence of a fact that many files share: how many, how large, and the first twenty."""
    found = list(entries)
    paths: list[JSON] = [entry.path for entry in found[:20]]
    evidence: dict[str, JSON] = {"key": key, "files": len(found), "bytes": sum(entry.size for entry in found)}
    return {**evidence, "paths": paths, **(at_layer(subject, found[0].layer) if found else {})}


def base_count(subject: Subject) -> int:
    """How many of the lowest layers are the base image's: by the history, else the first where it holds a
    distribution; 0 where nothing tells."""
    guessed = base_layers(subject.image.config, len(subject.image.layers))
    if guessed or len(subject.image.layers) < 2:
        return guessed
    first = {entry.path for entry in subject.image.layers[0].entries}
    return int(bool(first & {"etc/os-release", "usr/lib/os-release", "var/lib/dpkg/status", "lib/apk/db/installed"}))


def texts(value: JSON) -> list[str]:
    """A parameter that is a list of words."""
    return [str(item) for item in value] if isinstance(value, list) else []


def number(value: JSON) -> float:
    """A parameter that is a number."""
    return value if isinstance(value, int | float) else 0
