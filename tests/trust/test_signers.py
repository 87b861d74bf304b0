"""Signers of a repository: added, removed, kept to their paths, and signing together where one is not enough."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.db import Database
from customhouse.errors import Invalid
from customhouse.keys import PrivateKey
from customhouse.trust import cosigning, documents, signers
from customhouse.trust.canonical import JSON, canonical
from customhouse.trust.cosigning import is_proposal
from customhouse.trust.key_directory import KeyMissing
from customhouse.trust.metadata import FileMeta, RoleKeys
from customhouse.trust.names import RELEASES, TARGETS, RoleName
from customhouse.trust.publish import NotSignedHere, OutOfPaths, TooFewKeys, keys_of
from tests.trust.serving import Served, serving
from tests.trust.signing_people import ONE, THREE, TWO, Signatory, real_clock

ALICE, BOB, CAROL = (RoleName(f"targets/{name}") for name in ("alice", "bob", "carol"))
Maker = Callable[[str], Signatory]


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    with serving(database, tmp_path) as running:
        yield running


@pytest.fixture
def person(served: Served, tmp_path: Path) -> Maker:
    return lambda name: Signatory(served, tmp_path / name)


@pytest.fixture
def owner(person: Maker) -> Signatory:
    """Has root and targets of a repository with the tag 1."""
    made = person("owner")
    made.publisher.sign_tag(made.gun, "1", ONE, 3)
    return made


def joined(owner: Signatory, person: Maker, *names: str, threshold: int | None = None) -> list[Signatory]:
    """Signers with a key of their own, added by the owner."""
    found = []
    for name in names:
        signatory = person(name)
        last = threshold if name == names[-1] else None
        signers.add(owner.publisher, owner.gun, name, [signatory.key(name)], threshold=last)
        found.append(signatory)
    return found


def test_a_tag_is_valid_when_as_many_signers_as_are_needed_have_signed_the_same(
    owner: Signatory, person: Maker
) -> None:
    alice, bob, carol = joined(owner, person, "alice", "bob", "carol", threshold=3)
    gun = owner.gun
    first = alice.publisher.sign_tag(gun, "2", TWO, 3)
    assert (first.changed, first.roles, dict(first.missing)) == (True, (ALICE,), {RELEASES: 2})
    assert "2" not in alice.fresh().tags
    again = alice.publisher.sign_tag(gun, "2", TWO, 3)
    assert (again.changed, dict(again.missing)) == (False, {RELEASES: 2})

    second = bob.publisher.sign_tag(gun, "2", TWO, 3)
    assert dict(second.missing) == {RELEASES: 1}
    other = carol.publisher.sign_tag(gun, "2", THREE, 3)  # she means another digest: that is a proposal of its own
    assert dict(other.missing) == {RELEASES: 2}
    assert "2" not in carol.fresh().tags

    third = carol.publisher.sign_tag(gun, "2", TWO, 3)
    assert (dict(third.missing), set(third.roles)) == ({}, {CAROL, RELEASES})
    fresh = owner.fresh()
    assert (fresh.tags["2"].digest, fresh.tags["2"].role) == (TWO, RELEASES)
    assert fresh.signers("2") == ["alice", "bob", "carol"]
    assert len(fresh.targets[RELEASES].signatures) == 3
    assert not any(is_proposal(name) for name in fresh.tags)

    # A proposal leaves with the next change of the file in which it stood.
    alice.publisher.sign_tag(gun, "3", THREE, 3)
    listed = [name for name in alice.fresh().targets[ALICE].body.targets if is_proposal(name)]
    assert listed == [f"{RELEASES}@{fresh.targets[RELEASES].version + 1}"]


def test_a_proposal_with_a_signature_that_does_not_hold_counts_for_nothing(owner: Signatory, person: Maker) -> None:
    alice, bob = joined(owner, person, "alice", "bob", threshold=2)
    gun = owner.gun
    alice.publisher.sign_tag(gun, "2", TWO, 3)
    # Bob copies alice's signature into his own role, as if she had proposed what he is about to sign.
    stolen = alice.fresh().targets[ALICE].body.targets[f"{RELEASES}@1"]
    repository = bob.publisher.read(gun)
    bob.publisher.change(repository, {BOB: lambda body: replace(body, targets={f"{RELEASES}@1": stolen})})
    signed = bob.publisher.sign_tag(gun, "2", THREE, 3)
    assert dict(signed.missing) == {RELEASES: 1}
    assert "2" not in bob.fresh().tags
    assert dict(bob.publisher.sign_tag(gun, "2", TWO, 3).missing) == {}
    assert bob.fresh().tags["2"].digest == TWO


def test_nobody_signs_an_expiry_that_another_made_up(owner: Signatory, person: Maker) -> None:
    """A proposer whose clock, or mind, is elsewhere: his proposal is not taken on, however well it is signed."""
    alice, bob = joined(owner, person, "alice", "bob", threshold=2)
    gun = owner.gun
    for days in (-1096, 3, 3650):  # a file lives for 1095 days: past, two days too long, for ever
        elsewhere = Signatory(alice.served, alice.home, lambda days=days: real_clock() + timedelta(days=days))
        repository = alice.publisher.read(gun)
        body = documents.with_tag(documents.empty_targets(elsewhere.clock()), "2", TWO, 3)
        keys, role_keys = keys_of(repository, RELEASES)
        proposed = cosigning.draft(
            RELEASES, body, keys, role_keys, alice.publisher.signers(keys), [], elsewhere.clock()
        )
        alice.publisher.change(repository, {ALICE: lambda file, made=proposed: cosigning.with_proposal(file, made)})
        assert dict(bob.publisher.sign_tag(gun, "2", TWO, 3).missing) == {RELEASES: 1}
        assert "2" not in bob.fresh().tags
        bob.publisher.remove_tag(gun, "2")
    alice.publisher.sign_tag(gun, "2", TWO, 3)
    assert dict(bob.publisher.sign_tag(gun, "2", TWO, 3).missing) == {}


@pytest.mark.parametrize(
    "custom",
    [
        None, 7, [], {}, {"expires": "2026-11-24T00:00:00Z"}, {"sigs": 1, "expires": "x"},
        {"sigs": [], "expires": "9999-99-99T00:00:00Z"}, {"sigs": [1, None, {}], "expires": "2027-11-24T00:00:00Z"},
        {"sigs": [{"keyid": "a", "method": "ecdsa", "sig": "!"}], "expires": "2027-11-24T00:00:00Z"},
        {"sigs": [{"keyid": "a", "method": "ecdsa", "sig": "AAAA"}] * 1000, "expires": "2027-11-24T00:00:00Z"},
    ],
)
def test_a_malformed_proposal_is_nothing(custom: JSON) -> None:
    nothing_is_gained(custom)


def nothing_is_gained(custom: JSON) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    key = PrivateKey.generate()
    body = documents.empty_targets(now)
    meta = replace(FileMeta.of(canonical(documents.targets_document(body))), custom=custom)
    keys = {key.public.key_id: key.public}
    made = cosigning.draft(RELEASES, body, keys, RoleKeys(tuple(keys), 2), [key], [meta], now)
    assert (made.missing, len(made.signatures), made.body) == (1, 1, body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda below: st.lists(below, max_size=4) | st.dictionaries(
            st.sampled_from(["sigs", "expires", "keyid", "method", "sig", "x"]), below, max_size=5
        ),
        max_leaves=20,
    )
)  # fmt: skip
def test_whatever_stands_in_a_proposal_nothing_breaks_and_nothing_is_gained(custom: JSON) -> None:
    nothing_is_gained(custom)


def test_a_tag_is_revoked_by_as_many_as_sign_it(owner: Signatory, person: Maker) -> None:
    alice, bob = joined(owner, person, "alice", "bob", threshold=2)
    gun = owner.gun
    for each in (alice, bob):
        each.publisher.sign_tag(gun, "2", TWO, 3)
    done = alice.publisher.remove_tag(gun, "2")
    assert (done.roles, set(done.left), done.resolves) == ((ALICE,), {RELEASES, BOB}, True)
    assert alice.fresh().tags["2"].digest == TWO
    done = bob.publisher.remove_tag(gun, "2")
    assert (set(done.roles), done.left, done.resolves) == ({BOB, RELEASES}, (), False)
    assert "2" not in bob.fresh().tags


def test_revoking_says_where_a_tag_is_signed_still(owner: Signatory, person: Maker) -> None:
    (alice,) = joined(owner, person, "alice")
    gun = owner.gun
    alice.publisher.sign_tag(gun, "1", TWO, 3)
    assert alice.fresh().tags["1"].role == RELEASES
    done = alice.publisher.remove_tag(gun, "1")
    # It stood in targets before there were signers, and stands there still: docker reports it deleted and finds it.
    assert (set(done.roles), done.left, done.resolves) == ({ALICE, RELEASES}, (TARGETS,), True)
    assert alice.fresh().tags["1"].digest == ONE
    done = owner.publisher.remove_tag(gun, "1")
    assert (done.roles, done.left, done.resolves) == ((TARGETS,), (), False)
    with pytest.raises(NotSignedHere, match="is not signed in any role of yours"):
        owner.publisher.remove_tag(gun, "1")


def test_who_goes_takes_no_tags_along_where_another_signers_key_is_here(owner: Signatory, person: Maker) -> None:
    alice, bob = joined(owner, person, "alice", "bob")
    gun = owner.gun
    mine = owner.key("owner")
    signers.add(owner.publisher, gun, "owner", [mine])
    alice.publisher.sign_tag(gun, "2", TWO, 3)
    gone = signers.remove(owner.publisher, gun, "alice")
    assert gone.lost == ()
    fresh = owner.fresh()
    assert fresh.tags["2"].digest == TWO and fresh.signers("2") == []
    assert ALICE not in fresh.targets
    with pytest.raises(KeyMissing):
        alice.publisher.sign_tag(gun, "3", THREE, 3)
    bob.publisher.sign_tag(gun, "3", THREE, 3)
    assert bob.fresh().signers("3") == ["bob"]


def test_tags_that_nothing_signs_any_more_are_named_and_can_be_signed_again(owner: Signatory, person: Maker) -> None:
    alice, bob = joined(owner, person, "alice", "bob")
    gun = owner.gun
    alice.publisher.sign_tags(gun, {"2": (TWO, 3), "3": (THREE, 3)})
    gone = signers.remove(owner.publisher, gun, "alice")  # neither bob's key nor alice's is with the owner
    assert [(tag.tag, tag.digest) for tag in gone.lost] == [("2", TWO), ("3", THREE)]
    assert set(owner.fresh().tags) == {"1"}
    bob.publisher.sign_tag(gun, "2", TWO, 3)  # over the file that clients leave out, with the version after it
    assert {name: tag.digest for name, tag in bob.fresh().tags.items()} == {"1": ONE, "2": TWO}
    last = signers.remove(owner.publisher, gun, "bob")
    assert [tag.tag for tag in last.lost] == ["2"]
    assert owner.fresh().targets.keys() == {TARGETS}
    with pytest.raises(signers.NoSuchSigner, match="has no signer bob"):
        signers.remove(owner.publisher, gun, "bob")
    owner.publisher.sign_tag(gun, "2", TWO, 3)
    assert owner.fresh().tags["2"].role == TARGETS


def test_a_signer_keeps_to_the_paths_that_were_given(owner: Signatory, person: Maker) -> None:
    alice, ci = person("alice"), person("ci")
    gun = owner.gun
    signers.add(owner.publisher, gun, "ci", [ci.key("ci")], paths=["nightly-", "dev-"])
    ci.publisher.sign_tag(gun, "nightly-7", TWO, 3)
    with pytest.raises(OutOfPaths, match=r"begin with dev-, nightly-, not 2"):
        ci.publisher.sign_tag(gun, "2", TWO, 3)
    signers.add(owner.publisher, gun, "alice", [alice.key("alice")])  # releases are now open, and ci is not
    with pytest.raises(OutOfPaths, match=r"begin with dev-, nightly-, not 2"):
        ci.publisher.sign_tag(gun, "2", TWO, 3)
    alice.publisher.sign_tag(gun, "2", TWO, 3)
    assert set(owner.fresh().tags) == {"1", "2", "nightly-7"}
    assert {entry.name: entry.paths for entry in signers.listed(owner.fresh())} == {
        "ci": ("dev-", "nightly-"), "releases": ("",), "alice": ("",),
    }


def test_a_signer_may_have_several_keys_and_any_of_them_signs(owner: Signatory, person: Maker) -> None:
    desk, bag = person("desk"), person("bag")
    gun = owner.gun
    signers.add(owner.publisher, gun, "alice", [desk.key("alice")])
    signers.add(owner.publisher, gun, "alice", [bag.key("alice")])
    desk.publisher.sign_tag(gun, "2", TWO, 3)
    bag.publisher.sign_tag(gun, "3", THREE, 3)
    assert [bag.fresh().signers(tag) for tag in ("2", "3")] == [["alice"], ["alice"]]
    assert next(len(entry.key_ids) for entry in signers.listed(bag.fresh()) if entry.name == "alice") == 2


def test_what_cannot_be_is_refused_before_anything_is_sent(owner: Signatory, person: Maker) -> None:
    gun = owner.gun
    key = owner.key("x")
    before = owner.served.service.repository_files(gun)
    with pytest.raises(Invalid, match="2 signatures cannot be had from 1 keys"):
        signers.add(owner.publisher, gun, "x", [key], threshold=2)
    for name in ("releases", "a/b", "Bob", ""):
        with pytest.raises(Invalid):
            signers.add(owner.publisher, gun, name, [key])
    assert owner.served.service.repository_files(gun) == before


def test_who_has_no_role_to_propose_in_is_told_how_many_keys_are_needed(owner: Signatory, person: Maker) -> None:
    gun = owner.gun
    lone = person("lone")
    repository, now = owner.publisher.read(gun), owner.clock()
    keys = [lone.key("delegation"), owner.key("other")]
    body = documents.with_delegation(repository.targets[TARGETS].body, RELEASES, keys, threshold=2)
    signed = documents.sign_targets(
        TARGETS, documents.next_targets(body, now), [owner.keys.signer(owner.keys.open(entry.key_id).public)
        for entry in owner.keys.entries() if entry.role == "targets"])  # fmt: skip
    owner.publisher.send(repository, {TARGETS: signed.raw}, now)
    with pytest.raises(TooFewKeys, match="needs 2 signatures, and 1 of its keys are here"):
        lone.publisher.sign_tag(gun, "2", TWO, 3)
