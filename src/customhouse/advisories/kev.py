"""CISA's list of known exploited vulnerabilities, https://www.cisa.gov/known-exploited-vulnerabilities-catalog

1. A document with `catalogVersion` and `vulnerabilities`; of each entry the CVE, the day it was added and the day
   by which it was to be fixed are kept.
2. The list is replaced as a whole; a broken entry makes the document invalid, because a shorter list would be
   taken for "not exploited".
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from customhouse.advisories.osv import parse_time

MOST = 100_000
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")


class InvalidCatalog(ValueError):
    """Not a KEV document; the text says why."""


@dataclass(frozen=True)
class Exploited:
    """One CVE that is used by attackers."""

    cve: str
    added: date | None = None
    due: date | None = None
    ransomware: bool = False


@dataclass(frozen=True)
class KevCatalog:
    """One edition of the list."""

    version: str
    released: datetime
    entries: tuple[Exploited, ...]


def is_catalog(document: object) -> bool:
    return isinstance(document, dict) and "catalogVersion" in document and "vulnerabilities" in document


def from_document(document: dict[str, Any]) -> KevCatalog:
    """An edition from decoded JSON. Raises InvalidCatalog."""
    version, entries = document.get("catalogVersion"), document.get("vulnerabilities")
    released = parse_time(document.get("dateReleased"))
    if not isinstance(version, str) or not 0 < len(version) <= 64 or released is None:
        raise InvalidCatalog("names no version and time of release")
    if not isinstance(entries, list) or not entries or len(entries) > MOST:
        raise InvalidCatalog("has no list of vulnerabilities, or one that is too long")
    parsed = {entry.cve: entry for entry in map(_entry, entries)}
    return KevCatalog(version, released, tuple(parsed[cve] for cve in sorted(parsed)))


def _entry(item: object) -> Exploited:
    cve = item.get("cveID") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(cve, str) or not _CVE.fullmatch(cve):
        raise InvalidCatalog("has an entry without a CVE")
    ransomware = item.get("knownRansomwareCampaignUse") == "Known"
    return Exploited(cve, _day(item.get("dateAdded")), _day(item.get("dueDate")), ransomware)


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
