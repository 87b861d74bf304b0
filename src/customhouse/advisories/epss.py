"""FIRST's Exploit Prediction Scoring System: how likely a CVE is exploited within 30 days, https://www.first.org/epss/

1. A CSV, plain or gzip: a first line `#model_version:v2026.06.15,score_date:2026-09-29T00:00:00+0000`, a head
   `cve,epss,percentile`, then one line per CVE with both numbers from 0 to 1.
2. The table is replaced as a whole; one broken line makes the file invalid: a shorter table would be taken for
   "not likely".
3. A file without its first line has no date and is refused: nothing would say when it grows stale.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from customhouse.advisories.osv import parse_time

MOST = 2_000_000
_HEAD = re.compile(rb"#\s*model_version:([A-Za-z0-9._-]{1,32}),\s*score_date:([0-9T:+.Z-]{10,40})\s*")
_NUMBER = rb"([0-9]{0,2}\.?[0-9]{1,20}(?:[eE]-?[0-9]{1,2})?)"
_LINE = re.compile(rb"(CVE-[0-9]{4}-[0-9]{4,19})," + _NUMBER + b"," + _NUMBER + rb"\r?")


class InvalidScores(ValueError):
    """Not an EPSS table; the text says why."""


@dataclass(frozen=True)
class EpssTable:
    """One day's scores: (CVE, probability, percentile), in order of CVE."""

    model: str
    scored: datetime
    scores: tuple[tuple[str, float, float], ...]
    digest: str

    @property
    def version(self) -> str:
        return f"{self.model} of {self.scored:%Y-%m-%d}"


def is_table(head: bytes) -> bool:
    return head.startswith((b"#model_version:", b"# model_version:", b"cve,epss,percentile"))


def parse(raw: bytes) -> EpssTable:
    """A table from its CSV. Raises InvalidScores."""
    lines = raw.split(b"\n")
    head = _HEAD.fullmatch(lines[0].strip())
    if not head:
        raise InvalidScores("has no first line with model_version and score_date")
    scored = _date(head[2].decode())
    if len(lines) > MOST:
        raise InvalidScores(f"has more than {MOST} lines")
    if len(lines) < 3 or lines[1].strip() != b"cve,epss,percentile":
        raise InvalidScores("has not the columns cve, epss, percentile")
    scores: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(lines[2:], start=3):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise InvalidScores(f"has a line {number} that is no score")
        score, percentile = float(found[2]), float(found[3])
        if not (0 <= score <= 1 and 0 <= percentile <= 1):
            raise InvalidScores(f"has a score outside 0 to 1 in line {number}")
        scores[found[1].decode()] = score, percentile
    if not scores:
        raise InvalidScores("has no score")
    ordered = tuple((cve, *scores[cve]) for cve in sorted(scores))
    return EpssTable(head[1].decode(), scored, ordered, sha256(raw).hexdigest())


def _date(text: str) -> datetime:
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        text += "T00:00:00Z"
    text = re.sub(r"([+-][0-9]{2})([0-9]{2})$", r"\1:\2", text)
    found = parse_time(text)
    if found is None or found.utcoffset() != timedelta():
        raise InvalidScores("has a score_date that is no date")
    return found
