"""The registry's paths and headers, read without I/O: OCI distribution-spec 1.1 §API, RFC 9110 §12.5, §13, §14.

Repository names hold slashes, so a path is read from its right end.
"""

import re
from dataclasses import dataclass
from typing import Literal

from customhouse.accounts.access import CATALOG
from customhouse.errors import Invalid

Kind = Literal["base", "catalog", "tags", "manifest", "blob", "uploads", "upload", "referrers"]
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_CHUNK = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:\*|[0-9]{1,18}))?")


@dataclass(frozen=True)
class Target:
    """What a path names; `reference` is a tag, a digest or the id of an upload."""

    kind: Kind
    repository: str = ""
    reference: str = ""

    @classmethod
    def parse(cls, path: str) -> "Target | None":
        """Read a decoded path such as /v2/staging/acme/web/manifests/1; None where it is none of ours."""
        if path in ("/v2", "/v2/"):
            return cls("base")
        if path == "/v2/_catalog":
            return cls("catalog", CATALOG)
        if not path.startswith("/v2/"):
            return None
        parts = path[len("/v2/") :].split("/")
        match parts:
            case [*name, "blobs", "uploads", ""] | [*name, "blobs", "uploads"] if name:
                return cls("uploads", "/".join(name))
            case [*name, "blobs", "uploads", upload] if name:
                return cls("upload", "/".join(name), upload)
            case [*name, "tags", "list"] if name:
                return cls("tags", "/".join(name))
            case [*name, "manifests", reference] if name and reference:
                return cls("manifest", "/".join(name), reference)
            case [*name, "blobs", digest] if name and digest:
                return cls("blob", "/".join(name), digest)
            case [*name, "referrers", digest] if name and digest:
                return cls("referrers", "/".join(name), digest)
        return None


class InvalidPage(Invalid):
    """A page size that is no number of items."""


class RangeNotSatisfiable(Invalid):
    """A range that lies outside the content of `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the range lies outside the content, which has {size} bytes")
        self.size = size


class InvalidContentRange(Invalid):
    """A Content-Range of an upload that is not START-END."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:80]!r} is not a range of bytes", hint="Write START-END, the end included.")


@dataclass(frozen=True)
class Span:
    """A run of bytes."""

    start: int
    count: int

    @property
    def last(self) -> int:
        return self.start + self.count - 1


def accepts(accept: str, media_type: str) -> bool:
    """May this type be the answer? `accept` is every Accept line joined by commas; empty means anything."""
    wanted = [entry.strip().lower() for entry in accept.split(",") if entry.strip()]
    if not wanted:
        return True
    main = media_type.partition("/")[0]
    for entry in wanted:
        kind, *parameters = (part.strip() for part in entry.split(";"))
        if kind in (media_type.lower(), "*/*", f"{main}/*") and not _forbidden(parameters):
            return True
    return False


def _forbidden(parameters: list[str]) -> bool:
    return any(re.fullmatch(r"q=0(\.0*)?", parameter.replace(" ", "")) for parameter in parameters)


def tag_matches(if_none_match: str, etag: str) -> bool:
    """RFC 9110 §13.1.2, weak comparison."""
    if not if_none_match:
        return False
    known = [entry.strip().removeprefix("W/") for entry in if_none_match.split(",")]
    return etag in known or known == ["*"]


def parse_range(header: str, size: int) -> Span | None:
    """The one run of bytes that a Range asks for; None where the whole content is the right answer.

    Several ranges and what is not understood are ignored, as RFC 9110 §14.2 allows. Raises RangeNotSatisfiable.
    """
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if not found or found[0] == "bytes=-":
        return None
    if not found[1]:
        count = min(int(found[2]), size)
        if count == 0:
            raise RangeNotSatisfiable(size)
        return Span(size - count, count)
    start = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if start >= size or last < start:  # a range that ends before it begins may be refused (RFC 9110 §14.2)
        raise RangeNotSatisfiable(size)
    return Span(start, min(last, size - 1) - start + 1)


def parse_chunk(header: str) -> Span:
    """The Content-Range of a chunk: START-END, both included. Raises InvalidContentRange."""
    found = _CHUNK.fullmatch(header.strip())
    if not found or int(found[2]) < int(found[1]):
        raise InvalidContentRange(header)
    return Span(int(found[1]), int(found[2]) - int(found[1]) + 1)


def parse_page(text: str | None, most: int) -> int:
    """The `n` of a list: how many entries, at most `most`. Raises InvalidPage."""
    if text is None:
        return most
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidPage(f"n={text[:40]!r} is not a number of entries")
    return min(int(text), most)


def progress(offset: int) -> str:
    """The Range of an upload with so many bytes; an empty one reads 0-0, as docker's registry writes it."""
    return f"0-{max(offset - 1, 0)}"


def plain(text: str | None) -> str:
    """A text that a database can compare: no NUL, not longer than any name."""
    return (text or "").replace("\x00", "")[:512]
