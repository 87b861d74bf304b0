"""Records as compact JSON texts, and back.

Each text is an array. Fields are added at the end, with defaults: older rows are shorter.
"""

from dataclasses import asdict
from typing import Any

import msgspec

from customhouse.advisories.osv import Advisory, Affected, Range
from customhouse.advisories.severity import Rating
from customhouse.advisories.specifics import NOTHING_SPECIFIC, Specifics


class _Header(msgspec.Struct, array_like=True):
    """What a record says of its flaw. Fields are added at the end, with defaults: older rows are shorter."""

    aliases: tuple[str, ...]
    upstream: tuple[str, ...]
    summary: str
    rating: str
    related: tuple[str, ...] = ()
    rated_by: str = ""
    vectors: tuple[str, ...] = ()


class _Document(msgspec.Struct, array_like=True):
    """What a record says of one package; as above."""

    ranges: tuple[tuple[tuple[str, str], ...], ...]
    versions: tuple[str, ...]
    rating: str
    rated_by: str = ""
    purl: str = ""
    specifics: dict[str, Any] | None = None


HEADER = msgspec.json.Decoder(_Header)
_DOCUMENT = msgspec.json.Decoder(_Document)
_ENCODE = msgspec.json.Encoder()


def header(record: Advisory) -> str:
    """A record without what it says of packages."""
    return _ENCODE.encode(
        _Header(
            record.aliases, record.upstream, record.summary, record.rating.value, record.related, record.rated_by,
            record.vectors,
        )
    ).decode()  # fmt: skip


def document(affected: Affected) -> str:
    """What a record says of one package."""
    specifics = None
    if affected.specifics != NOTHING_SPECIFIC:
        specifics = {name: value for name, value in asdict(affected.specifics).items() if value}
    ranges = tuple(each.events for each in affected.ranges)
    return _ENCODE.encode(
        _Document(ranges, affected.versions, affected.rating.value, affected.rated_by, affected.purl, specifics)
    ).decode()


def advisory_of(row: Any) -> Advisory:
    """A record without its packages, from a row of `advisory`."""
    said = HEADER.decode(row.header)
    return Advisory(
        id=row.id,
        modified=row.modified,
        published=row.published,
        aliases=said.aliases,
        upstream=said.upstream,
        summary=said.summary,
        rating=Rating(said.rating),
        related=said.related,
        rated_by=said.rated_by,
        vectors=said.vectors,
    )


def affected_of(ecosystem: str, package: str, document: str) -> Affected:
    """What a record says of one package, from its text."""
    said = _DOCUMENT.decode(document)
    return Affected(
        ecosystem,
        package,
        tuple(Range(events) for events in said.ranges),
        said.versions,
        Rating(said.rating),
        said.rated_by,
        said.purl,
        msgspec.convert(said.specifics, Specifics) if said.specifics else NOTHING_SPECIFIC,
    )
