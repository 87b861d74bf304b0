"""`modified_id.csv`: what a mirror of OSV's dumps holds, newest first, https://google.github.io/osv.dev/data/

1. One line a record: time of modification, comma, id; in the list of all ecosystems the id stands behind its ecosystem
   and a slash. Ids are checked before they become part of a path.
2. One broken line makes the list invalid: a shorter list would take records for vanished.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from customhouse.advisories.osv import parse_time

LARGEST = 256 << 20
MOST = 3_000_000
LONGEST_LINE = 400
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{2,119}")


class InvalidIndex(ValueError):
    """Not such a list; the text says why."""


@dataclass(frozen=True)
class Index:
    """By id, when a record was modified; `newest` is the latest of these times."""

    modified: Mapping[str, datetime]
    newest: datetime


def parse(raw: bytes) -> Index:
    """A list from its bytes. Raises InvalidIndex."""
    if len(raw) > LARGEST:
        raise InvalidIndex(f"is larger than {LARGEST} bytes")
    try:
        lines = raw.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidIndex("is no list of ids") from error
    if len(lines) > MOST:
        raise InvalidIndex(f"has more than {MOST} lines")
    found: dict[str, datetime] = {}
    for number, line in enumerate(lines, start=1):
        if not (line := line.rstrip("\r")):
            continue
        when, comma, name = line[:LONGEST_LINE].partition(",")
        name = name.rpartition("/")[2]
        at = parse_time(when)
        if not comma or at is None or not _ID.fullmatch(name):
            raise InvalidIndex(f"has a line {number} that is no time and id")
        found[name] = max(at, found.get(name, at))
    if not found:
        raise InvalidIndex("names no record")
    return Index(found, max(found.values()))


def due(index: Index, held: Mapping[str, datetime], cursor: datetime | None) -> list[str]:
    """The ids to fetch, the oldest change first: unknown ones, and those modified since we held them.

    A record whose own time lags behind the list's is not fetched for ever: what is no later than `cursor` was seen.
    """
    wanted = [
        (at, name)
        for name, at in index.modified.items()
        if name not in held or (at > held[name] and (cursor is None or at > cursor))
    ]
    return [name for _, name in sorted(wanted)]
