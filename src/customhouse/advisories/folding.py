"""One flaw counts once: records that name each other are one group.

1. Records belong together when one names the other, or both name the same third: `aliases` in both directions, and
   the single CVE that a distribution's record was made from (`upstream`). `related` never joins.
2. A bulletin (a record with several CVEs upstream) is about several flaws: it joins nothing, and is left out where
   records of their own tell all of its CVEs.
3. A record that claims more than `MOST_NAMES` other names joins nothing: no record may draw unrelated flaws together
   at will. The longest true lists have 16 names.
4. `closure` follows names through records that are not at hand, in a bounded number of rounds and names.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from customhouse.advisories.osv import Advisory

MOST_NAMES = 32
ROUNDS = 3

T = TypeVar("T")


def joins(record: Advisory) -> bool:
    """May this record draw others to it? Rules 2 and 3."""
    return not is_bulletin(record) and len(record.aliases) <= MOST_NAMES


def is_bulletin(record: Advisory) -> bool:
    """Several flaws in one record."""
    return sum(name.startswith("CVE-") for name in record.upstream) > 1


def names_of(record: Advisory) -> set[str]:
    """What a record joins by."""
    if not joins(record):
        return {record.id}
    return {record.id, *record.aliases, *record.upstream}


def fold(
    items: Iterable[T],
    record_of: Callable[[T], Advisory],
    known: Mapping[str, Collection[str]] | None = None,
) -> list[list[T]]:
    """The items by flaw, in an order that depends on the records only.

    `known` gives further names of a record's id, as `closure` found them.
    """
    single: list[T] = []
    bulletins: list[T] = []
    for item in sorted(items, key=lambda item: record_of(item).id):
        (bulletins if is_bulletin(record_of(item)) else single).append(item)
    group_of: dict[str, int] = {}
    groups: dict[int, tuple[set[str], list[T]]] = {}
    for number, item in enumerate(single):
        record = record_of(item)
        names = names_of(record) | set((known or {}).get(record.id, ()))
        members = [item]
        for other in sorted({group_of[name] for name in names if name in group_of}):
            held, others = groups.pop(other)
            names |= held
            members = others + members
        groups[number] = names, members
        group_of.update(dict.fromkeys(names, number))
    folded = [members for _, members in groups.values()]
    told = {name for names, _ in groups.values() for name in names}
    folded += [[item] for item in bulletins if not record_of(item).cves <= told]
    return folded


def closure(
    ids: Collection[str], neighbours: Callable[[Sequence[str]], Mapping[str, Collection[str]]]
) -> dict[str, frozenset[str]]:
    """All names that each id has by way of others. `neighbours` answers a batch of names; unknown ones it leaves out.

    Each id gets `MOST_NAMES` names at most, from `ROUNDS` rounds of questions.
    """
    found: dict[str, set[str]] = {name: {name} for name in ids}
    asked: dict[str, Collection[str]] = {}
    for _ in range(ROUNDS):
        wanted = sorted({name for names in found.values() for name in names} - asked.keys())
        if not wanted:
            break
        answers = neighbours(wanted)
        asked.update({name: answers.get(name, ()) for name in wanted})
        for names in found.values():
            for name in sorted(names):
                more = asked.get(name, ())
                if len(more) <= MOST_NAMES and len(names | set(more)) <= MOST_NAMES + 1:
                    names |= set(more)
    return {name: frozenset(names - {name}) for name, names in found.items()}
