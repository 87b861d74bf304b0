"""LAY-DELETED: what one layer adds no later layer removes; it stays in the image and everyone pulls it.

1. One failure for each layer whose removed files are larger than `most_bytes` together, named by the folder that they
   share.
2. A removed file whose name is that of a secret is told by itself: removing it hid it from those who look at the
   container, not from those who open the layer. What is in it is judged by SEC-FILE and SEC-KEY.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, at_layer, whole_filesystem
from customhouse.certification.checks._files import UNREAD, named, number
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.image import FileEntry

MOST_PATHS = 20
_SECRET = re.compile(
    r"(?:.*/)?(?:id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.git-credentials|\.pypirc|\.npmrc|\.pgpass|\.my\.cnf|\.htpasswd"
    r"|\.env|credentials(?:\.json|\.xml)?|[^/]{1,200}\.(?:p12|pfx|jks|keystore|kdbx|ovpn|ppk))"
    r"|(?:.*/)?(?:\.aws/credentials|\.docker/config\.json|\.kube/config|\.config/gcloud/[^/]{1,200})"
)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    standing = {entry.path for entry in whole_filesystem(subject).walk()}
    removed: dict[int, list[FileEntry]] = {}
    for scan in subject.image.layers:
        for entry in scan.entries:
            if entry.kind == "file" and entry.path not in standing:
                removed.setdefault(entry.layer, []).append(entry)
    yield from named(_secrets(subject, removed), "files named like secrets were removed")
    for layer, entries in removed.items():
        total = sum(entry.size for entry in entries)
        if total <= number(params["most_bytes"]):
            continue
        largest = sorted(entries, key=lambda entry: (-entry.size, entry.path))[:MOST_PATHS]
        paths: list[JSON] = [{"path": entry.path, "bytes": entry.size} for entry in largest]
        folder = posixpath.commonpath([f"/{entry.path}" for entry in entries])
        evidence: dict[str, JSON] = {"key": f"removed:{folder}", "bytes": total, "files": len(entries)}
        evidence |= {"largest": paths, "removed_by": _removers(subject, largest)}
        message = f"layer {layer} adds {total} bytes below {folder} that a later layer removes"
        yield Failure(message, {**evidence, **at_layer(subject, layer)})


def _secrets(subject: Subject, removed: Mapping[int, list[FileEntry]]) -> Iterator[Failure]:
    for layer, entries in removed.items():
        for entry in entries:
            if entry.size and _SECRET.fullmatch(entry.path):
                evidence: dict[str, JSON] = {"path": entry.path, "bytes": entry.size, **at_layer(subject, layer)}
                message = f"/{entry.path} was removed by a later layer and is still in layer {layer}"
                yield Failure(message, evidence, Severity.HIGH)


def _removers(subject: Subject, entries: list[FileEntry]) -> list[JSON]:
    """The digests of the layers whose whiteouts hide these files."""
    found: list[JSON] = []
    for scan in subject.image.layers:
        hidden = {*scan.whiteouts, *scan.opaque}
        if any(above in hidden for entry in entries for above in _above(entry.path)):
            found.append(str(scan.digest))
    return found


def _above(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


CHECK = Check(
    id="LAY-DELETED",
    title="No layer removes what an earlier one added",
    why="A removed file is still pulled, stored and readable by everyone; only the container does not see it.",
    remedy="Remove files in the step that made them, or build in another stage and copy what is needed. A secret that "
    "was in a layer is published: replace it.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"most_bytes": 1_000_000},
    sources=("dive", "Trivy secrets"),
    not_evaluable=UNREAD,
)
