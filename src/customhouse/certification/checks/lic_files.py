"""LIC-FILES: the texts of licences are in the image: in /licenses, or where a distribution keeps them."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, whole_filesystem
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.image import Filesystem

PLACES = ("licenses", "usr/share/licenses", "usr/share/doc", "usr/local/share/licenses", "usr/local/share/doc")
_NAMES = ("copyright", "licen", "copying", "notice")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    fs = whole_filesystem(subject)
    if not any(_holds_text(fs, place) for place in PLACES):
        yield Failure("there is no text of a licence in /licenses nor below /usr/share", {"key": "licenses"})


def _holds_text(fs: Filesystem, place: str) -> bool:
    """In /licenses any file counts, as preflight has it; elsewhere one that is named like a licence."""
    folder = fs.resolve(place)
    if folder is None:
        return False
    return any(
        entry.kind in ("file", "hardlink")
        and entry.size > 0
        and (place == "licenses" or entry.name.lower().startswith(_NAMES) or "licenses" in place)
        for entry in fs.walk(folder)
    )


CHECK = Check(
    id="LIC-FILES",
    title="The texts of licences are in the image",
    why="Most licences oblige whoever passes software on to pass their text on with it.",
    remedy="COPY the texts to /licenses, and do not delete /usr/share/doc/*/copyright when making the image smaller.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    not_evaluable="a layer could not be read to its end",
    sources=("preflight HasLicense", "container-structure-test licenseTests"),
)
