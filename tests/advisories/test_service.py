import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customhouse.accounts.people import ANONYMOUS, Principal, Role
from customhouse.advisories.feed import FeedBudget, FeedTooLarge, FeedUnreadable
from customhouse.advisories.matching import Coverage, match
from customhouse.advisories.memory import MemoryAdvisories
from customhouse.advisories.service import AdvisoriesService, ImportDenied
from customhouse.advisories.store import AdvisoriesStore
from customhouse.audit import Audit
from customhouse.db import Database
from tests.advisories.records import HIGH, affected, deb, dump, fixed_in, kev, lib, record, written
from tests.conftest import Clock

CERTIFIER = Principal("carla", "user", Role.CERTIFIER, owner="carla")
FLAW = record("GHSA-aaaa-bbbb-cccc", fixed_in("npm", "x", "2.0.0"), aliases=["CVE-2026-0001"], severity=HIGH)


@pytest.fixture
def service(database: Database, clock: Clock) -> AdvisoriesService:
    return AdvisoriesService(AdvisoriesStore(database), Audit(database), clock)


def audited(database: Database) -> list[tuple[str, str, str | None]]:
    with database.read() as tx:
        return [(e.actor, e.action, e.digest) for e in Audit(database).entries(tx)]


def test_what_was_imported_is_matched(service: AdvisoriesService, tmp_path: Path) -> None:
    report = service.import_feed(written(tmp_path, "all.zip", dump([FLAW])), CERTIFIER)
    service.import_feed(written(tmp_path, "kev.json", kev("CVE-2026-0001")), CERTIFIER)
    found = service.match([lib("npm", "x", "1.0.0"), deb("curl", "8")])
    (one,) = found.matches
    assert (one.id, one.severity.value, one.fixed_versions, one.kev) == ("CVE-2026-0001", "high", ("2.0.0",), True)
    assert (report.records, report.change.new, report.renewed) == (1, 1, ("npm",))
    assert found.coverage == {"npm": Coverage.COVERED, "Debian:12": Coverage.MISSING}
    assert found.kev is Coverage.COVERED


def test_memory_and_store_give_the_same_report(service: AdvisoriesService, tmp_path: Path, now: datetime) -> None:
    paths = [
        written(
            tmp_path, "all.zip", dump([FLAW, record("X-2", affected("npm", "y", {"introduced": "0"}), severity=HIGH)])
        ),
        written(tmp_path, "kev.json", kev("CVE-2026-0001")),
    ]
    for path in paths:
        service.import_feed(path, CERTIFIER)
    packages = [lib("npm", "x", "1.0.0"), lib("npm", "y", "1.0.0"), lib("npm", "z", "1.0.0")]
    stored, held = service.match(packages), match(packages, MemoryAdvisories.load(paths, now), now, timedelta(36500))
    assert stored.matches == held.matches and len(stored.matches) == 2
    assert stored.snapshot == held.snapshot != ""


def test_a_second_import_changes_nothing(service: AdvisoriesService, tmp_path: Path) -> None:
    path = written(tmp_path, "all.zip", dump([FLAW, record("X-2", fixed_in("npm", "y", "1.0.0"))]))
    first = service.import_feed(path, CERTIFIER)
    second = service.import_feed(path, CERTIFIER)
    assert (second.change.new, second.change.changed, second.change.unchanged) == (0, 0, 2)
    assert second.snapshot == first.snapshot
    assert service.status()["records"] == 2


def test_the_order_of_imports_does_not_change_the_snapshot(
    service: AdvisoriesService, tmp_path: Path, now: Any
) -> None:
    one = written(tmp_path, "one.zip", dump([FLAW]))
    two = written(tmp_path, "two.zip", dump([record("X-2", fixed_in("npm", "y", "1.0.0"))]))
    service.import_feed(one, CERTIFIER)
    forward = service.import_feed(two, CERTIFIER).snapshot
    assert MemoryAdvisories.load([two, one], now).snapshot() == forward


def test_a_newer_record_replaces_and_an_older_one_does_not(service: AdvisoriesService, tmp_path: Path) -> None:
    def imported(version: str, modified: str) -> str:
        path = written(tmp_path, "r.json", record("X-1", fixed_in("npm", "x", version), modified=modified))
        service.import_feed(path, CERTIFIER)
        (one,) = service.match([lib("npm", "x", "0.1.0")]).matches
        return one.fixed_versions[0]

    assert imported("1.0.0", "2026-05-01T00:00:00Z") == "1.0.0"
    assert imported("2.0.0", "2026-06-01T00:00:00Z") == "2.0.0"
    before = service.snapshot()
    assert imported("1.0.0", "2026-05-01T00:00:00Z") == "2.0.0"
    assert service.snapshot() == before


