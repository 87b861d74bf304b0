"""The reader of secrets: every text file of every layer, as it goes by (places.py says which are left out)."""

from collections.abc import Iterator

from customhouse.certification.findings import Severity
from customhouse.certification.secrets import places
from customhouse.certification.secrets.engine import UNFINISHED, Sighting, find
from customhouse.certification.secrets.keys import about_key
from customhouse.certification.secrets.rules import shipped
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

MIB = 1024 * 1024
PRIVATE_KEY = "private-key"


class SecretReader:
    """Facts: `rule`, `severity`, `line`, `column`, `length` of each sighting and the `name` beside it; of a private
    key also what kind of key it is."""

    name = "secrets"
    limit = 64 * MIB

    @property
    def version(self) -> int:
        return shipped().version ^ places.VERSION

    def prepare(self) -> None:
        for published in (False, True):
            list(find(b"", "x", strong=published))

    def wants(self, file: FileEntry) -> bool:
        return file.size >= 8 and places.is_text(file.head) and places.place(file.path) != "skipped"

    def read(self, path: str, body: bytes) -> Iterator[JSON]:
        if not places.is_text(body[:8192]):
            return
        if body.startswith((b"\xff\xfe", b"\xfe\xff")):
            body = body.decode("utf-16", "replace").encode("utf-8", "replace")
        published = places.place(path) == "published"
        for sighting in find(body, path, strong=published):
            yield _fact(sighting, body, published)


def _fact(sighting: Sighting, body: bytes, published: bool) -> JSON:
    severity = sighting.severity
    fact: dict[str, JSON] = {
        "rule": sighting.rule,
        "line": sighting.line,
        "column": sighting.column,
        "length": sighting.length,
    }
    if sighting.name:
        fact["name"] = sighting.name
    if sighting.rule == PRIVATE_KEY:
        kind, severity = about_key(body[sighting.offset : sighting.offset + sighting.length])
        fact["kind"] = kind
    if published and sighting.rule != UNFINISHED:
        fact["published"] = True
        severity = min(severity, Severity.LOW, key=lambda each: each.rank)
    return {**fact, "severity": severity.value}


SECRETS = SecretReader()
