"""CFG-LABELS: labels or annotations that tell what the image is, each in its own form.

One of two sets is enough: OCI's (org.opencontainers.image.*) or name, vendor, version, release, summary, description,
maintainer. (OCI image-spec annotations.md.)
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.findings import JSON, Severity

PREFIX = "org.opencontainers.image."
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:+-]*")
_VERSION = re.compile(r"v?\d+(\.\d+)*([-+._~][0-9A-Za-z.+_~-]+)?")
_REVISION = re.compile(r"[0-9a-fA-F]{7,64}|[0-9A-Za-z][0-9A-Za-z._/-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    said = {**subject.image.config.labels, **subject.image.manifest.annotations}
    if subject.index is not None:
        said = {**subject.index.annotations, **said}
    required, other = _names(params["required"]), _names(params["alternative"])
    missing = [name for name in required if not said.get(name, "").strip()]
    missing_other = [name for name in other if not said.get(name, "").strip()]
    if missing and (missing_other or not other):
        short = [name.removeprefix(PREFIX) for name in missing]
        message = f"not said: {', '.join(short)}" if len(missing) < len(required) else "no label says what the image is"
        evidence: dict[str, JSON] = {"key": "missing:" + ",".join(short), "missing": list(missing)}
        yield Failure(message, evidence)
    for name, (form, described) in _FORMS.items():
        value = said.get(PREFIX + name, "")
        if value and not (len(value) < 4096 and form(value)):
            message = f"{PREFIX}{name} is {value[:100]!r}, not {described}"
            yield Failure(message, {"key": f"form:{name}", "value": value[:200]})


def _names(value: JSON) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("https", "http", "git", "ssh", "git+https") and bool(parts.netloc)
    except ValueError:
        return False


def _spdx(value: str) -> bool:
    """Names joined by AND, OR and WITH, with brackets that match (SPDX specification, annex D)."""
    depth, name_next = 0, True
    for word in value.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(" and name_next:
            depth += 1
        elif word == ")" and not name_next and depth:
            depth -= 1
        elif word.upper() in ("AND", "OR", "WITH"):
            if name_next:
                return False
            name_next = True
        elif name_next and _LICENCE.fullmatch(word):
            name_next = False
        else:
            return False
    return depth == 0 and not name_next


def _instant(value: str) -> bool:
    try:
        return "T" in value and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_FORMS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "source": (_url, "a URL"),
    "url": (_url, "a URL"),
    "documentation": (_url, "a URL"),
    "created": (_instant, "a time as RFC 3339 writes it"),
    "licenses": (_spdx, "an SPDX licence expression"),
    "version": (lambda value: _VERSION.fullmatch(value) is not None, "a version"),
    "revision": (lambda value: _REVISION.fullmatch(value) is not None, "a revision of the source"),
    "base.digest": (lambda value: _DIGEST.fullmatch(value) is not None, "a digest"),
}

CHECK = Check(
    id="CFG-LABELS",
    title="Labels say what the image is, where it comes from and under which licence",
    why="Who finds the image in two years must be able to find its source, version and owner.",
    remedy="Set the labels org.opencontainers.image.title, .version, .revision, .source, .licenses, .vendor, .created, "
    ".base.name and .base.digest in the build.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    params={
        "required": [
            PREFIX + name
            for name in (
                "title", "version", "revision", "source", "licenses", "vendor", "created", "base.name", "base.digest"
            )
        ],
        "alternative": ["name", "vendor", "version", "release", "summary", "description", "maintainer"],
    },
    sources=(
        *("preflight HasRequiredLabel", "DL3048", "DL3049", "DL3050", "DL3051", "DL3052", "DL3053"),
        *("DL3054", "DL3055", "DL3056", "DL3058", "Iron Bank"),
    ),
)  # fmt: skip