def test_a_record_from_the_future_can_be_corrected(service: AdvisoriesService, tmp_path: Path) -> None:
    for version, modified in (("9.0.0", "2036-01-01T00:00:00Z"), ("2.0.0", "2026-06-01T00:00:00Z")):
        path = written(tmp_path, "r.json", record("X-1", fixed_in("npm", "x", version), modified=modified))
        service.import_feed(path, CERTIFIER)
    assert service.match([lib("npm", "x", "1.0.0")]).matches[0].fixed_versions == ("2.0.0",)


def test_a_record_that_is_withdrawn_later_stops_matching(service: AdvisoriesService, tmp_path: Path) -> None:
    service.import_feed(written(tmp_path, "all.zip", dump([FLAW])), CERTIFIER)
    gone = {**FLAW, "modified": "2026-11-21T00:00:00Z", "withdrawn": "2026-11-21T00:00:00Z"}
    report = service.import_feed(written(tmp_path, "all.zip", dump([gone])), CERTIFIER)
    assert report.withdrawn == 1
    assert not service.match([lib("npm", "x", "1.0.0")]).matches


def test_advisories_grow_stale_by_the_time_of_import(service: AdvisoriesService, tmp_path: Path, clock: Clock) -> None:
    path = written(tmp_path, "all.zip", dump([FLAW]))
    service.import_feed(path, CERTIFIER)
    packages = [lib("npm", "x", "3.0.0")]
    assert service.match(packages).coverage == {"npm": Coverage.COVERED}
    clock.advance(days=8)
    assert service.match(packages).coverage == {"npm": Coverage.STALE}
    assert service.match(packages, timedelta(days=30)).coverage == {"npm": Coverage.COVERED}
    service.import_feed(path, CERTIFIER)
    assert service.match(packages).coverage == {"npm": Coverage.COVERED}


def test_one_record_does_not_make_an_ecosystem_known(service: AdvisoriesService, tmp_path: Path) -> None:
    report = service.import_feed(written(tmp_path, "X.json", FLAW), CERTIFIER)
    assert report.renewed == ()
    found = service.match([lib("npm", "x", "1.0.0")])
    assert found.matches and found.coverage == {"npm": Coverage.PARTIAL}


def test_an_older_kev_list_does_not_replace_a_newer_one(service: AdvisoriesService, tmp_path: Path) -> None:
    service.import_feed(written(tmp_path, "X.json", FLAW), CERTIFIER)
    new = kev("CVE-2026-0001", version="new")
    old = kev("CVE-2020-0002", released="2026-01-01T00:00:00Z", version="old")
    for document in (new, old):
        service.import_feed(written(tmp_path, "kev.json", document), CERTIFIER)
    assert service.match([lib("npm", "x", "1.0.0")]).matches[0].kev
    assert service.status()["kev"]["version"] == "new"


def test_broken_records_are_counted_and_named(service: AdvisoriesService, tmp_path: Path) -> None:
    report = service.import_feed(written(tmp_path, "all.zip", dump([FLAW, {"id": "X-2"}])), CERTIFIER)
    assert (report.records, report.refused) == (1, 1)
    assert report.as_json()["refused_examples"] == [
        {"record": "all.zip/X-2.json", "reason": "has no time of modification"}
    ]


def test_an_import_is_audited_with_its_snapshot(service: AdvisoriesService, database: Database, tmp_path: Path) -> None:
    report = service.import_feed(written(tmp_path, "all.zip", dump([FLAW])), CERTIFIER, digest="sha256:" + "a" * 64)
    assert audited(database) == [
        ("carla", "advisories.import", "sha256:" + "a" * 64),
        ("carla", "advisories.imported", report.snapshot),
    ]
    assert service.status()["imports"][0]["outcome"]["snapshot"] == report.snapshot


