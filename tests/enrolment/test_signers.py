"""One key per person: the hub keeps root and targets for a publisher, and signs there who may sign, never a tag."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from customhouse.accounts.people import Principal
from customhouse.enrolment.service import Untrusted
from customhouse.errors import Conflict, Denied, Invalid, NotFound
from customhouse.keys import PrivateKey
from customhouse.oci.digest import Digest
from customhouse.signing import SealBroken, Vault
from customhouse.trust import documents
from customhouse.trust.certificates import common_name
from customhouse.trust.metadata import parse_file, parse_targets
from customhouse.trust.names import RELEASES, ROOT, TARGETS, Gun, RoleName
from customhouse.trust.update import UpdateRefused, VersionConflict
from tests.certification.test_service import at_once
from tests.rooms import ADMIN, CARL, HOST, MACHINE, OTTO, PAULA, WEB, Rooms, image

GUN, API = Gun.parse(f"{HOST}/{WEB}"), Gun.parse(f"{HOST}/staging/acme/api")
ALICE, BOB = PrivateKey.generate(), PrivateKey.generate()
BUILT = image()


def sign(rooms: Rooms, tag: str, key: PrivateKey, name: str, gun: Gun = GUN, content: bytes = b"") -> None:
    """As docker signs with one delegation key: in the signer's own role and in releases, on what is there."""
    raw = content or BUILT.manifest_raw
    files, update = rooms.trust.repository_files(gun), {}
    nothing = documents.empty_targets(rooms.clock(), version=0)
    for role in (RoleName(f"targets/{name}"), RELEASES):
        body = parse_targets(files[role], role).body if role in files else nothing
        body = documents.with_tag(documents.next_targets(body, rooms.clock()), tag, Digest.of(raw), len(raw))
        update[role] = documents.sign_targets(role, body, [key]).raw
    rooms.trust.publish(gun, update, "paula")


def names(rooms: Rooms, gun: Gun = GUN) -> dict[str, set[str]]:
    """Delegation -> key ids, as the current targets have them."""
    body = parse_targets(rooms.trust.repository_files(gun)[TARGETS], TARGETS).body
    return {str(entry.name): set(entry.keys.key_ids) for entry in body.delegations}


@pytest.fixture
def team(rooms: Rooms) -> Iterator[Rooms]:
    """alice signs for acme; the repository web has begun."""
    rooms.signers.add(CARL, "acme", "alice", ALICE.public.pem)
    assert rooms.signers.begin(GUN, "paula")
    yield rooms
    with rooms.database.read() as tx:
        assert not any(rooms.signers.misaligned(tx, gun) for gun in rooms.trust.guns(tx))


def test_one_key_is_enough_from_an_empty_repository_to_official(team: Rooms) -> None:
    team.push(BUILT)
    sign(team, "1", ALICE, "alice")
    done = team.go(team.certification.latest(ADMIN, WEB, "1"))
    assert (done.state, done.author) == ("published", "paula")
    assert team.official().tags["1"].digest == BUILT.digest


def test_the_first_signer_makes_root_and_targets_and_the_root_is_enrolled(rooms: Rooms) -> None:
    rooms.signers.add(CARL, "acme", "alice", ALICE.public.pem)
    [root] = rooms.enrolment.roots("acme")
    assert root.subject == "kept by the hub"
    rooms.signers.add(CARL, "acme", "bob", BOB.public.pem)
    assert rooms.enrolment.roots("acme") == [root], "one root a publisher, however many sign"
    rooms.signers.add(CARL, "other", "alice", ALICE.public.pem)
    assert rooms.enrolment.roots("other") != [root]
    assert [(each.actor, each.detail["signer"]) for each in rooms.log("signer.enrol")] == [
        ("carl", "alice"), ("carl", "bob"), ("carl", "alice"),
    ]


