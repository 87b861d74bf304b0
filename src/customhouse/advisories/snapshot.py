"""The id of a set of advisories: equal content, equal id, in whatever order and however often it was imported.

1. Each record has a mark, SHA-256 over its id, its time of modification and the digest of its bytes; the marks are
   added modulo 2^256, so that an import of ten records costs ten additions and not a walk over all.
2. VEX documents have marks too. The id is SHA-256 over the number of records, that sum, the KEV list's version and
   entries, and the EPSS table's version.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

_MODULUS = 1 << 256


@dataclass(frozen=True)
class Content:
    """How many records there are, and the sum of their marks."""

    records: int = 0
    total: int = 0

    def with_mark(self, mark: int) -> "Content":
        return Content(self.records + 1, (self.total + mark) % _MODULUS)

    def beside(self, mark: int, sign: int = 1) -> "Content":
        """With (or with `sign` -1 without) something that is no record: a VEX document."""
        return Content(self.records, (self.total + sign * mark) % _MODULUS)

    def without_mark(self, mark: int) -> "Content":
        return Content(self.records - 1, (self.total - mark) % _MODULUS)


def record_mark(name: str, modified: datetime, content: str) -> int:
    """The mark of one record; `content` is the hex digest of its bytes."""
    at = modified.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return int.from_bytes(sha256(f"{name}\0{at}\0{content}".encode()).digest(), "big")


def identify(content: Content, kev_version: str, kev_entries: Iterable[str], epss_version: str = "") -> str:
    """The id, as `sha256:…`; empty while nothing was ever imported."""
    entries = sorted(kev_entries)
    if not content.records and not content.total and not entries and not epss_version:
        return ""
    text = f"{content.records}\0{content.total:064x}\0{kev_version}\0" + "\0".join(entries)
    if epss_version:
        text += f"\0EPSS {epss_version}"
    return "sha256:" + sha256(text.encode()).hexdigest()
