"""How bad a flaw is, on the five steps everyone uses, from what its record says.

1. The order of trust: the distribution's own word (Debian `urgency`, Ubuntu priority), the database's word
   (`database_specific.severity`), the highest CVSS base score the record carries.
2. CVSS bands: 0.1-3.9 low, 4.0-6.9 medium, 7.0-8.9 high, 9.0-10.0 critical (FIRST, CVSS v3.1 §5).
3. A record that says nothing is `unknown`, which policy treats like high: silence is no reassurance.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError


class Rating(StrEnum):
    """How bad, from nothing to worst."""

    NEGLIGIBLE = "negligible"
    LOW = "low"
    MEDIUM = "medium"
    UNKNOWN = "unknown"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return _ORDER.index(self)


_ORDER = (Rating.NEGLIGIBLE, Rating.LOW, Rating.MEDIUM, Rating.UNKNOWN, Rating.HIGH, Rating.CRITICAL)
_WORDS = {
    "critical": Rating.CRITICAL,
    "high": Rating.HIGH,
    "important": Rating.HIGH,
    "medium": Rating.MEDIUM,
    "moderate": Rating.MEDIUM,
    "low": Rating.LOW,
    "negligible": Rating.NEGLIGIBLE,
    "unimportant": Rating.NEGLIGIBLE,
    "none": Rating.NEGLIGIBLE,
}


class BadVector(ValueError):
    """A CVSS vector that cannot be scored."""


def from_word(word: object) -> Rating:
    """The rating of a word such as "MODERATE"; `unknown` for "not yet assigned" and everything else."""
    return _WORDS.get(word.strip("* ").lower(), Rating.UNKNOWN) if isinstance(word, str) else Rating.UNKNOWN


def from_score(score: float) -> Rating:
    """The band of a CVSS base score, 0.0 to 10.0."""
    for least, rating in ((9.0, Rating.CRITICAL), (7.0, Rating.HIGH), (4.0, Rating.MEDIUM), (0.1, Rating.LOW)):
        if score >= least:
            return rating
    return Rating.NEGLIGIBLE


@lru_cache(maxsize=16384)
def from_vector(vector: str) -> Rating:
    """The rating of a CVSS vector by its own prefix (2 has none). Raises BadVector."""
    try:
        if vector.startswith("CVSS:4."):
            return from_score(float(CVSS4(vector).base_score))
        if vector.startswith("CVSS:3."):
            return from_score(float(CVSS3(vector).base_score))
        return from_score(float(CVSS2(vector).base_score))
    except (CVSSError, ValueError, KeyError, ArithmeticError, TypeError) as error:
        raise BadVector(f"{vector[:60]!r} is no CVSS vector") from error


def worst(ratings: Iterable[Rating]) -> Rating:
    """The worst that is known; `unknown` only if nothing is."""
    known = [rating for rating in ratings if rating is not Rating.UNKNOWN]
    return max(known, key=lambda rating: rating.rank) if known else Rating.UNKNOWN
