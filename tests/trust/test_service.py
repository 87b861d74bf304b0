"""Publishing as a whole, on both databases: what is refused and why, what is stored, and what stays as it was."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.errors import Conflict, StorageFull
from customhouse.keys import PrivateKey
from customhouse.signing import SealBroken, Vault
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust import documents
from customhouse.trust.metadata import parse_snapshot, parse_timestamp
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.service import MetadataUnknown, NotAServerRole, TrustService
from customhouse.trust.store import TrustStore
from customhouse.trust.update import UpdateRefused, VersionConflict
from customhouse.trust.verify import TrustedRepository, verify_repository
from tests.conftest import Clock
from tests.trust.serving import MASTER, Listener

GUN = Gun("localhost:5443/staging/acme/web")
OFFICIAL = Gun("localhost:5443/acme/web")


@dataclass
class Room:
    service: TrustService
    listener: Listener
    store: TrustStore
    audit: Audit
    clock: Clock

    def state(self, gun: Gun = GUN) -> object:
        return self.service.repository_files(gun), len(self.service.changefeed(gun, None, 100))

    def verified(self, gun: Gun = GUN) -> TrustedRepository:
        return verify_repository(
            self.service.repository_files(gun), self.service.root_versions(gun),
            gun=gun, enrolled=None, seen={}, now=self.clock(),
        )  # fmt: skip


@pytest.fixture
def room(database: Database, clock: Clock) -> Room:
    listener, store, audit = Listener(), TrustStore(database), Audit(database)
    return Room(TrustService(store, Vault(MASTER), audit, clock, [listener]), listener, store, audit, clock)


@pytest.fixture
def sim(room: Room, now: datetime) -> TrustSimulator:
    made = TrustSimulator(GUN, now)
    made.use_server_keys({role: room.service.key(GUN, role, "alice") for role in (SNAPSHOT, TIMESTAMP)})
    made.bump(TARGETS)
    made.sign_tag("1")
    return made


@pytest.fixture
def published(room: Room, sim: TrustSimulator) -> TrustSimulator:
    room.service.publish(GUN, sim.upload(), "alice")
    return sim


def test_a_first_publish_is_signed_stored_told_and_audited(room: Room, sim: TrustSimulator) -> None:
    update = room.service.publish(GUN, sim.upload(), "alice")
    assert update is not None
    assert update.versions == {ROOT: 1, TARGETS: 2, SNAPSHOT: 1, TIMESTAMP: 1}
    assert (update.changed, update.removed, update.actor) == (("1",), (), "alice")
    assert update.tags["1"].role_version == 2
    assert room.listener.accepted_updates == room.listener.committed_updates == [update]
    assert room.verified().tags == update.tags
    with room.store.read() as tx:
        actions = [entry.action for entry in room.audit.entries(tx)]
    assert actions == ["trust.key", "trust.key", "trust.publish"]
    stamp = parse_timestamp(room.service.current(GUN, TIMESTAMP).content)
    assert stamp.expires == room.clock() + timedelta(days=14)


def test_a_second_publish_names_only_what_changed(room: Room, published: TrustSimulator) -> None:
    published.bump(TARGETS)
    published.sign_tag("2", b"two")
    second = room.service.publish(GUN, published.upload(TARGETS), "alice")
    published.bump(TARGETS)
    published.sign_tag("2", b"two again")
    published.remove_tag("1")
    third = room.service.publish(GUN, published.upload(TARGETS), "alice")
    assert second is not None
    assert third is not None
    assert (second.changed, second.removed) == (("2",), ())
    assert (third.changed, third.removed) == (("2",), ("1",))
    assert third.versions == {ROOT: 1, TARGETS: 4, SNAPSHOT: 3, TIMESTAMP: 3}


def test_nothing_and_the_same_again_change_nothing_and_are_fine(room: Room, published: TrustSimulator) -> None:
    before = room.state()
    assert room.service.publish(GUN, {}, "alice") is None
    assert room.service.publish(GUN, published.upload(), "alice") is None
    assert room.state() == before
    assert len(room.listener.accepted_updates) == 1


@pytest.mark.parametrize(
    ("spoil", "role", "kind", "says"),
    [
        (TrustSimulator.expire, ROOT, "ErrBadRoot", "root version 2 expired"),
        (TrustSimulator.expire, TARGETS, "ErrBadTargets", "targets version 3 expired"),
        (TrustSimulator.expire, RELEASES, "ErrBadTargets", "targets/releases version 1 expired"),
        (TrustSimulator.drop_signature, ROOT, "ErrBadRoot", "0 of 1 needed signatures"),
        (TrustSimulator.drop_signature, TARGETS, "ErrBadTargets", "0 of 1 needed signatures"),
        (TrustSimulator.swap_key, TARGETS, "ErrBadTargets", "0 of 1 needed signatures"),
        (TrustSimulator.forge, TARGETS, "ErrBadTargets", "0 of 1 needed signatures"),
        (TrustSimulator.swap_key, RELEASES, "ErrBadTargets", "targets/releases version 1 has 0 of 1"),
        (TrustSimulator.re_encode, TARGETS, "ErrBadTargets", "bytes differ from those docker and notary write"),
        (TrustSimulator.re_encode, ROOT, "ErrBadRoot", "bytes differ"),
        (TrustSimulator.add_field, RELEASES, "ErrBadTargets", "unknown field 'x-note'"),
        (TrustSimulator.repeat_field, TARGETS, "ErrBadTargets", "'version' is there twice"),
    ],
)
def test_a_spoilt_update_is_refused_by_name_and_nothing_changes(
    room: Room,
    published: TrustSimulator,
    spoil: Callable[[TrustSimulator, RoleName], None],
    role: RoleName,
    kind: str,
    says: str,
) -> None:
    before = room.state()
    published.bump(ROOT, TARGETS)
    published.delegate(RELEASES)
    published.sign_tag("2", b"x", RELEASES)
    spoil(published, role)
    with pytest.raises(UpdateRefused) as refused:
        room.service.publish(GUN, published.upload(), "mallory")
    assert refused.value.kind == kind
    assert says in refused.value.message
    assert room.state() == before
    assert len(room.listener.accepted_updates) == 1


@pytest.mark.parametrize("role", [TARGETS, ROOT])
def test_an_old_or_equal_version_loses(room: Room, published: TrustSimulator, role: RoleName) -> None:
    published.bump(TARGETS)
    published.sign_tag("2")
    room.service.publish(GUN, published.upload(TARGETS), "alice")
    before = room.state()
    published.roll_back(TARGETS)
    published.sign_tag("3")
    published.keys[TARGETS].append(PrivateKey.generate())  # another root of version 1
    with pytest.raises(VersionConflict) as refused:
        room.service.publish(GUN, published.upload(role), "mallory")
    assert refused.value.role == role
    assert room.state() == before


def test_versions_cannot_be_run_up_to_their_end(room: Room, published: TrustSimulator) -> None:
    published.roll_back(TARGETS, by=-5000)
    with pytest.raises(UpdateRefused, match="too far ahead"):
        room.service.publish(GUN, published.upload(TARGETS), "mallory")
    published.roll_back(ROOT, by=-2)
    with pytest.raises(UpdateRefused, match="Root modifications must increment the version. Current 1, new 3"):
        room.service.publish(GUN, published.upload(ROOT), "mallory")


def test_without_a_root_the_user_is_told_to_publish_one(room: Room, sim: TrustSimulator) -> None:
    for files in ({}, sim.upload(TARGETS)):
        with pytest.raises(UpdateRefused, match="no pre-existing root and no root provided") as refused:
            room.service.publish(GUN, files, "alice")
        assert "docker push with DOCKER_CONTENT_TRUST=1" in refused.value.hint
    with pytest.raises(UpdateRefused, match="targets must be loaded first"):
        room.service.publish(GUN, sim.upload(ROOT), "alice")
    assert room.state() == ({}, 0)


def test_a_root_of_another_repository_is_refused(room: Room, now: datetime) -> None:
    other = TrustSimulator("localhost:5443/staging/acme/other", now)
    other.use_server_keys({role: room.service.key(GUN, role, "alice") for role in (SNAPSHOT, TIMESTAMP)})
    with pytest.raises(UpdateRefused, match="no root certificate is valid") as refused:
        room.service.publish(GUN, other.upload(), "alice")
    assert refused.value.kind == "ErrBadRoot"


def test_keys_of_another_repository_or_role_sign_nothing(room: Room, sim: TrustSimulator, now: datetime) -> None:
    elsewhere = room.service.key(OFFICIAL, TIMESTAMP, "alice")
    sim.use_server_keys({TIMESTAMP: elsewhere})
    with pytest.raises(UpdateRefused, match="no timestamp keys exist on the server"):
        room.service.publish(GUN, sim.upload(), "alice")
    sim.use_server_keys({TIMESTAMP: room.service.key(GUN, SNAPSHOT, "alice")})
    with pytest.raises(UpdateRefused, match="no timestamp keys exist on the server"):
        room.service.publish(GUN, sim.upload(), "alice")


def test_a_client_that_keeps_the_snapshot_key_must_send_the_snapshot(room: Room, now: datetime) -> None:
    sim = TrustSimulator(GUN, now)
    sim.use_server_keys({TIMESTAMP: room.service.key(GUN, TIMESTAMP, "alice")})
    sim.sign_tag("1")
    with pytest.raises(UpdateRefused, match="no snapshot was sent") as refused:
        room.service.publish(GUN, sim.upload(), "alice")
    assert (refused.value.kind, refused.value.missing) == ("ErrBadHierarchy", "snapshot")
    room.service.publish(GUN, sim.files(), "alice")
    before = room.state()
    assert room.verified().versions[SNAPSHOT] == 1
    sim.bump(SNAPSHOT, TARGETS)
    for role in (TARGETS, ROOT):  # the root is looked at first
        sim.change_hash(role)
        with pytest.raises(UpdateRefused, match=f"the hash of {role} is not the one that snapshot names"):
            room.service.publish(GUN, sim.files(), "alice")
    assert room.state() == before


def test_a_root_with_new_targets_keys_needs_targets_signed_by_them(room: Room, published: TrustSimulator) -> None:
    before = room.state()
    published.build_root()
    published.keys[TARGETS] = [PrivateKey.generate()]
    published.bump(ROOT)
    with pytest.raises(UpdateRefused) as refused:
        room.service.publish(GUN, published.upload(ROOT), "alice")
    assert refused.value.kind == "ErrBadRoot"
    assert "publish both together" in refused.value.hint
    assert room.state() == before
    published.bump(TARGETS)
    room.service.publish(GUN, published.upload(ROOT, TARGETS), "alice")
    assert room.verified().versions == {ROOT: 2, TARGETS: 3, SNAPSHOT: 2, TIMESTAMP: 2}


def test_a_root_is_rotated_only_with_the_old_key(room: Room, published: TrustSimulator, now: datetime) -> None:
    published.rotate_root(signed_by_old=False)
    with pytest.raises(UpdateRefused, match="could not rotate trust to a new trusted root") as refused:
        room.service.publish(GUN, published.upload(ROOT), "mallory")
    assert refused.value.kind == "ErrBadRoot"


def test_a_rotated_root_is_kept_beside_the_old_one(room: Room, published: TrustSimulator) -> None:
    published.rotate_root()
    room.service.publish(GUN, published.upload(ROOT), "alice")
    assert len(room.service.root_versions(GUN)) == 2
    assert room.service.by_version(GUN, ROOT, 1).content != room.service.current(GUN, ROOT).content
    assert room.verified().root.version == 2


def test_a_delegation_that_nobody_declared_is_refused(room: Room, published: TrustSimulator) -> None:
    published.delegate("targets/bob")
    with pytest.raises(UpdateRefused, match="targets/bob is not a delegation of targets"):
        room.service.publish(GUN, published.upload(RoleName("targets/bob")), "alice")


def test_a_removed_delegation_leaves_the_snapshot_and_may_begin_again(room: Room, published: TrustSimulator) -> None:
    published.bump(TARGETS)
    published.delegate(RELEASES)
    published.bump(RELEASES)
    published.sign_tag("2", b"two", RELEASES)
    room.service.publish(GUN, published.upload(TARGETS, RELEASES), "alice")
    assert RELEASES in parse_snapshot(room.service.current(GUN, SNAPSHOT).content).body.meta
    old = room.service.current(GUN, RELEASES)

    published.remove_delegation(RELEASES)
    published.bump(TARGETS)
    update = room.service.publish(GUN, published.upload(TARGETS), "alice")
    assert update is not None
    assert update.removed == ("2",)
    assert RELEASES not in parse_snapshot(room.service.current(GUN, SNAPSHOT).content).body.meta
    with pytest.raises(MetadataUnknown):
        room.service.current(GUN, RELEASES)
    assert room.service.by_hash(GUN, RELEASES, old.sha256).content == old.content

    published.delegate(RELEASES)
    published.bump(TARGETS)
    published.sign_tag("3", b"three", RELEASES)
    again = room.service.publish(GUN, published.upload(TARGETS, RELEASES), "alice")
    assert again is not None
    assert again.versions[RELEASES] == 1
    assert again.changed == ("3",)


def entrust(sim: TrustSimulator, role: RoleName, keys: list[PrivateKey], threshold: int = 1) -> None:
    """The parent gives the role to these keys; the next version of the parent is ready."""
    sim.keys[role] = keys
    publics = [key.public for key in keys]
    sim.bodies[role.parent] = documents.with_delegation(sim.bodies[role.parent], role, publics, threshold=threshold)
    sim.bump(role.parent)


@pytest.fixture
def released(room: Room, published: TrustSimulator) -> TrustSimulator:
    """With a tag in targets/releases, version 3, signed by the first of its two keys."""
    published.delegate(RELEASES, keys=2)
    second = published.keys[RELEASES].pop()
    published.sign_tag("2", b"two", RELEASES)
    published.bump(TARGETS, RELEASES, RELEASES)
    room.service.publish(GUN, published.upload(TARGETS, RELEASES), "alice")
    published.keys[RELEASES].append(second)
    return published


@pytest.mark.parametrize(("left", "threshold"), [([1], 1), ([0, 1], 2), ([], 1)])
def test_a_delegation_whose_signatures_no_longer_suffice_ends_and_begins_anew(
    room: Room, released: TrustSimulator, left: list[int], threshold: int
) -> None:
    old = room.service.current(GUN, RELEASES)
    keys = [released.keys[RELEASES][index] for index in left] or [PrivateKey.generate()]
    entrust(released, RELEASES, keys, threshold)
    update = room.service.publish(GUN, released.upload(TARGETS), "alice")
    assert update is not None
    assert (update.removed, update.dropped) == (("2",), {RELEASES})
    assert room.verified().skipped == {} and RELEASES not in room.verified().versions
    with pytest.raises(MetadataUnknown):
        room.service.current(GUN, RELEASES)
    assert room.service.by_hash(GUN, RELEASES, old.sha256).content == old.content
    with pytest.raises(UpdateRefused, match=f"version 3 has {len(left) // 2} of {threshold} needed signatures"):
        room.service.publish(GUN, {RELEASES: old.content}, "mallory")

    released.bodies[RELEASES] = documents.empty_targets(released.now)
    released.sign_tag("3", b"three", RELEASES)
    again = room.service.publish(GUN, released.upload(RELEASES), "bob")
    assert again is not None
    assert (again.versions[RELEASES], again.changed, again.dropped) == (1, ("3",), frozenset())
    released.sign_tag("4", b"four", RELEASES)
    with pytest.raises(VersionConflict):
        room.service.publish(GUN, released.upload(RELEASES), "bob")


@pytest.mark.parametrize("version", [1, 4])
def test_a_delegation_may_be_signed_anew_together_with_the_change_of_its_keys(
    room: Room, released: TrustSimulator, version: int
) -> None:
    """As who has not read the old file begins (at 1), and as who has goes on (at 4)."""
    entrust(released, RELEASES, [PrivateKey.generate()])
    released.bodies[RELEASES] = documents.empty_targets(released.now, version=version)
    update = room.service.publish(GUN, released.upload(TARGETS, RELEASES), "alice")
    assert update is not None
    assert (update.versions[RELEASES], update.removed, update.dropped) == (version, ("2",), {RELEASES})


def test_a_delegation_goes_on_where_its_signatures_still_suffice(room: Room, released: TrustSimulator) -> None:
    entrust(released, RELEASES, [released.keys[RELEASES][0], PrivateKey.generate()])
    update = room.service.publish(GUN, released.upload(TARGETS), "alice")
    assert update is not None
    assert (update.versions[RELEASES], update.removed, update.dropped) == (3, (), frozenset())
    released.bodies[RELEASES] = documents.empty_targets(released.now)
    with pytest.raises(VersionConflict):
        room.service.publish(GUN, released.upload(RELEASES), "alice")


def test_what_stands_below_a_delegation_that_ends_ends_with_it(room: Room, released: TrustSimulator) -> None:
    released.keys[RELEASES] = released.keys[RELEASES][:1]
    deep = released.delegate("targets/releases/deep")
    released.bump(RELEASES)
    room.service.publish(GUN, released.upload(RELEASES, deep), "alice")
    entrust(released, RELEASES, [PrivateKey.generate()])
    with pytest.raises(UpdateRefused, match="targets/releases/deep is not a delegation of targets/releases"):
        released.bump(deep)
        room.service.publish(GUN, released.upload(TARGETS, deep), "alice")
    update = room.service.publish(GUN, released.upload(TARGETS), "alice")
    assert update is not None
    assert update.dropped == {RELEASES, deep}
    assert set(room.verified().versions) == {ROOT, TIMESTAMP, SNAPSHOT, TARGETS}


def test_lookups_are_scoped_by_repository_and_role(room: Room, published: TrustSimulator) -> None:
    root = room.service.current(GUN, ROOT)
    assert room.service.by_hash(GUN, ROOT, root.sha256).content == root.content
    for gun, role in ((OFFICIAL, ROOT), (GUN, TARGETS)):
        with pytest.raises(MetadataUnknown):
            room.service.by_hash(gun, role, root.sha256)
    with pytest.raises(MetadataUnknown):
        room.service.by_version(GUN, ROOT, 2)
    with pytest.raises(MetadataUnknown):
        room.service.current(OFFICIAL, ROOT)


def test_one_key_is_pending_until_a_root_lists_it(room: Room, sim: TrustSimulator) -> None:
    service = room.service
    first = service.key(GUN, TIMESTAMP, "alice")
    assert service.key(GUN, TIMESTAMP, "bob", rotate=True) == first
    service.publish(GUN, sim.upload(), "alice")
    assert service.key(GUN, TIMESTAMP, "alice") == first
    second = service.key(GUN, TIMESTAMP, "alice", rotate=True)
    assert second != first
    assert service.key(GUN, TIMESTAMP, "alice", rotate=True) == second
    assert service.key(GUN, TIMESTAMP, "alice") == first
    sim.use_server_keys({TIMESTAMP: second})
    sim.bump(ROOT)
    service.publish(GUN, sim.upload(ROOT), "alice")
    assert service.key(GUN, TIMESTAMP, "alice") == second
    with pytest.raises(NotAServerRole):
        service.key(GUN, TARGETS, "alice")


def test_keys_are_sealed_and_open_in_their_own_place_only(
    database: Database, room: Room, published: TrustSimulator
) -> None:
    with room.store.read() as tx:
        rows = [key for role in (SNAPSHOT, TIMESTAMP) for key in room.store.keys(tx, GUN, role)]
    vault = Vault(MASTER)
    for row, role in zip(rows, (SNAPSHOT, TIMESTAMP), strict=True):
        der = vault.unseal(row.sealed, f"trust-key:{GUN}:{role}")
        assert PrivateKey.of_der(der).public.key_id == row.key_id
        assert der not in row.sealed
        with pytest.raises(SealBroken):
            vault.unseal(row.sealed, f"trust-key:{OFFICIAL}:{role}")
    other = TrustService(room.store, Vault(b"x" * 32), room.audit, room.clock)
    room.clock.advance(days=8)
    with pytest.raises(SealBroken):
        other.current(GUN, TIMESTAMP)


def test_a_timestamp_in_its_second_half_is_renewed_when_asked_for(room: Room, published: TrustSimulator) -> None:
    first = room.service.current(GUN, TIMESTAMP)
    room.clock.advance(days=7)
    assert room.service.current(GUN, TIMESTAMP) == first
    room.clock.advance(seconds=1)
    second = room.service.current(GUN, TIMESTAMP)
    assert second.version == 2
    assert second.expires == room.clock() + timedelta(days=14)
    assert room.verified().snapshot.version == 1
    room.clock.advance(days=-30)  # a clock that went back
    assert room.service.current(GUN, TIMESTAMP) == second
    room.clock.advance(days=365)  # a leap ahead: one version, not many
    assert room.service.current(GUN, TIMESTAMP).version == 3
    assert room.service.current(GUN, TIMESTAMP).version == 3
    assert [change.version for change in room.service.changefeed(GUN, None, 10)] == [1, 2, 3]


def test_renewal_of_all_touches_only_what_is_due_and_the_snapshot_too(room: Room, published: TrustSimulator) -> None:
    assert room.service.renew_all(room.clock()) == 0
    assert room.service.renew_all(room.clock.advance(days=8)) == 1
    assert room.service.renew_all(room.clock()) == 0
    assert room.service.renew_all(room.clock.advance(days=600)) == 1
    assert room.verified().versions == {ROOT: 1, TARGETS: 2, SNAPSHOT: 2, TIMESTAMP: 3}


def test_one_repository_that_cannot_be_renewed_holds_up_no_other(room: Room, published: TrustSimulator) -> None:
    other = TrustService(room.store, Vault(b"x" * 32), room.audit, room.clock)
    sim = TrustSimulator(OFFICIAL, room.clock())
    with room.store.write() as tx:
        sim.use_server_keys(other.server_keys(tx, OFFICIAL))
        other.commit(tx, OFFICIAL, sim.upload(), {})
    room.clock.advance(days=8)
    assert room.service.renew_all(room.clock()) == 1
    assert room.service.current(GUN, TIMESTAMP).version == 2


def test_after_a_deletion_a_publisher_may_begin_again(room: Room, published: TrustSimulator, now: datetime) -> None:
    room.service.delete(GUN, "alice")
    room.service.delete(GUN, "alice")
    assert room.state() == ({}, 2)
    assert room.service.changefeed(None, None, 10)[-1].category == "deletion"
    again = TrustSimulator(GUN, now)
    again.use_server_keys({role: room.service.key(GUN, role, "alice") for role in (SNAPSHOT, TIMESTAMP)})
    again.sign_tag("1")
    update = room.service.publish(GUN, again.upload(), "alice")
    assert update is not None
    assert update.versions[ROOT] == 1


def test_a_listener_that_refuses_leaves_nothing_behind(room: Room, published: TrustSimulator) -> None:
    before = room.state()
    published.bump(TARGETS)
    for refusal in (Conflict("no"), StorageFull("full")):
        room.listener.refusal = refusal
        with pytest.raises(type(refusal)):
            room.service.publish(GUN, published.upload(TARGETS), "alice")
    assert room.state() == before
    assert len(room.listener.committed_updates) == 1
    with room.store.read() as tx:
        assert len(list(room.audit.entries(tx))) == 3


def test_of_two_racing_publishers_one_wins_and_the_other_is_told(room: Room, published: TrustSimulator) -> None:
    published.bump(TARGETS)
    uploads = []
    for tag in ("left", "right"):
        published.sign_tag(tag)
        uploads.append(published.upload(TARGETS))
        published.remove_tag(tag)
    start, outcomes = threading.Barrier(2), []

    def run(files: dict[RoleName, bytes]) -> None:
        start.wait()
        try:
            room.service.publish(GUN, files, "alice")
            outcomes.append("stored")
        except VersionConflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=run, args=(files,)) for files in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict", "stored"]
    assert room.verified().versions == {ROOT: 1, TARGETS: 3, SNAPSHOT: 2, TIMESTAMP: 2}


def test_a_commit_is_judged_like_a_publish_and_bound_to_versions(room: Room, now: datetime) -> None:
    service = room.service
    sim = TrustSimulator(OFFICIAL, now, common_name="localhost:5443/*")
    sim.delegate(RELEASES)
    hub = sim.delegate("targets/customhouse")
    sim.sign_tag("1", b"x", RELEASES)
    sim.sign_tag("1", b"x", hub)
    with room.store.write() as tx:
        sim.use_server_keys(service.server_keys(tx, OFFICIAL))
        found = service.commit(tx, OFFICIAL, sim.upload(), {ROOT: 0, TARGETS: 0, RELEASES: 0})
    assert found.signers("1") == ["customhouse"]
    sim.bump(RELEASES, hub)
    with pytest.raises(VersionConflict) as refused, room.store.write() as tx:
        service.commit(tx, OFFICIAL, sim.upload(RELEASES, hub), {RELEASES: 2, hub: 1})
    assert (refused.value.role, refused.value.stored) == (RELEASES, 1)
    with room.store.write() as tx:
        found = service.commit(tx, OFFICIAL, sim.upload(RELEASES, hub), {RELEASES: 1, hub: 1})
    assert room.verified(OFFICIAL).versions == found.versions
    assert found.versions[SNAPSHOT] == 2
    sim.bump(RELEASES)
    sim.forge(RELEASES)
    with pytest.raises(UpdateRefused), room.store.write() as tx:
        service.commit(tx, OFFICIAL, sim.upload(RELEASES), {RELEASES: 2})
    assert room.listener.accepted_updates == []
    with room.store.read() as tx:
        assert service.guns(tx) == [OFFICIAL]


def test_a_commit_of_a_transaction_that_fails_later_never_was(room: Room, now: datetime) -> None:
    sim = TrustSimulator(OFFICIAL, now)
    with pytest.raises(StorageFull), room.store.write() as tx:
        sim.use_server_keys(room.service.server_keys(tx, OFFICIAL))
        room.service.commit(tx, OFFICIAL, sim.upload(), {ROOT: 0})
        raise StorageFull("full")
    assert room.state(OFFICIAL) == ({}, 0)


def test_the_changefeed_pages_both_ways_and_by_repository(room: Room, published: TrustSimulator) -> None:
    for _ in range(4):
        published.bump(TARGETS)
        room.service.publish(GUN, published.upload(TARGETS), "alice")
    everything = room.service.changefeed(None, None, 100)
    assert [change.version for change in everything] == [1, 2, 3, 4, 5]
    third = everything[2].id
    assert [change.version for change in room.service.changefeed(GUN, third, 1)] == [4]
    assert [change.version for change in room.service.changefeed(GUN, third, -1)] == [2]
    assert [change.version for change in room.service.changefeed(GUN, None, -2)] == [4, 5]
    assert room.service.changefeed(OFFICIAL, None, 10) == []
