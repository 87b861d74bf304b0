"""The client's rules, each broken once."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from customhouse.errors import Invalid
from customhouse.keys import PrivateKey
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust import documents
from customhouse.trust.certificates import CertificateRefused, covers, root_certificate
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import (
    Altered,
    NotEnoughSignatures,
    RoleExpired,
    RoleMissing,
    RolledBack,
    RootNotEnrolled,
    TrustedRepository,
    TrustError,
    verify_repository,
)

GUN = "localhost:5443/staging/acme/web"


@pytest.fixture
def sim(now: datetime) -> TrustSimulator:
    made = TrustSimulator(GUN, now)
    made.bump(TARGETS, SNAPSHOT, TIMESTAMP)
    made.sign_tag("1")
    return made


def verify(
    sim: TrustSimulator,
    *,
    enrolled: frozenset[str] | None = None,
    seen: dict[RoleName, int] | None = None,
    at: datetime | None = None,
    gun: str = GUN,
) -> TrustedRepository:
    files = sim.files()
    return verify_repository(
        files, sim.roots, gun=Gun.parse(gun), enrolled=enrolled, seen=seen or {}, now=at or sim.now
    )


def test_a_valid_repository_gives_its_tags_versions_and_root_keys(sim: TrustSimulator) -> None:
    digest = sim.sign_tag("2", b"another")
    found = verify(sim)
    assert found.tags["2"].digest == digest
    assert found.tags["2"].length == len(b"another")
    assert found.tags["2"].role == TARGETS
    assert found.versions == {ROOT: 1, TARGETS: 2, SNAPSHOT: 2, TIMESTAMP: 2}
    assert found.root_keys == {sim.keys[ROOT][0].public.canonical_id}


@pytest.mark.parametrize("role", [ROOT, TARGETS, SNAPSHOT, TIMESTAMP])
def test_an_expired_top_role_is_named(sim: TrustSimulator, role: RoleName) -> None:
    sim.expire(role)
    with pytest.raises(RoleExpired) as refused:
        verify(sim)
    assert refused.value.role == role
    assert "expired on 2026-11-23 11:00 UTC" in refused.value.message


@pytest.mark.parametrize("role", [ROOT, TARGETS, SNAPSHOT, TIMESTAMP])
@pytest.mark.parametrize(
    "spoil", [TrustSimulator.drop_signature, TrustSimulator.swap_key, TrustSimulator.forge], ids=lambda f: f.__name__
)
def test_a_top_role_without_its_signature_is_refused_with_the_count(
    sim: TrustSimulator, role: RoleName, spoil: Callable[[TrustSimulator, RoleName], None]
) -> None:
    spoil(sim, role)
    with pytest.raises(NotEnoughSignatures) as refused:
        verify(sim)
    assert (refused.value.role, refused.value.valid, refused.value.needed) == (role, 0, 1)
    assert refused.value.missing == 1


@pytest.mark.parametrize("role", [TARGETS, SNAPSHOT, TIMESTAMP])
def test_a_version_below_the_seen_one_is_refused(sim: TrustSimulator, role: RoleName) -> None:
    seen = verify(sim).versions
    sim.roll_back(role)
    with pytest.raises(RolledBack) as refused:
        verify(sim, seen=seen)
    assert (refused.value.role, refused.value.version, refused.value.seen) == (role, 1, 2)


def test_an_older_root_than_the_seen_one_is_refused(sim: TrustSimulator) -> None:
    with pytest.raises(RolledBack) as refused:
        verify(sim, seen={ROOT: 2})
    assert refused.value.role == ROOT


@pytest.mark.parametrize(("role", "by"), [(ROOT, SNAPSHOT), (TARGETS, SNAPSHOT), (SNAPSHOT, TIMESTAMP)])
@pytest.mark.parametrize("what", ["hash", "length"])
def test_a_file_other_than_the_named_one_is_refused(
    sim: TrustSimulator, role: RoleName, by: RoleName, what: str
) -> None:
    (sim.change_hash if what == "hash" else sim.change_length)(role)
    with pytest.raises(Altered) as refused:
        verify(sim)
    assert (refused.value.role, refused.value.by, refused.value.what) == (role, by, what)


@pytest.mark.parametrize("role", [ROOT, TARGETS, SNAPSHOT, TIMESTAMP])
@pytest.mark.parametrize(
    "spoil", [TrustSimulator.re_encode, TrustSimulator.add_field, TrustSimulator.repeat_field],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_a_document_that_readers_could_read_differently_is_refused(
    sim: TrustSimulator, role: RoleName, spoil: Callable[[TrustSimulator, RoleName], None]
) -> None:
    spoil(sim, role)
    with pytest.raises(InvalidMetadata) as refused:
        verify(sim)
    assert refused.value.role == role


@pytest.mark.parametrize("role", [TARGETS, SNAPSHOT, TIMESTAMP])
def test_a_missing_file_is_refused(sim: TrustSimulator, role: RoleName) -> None:
    files = sim.files()
    del files[role]
    with pytest.raises(RoleMissing) as refused:
        verify_repository(files, sim.roots, gun=sim.gun, enrolled=None, seen={}, now=sim.now)
    assert refused.value.role == role


def test_without_any_root_nothing_is_trusted(sim: TrustSimulator) -> None:
    files = sim.files()
    del files[ROOT]
    with pytest.raises(RoleMissing):
        verify_repository(files, [], gun=sim.gun, enrolled=None, seen={}, now=sim.now)


def test_two_signatures_by_one_key_count_once(sim: TrustSimulator) -> None:
    sim.keys[TARGETS].append(PrivateKey.generate())
    sim.thresholds[TARGETS] = 2
    assert verify(sim).tags
    sim.repeat_signature(TARGETS)
    sim.roots.clear()
    with pytest.raises(NotEnoughSignatures) as refused:
        verify(sim)
    assert (refused.value.valid, refused.value.needed) == (1, 2)


def test_two_certificates_of_one_key_count_once(sim: TrustSimulator, now: datetime) -> None:
    key = sim.keys[ROOT][0]
    again = PrivateKey(key.crypto).with_certificate(root_certificate(key, GUN, now - timedelta(hours=1)))
    assert again.public.key_id != key.public.key_id
    sim.keys[ROOT].append(again)
    sim.thresholds[ROOT] = 2
    with pytest.raises(NotEnoughSignatures) as refused:
        verify(sim)
    assert (refused.value.role, refused.value.valid) == (ROOT, 1)


def test_only_an_enrolled_root_key_is_trusted(sim: TrustSimulator) -> None:
    mine = sim.keys[ROOT][0].public.canonical_id
    assert verify(sim, enrolled=frozenset({mine})).tags
    with pytest.raises(RootNotEnrolled) as refused:
        verify(sim, enrolled=frozenset({"0" * 64}))
    assert refused.value.found == {mine}
    with pytest.raises(RootNotEnrolled):
        verify(sim, enrolled=frozenset())


def test_a_rotated_root_is_trusted_through_the_enrolled_one(sim: TrustSimulator) -> None:
    first = sim.keys[ROOT][0].public.canonical_id
    second = sim.rotate_root().public.canonical_id
    assert verify(sim, enrolled=frozenset({first})).root_keys == {second}
    assert verify(sim, enrolled=frozenset({second})).root.version == 2
    third = sim.rotate_root().public.canonical_id
    assert verify(sim, enrolled=frozenset({first})).root_keys == {third}
    assert len(sim.roots) == 3


def test_a_root_swapped_without_the_old_key_is_refused(sim: TrustSimulator) -> None:
    first = sim.keys[ROOT][0].public.canonical_id
    sim.rotate_root(signed_by_old=False)
    with pytest.raises(NotEnoughSignatures) as refused:
        verify(sim, enrolled=frozenset({first}))
    assert refused.value.role == ROOT
    assert "by the root keys of version 1" in refused.value.message


def test_two_different_roots_of_one_version_are_refused(sim: TrustSimulator) -> None:
    sim.files()
    sim.roots.append(TrustSimulator(GUN, sim.now).build_root())
    with pytest.raises(TrustError, match="two different roots of version 1"):
        verify(sim)


def test_a_certificate_for_another_repository_is_refused(sim: TrustSimulator, now: datetime) -> None:
    with pytest.raises(CertificateRefused) as refused:
        verify(sim, gun="localhost:5443/staging/other/web")
    assert "one is for 'localhost:5443/staging/acme/web'" in refused.value.message


def test_a_certificate_for_a_prefix_is_accepted(now: datetime) -> None:
    sim = TrustSimulator(GUN, now, common_name="localhost:5443/*")
    assert verify(sim).versions[ROOT] == 1
    assert covers("*", GUN)
    assert not covers("localhost:5443/staging", GUN)
    assert not covers("", GUN)


def test_a_certificate_is_refused_after_its_end_and_a_day_before_its_beginning(now: datetime) -> None:
    key = PrivateKey.generate()
    late = key.with_certificate(root_certificate(key, GUN, now + timedelta(days=2)))
    with pytest.raises(CertificateRefused, match="valid only from 2026-11-25"):
        verify(TrustSimulator(GUN, now, root_key=late))
    old = key.with_certificate(root_certificate(key, GUN, now - timedelta(days=4000)))
    with pytest.raises(CertificateRefused, match="expired on"):
        verify(TrustSimulator(GUN, now, root_key=old))


def test_a_root_key_without_certificate_is_refused(sim: TrustSimulator) -> None:
    sim.keys[ROOT] = [PrivateKey.generate()]
    with pytest.raises(CertificateRefused, match="without a certificate"):
        verify(sim)


def test_releases_win_over_targets_and_other_delegations_are_no_tags(sim: TrustSimulator) -> None:
    releases, alice = sim.delegate(RELEASES), sim.delegate("targets/alice")
    mine = sim.sign_tag("1", b"released", releases)
    sim.sign_tag("1", b"released", alice)
    sim.sign_tag("only-alice", b"x", alice)
    found = verify(sim)
    assert found.tags["1"].digest == mine
    assert found.tags["1"].role == RELEASES
    assert "only-alice" not in found.tags
    assert found.signers("1") == ["alice"]


def test_a_name_found_first_below_releases_hides_the_one_in_targets_as_docker_has_it(sim: TrustSimulator) -> None:
    sim.delegate(RELEASES)
    below = sim.delegate("targets/releases/x")
    sim.sign_tag("1", b"below", below)
    assert "1" not in verify(sim).tags


def test_a_delegation_signs_only_its_paths_and_never_more_than_its_parent(sim: TrustSimulator) -> None:
    releases = sim.delegate(RELEASES, paths=["v1"])
    sim.sign_tag("v1.2", b"allowed", releases)
    sim.sign_tag("v2.0", b"not allowed", releases)
    sim.sign_tag("v2.0", b"by targets")
    found = verify(sim)
    assert found.tags["v1.2"].role == RELEASES
    assert found.tags["v2.0"].role == TARGETS
    sim.delegate("targets/releases/y", paths=["v2", "v1.5"])
    assert verify(sim).paths[RoleName("targets/releases/y")] == ("v1.5",)


@pytest.mark.parametrize(
    "spoil", [TrustSimulator.expire, TrustSimulator.drop_signature, TrustSimulator.re_encode], ids=lambda f: f.__name__
)
def test_an_unusable_delegation_is_left_out_and_said(
    sim: TrustSimulator, spoil: Callable[[TrustSimulator, RoleName], None]
) -> None:
    releases = sim.delegate(RELEASES)
    sim.sign_tag("1", b"released", releases)
    spoil(sim, releases)
    found = verify(sim)
    assert found.tags["1"].role == TARGETS
    assert RELEASES in found.skipped


def test_a_delegation_below_its_threshold_is_left_out(sim: TrustSimulator) -> None:
    releases = sim.delegate(RELEASES, keys=2, threshold=2)
    sim.sign_tag("r", b"x", releases)
    assert "r" in verify(sim).tags
    sim.drop_signature(releases)
    found = verify(sim)
    assert "r" not in found.tags
    assert "1 of 2 needed signatures" in found.skipped[RELEASES].message


def test_a_delegation_that_was_altered_rolled_back_or_lost_fails_everything(sim: TrustSimulator) -> None:
    releases = sim.delegate(RELEASES)
    sim.bump(releases)
    with pytest.raises(RolledBack):
        verify(sim, seen={RELEASES: 3})
    sim.change_hash(releases)
    with pytest.raises(Altered):
        verify(sim)
    files = sim.files()
    del files[releases]
    with pytest.raises(RoleMissing):
        verify_repository(files, sim.roots, gun=sim.gun, enrolled=None, seen={}, now=sim.now)


def test_names_that_are_no_tags_are_not_offered_as_tags(sim: TrustSimulator) -> None:
    sim.sign_tag("-not/a tag")
    assert list(verify(sim).tags) == ["1"]


def test_builders_make_the_next_version_and_keep_the_rest(now: datetime) -> None:
    body = documents.empty_targets(now)
    key = PrivateKey.generate()
    later = documents.next_targets(documents.with_delegation(body, RELEASES, [key.public]), now + timedelta(days=1))
    assert later.version == 2
    assert later.expires == now + timedelta(days=1) + documents.TARGETS_LIFETIME
    gone = documents.without_delegation(later, RELEASES)
    assert not gone.delegations
    assert not gone.keys
    assert documents.sign_targets(TARGETS, gone, [key]).body == gone


def test_no_changed_byte_anywhere_is_ever_trusted(sim: TrustSimulator) -> None:
    sim.delegate(RELEASES)
    sim.sign_tag("1", b"released", RELEASES)
    sim.roots.clear()
    files = sim.files()
    chance = random.Random(20261123)  # the same bytes are changed in every run
    for _ in range(600):
        role = chance.choice(list(files))
        at, bit = chance.randrange(len(files[role])), 1 << chance.randrange(8)
        spoilt = files[role][:at] + bytes([files[role][at] ^ bit]) + files[role][at + 1 :]
        with pytest.raises(Invalid):
            verify_repository({**files, role: spoilt}, [], gun=sim.gun, enrolled=sim_root(sim), seen={}, now=sim.now)


def sim_root(sim: TrustSimulator) -> frozenset[str]:
    return frozenset({sim.keys[ROOT][0].public.canonical_id})
