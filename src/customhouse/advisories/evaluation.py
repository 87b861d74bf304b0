"""Is this version affected? The algorithm of the OSV schema, https://ossf.github.io/osv-schema/#evaluation

1. Affected = listed in `versions`, or inside a range. Either is enough.
2. A range is walked with its events in version order: `introduced` opens it, `fixed` closes it, `last_affected` closes
   it behind itself. Events of equal version keep the record's order. "0" is before every version, also in `fixed`:
   introduced "0" with fixed "0" (Alpine's and Debian's "never affected") is empty.
3. The fixes named are those that end the very span the version lies in; for a version that is only listed, every
   later `fixed` of the record.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from customhouse.advisories.osv import Affected, Range
from customhouse.advisories.versions import VersionOrder

_NUMBER = re.compile("0*([0-9]+)")


@dataclass(frozen=True)
class Hit:
    """The version is affected; `fixed` are the versions that are not, empty where there is none yet."""

    fixed: tuple[str, ...] = ()


def evaluate(order: VersionOrder, version: str, affected: Affected) -> Hit | None:
    """What one record says about one version of its package; None if it is not affected."""
    fixed: list[str] = []
    inside = False
    for each in affected.ranges:
        found = _in_range(order, version, each)
        if found is not None:
            inside = True
            fixed += found
    if not inside:
        if not _listed(order, version, affected.versions):
            return None
        fixed = list(_later_fixes(order, version, affected.ranges))
    return Hit(tuple(sorted(set(fixed), key=order.key)))


def _in_range(order: VersionOrder, version: str, each: Range) -> list[str] | None:
    """The fixes that end the span which holds the version, or None when no span does."""
    limits = [value for kind, value in each.events if kind == "limit"]
    if limits and not any(value == "*" or order.compare(version, value) < 0 for value in limits):
        return None
    events = [event for event in each.events if event[0] != "limit"]
    events.sort(key=lambda event: (0,) if event[1] == "0" else (1, order.key(event[1])))
    vulnerable = False
    later: list[str] = []
    for kind, value in events:
        position = 1 if value == "0" else order.compare(version, value)
        if kind == "introduced" and position >= 0:
            vulnerable = True
        elif kind == "fixed" and position >= 0 or kind == "last_affected" and position > 0:
            vulnerable = False
        elif kind == "fixed" and not later:
            later.append(value)
    return later if vulnerable else None


def _listed(order: VersionOrder, version: str, versions: tuple[str, ...]) -> bool:
    if version in versions:
        return True
    start = _first_number(version)
    if order.spelt_once or not start:
        return False
    return any(_first_number(other) == start and order.compare(version, other) == 0 for other in versions)


def _first_number(version: str) -> str:
    """Equal versions begin with the same number, however they are spelt; it is quicker to see than to compare."""
    found = _NUMBER.search(version)
    return found[1] if found else ""


def _later_fixes(order: VersionOrder, version: str, ranges: Iterable[Range]) -> Iterable[str]:
    for each in ranges:
        for kind, value in each.events:
            if kind == "fixed" and value != "0" and order.compare(version, value) < 0:
                yield value
