"""Advisory records in the OSV form, https://ossf.github.io/osv-schema/

1. A record without a usable id, time or affected package is refused (InvalidRecord): nothing is guessed about
   who is affected. What only describes the flaw (score, references) never costs the record; it is noted in `flaws`.
2. GIT ranges and repositories say nothing about installed packages and are passed over.
3. Budgets: bytes of a record, affected packages, ranges, events, versions, aliases, and the length of each text.
4. PyPI names are kept in the form of PEP 503, those of registries where case means nothing in small letters, so that a
   name has one spelling on both sides.
5. What databases add under `ecosystem_specific` and `database_specific` is kept where matching needs it (`Specifics`),
   and passed over where it has not the form that is known.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from customhouse.advisories.severity import BadVector, Rating, from_vector, from_word, worst
from customhouse.advisories.specifics import (
    LONGEST_TEXT,
    NOTHING_SPECIFIC,
    FixState,
    Specifics,
    is_text,
    specifics_of,
)

LARGEST_RECORD = 16 << 20
MOST_AFFECTED = 20_000
MOST_VERSIONS = 100_000
MOST_EVENTS = 10_000
MOST_ALIASES = 2_000
SUMMARY = 240
MOST_VECTORS = 4
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{2,119}")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_EVENTS = frozenset({"introduced", "fixed", "last_affected", "limit"})
_RANGES = frozenset({"SEMVER", "ECOSYSTEM"})


class InvalidRecord(ValueError):
    """A record that cannot be used; the text says why."""


@dataclass(frozen=True)
class Range:
    """Events (kind, version) in the order of the record; the evaluation sorts them."""

    events: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Affected:
    """Which versions of one package a record is about.

    `rating` is the distribution's own word, if it gives one, and `rated_by` where it stands; `purl` is the record's, as
    it is written there.
    """

    ecosystem: str
    package: str
    ranges: tuple[Range, ...] = ()
    versions: tuple[str, ...] = ()
    rating: Rating = Rating.UNKNOWN
    rated_by: str = ""
    purl: str = ""
    specifics: Specifics = NOTHING_SPECIFIC

    def fix_state(self, fixed: bool) -> FixState:
        """The state for a version that is affected; `fixed`: the record names a later version without the flaw."""
        if fixed:
            return FixState.FIXED
        if self.specifics.never_fixed:
            return FixState.WONT_FIX
        kinds = {kind for each in self.ranges for kind, _ in each.events}
        if "last_affected" in kinds or "introduced" not in kinds:
            return FixState.UNKNOWN  # the record ends without naming a fix
        return FixState.NOT_FIXED


@dataclass(frozen=True)
class Advisory:
    """One record. `aliases` are the same flaw; `upstream` is what a distribution's record was made from; `related` are
    other flaws. `rated_by` says where `rating` stands (`database_specific.severity`, or the type of the score)."""

    id: str
    modified: datetime
    published: datetime | None = None
    withdrawn: datetime | None = None
    aliases: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    summary: str = ""
    rating: Rating = Rating.UNKNOWN
    affected: tuple[Affected, ...] = ()
    flaws: tuple[str, ...] = field(default=(), compare=False)
    related: tuple[str, ...] = ()
    rated_by: str = ""
    vectors: tuple[str, ...] = ()

    @property
    def malicious(self) -> bool:
        """The package itself is the attack (OSV's MAL- records): no version of it is a fix."""
        return any(name.startswith("MAL-") for name in (self.id, *self.aliases))

    @property
    def cves(self) -> frozenset[str]:
        """Every CVE this record stands for."""
        return frozenset(name for name in (self.id, *self.aliases, *self.upstream) if name.startswith("CVE-"))


def parse(raw: bytes) -> Advisory:
    """One record from its JSON. Raises InvalidRecord."""
    if len(raw) > LARGEST_RECORD:
        raise InvalidRecord(f"is larger than {LARGEST_RECORD} bytes")
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRecord("is no JSON") from error
    return from_document(document)


def from_document(document: object) -> Advisory:
    """One record from decoded JSON. Raises InvalidRecord."""
    if not isinstance(document, dict):
        raise InvalidRecord("is no JSON object")
    name = document.get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise InvalidRecord("has no usable id")
    modified = _time(document, "modified")
    if modified is None:
        raise InvalidRecord("has no time of modification")
    flaws: list[str] = []
    malicious = name.startswith("MAL-")
    rating, rated_by = (Rating.CRITICAL, "malicious") if malicious else _rating(document, flaws)
    affected = tuple(
        entry for item in _list(document, "affected", MOST_AFFECTED) if (entry := _affected(item, flaws)) is not None
    )
    summary = document.get("summary") or document.get("details") or ""
    return Advisory(
        id=name,
        modified=modified,
        published=_time(document, "published"),
        withdrawn=_time(document, "withdrawn"),
        aliases=_names(document, "aliases"),
        upstream=_names(document, "upstream"),
        summary=_one_line(summary) if isinstance(summary, str) else "",
        rating=rating,
        affected=affected,
        flaws=tuple(flaws),
        related=_related(document),
        rated_by=rated_by,
        vectors=_vectors(document),
    )


def normal_package(ecosystem: str, name: str) -> str:
    """The one spelling of a package name, by which it is looked up."""
    kind = ecosystem.partition(":")[0]
    if kind == "PyPI":
        return re.sub(r"[-_.]+", "-", name).lower()
    if kind == "crates.io":
        return name.replace("_", "-").lower()
    return name.lower() if kind in ("NuGet", "Packagist", "Hex", "Pub") else name


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time as UTC, cut to microseconds; None for anything else."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    try:
        at = datetime.fromisoformat(found[1])
        sign = found[3]
        offset = timedelta()
        if sign != "Z":
            offset = timedelta(hours=int(sign[1:3]), minutes=int(sign[4:6])) * (-1 if sign[0] == "-" else 1)
        fraction = (found[2] or ".0")[1:7].ljust(6, "0")
        return at.replace(microsecond=int(fraction), tzinfo=UTC) - offset
    except (ValueError, OverflowError):
        return None


def _affected(item: object, flaws: list[str]) -> Affected | None:
    if not isinstance(item, dict):
        raise InvalidRecord("has an entry of affected that is no object")
    package = item.get("package")
    if package is None:
        return None  # a repository only, told by its GIT ranges
    if not isinstance(package, dict):
        raise InvalidRecord("has a package that is no object")
    ecosystem, name = package.get("ecosystem"), package.get("name")
    if not (is_text(ecosystem) and is_text(name)):
        raise InvalidRecord("has a package without ecosystem and name")
    assert isinstance(ecosystem, str) and isinstance(name, str)
    versions = _list(item, "versions", MOST_VERSIONS)
    if not _texts(versions):
        raise InvalidRecord("lists a version that is no text")
    ranges = [found for each in _list(item, "ranges", MOST_EVENTS) if (found := _range(each)) is not None]
    rating, rated_by = _own_rating(item, flaws)
    purl = package.get("purl")
    return Affected(
        ecosystem=ecosystem,
        package=normal_package(ecosystem, name),
        ranges=tuple(ranges),
        versions=tuple(versions),
        rating=rating,
        rated_by=rated_by,
        purl=purl if isinstance(purl, str) and is_text(purl) else "",
        specifics=specifics_of(item),
    )


def _range(item: object) -> Range | None:
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise InvalidRecord("has a range without a type")
    if item["type"] not in _RANGES:
        return None
    events: list[tuple[str, str]] = []
    for event in _list(item, "events", MOST_EVENTS):
        if not isinstance(event, dict):
            raise InvalidRecord("has an event that is no object")
        for kind, version in event.items():
            if kind not in _EVENTS or not is_text(version):
                raise InvalidRecord("has an event of no known kind")
            events.append((kind, version))
    if not any(kind == "introduced" for kind, _ in events):
        raise InvalidRecord("has a range that never begins")
    return Range(tuple(events))


def _rating(document: dict[str, Any], flaws: list[str]) -> tuple[Rating, str]:
    specific = document.get("database_specific")
    said = from_word(specific.get("severity")) if isinstance(specific, dict) else Rating.UNKNOWN
    scored = _scored(document, flaws)
    return (said, "database_specific.severity") if said is not Rating.UNKNOWN else scored


def _own_rating(item: dict[str, Any], flaws: list[str]) -> tuple[Rating, str]:
    specific = item.get("ecosystem_specific")
    scored = _scored(item, flaws)
    if isinstance(specific, dict):
        for key in ("urgency", "severity"):
            said = from_word(specific.get(key))
            if said is not Rating.UNKNOWN:
                return said, f"ecosystem_specific.{key}"
    return scored


def _scored(item: dict[str, Any], flaws: list[str]) -> tuple[Rating, str]:
    """The worst that `severity` says, and which type of score says it."""
    severity = item.get("severity")
    if not severity:
        return Rating.UNKNOWN, ""
    if not isinstance(severity, list):
        flaws.append("severity is no list")
        return Rating.UNKNOWN, ""
    words: list[tuple[Rating, str]] = []
    scores: list[tuple[Rating, str]] = []
    for entry in severity[:16]:
        score = entry.get("score") if isinstance(entry, dict) else None
        if not isinstance(score, str):
            flaws.append("a severity has no score")
        elif entry.get("type") == "Ubuntu":
            words.append((from_word(score), "Ubuntu"))
        else:
            found = _from_vector(entry.get("type"), score[:LONGEST_TEXT], flaws)
            scores.extend((rating, _version_of(score)) for rating in found)
    for said in (words, scores):
        if (rating := worst(each for each, _ in said)) is not Rating.UNKNOWN:
            return next(each for each in said if each[0] is rating)
    return Rating.UNKNOWN, ""


def _version_of(vector: str) -> str:
    return f"CVSS {vector[5:8]}" if vector.startswith("CVSS:") else "CVSS 2.0"


def _vectors(document: dict[str, Any]) -> tuple[str, ...]:
    severity = document.get("severity")
    entries = severity[:16] if isinstance(severity, list) else []
    found = [entry["score"] for entry in entries if isinstance(entry, dict) and is_text(entry.get("score"))]
    return tuple(score for score in found if "/" in score)[:MOST_VECTORS]


def _related(document: dict[str, Any]) -> tuple[str, ...]:
    """Names of other flaws, and in some distributions' bulletins of those it is about; a bad one costs nothing."""
    related = document.get("related")
    kept = related[:MOST_ALIASES] if isinstance(related, list) else []
    return tuple(dict.fromkeys(name for name in kept if isinstance(name, str) and _ID.fullmatch(name)))


def _from_vector(kind: object, vector: str, flaws: list[str]) -> list[Rating]:
    prefix = {"CVSS_V3": "CVSS:3.", "CVSS_V4": "CVSS:4."}.get(kind if isinstance(kind, str) else "", "")
    if not vector.startswith(prefix):
        flaws.append(f"{vector[:9]} is labelled {kind}")
    try:
        return [from_vector(vector)]
    except BadVector as error:
        flaws.append(str(error))
        return []


def _time(document: dict[str, Any], key: str) -> datetime | None:
    value = document.get(key)
    if value is None:
        return None
    found = parse_time(value)
    if found is None:
        raise InvalidRecord(f"has a time `{key}` that is none")
    return found


def _names(document: dict[str, Any], key: str) -> tuple[str, ...]:
    names = _list(document, key, MOST_ALIASES)
    if not all(isinstance(name, str) and _ID.fullmatch(name) for name in names):
        raise InvalidRecord(f"has a name in `{key}` that is none")
    return tuple(dict.fromkeys(names))


def _list(document: dict[str, Any], key: str, most: int) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRecord(f"`{key}` is no list")
    if len(value) > most:
        raise InvalidRecord(f"`{key}` has more than {most} entries")
    return value


def _texts(values: list[Any]) -> bool:
    # Version lists are most of a dump; one search for NUL in the whole costs less than one in each.
    if not all(type(value) is str for value in values):
        return False
    return not values or (
        min(map(len, values)) >= 1 and max(map(len, values)) <= LONGEST_TEXT and "\0" not in "".join(values)
    )


def _one_line(text: str) -> str:
    line = " ".join(text[: SUMMARY * 2].split())[: SUMMARY + 1]
    if not line.isprintable():
        line = "".join(c for c in line if c.isprintable())
    return line if len(line) <= SUMMARY else line[: SUMMARY - 1].rstrip() + "…"