def test_a_repository_begins_with_a_role_for_each_and_one_for_all_and_no_tag(team: Rooms) -> None:
    team.signers.add(CARL, "acme", "bob", BOB.public.pem)
    a, b = ALICE.public.key_id, BOB.public.key_id
    assert names(team) == {"targets/alice": {a}, "targets/bob": {b}, "targets/releases": {a, b}}
    files = team.trust.repository_files(GUN)
    assert not parse_targets(files[TARGETS], TARGETS).body.targets
    root = parse_file(ROOT, files[ROOT]).body
    certificate = next(key for key in root.keys.values() if key.certificates)  # type: ignore[union-attr]
    assert common_name(certificate.certificates[0]) == f"{HOST}/staging/acme/*"
    assert not {ALICE.public.key_id, BOB.public.key_id} & set(root.keys)  # type: ignore[union-attr]


def test_a_later_repository_knows_the_signers_of_that_day(team: Rooms) -> None:
    team.signers.add(CARL, "acme", "bob", BOB.public.pem)
    team.signers.remove(CARL, "acme", "alice")
    assert team.signers.begin(API, "paula")
    assert set(names(team, API)) == {"targets/bob", "targets/releases"}


def test_a_removed_signer_signs_no_more_and_what_he_alone_signed_is_signed_no_more(team: Rooms) -> None:
    team.signers.add(CARL, "acme", "bob", BOB.public.pem)
    team.push(BUILT)
    sign(team, "1", ALICE, "alice")
    team.signers.remove(CARL, "acme", "alice")
    assert set(names(team)) == {"targets/bob", "targets/releases"}
    with pytest.raises(Untrusted, match="the tag 1 is no longer signed"):
        team.enrolment.verify_tag(WEB, "acme", "1", BUILT.digest)
    assert team.certification.latest(ADMIN, WEB, "1").state == "superseded"
    with pytest.raises(UpdateRefused):
        sign(team, "2", ALICE, "alice")


def test_another_signer_goes_on_after_a_removal_and_what_he_signed_before_still_stands(team: Rooms) -> None:
    team.signers.add(CARL, "acme", "bob", BOB.public.pem)
    sign(team, "1", ALICE, "alice")
    sign(team, "2", BOB, "bob")  # releases, with the tags of both, is now under his signature
    team.signers.remove(CARL, "acme", "alice")
    assert set(team.enrolment.verify(WEB, "acme").tags) == {"1", "2"}
    sign(team, "3", BOB, "bob")
    assert set(team.enrolment.verify(WEB, "acme").tags) == {"1", "2", "3"}


def test_a_signer_may_have_two_keys_and_lose_one(team: Rooms) -> None:
    new = PrivateKey.generate()
    team.signers.add(CARL, "acme", "alice", new.public.pem)
    assert names(team)["targets/alice"] == {ALICE.public.key_id, new.public.key_id}
    team.signers.remove(ADMIN, "acme", "alice", ALICE.public.key_id)
    assert names(team)["targets/alice"] == {new.public.key_id}
    sign(team, "1", new, "alice")
    assert "1" in team.enrolment.verify(WEB, "acme").tags


def test_the_last_signer_leaves_a_repository_in_which_nobody_signs(team: Rooms) -> None:
    team.signers.remove(CARL, "acme", "alice")
    assert names(team) == {}
    assert not team.signers.begin(API, "paula"), "nobody could sign there"
    team.signers.add(CARL, "acme", "bob", BOB.public.pem)
    sign(team, "1", BOB, "bob")
    assert "1" in team.enrolment.verify(WEB, "acme").tags


def test_a_repository_with_a_root_of_its_own_is_left_alone(rooms: Rooms) -> None:
    rooms.simulator().sign_tag("1", BUILT.manifest_raw)
    rooms.trust.publish(GUN, rooms.simulator().upload(), "paula")
    before = rooms.trust.repository_files(GUN)
    rooms.signers.add(CARL, "acme", "alice", ALICE.public.pem)
    assert not rooms.signers.align(GUN)
    rooms.signers.begin(GUN, "paula")
    assert rooms.trust.repository_files(GUN) == before


