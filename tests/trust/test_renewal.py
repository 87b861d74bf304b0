"""Timestamps and snapshots over time: signed anew when asked for and by the job, by keys that outlive the process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.signing import Vault
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust import documents
from customhouse.trust.metadata import parse_file
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.service import SERVER_ROLES, TrustService
from customhouse.trust.store import TrustStore
from customhouse.trust.update import UpdateRefused
from customhouse.trust.verify import verify_repository
from tests.conftest import Clock
from tests.trust.serving import MASTER

STAGING = Gun("localhost:5443/staging/acme/web")
OFFICIAL = Gun("localhost:5443/acme/web")


@dataclass
class Hub:
    """One repository; `service()` is a process that has just begun."""

    database: Database
    clock: Clock
    sim: TrustSimulator

    def service(self) -> TrustService:
        return TrustService(TrustStore(self.database), Vault(MASTER), Audit(self.database), self.clock)

    def versions(self) -> tuple[int, int]:
        """Of snapshot and timestamp, after everything was verified as a client would."""
        service = self.service()
        found = verify_repository(
            service.repository_files(STAGING), service.root_versions(STAGING), gun=STAGING, enrolled=None, seen={},
            now=self.clock(),
        )  # fmt: skip
        return found.versions[SNAPSHOT], found.versions[TIMESTAMP]

    def count(self) -> int:
        """Timestamps ever made."""
        return len(self.service().changefeed(STAGING, None, 1000))


@pytest.fixture
def hub(database: Database, clock: Clock, now: datetime) -> Hub:
    made = Hub(database, clock, TrustSimulator(STAGING, now))
    made.sim.use_server_keys({role: made.service().key(STAGING, role, "alice") for role in SERVER_ROLES})
    made.service().publish(STAGING, made.sim.upload(), "alice")
    return made


def by_get(hub: Hub) -> None:
    hub.service().current(STAGING, TIMESTAMP)


def by_job(hub: Hub) -> None:
    hub.service().renew_all(hub.clock())


@pytest.mark.parametrize("renew", [by_get, by_job])
@pytest.mark.parametrize("days", [7.01, 13.99, 14, 15, 400])
def test_a_timestamp_near_or_after_its_end_is_signed_anew_once(
    hub: Hub, renew: Callable[[Hub], None], days: float
) -> None:
    hub.clock.advance(days=days)
    for _ in range(3):
        renew(hub)
    assert hub.versions() == (1, 2)
    assert hub.service().current(STAGING, TIMESTAMP).expires == hub.clock() + timedelta(days=14)


@pytest.mark.parametrize("renew", [by_get, by_job])
def test_a_snapshot_in_its_second_half_is_signed_anew_with_the_timestamp(
    hub: Hub, renew: Callable[[Hub], None]
) -> None:
    hub.clock.advance(days=1095 / 2 + 1)
    renew(hub)
    if renew is by_get:  # a timestamp that is due brings the snapshot with it
        assert hub.versions() == (2, 2)
    hub.service().current(STAGING, SNAPSHOT)
    assert hub.versions() == (2, 2)


def test_many_who_ask_at_once_get_one_new_timestamp(hub: Hub) -> None:
    hub.clock.advance(days=20)
    service = hub.service()
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(service.current, STAGING, TIMESTAMP) for _ in range(24)]
        jobs = [pool.submit(service.renew_all, hub.clock()) for _ in range(4)]
    assert {each.result().version for each in asked} == {2}
    assert sum(each.result() for each in jobs) <= 1
    assert hub.count() == 2


def test_a_clock_that_goes_back_and_forth_brings_no_lower_version_and_no_storm(hub: Hub) -> None:
    hub.clock.advance(days=8)
    by_get(hub)
    for days in (-30, +30, -400, +400, -1, +1):
        hub.clock.advance(days=days)
        for renew in (by_get, by_job):
            renew(hub)
    assert hub.versions() == (1, 2)
    hub.clock.advance(days=-7)
    hub.sim.bump(TARGETS)
    hub.service().publish(STAGING, hub.sim.upload(TARGETS), "alice")
    assert hub.versions() == (2, 3)
    assert [change.version for change in hub.service().changefeed(STAGING, None, 10)] == [1, 2, 3]


def test_a_process_that_has_just_begun_signs_with_the_keys_of_the_one_before(hub: Hub) -> None:
    keys = {role: hub.service().key(STAGING, role, "alice") for role in SERVER_ROLES}
    assert keys == hub.sim.server
    pending = hub.service().key(STAGING, TIMESTAMP, "alice", rotate=True)
    assert hub.service().key(STAGING, TIMESTAMP, "alice", rotate=True) == pending
    hub.clock.advance(days=600)
    by_get(hub)
    files = hub.service().repository_files(STAGING)
    for role in SERVER_ROLES:
        assert [each.key_id for each in parse_file(role, files[role]).signatures] == [keys[role].key_id]
    assert hub.versions() == (2, 2)


def test_a_key_that_was_rotated_away_signs_no_more_and_the_new_one_does(hub: Hub) -> None:
    new = hub.service().key(STAGING, TIMESTAMP, "alice", rotate=True)
    hub.sim.use_server_keys({TIMESTAMP: new})
    hub.sim.bump(ROOT)
    hub.service().publish(STAGING, hub.sim.upload(ROOT), "alice")
    hub.clock.advance(days=8)
    by_job(hub)
    raw = hub.service().current(STAGING, TIMESTAMP).content
    assert [each.key_id for each in parse_file(TIMESTAMP, raw).signatures] == [new.key_id]
    assert hub.versions() == (2, 3)


@pytest.mark.parametrize("role", SERVER_ROLES)
def test_two_keys_of_a_threshold_of_two_sign_again_and_again(hub: Hub, role: RoleName) -> None:
    second = hub.service().key(STAGING, role, "alice", rotate=True)

    def both(signed: dict[str, dict[str, dict[str, object]]]) -> None:
        signed["keys"][second.key_id] = second.document()
        ids = sorted([hub.sim.server[role].key_id, second.key_id])
        signed["roles"][role] = {"keyids": ids, "threshold": 2}

    hub.sim.bump(ROOT)
    hub.sim.edit(ROOT, both)
    hub.service().publish(STAGING, hub.sim.upload(ROOT), "alice")
    hub.clock.advance(days=600)
    by_job(hub)
    assert len(parse_file(role, hub.service().current(STAGING, role).content).signatures) == 2
    assert hub.versions() == (3, 3)


def test_a_snapshot_whose_key_is_the_publishers_is_left_to_him(database: Database, clock: Clock, now: datetime) -> None:
    hub = Hub(database, clock, TrustSimulator(STAGING, now))
    hub.sim.use_server_keys({TIMESTAMP: hub.service().key(STAGING, TIMESTAMP, "alice")})
    files = hub.sim.upload()
    files[SNAPSHOT] = documents.new_snapshot(files, 1, hub.sim.keys[SNAPSHOT], now).raw
    hub.service().publish(STAGING, files, "alice")
    hub.clock.advance(days=600)
    by_job(hub)
    assert hub.versions() == (1, 2)
    hub.clock.advance(days=600)  # the publisher's own has ended: the timestamp is kept alive, clients say what is over
    by_job(hub)
    with pytest.raises(Exception, match="snapshot version 1 expired"):
        hub.versions()


@pytest.mark.parametrize("role", SERVER_ROLES)
def test_a_key_of_staging_never_signs_what_is_official_nor_the_other_way_round(
    database: Database, clock: Clock, now: datetime, role: RoleName
) -> None:
    service = Hub(database, clock, TrustSimulator(STAGING, now)).service()
    for gun, other in ((STAGING, OFFICIAL), (OFFICIAL, STAGING)):
        sim = TrustSimulator(gun, now)
        sim.use_server_keys({each: service.key(gun, each, "alice") for each in SERVER_ROLES})
        sim.use_server_keys({role: service.key(other, role, "alice")})
        with pytest.raises(UpdateRefused) as refused, service._store.write() as tx:
            service.commit(tx, gun, sim.upload(), {ROOT: 0})
        assert refused.value.kind == ("ErrBadHierarchy" if role == SNAPSHOT else "ErrBadRoot")
        assert service.repository_files(gun) == {}
