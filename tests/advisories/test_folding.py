"""One flaw counts once, and nobody can make two flaws one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.accounts.people import HUB
from customhouse.advisories.folding import MOST_NAMES, closure, fold
from customhouse.advisories.memory import MemoryAdvisories
from customhouse.advisories.osv import Advisory
from customhouse.advisories.service import AdvisoriesService
from customhouse.advisories.store import AdvisoriesStore
from customhouse.audit import Audit
from customhouse.db import Database
from tests.advisories.records import dump, fixed_in, record, written
from tests.conftest import Clock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def advisory(name: str, *aliases: str, upstream: tuple[str, ...] = ()) -> Advisory:
    return Advisory(name, NOW, aliases=aliases, upstream=upstream)


def folded(*records: Advisory, **known: object) -> list[list[str]]:
    return sorted(sorted(each.id for each in group) for group in fold(records, lambda record: record, **known))  # type: ignore[arg-type]


def test_three_databases_about_one_flaw_are_one_group_whichever_names_which() -> None:
    chain = advisory("PYSEC-1", "CVE-1"), advisory("GHSA-1", "CVE-1"), advisory("CVE-1"), advisory("GHSA-2")
    assert folded(*chain) == [["CVE-1", "GHSA-1", "PYSEC-1"], ["GHSA-2"]]
    assert folded(*reversed(chain)) == folded(*chain)


def test_a_distributions_record_joins_the_cve_it_was_made_from() -> None:
    made = advisory("DEBIAN-CVE-1", upstream=("CVE-1",))
    assert folded(made, advisory("GHSA-1", "CVE-1")) == [["DEBIAN-CVE-1", "GHSA-1"]]


def test_a_bulletin_joins_nothing_and_is_left_out_only_when_all_of_it_is_told() -> None:
    bulletin = advisory("USN-1", upstream=("CVE-1", "CVE-2"))
    one, two = advisory("UBUNTU-CVE-1", upstream=("CVE-1",)), advisory("UBUNTU-CVE-2", upstream=("CVE-2",))
    assert folded(bulletin, one, two) == [["UBUNTU-CVE-1"], ["UBUNTU-CVE-2"]]
    assert folded(bulletin, one) == [["UBUNTU-CVE-1"], ["USN-1"]]


def test_a_record_that_claims_a_thousand_names_draws_nothing_together() -> None:
    flaws = [advisory(f"CVE-{number}") for number in range(1000)]
    bridge = advisory("EVIL-1", *(f"CVE-{number}" for number in range(1000)))
    assert len(folded(bridge, *flaws)) == 1001


def test_names_are_followed_through_records_that_are_not_at_hand() -> None:
    edges = {"GHSA-1": {"CVE-1"}, "CVE-1": {"GHSA-1", "PYSEC-1"}, "PYSEC-1": {"CVE-1"}}
    found = closure(["GHSA-1", "X-1"], lambda names: {name: edges[name] for name in names if name in edges})
    assert found == {"GHSA-1": {"CVE-1", "PYSEC-1"}, "X-1": frozenset()}
    assert folded(advisory("GHSA-1"), advisory("PYSEC-1"), known=found) == [["GHSA-1", "PYSEC-1"]]


def test_a_chain_of_names_without_end_is_followed_a_bounded_way() -> None:
    asked: list[int] = []

    def chain(names: object) -> dict[str, list[str]]:
        asked.append(len(list(names)))  # type: ignore[call-overload]
        return {name: [f"CVE-{int(name[4:]) * 10 + digit}" for digit in range(10)] for name in names}  # type: ignore[attr-defined]

    assert len(closure(["CVE-1"], chain)["CVE-1"]) <= MOST_NAMES
    assert sum(asked) < 100


@pytest.mark.parametrize("held_in", ["store", "memory"])
def test_store_and_memory_give_the_names_of_a_flaw_alike(
    held_in: str, database: Database, clock: Clock, tmp_path: Path
) -> None:
    many = [f"CVE-2020-{number}" for number in range(1000, 2000)]
    path = written(tmp_path, "all.zip", dump([
        record("PYSEC-1", fixed_in("PyPI", "x", "2"), aliases=["CVE-2026-0001"]),
        record("GHSA-1111", fixed_in("npm", "y", "2"), aliases=["CVE-2026-0001"]),
        record("GONE-1", fixed_in("npm", "y", "2"), aliases=["CVE-2026-0001"], withdrawn="2026-01-02T00:00:00Z"),
        record("EVIL-1", fixed_in("npm", "y", "2"), aliases=many),
    ]))  # fmt: skip
    wanted = {"PYSEC-1": {"CVE-2026-0001", "GHSA-1111"}, "EVIL-1": frozenset()}
    if held_in == "memory":
        assert MemoryAdvisories.load([path], NOW).aliases(["PYSEC-1", "EVIL-1"]) == wanted
        return
    service = AdvisoriesService(AdvisoriesStore(database), Audit(database), clock)
    service.import_feed(path, HUB)
    with service.source() as source:
        assert source.aliases(["PYSEC-1", "EVIL-1"]) == wanted
