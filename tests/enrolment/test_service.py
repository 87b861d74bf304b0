"""Whose root is believed, and what is remembered of a staging repository for ever (invariant T4)."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from customhouse.accounts.people import Principal
from customhouse.enrolment.service import NotEnrolled, Untrusted
from customhouse.errors import Conflict, Denied, Invalid, NotFound
from customhouse.oci.digest import Digest
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.documents import empty_targets, sign_targets, with_delegation
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from tests.certification.test_service import at_once
from tests.conftest import Clock
from tests.rooms import ADMIN, CARL, HOST, MACHINE, OTTO, PAULA, WEB, Rooms, image

GUN = Gun.parse(f"{HOST}/{WEB}")
CONTENT = image().manifest_raw
DIGEST = Digest.of(CONTENT)


def publish(rooms: Rooms, *roles: RoleName) -> None:
    rooms.trust.publish(GUN, rooms.simulator().upload(*roles), "paula")


@pytest.fixture
def signed(rooms: Rooms) -> Rooms:
    """A staging repository with one signed tag, whose root is enrolled."""
    rooms.simulator().sign_tag("1", CONTENT)
    publish(rooms)
    rooms.enrol()
    return rooms


def verify(rooms: Rooms) -> dict[str, int]:
    return {str(role): version for role, version in rooms.enrolment.verify(WEB, "acme").versions.items()}


def remembered(rooms: Rooms) -> dict[str, int]:
    with rooms.database.read() as tx:
        seen = rooms.enrolment._store.seen(tx, GUN)
    return {name.partition("@")[0]: version for name, version in (seen[1] if seen else {}).items()}


# ---- enrolment


def test_nobody_is_believed_on_first_sight(rooms: Rooms) -> None:
    rooms.simulator().sign_tag("1", CONTENT)
    publish(rooms)
    with pytest.raises(NotEnrolled) as refused:
        verify(rooms)
    key = rooms.simulator().keys[ROOT][0].public.canonical_id
    assert key in str(refused.value) and f"publisher enrol acme --from-staging {WEB}" in str(refused.value)
    assert refused.value.enrolled == frozenset() and remembered(rooms) == {}


def test_a_certificate_a_bare_key_and_a_first_push_enrol_the_same_key(signed: Rooms) -> None:
    key = signed.simulator().keys[ROOT][0]
    bare = key.crypto.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    by_key = signed.enrolment.enrol_certificate(CARL, "acme", bare)
    by_push = signed.enrolment.enrol_from_staging(ADMIN, "acme", f"{HOST}/{WEB}")
    assert {item.id for item in (*by_key, *by_push)} == {key.public.canonical_id}
    assert len(signed.enrolment.roots("acme")) == 1
    assert len(signed.log("root.enrol")) == 1, "what was enrolled already is no news"


@pytest.mark.parametrize("who", [PAULA, OTTO, MACHINE])
def test_a_publisher_cannot_vouch_for_himself(signed: Rooms, who: Principal) -> None:
    pem = signed.simulator().keys[ROOT][0].public.public
    with pytest.raises(Denied):
        signed.enrolment.enrol_certificate(who, "acme", pem)
    with pytest.raises(Denied):
        signed.enrolment.enrol_from_staging(who, "acme", WEB)
    with pytest.raises(Denied):
        signed.enrolment.enrol_key_ids(who, "acme", ["0" * 64])
    with pytest.raises(Denied):
        signed.enrolment.reset(who, "acme@registry.vendor.example/web", "begin anew")
    with pytest.raises(Denied):
        signed.enrolment.remove(who, "acme", signed.enrolment.roots("acme")[0].id)


def test_what_cannot_be_enrolled_is_refused_with_a_reason(signed: Rooms) -> None:
    pem = signed.simulator().keys[ROOT][0].public.public
    with pytest.raises(NotFound, match="there is no publisher nobody"):
        signed.enrolment.enrol_certificate(CARL, "nobody", pem)
    with pytest.raises(Invalid):
        signed.enrolment.enrol_certificate(CARL, "acme", b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----")
    with pytest.raises(Invalid, match="not a staging repository of other"):
        signed.enrolment.enrol_from_staging(CARL, "other", WEB)
    with pytest.raises(Invalid, match="not a staging repository"):
        signed.enrolment.enrol_from_staging(CARL, "acme", "acme/web")
    with pytest.raises(NotFound, match="holds no root yet"):
        signed.enrolment.enrol_from_staging(CARL, "acme", "staging/acme/none")


def test_an_id_enrols_the_key_that_it_is_a_hash_of(rooms: Rooms) -> None:
    """Before anything was pushed; in whatever spelling it was told."""
    key = rooms.simulator().keys[ROOT][0].public.canonical_id
    assert [item.id for item in rooms.enrolment.enrol_key_ids(CARL, "acme", [f" {key.upper()} ", key])] == [key]
    rooms.simulator().sign_tag("1", CONTENT)
    publish(rooms)
    assert verify(rooms)["root"] == 1
    assert [(item.id, item.subject) for item in rooms.enrolment.roots("acme")] == [(key, "its id")]
    rooms.enrol()
    assert len(rooms.enrolment.roots("acme")) == 1, "the same key by its certificate is no news"


@pytest.mark.parametrize("wrong", ["", "abc", "0" * 63, "g" * 64, "0" * 65])
def test_what_is_no_id_enrols_nothing(signed: Rooms, wrong: str) -> None:
    for enrol in (
        lambda: signed.enrolment.enrol_key_ids(CARL, "acme", [wrong]),
        lambda: signed.enrolment.enrol_from_staging(CARL, "acme", WEB, [wrong]),
    ):
        with pytest.raises(Invalid, match="a key id has 64 hexadecimal digits"):
            enrol()
    assert len(signed.enrolment.roots("acme")) == 1


def test_a_root_in_staging_is_confirmed_only_if_it_is_of_the_named_keys(rooms: Rooms) -> None:
    """Somebody with the publisher's password signed there with a root of his own."""
    rooms.simulator().sign_tag("1", CONTENT)
    publish(rooms)
    key, told = rooms.simulator().keys[ROOT][0].public.canonical_id, "0" * 64
    for named in ([told], [key, told]):
        with pytest.raises(Conflict, match=f"the root of {WEB} is of key {key}, not") as refused:
            rooms.enrolment.enrol_from_staging(CARL, "acme", WEB, named)
        assert refused.value.hint.startswith("Nothing was enrolled.")
    assert rooms.enrolment.roots("acme") == [] and rooms.log("root") == []
    assert rooms.enrolment.enrol_from_staging(CARL, "acme", WEB, [key])[0].id == key


