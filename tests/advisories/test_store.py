"""What goes with a later dump, and what EPSS tables and VEX documents leave in the store."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.accounts.people import HUB
from customhouse.advisories.memory import MemoryAdvisories
from customhouse.advisories.service import AdvisoriesService
from customhouse.advisories.source import Likelihood
from customhouse.advisories.store import AdvisoriesStore
from customhouse.audit import Audit
from customhouse.db import Database
from tests.advisories import test_vex
from tests.advisories.records import HIGH, dump, fixed_in, lib, record, written
from tests.advisories.test_epss import HEAD
from tests.conftest import Clock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def service(database: Database, clock: Clock) -> AdvisoriesService:
    return AdvisoriesService(AdvisoriesStore(database), Audit(database), clock)


def npm(*numbers: int, folder: Path, name: str = "npm/all.zip") -> Path:
    return written(folder, name, dump(record(f"GHSA-{each:04}", fixed_in("npm", "x", "2")) for each in numbers))


def found(service: AdvisoriesService) -> int:
    return len(service.match([lib("npm", "x", "1")]).matches)


def test_a_record_that_a_later_dump_of_that_name_lacks_goes(service: AdvisoriesService, tmp_path: Path) -> None:
    service.import_feed(npm(1, 2, 3, folder=tmp_path), HUB)
    report = service.import_feed(npm(1, 3, folder=tmp_path), HUB)
    assert (report.vanished, found(service), report.renewed) == (1, 2, ("npm",))
    again = service.import_feed(npm(1, 3, folder=tmp_path), HUB)
    assert again.snapshot == report.snapshot and again.vanished == 0


def test_what_came_by_itself_or_with_another_dump_stays(service: AdvisoriesService, tmp_path: Path) -> None:
    service.import_feed(npm(1, folder=tmp_path, name="other.zip"), HUB)
    service.import_feed(written(tmp_path, "own.json", record("OWN-0001", fixed_in("npm", "x", "2"))), HUB)
    service.import_feed(npm(2, 3, folder=tmp_path), HUB)
    assert service.import_feed(npm(3, folder=tmp_path), HUB).vanished == 1
    assert found(service) == 3


def test_a_record_about_another_ecosystem_too_stays(service: AdvisoriesService, tmp_path: Path) -> None:
    both = record("GHSA-0009", fixed_in("npm", "x", "2"), fixed_in("PyPI", "x", "2"))
    rest = [record(f"GHSA-{each:04}", fixed_in("npm", "x", "2")) for each in (1, 2)]
    service.import_feed(written(tmp_path, "npm.zip", dump([both, *rest])), HUB)
    assert service.import_feed(written(tmp_path, "npm.zip", dump(rest)), HUB).vanished == 0
    assert found(service) == 3


def test_a_dump_that_lost_much_is_not_believed(service: AdvisoriesService, clock: Clock, tmp_path: Path) -> None:
    service.import_feed(npm(*range(300), folder=tmp_path), HUB)
    clock.advance(days=10)
    report = service.import_feed(npm(*range(200), folder=tmp_path), HUB)
    assert (report.vanished, report.doubted, report.renewed) == (0, ("npm",), ())
    assert found(service) == 300
    assert {each["coverage"] for each in service.status()["ecosystems"]} == {"stale"}
    assert service.import_feed(npm(*range(280), folder=tmp_path), HUB).vanished == 20


def test_epss_scores_are_looked_up_and_replaced_by_a_later_day_only(service: AdvisoriesService, tmp_path: Path) -> None:
    first = written(tmp_path, "epss.csv", HEAD + b"CVE-2021-44228,0.9,0.99\nCVE-2020-0001,0.1,0.5\n")
    before = service.import_feed(first, HUB).snapshot
    later = written(tmp_path, "later.csv", HEAD.replace(b"09-29", b"09-30") + b"CVE-2021-44228,0.8,0.98\n")
    assert service.import_feed(later, HUB).snapshot != before
    service.import_feed(first, HUB)
    with service.source() as source:
        scores = source.likelihood(["CVE-2021-44228", "CVE-2020-0001"])
    assert scores == {"CVE-2021-44228": Likelihood(0.8, 0.98)}
    assert service.status()["epss"]["version"] == "v2026.06.15 of 2026-09-30"
    memory = MemoryAdvisories.load([first, later], NOW)
    assert memory.likelihood(["CVE-2021-44228"]) == scores and memory.snapshot() == service.snapshot()


def test_vex_statements_are_found_by_any_name_until_a_later_document_supersedes_them(
    service: AdvisoriesService, tmp_path: Path
) -> None:
    stated = test_vex.statement({"@id": test_vex.SSL})
    stated["vulnerability"]["aliases"] = ["GHSA-1111"]
    old = written(tmp_path, "old.json", test_vex.document(stated))
    new = written(tmp_path, "new.json", test_vex.document(
        test_vex.statement({"@id": test_vex.SSL}, "affected"), timestamp="2026-11-02T00:00:00Z"
    ))  # fmt: skip
    service.import_feed(old, HUB)
    with service.source() as source:
        assert [each.statement.status for each in source.stated(["GHSA-1111"])] == ["not_affected"]
        assert not source.stated(["CVE-2026-2"])
    assert service.import_feed(new, HUB).vex == 1
    assert service.import_feed(old, HUB).vex == 0
    with service.source() as source:
        assert [each.statement.status for each in source.stated(["CVE-2026-1"])] == ["affected"]
        assert not source.stated(["GHSA-1111"])
    memory = MemoryAdvisories.load([old, new], NOW)
    assert [each.statement.status for each in memory.stated(["CVE-2026-1"])] == ["affected"]
    assert memory.snapshot() == service.snapshot()


def test_a_csaf_document_is_imported_as_well(service: AdvisoriesService, tmp_path: Path) -> None:
    assert service.import_feed(written(tmp_path, "cve.json", test_vex.vendor()), HUB).vex == 1
    with service.source() as source:
        assert len(source.stated(["CVE-2026-1"])) == 3


def test_the_severity_of_a_cve_is_its_own_records(service: AdvisoriesService, tmp_path: Path) -> None:
    service.import_feed(written(tmp_path, "cve.json", record("CVE-2026-0001", severity=HIGH)), HUB)
    with service.source() as source:
        assert source.ratings(["CVE-2026-0001", "CVE-2026-0002"]) == {"CVE-2026-0001": ("high", "CVSS 3.1")}


def test_records_keep_what_their_database_adds(service: AdvisoriesService, tmp_path: Path) -> None:
    entry = fixed_in("Debian:12", "x", "2", ecosystem_specific={"urgency": "unimportant"})
    raw = json.dumps(record("DEBIAN-CVE-2026-1", entry, related=["CVE-2026-7"], severity=HIGH)).encode()
    path = written(tmp_path, "one.json", raw)
    service.import_feed(path, HUB)
    with service.source() as source:
        held = list(source.statements("Debian:12", ["x"]))
    wanted = list(MemoryAdvisories.load([path], NOW).statements("Debian:12", ["x"]))
    assert [each.affected for each in held] == [each.affected for each in wanted]
    assert held[0].advisory.related == ("CVE-2026-7",) and held[0].advisory.vectors