def test_where_nobody_signs_nothing_begins(rooms: Rooms) -> None:
    assert not rooms.signers.begin(GUN, "paula")
    rooms.signers.add(CARL, "acme", "alice", ALICE.public.pem)
    assert not rooms.signers.begin(Gun.parse(f"{HOST}/staging/other/web"), "otto")
    assert not rooms.signers.begin(Gun.parse(f"{HOST}/acme/web"), "paula"), "official is the hub's own"
    assert rooms.trust.repository_files(GUN) == {}


@pytest.mark.parametrize("who", [PAULA, OTTO, MACHINE])
def test_who_publishes_enrols_no_signer(team: Rooms, who: Principal) -> None:
    with pytest.raises(Denied, match="only a certifier or an administrator may enrol"):
        team.signers.add(who, "acme", "eve", BOB.public.pem)
    with pytest.raises(Denied):
        team.signers.remove(who, "acme", "alice")
    with pytest.raises(Denied):
        team.enrolment.reset(who, WEB, "I want to")


def test_what_cannot_be_a_signer_is_refused_with_a_reason(team: Rooms) -> None:
    for name in ("releases", "a/b", "Alice", "", "-a", "x" * 64):
        with pytest.raises(Invalid, match="cannot name a signer"):
            team.signers.add(CARL, "acme", name, BOB.public.pem)
    with pytest.raises(Conflict, match="this key is that of signer alice of acme"):
        team.signers.add(CARL, "acme", "bob", ALICE.public.pem)
    with pytest.raises(NotFound, match="there is no publisher nobody"):
        team.signers.add(CARL, "nobody", "bob", BOB.public.pem)
    with pytest.raises(NotFound, match="acme has no signer bob"):
        team.signers.remove(CARL, "acme", "bob")
    with pytest.raises(Invalid, match="holds no PEM public key"):
        team.signers.add(CARL, "acme", "bob", b"no key")
    assert [each.name for each in team.signers.signers("acme")] == ["alice"]


def test_the_same_again_changes_nothing(team: Rooms) -> None:
    before = team.trust.repository_files(GUN)
    assert team.signers.add(CARL, "acme", "alice", ALICE.public.pem).key == ALICE.public
    assert team.trust.repository_files(GUN) == before and len(team.log("signer.enrol")) == 1


def test_a_crash_between_rows_and_metadata_is_made_good_before_the_next_look(team: Rooms) -> None:
    sign(team, "1", ALICE, "alice")
    with team.database.write() as tx:  # the row is gone, and the process died
        team.signers._store.remove_signer(tx, "acme", ALICE.public.key_id)
    with pytest.raises(Untrusted, match="the tag 1 is no longer signed"):
        team.enrolment.verify_tag(WEB, "acme", "1", BUILT.digest)
    assert names(team) == {}


def test_the_kept_targets_are_signed_anew_in_the_second_half_of_their_life(team: Rooms) -> None:
    sign(team, "1", ALICE, "alice")
    team.clock.advance(days=540)
    assert team.signers.align_all() == 0
    team.clock.advance(days=10)
    assert team.signers.align_all() == 1
    body = parse_targets(team.trust.repository_files(GUN)[TARGETS], TARGETS).body
    assert body.expires - team.clock() > timedelta(days=1000)
    assert "1" in team.enrolment.verify(WEB, "acme").tags


def test_changes_and_signatures_at_once_end_in_what_is_enrolled(team: Rooms) -> None:
    keys = [PrivateKey.generate() for _ in range(3)]

    def signing() -> None:
        for number in range(5):
            try:
                sign(team, f"t{number}", ALICE, "alice")
            except VersionConflict:
                continue

    done = at_once(
        *[lambda n=n, key=key: team.signers.add(CARL, "acme", f"s{n}", key.public.pem) for n, key in enumerate(keys)],  # type: ignore[misc]
        signing,
    )
    assert not [each for each in done if isinstance(each, Exception)], done
    assert set(names(team)) == {"targets/alice", "targets/s0", "targets/s1", "targets/s2", "targets/releases"}