def test_a_key_that_is_removed_is_believed_no_more(signed: Rooms) -> None:
    verify(signed)
    key = signed.enrolment.roots("acme")[0].id
    signed.enrolment.remove(CARL, "acme", key)
    with pytest.raises(NotEnrolled):
        verify(signed)
    with pytest.raises(NotFound):
        signed.enrolment.remove(CARL, "acme", key)
    assert [entry.action for entry in signed.log("root")] == ["root.enrol", "root.remove"]


def test_the_key_of_one_publisher_says_nothing_about_another(signed: Rooms) -> None:
    with pytest.raises(NotEnrolled):
        signed.enrolment.verify(WEB, "other")


def test_two_enrolments_at_once_are_one(rooms: Rooms) -> None:
    rooms.simulator()
    assert at_once(*[rooms.enrol] * 3) == [None] * 3
    assert len(rooms.enrolment.roots("acme")) == 1 and len(rooms.log("root.enrol")) == 1


# ---- verification


def test_a_tag_is_believed_with_its_digest_and_length(signed: Rooms) -> None:
    tag = signed.enrolment.verify_tag(WEB, "acme", "1", DIGEST)
    assert (tag.digest, tag.length) == (DIGEST, len(CONTENT))
    with pytest.raises(Untrusted, match="the tag 2 is no longer signed"):
        signed.enrolment.verify_tag(WEB, "acme", "2", DIGEST)
    with pytest.raises(Untrusted, match="is now signed as"):
        signed.enrolment.verify_tag(WEB, "acme", "1", Digest.of(b"other"))


def test_nothing_is_believed_of_a_repository_without_metadata(rooms: Rooms) -> None:
    with pytest.raises(Untrusted, match="no trust metadata"):
        verify(rooms)


def test_a_root_that_the_enrolled_one_vouched_for_is_believed(signed: Rooms) -> None:
    verify(signed)
    signed.simulator().rotate_root()
    publish(signed, ROOT)
    assert verify(signed)["root"] == 2
    assert len(signed.enrolment.roots("acme")) == 1


def test_the_hubs_own_timestamp_does_not_expire_on_a_publisher(signed: Rooms, clock: Clock) -> None:
    """The hub was stopped for longer than a timestamp lives."""
    clock.advance(days=40)
    assert verify(signed)["timestamp"] == 2


def test_a_signature_of_the_publisher_that_expired_is_refused(signed: Rooms, clock: Clock) -> None:
    clock.advance(days=1200)
    with pytest.raises(Untrusted, match="targets version 1 expired"):
        verify(signed)


