"""A repository of 100,000 tags: one more of them writes the files that changed, and nothing else."""

from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import select

from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.metadata import MAXIMUM_TARGETS, FileMeta
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from customhouse.trust.store import trust_file
from tests.conftest import Clock
from tests.trust.test_service import GUN, Room, room

__all__ = ["room"]
ALICE = RoleName("targets/alice")


def rows(room: Room) -> dict[int, dict[str, Any]]:
    """Every row of the GUN, each with what its content hashes to."""
    with room.store.read() as tx:
        found = tx.execute(select(trust_file).order_by(trust_file.c.id))
        return {row.id: {**row._mapping, "content": sha256(row.content).hexdigest()} for row in found}


@pytest.mark.parametrize("count", [500, pytest.param(MAXIMUM_TARGETS - 1, marks=pytest.mark.slow)])
def test_one_more_tag_writes_the_roles_that_changed_and_snapshot_and_timestamp(
    room: Room, now: datetime, clock: Clock, count: int
) -> None:
    sim = TrustSimulator(GUN, now)
    sim.use_server_keys({role: room.service.key(GUN, role, "alice") for role in (SNAPSHOT, TIMESTAMP)})
    for role in (RELEASES, ALICE):
        sim.delegate(role)
        listed = {f"1.{number}": FileMeta(1, {"sha256": sha256(b"%d" % number).digest()}) for number in range(count)}
        sim.bodies[role] = replace(sim.bodies[role], targets=listed)
    first = room.service.publish(GUN, sim.upload(), "alice")
    assert first is not None and len(first.changed) == count
    before = rows(room)
    assert {row["role"] for row in before.values()} == {ROOT, TARGETS, RELEASES, ALICE, SNAPSHOT, TIMESTAMP}
    clock.advance(seconds=1)
    digest = sim.sign_tag("2", role=RELEASES)
    sim.sign_tag("2", role=ALICE)
    sim.bump(RELEASES, ALICE)
    more = room.service.publish(GUN, sim.upload(RELEASES, ALICE), "alice")
    assert more is not None and (more.changed, more.removed) == (("2",), ())
    assert more.tags["2"].digest == digest
    after = rows(room)
    rewritten = {RELEASES, ALICE, SNAPSHOT, TIMESTAMP}
    assert {row["role"] for key, row in after.items() if key not in before} == rewritten
    for key, row in before.items():
        assert after[key] == {**row, "current": row["role"] not in rewritten}
    assert room.verified().signers("2") == ["alice"]