def test_the_kept_keys_open_for_their_publisher_and_role_only(team: Rooms) -> None:
    with team.database.read() as tx:
        kept = {each.role: each for each in team.signers._store.kept(tx, "acme")}
    vault = Vault(b"m" * 32)
    assert vault.unseal(kept["root"].sealed, "publisher-key:acme:root")
    for context in ("publisher-key:acme:targets", "publisher-key:other:root", "hub-key:root", f"trust-key:{GUN}:root"):
        with pytest.raises(SealBroken):
            vault.unseal(kept["root"].sealed, context)
    hubs = {team.keys.root.public.key_id, team.keys.targets.public.key_id, team.keys.release.public.key_id}
    assert not hubs & {key.public.key_id for key in kept.values()}


def test_a_threshold_or_a_foreign_delegation_in_kept_targets_is_put_right(team: Rooms) -> None:
    """Nobody but the hub has the key; should it ever say something else, the enrolled signers win."""
    with team.database.read() as tx:
        kept = team.signers._kept(tx, "acme")
    assert kept is not None
    body = parse_targets(team.trust.repository_files(GUN)[TARGETS], TARGETS).body
    body = documents.with_delegation(body, RoleName("targets/eve"), [BOB.public], threshold=1)
    raw = documents.sign_targets(TARGETS, documents.next_targets(body, team.clock()), [kept.targets]).raw
    team.trust.publish(GUN, {TARGETS: raw}, "hub")
    assert team.signers.align_all("acme") == 1
    assert set(names(team)) == {"targets/alice", "targets/releases"}


# ---- a repository begins anew


def test_a_lost_root_is_forgotten_by_a_person_with_a_reason_and_by_nobody_else(rooms: Rooms) -> None:
    rooms.submit(BUILT)
    rooms.enrolment.verify(WEB, "acme")
    first = rooms.simulator().keys[ROOT][0].public
    rooms.enrolment.reset(CARL, f"{HOST}/{WEB}", "the disk with the root key is gone")
    assert rooms.trust.repository_files(GUN) == {}
    del rooms.publisher[WEB]
    rooms.submit(BUILT)
    assert rooms.enrolment.verify(WEB, "acme").root_keys == {rooms.simulator().keys[ROOT][0].public.canonical_id}
    assert rooms.simulator().keys[ROOT][0].public != first
    [entry] = rooms.log("trust.reset")
    assert (entry.actor, entry.detail["reason"]) == ("carl", "the disk with the root key is gone")


def test_a_deletion_alone_is_not_enough_to_begin_anew(rooms: Rooms) -> None:
    rooms.submit(BUILT)
    rooms.enrolment.verify(WEB, "acme")
    rooms.trust.delete(GUN, "admin")
    del rooms.publisher[WEB]
    rooms.submit(BUILT)
    with pytest.raises(Untrusted, match="two different roots of version 1"):
        rooms.enrolment.verify(WEB, "acme")
    rooms.enrolment.reset(ADMIN, WEB, "agreed with acme")
    del rooms.publisher[WEB]
    rooms.submit(BUILT)
    assert "1" in rooms.enrolment.verify(WEB, "acme").tags


def test_what_cannot_be_reset_is_refused_with_a_reason(rooms: Rooms) -> None:
    with pytest.raises(Invalid, match="is not a staging repository"):
        rooms.enrolment.reset(CARL, "acme/web", "why")
    with pytest.raises(Invalid, match="a reset needs a reason"):
        rooms.enrolment.reset(CARL, WEB, " ")
    with pytest.raises(NotFound, match="there is no trust data of"):
        rooms.enrolment.reset(CARL, WEB, "why")
    assert rooms.log("trust.reset") == []