def test_a_publish_in_the_middle_of_a_look_is_not_half_seen(signed: Rooms) -> None:
    """Root rotation and new targets while others verify: each look is of one moment."""

    def rotate() -> None:
        for _ in range(4):
            signed.simulator().rotate_root()
            signed.simulator().bump(TARGETS)
            publish(signed, ROOT, TARGETS)

    def look() -> None:
        for _ in range(8):
            verify(signed)

    assert at_once(rotate, look, look) == [None] * 3
    assert verify(signed)["root"] == 5


# ---- memory


def test_the_highest_versions_are_remembered(signed: Rooms) -> None:
    assert verify(signed) == remembered(signed) == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}
    signed.simulator().bump(TARGETS)
    publish(signed, TARGETS)
    assert verify(signed) == remembered(signed) == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}


def test_a_rollback_by_deletion_is_refused(signed: Rooms) -> None:
    old = signed.simulator().upload()
    for _ in range(3):
        signed.simulator().bump(TARGETS)
        publish(signed, TARGETS)
    verify(signed)
    signed.trust.delete(GUN, "admin")
    signed.trust.publish(GUN, old, "mallory")
    for _ in range(2):
        with pytest.raises(Untrusted, match="older than version"):
            verify(signed)
    assert remembered(signed)["targets"] == 4


def test_another_root_of_the_same_version_is_refused_also_after_a_deletion(signed: Rooms) -> None:
    verify(signed)
    signed.trust.delete(GUN, "admin")
    del signed.publisher[WEB]
    signed.simulator().sign_tag("1", CONTENT)
    publish(signed)
    signed.enrol()
    with pytest.raises(Untrusted, match="two different roots of version 1"):
        verify(signed)


def test_memory_only_rises_whoever_writes_last(signed: Rooms) -> None:
    verify(signed)
    store = signed.enrolment._store

    def remember(version: int) -> None:
        with signed.database.write() as tx:
            versions = {"root": version, "targets": 10 - version}
            store.remember(tx, GUN, f"root {version}".encode(), versions, signed.clock())

    assert at_once(*[lambda v=version: remember(v) for version in (5, 2, 7, 3)]) == [None] * 4
    with signed.database.read() as tx:
        seen = store.seen(tx, GUN)
    assert seen is not None
    assert seen[0] == b"root 7" and seen[1] == {"root": 7, "timestamp": 1, "snapshot": 1, "targets": 8}


def delegate(rooms: Rooms) -> None:
    sim = rooms.simulator()
    sim.delegate(RELEASES)
    sim.sign_tag("2", CONTENT, RELEASES)
    sim.bump(TARGETS)
    publish(rooms, TARGETS, RELEASES)


def test_a_delegation_is_not_rolled_back(signed: Rooms) -> None:
    delegate(signed)
    old = signed.simulator().upload(RELEASES)
    for _ in range(2):
        signed.simulator().bump(RELEASES)
        publish(signed, RELEASES)
    verify(signed)
    assert remembered(signed)["targets/releases"] == 3
    everything = signed.simulator().upload()
    signed.trust.delete(GUN, "admin")
    for version in range(4):  # as far ahead as the top roles were, so that only the delegation is behind
        if version:
            signed.simulator().bump(TARGETS)
        signed.trust.publish(GUN, {**everything, **signed.simulator().upload(TARGETS), **old}, "mallory")
    with pytest.raises(Untrusted, match="targets/releases version 1 is older than version 3"):
        verify(signed)


def test_a_delegation_that_was_given_to_new_keys_begins_again(signed: Rooms) -> None:
    """`docker trust signer remove` and `add`, in one publish: nobody looked in between."""
    delegate(signed)
    for _ in range(3):
        signed.simulator().bump(RELEASES)
        publish(signed, RELEASES)
    verify(signed)
    signed.simulator().remove_delegation(RELEASES)
    signed.simulator().bump(TARGETS)
    publish(signed, TARGETS)
    delegate(signed)
    assert verify(signed)["targets/releases"] == 1
    assert verify(signed)["snapshot"] == signed.trust.current(GUN, SNAPSHOT).version
    assert remembered(signed)["timestamp"] == signed.trust.current(GUN, TIMESTAMP).version