def test_a_failed_import_is_audited_and_renews_nothing(database: Database, clock: Clock, tmp_path: Path) -> None:
    budget = FeedBudget(total=60_000)
    service = AdvisoriesService(AdvisoriesStore(database), Audit(database), clock, budget)
    path = written(
        tmp_path,
        "all.zip",
        dump(record(f"X-{i}", fixed_in("npm", "x", "2.0.0"), details="a" * 9000) for i in range(20)),
    )
    with pytest.raises(FeedTooLarge):
        service.import_feed(path, CERTIFIER)
    assert [action for _, action, _ in audited(database)] == ["advisories.import", "advisories.failed"]
    assert service.match([lib("npm", "x", "3.0.0")]).coverage == {"npm": Coverage.MISSING}


def test_a_file_without_any_advisory_is_refused(service: AdvisoriesService, tmp_path: Path) -> None:
    with pytest.raises(FeedUnreadable, match="holds no usable advisory"):
        service.import_feed(written(tmp_path, "all.zip", dump([{"id": "X-1"}])), CERTIFIER)


@pytest.mark.parametrize(
    "principal",
    [
        ANONYMOUS,
        Principal("paul", "user", Role.PUBLISHER, frozenset({"acme"}), owner="paul"),
        Principal("carl", "user", Role.CONSUMER, owner="carl"),
        Principal("acme-ci", "token", Role.CERTIFIER, scope=frozenset({"push"}), owner="carla"),
    ],
)
def test_others_may_not_import(
    service: AdvisoriesService, database: Database, tmp_path: Path, principal: Principal
) -> None:
    with pytest.raises(ImportDenied):
        service.import_feed(written(tmp_path, "all.zip", dump([FLAW])), principal)
    assert not audited(database)


def test_nothing_imported_means_nothing_known(service: AdvisoriesService) -> None:
    found = service.match([lib("npm", "x", "1.0.0")])
    assert (found.matches, found.coverage, found.snapshot) == ((), {"npm": Coverage.MISSING}, "")
    assert found.kev is Coverage.MISSING
    assert service.status()["snapshot"] is None


def test_more_packages_than_one_query_takes_are_matched(service: AdvisoriesService, tmp_path: Path) -> None:
    records = [record(f"X-{i}", fixed_in("npm", f"p{i}", "2.0.0")) for i in range(1200)]
    service.import_feed(written(tmp_path, "all.zip", dump(records)), CERTIFIER)
    assert len(service.match([lib("npm", f"p{i}", "1.0.0") for i in range(1200)]).matches) == 1200


def test_a_match_sees_one_moment_while_an_import_goes_on(service: AdvisoriesService, tmp_path: Path) -> None:
    service.import_feed(written(tmp_path, "one.zip", dump([FLAW])), CERTIFIER)
    with service.source() as source:
        before = source.snapshot()
        service.import_feed(
            written(tmp_path, "two.zip", dump([record("X-2", fixed_in("npm", "y", "2.0.0"))])), CERTIFIER
        )
        assert source.snapshot() == before != service.snapshot()
        assert not list(source.statements("npm", ["y"]))
    with service.source() as source:
        assert list(source.statements("npm", ["y"]))


def test_an_import_that_is_killed_is_finished_by_doing_it_again(
    service: AdvisoriesService, database_url: str, tmp_path: Path, now: datetime
) -> None:
    path = written(tmp_path, "all.zip", dump(record(f"X-{i}", fixed_in("npm", f"p{i}", "2.0.0")) for i in range(4500)))
    script = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from customhouse import faults\n"
        "from customhouse.accounts.people import HUB\n"
        "from customhouse.advisories.service import AdvisoriesService\n"
        "from customhouse.advisories.store import AdvisoriesStore\n"
        "from customhouse.audit import Audit\n"
        "from customhouse.db import Database\n"
        "database = Database(sys.argv[1])\n"
        "clock = lambda: datetime(2026, 11, 23, tzinfo=UTC)\n"
        "service = AdvisoriesService(AdvisoriesStore(database), Audit(database), clock)\n"
        "faults.arm('advisories.import.batch:2')\n"
        "service.import_feed(Path(sys.argv[2]), HUB)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, database_url, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    packages = [lib("npm", "p1", "3.0.0")]
    assert service.match(packages).coverage == {"npm": Coverage.MISSING}
    report = service.import_feed(path, CERTIFIER)
    assert (report.change.unchanged, report.change.new) == (4000, 500)
    assert service.match(packages).coverage == {"npm": Coverage.COVERED}
    assert report.snapshot == MemoryAdvisories.load([path], now).snapshot()