def remove_and_add(rooms: Rooms) -> None:
    """`docker trust signer remove` and `add` of the same key: targets twice, then releases from version 1."""
    sim = rooms.simulator()
    keys = sim.keys[RELEASES]
    sim.remove_delegation(RELEASES)
    sim.bump(TARGETS)
    publish(rooms, TARGETS)
    sim.delegate(RELEASES)
    sim.keys[RELEASES] = keys
    sim.bodies[TARGETS] = with_delegation(sim.bodies[TARGETS], RELEASES, [key.public for key in keys])
    sim.sign_tag("2", CONTENT, RELEASES)
    sim.bump(TARGETS)
    publish(rooms, TARGETS, RELEASES)


def test_a_delegation_that_was_removed_and_added_with_the_same_key_begins_again(signed: Rooms) -> None:
    delegate(signed)
    signed.simulator().bump(RELEASES)
    publish(signed, RELEASES)
    assert verify(signed)["targets/releases"] == 2
    remove_and_add(signed)
    assert verify(signed)["targets/releases"] == remembered(signed)["targets/releases"] == 1


def test_a_delegation_whose_threshold_was_raised_begins_again(signed: Rooms) -> None:
    sim = signed.simulator()
    sim.delegate(RELEASES, keys=2)
    sim.bump(TARGETS)
    publish(signed, TARGETS, RELEASES)
    for _ in range(2):
        sim.bump(RELEASES)
        sim.keys[RELEASES].reverse()
        raw = sign_targets(RELEASES, sim.bodies[RELEASES], sim.keys[RELEASES][:1]).raw
        signed.trust.publish(GUN, {RELEASES: raw}, "paula")
    assert verify(signed)["targets/releases"] == 3
    publics = [key.public for key in sim.keys[RELEASES]]
    sim.bodies[TARGETS] = with_delegation(sim.bodies[TARGETS], RELEASES, publics, threshold=2)
    sim.bump(TARGETS)
    publish(signed, TARGETS)
    sim.bodies[RELEASES] = empty_targets(sim.now)
    publish(signed, RELEASES)
    assert verify(signed)["targets/releases"] == 1


def test_old_files_published_again_after_a_deletion_make_nothing_forgotten(signed: Rooms) -> None:
    """Mallory may delete and publish, and has every file that was ever there; the publisher's keys he has not."""
    delegate(signed)
    first = signed.simulator().upload()
    signed.simulator().bump(RELEASES)
    publish(signed, RELEASES)
    second = signed.simulator().upload(RELEASES)
    remove_and_add(signed)
    removal = signed.trust.by_version(GUN, TARGETS, signed.simulator().bodies[TARGETS].version - 1).content
    signed.simulator().bump(RELEASES, RELEASES)
    publish(signed, RELEASES)
    assert verify(signed)["targets/releases"] == 3
    last = signed.simulator().upload(TARGETS)
    begin(signed, {**first, **second})
    signed.trust.publish(GUN, {TARGETS: removal}, "mallory")
    signed.trust.publish(GUN, {**last, **second}, "mallory")
    for _ in range(9):  # as far ahead as the hub's own files were, so that only the delegation is behind
        signed.simulator().bump(TARGETS)
        publish(signed, TARGETS)
    with pytest.raises(Untrusted, match="targets/releases version 2 is older than version 3"):
        verify(signed)
    assert remembered(signed)["targets/releases"] == 3


def begin(rooms: Rooms, files: dict[RoleName, bytes]) -> None:
    rooms.trust.delete(GUN, "mallory")
    rooms.trust.publish(GUN, files, "mallory")


def test_a_stranger_with_another_root_makes_nothing_forgotten(signed: Rooms) -> None:
    delegate(signed)
    signed.simulator().bump(RELEASES)
    publish(signed, RELEASES)
    verify(signed)
    mallory = TrustSimulator(GUN, signed.clock())
    mallory.use_server_keys(signed.simulator().server)
    mallory.delegate(RELEASES)
    mallory.bump(*[TARGETS] * 40)
    begin(signed, mallory.upload())
    mallory.remove_delegation(RELEASES)
    mallory.bump(TARGETS)
    signed.trust.publish(GUN, mallory.upload(TARGETS), "mallory")
    assert remembered(signed)["targets/releases"] == 2


def test_a_look_that_began_before_a_delegation_ended_brings_nothing_back(signed: Rooms) -> None:
    delegate(signed)
    signed.simulator().bump(RELEASES)
    publish(signed, RELEASES)
    verify(signed)
    with signed.database.read() as tx:
        early = signed.enrolment._store.seen(tx, GUN)
    remove_and_add(signed)
    assert early is not None
    with signed.database.write() as tx:
        signed.enrolment._store.remember(tx, GUN, *early, signed.clock())
    assert verify(signed)["targets/releases"] == 1
