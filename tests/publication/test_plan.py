"""What a publication signs, read as a client reads it: verify.py judges every set of files that is made here."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from customhouse.keys import PrivateKey
from customhouse.oci.digest import Digest
from customhouse.publication import plan
from customhouse.publication.plan import HubKeys
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust import documents
from customhouse.trust.certificates import root_certificate
from customhouse.trust.metadata import parse_file, parse_root
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import TrustedRepository, verify_repository

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GUN = Gun.parse("hub.example/acme/web")
HUB = RoleName.parse("targets/customhouse")
SERVER = {role: PrivateKey.generate() for role in (SNAPSHOT, TIMESTAMP)}
PUBLICS = {role: key.public for role, key in SERVER.items()}
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


def hub_keys(name: str = "customhouse") -> HubKeys:
    root = PrivateKey.generate()
    certified = root.with_certificate(root_certificate(root, "hub.example/*", NOW))
    return HubKeys(certified, PrivateKey.generate(), PrivateKey.generate(), name)


KEYS = hub_keys()


def completed(files: Mapping[RoleName, bytes], version: int = 1) -> dict[RoleName, bytes]:
    """With the snapshot and timestamp that the trust server makes at the commit."""
    whole = {role: raw for role, raw in files.items() if role not in (SNAPSHOT, TIMESTAMP)}
    whole[SNAPSHOT] = documents.new_snapshot(whole, version, [SERVER[SNAPSHOT]], NOW).raw
    whole[TIMESTAMP] = documents.new_timestamp(whole[SNAPSHOT], version, [SERVER[TIMESTAMP]], NOW).raw
    return whole


def first(tag: str = "1", digest: Digest | None = None, keys: HubKeys = KEYS) -> dict[RoleName, bytes]:
    digest = digest or Digest.of(b"one")
    return completed(
        {**plan.beginning(keys, PUBLICS, NOW), **plan.with_tag({}, keys, tag, digest, 3, NOW)}
    )


def seen(files: Mapping[RoleName, bytes], keys: HubKeys = KEYS) -> TrustedRepository:
    enrolled = frozenset({keys.root.public.canonical_id})
    return verify_repository(files, [], gun=GUN, enrolled=enrolled, seen={}, now=NOW)


def test_a_first_publication_is_a_repository_that_shows_the_hub_as_signer() -> None:
    trusted = seen(first())
    tag = trusted.tags["1"]
    assert (tag.digest, tag.length, tag.role) == (Digest.of(b"one"), 3, RELEASES)
    assert trusted.signers("1") == ["customhouse"] and not trusted.skipped
    assert set(trusted.targets) == {TARGETS, RELEASES, HUB}
    assert trusted.targets[TARGETS].body.targets == {}, "the targets key signs no tags: it can be off-line"


def test_a_next_publication_needs_neither_root_nor_targets() -> None:
    before = first()
    files = plan.with_tag(before, KEYS, "2", Digest.of(b"two"), 3, NOW)
    assert set(files) == {RELEASES, HUB}
    trusted = seen(completed({**before, **files}, 2))
    assert set(trusted.tags) == {"1", "2"} and trusted.versions[RELEASES] == trusted.versions[HUB] == 2


def test_a_withdrawal_is_a_next_version_without_the_tag() -> None:
    before = first()
    trusted = seen(completed({**before, **plan.without_tag(before, KEYS, "1", NOW)}, 2))
    assert trusted.tags == {} and trusted.versions[RELEASES] == 2


def test_one_hubs_files_are_not_believed_under_the_root_of_another() -> None:
    with pytest.raises(Exception, match="not one that was enrolled"):
        seen(first(keys=hub_keys()))


def test_a_release_key_of_another_hub_signs_nothing() -> None:
    before = first()
    stranger = HubKeys(KEYS.root, KEYS.targets, PrivateKey.generate(), KEYS.name)
    trusted = seen(completed({**before, **plan.with_tag(before, stranger, "2", Digest.of(b"x"), 1, NOW)}, 2))
    assert trusted.tags == {} and set(trusted.skipped) == {RELEASES, HUB}


def key_ids(files: Mapping[RoleName, bytes]) -> set[str]:
    """Every key that is listed or signed anywhere."""
    found: set[str] = set()
    for role, raw in files.items():
        signed = parse_file(role, raw)
        found |= {signature.key_id for signature in signed.signatures}
        found |= set(getattr(signed.body, "keys", {}))
    return found


def test_no_key_of_a_publisher_is_in_any_file() -> None:
    publisher = TrustSimulator("hub.example/staging/acme/web", NOW)
    publisher.delegate(RELEASES)
    digest = publisher.sign_tag("1", b"one")
    theirs = {key.public.key_id for keys in publisher.keys.values() for key in keys}
    files = first("1", digest)
    ours = {KEYS.root.public.key_id, KEYS.targets.public.key_id, KEYS.release.public.key_id}
    assert key_ids(files) == ours | {key.key_id for key in PUBLICS.values()}
    assert not key_ids(files) & theirs


@settings(max_examples=25, deadline=None)
@given(tags=st.dictionaries(TAGS, st.binary(min_size=1, max_size=9), min_size=1, max_size=5))
def test_whatever_is_published_is_what_clients_resolve(tags: dict[str, bytes]) -> None:
    files: dict[RoleName, bytes] = {}
    for number, (tag, content) in enumerate(tags.items(), 1):
        made = plan.with_tag(files, KEYS, tag, Digest.of(content), len(content), NOW)
        files = completed({**(files or plan.beginning(KEYS, PUBLICS, NOW)), **made}, number)
    found = seen(files).tags
    assert {name: (tag.digest, tag.length) for name, tag in found.items()} == {
        name: (Digest.of(content), len(content)) for name, content in tags.items()
    }
    assert key_ids(files) == key_ids(first())


class Publications(RuleBasedStateMachine):
    """Tags come, move and go in any order; both delegations always say the same, and versions only rise."""

    def __init__(self) -> None:
        super().__init__()
        self.files, self.version, self.said = first("0", Digest.of(b"0")), 1, {"0": Digest.of(b"0")}

    def then(self, made: Mapping[RoleName, bytes]) -> None:
        before = seen(self.files).versions
        self.version += 1
        self.files = completed({**self.files, **made}, self.version)
        after = seen(self.files).versions
        assert all(after[role] >= before[role] for role in before) and after[RELEASES] == before[RELEASES] + 1

    @rule(tag=st.sampled_from("0123"), content=st.binary(max_size=3))
    def publish(self, tag: str, content: bytes) -> None:
        self.then(plan.with_tag(self.files, KEYS, tag, Digest.of(content), len(content), NOW))
        self.said[tag] = Digest.of(content)

    @rule(tag=st.sampled_from("0123"))
    def withdraw(self, tag: str) -> None:
        self.then(plan.without_tag(self.files, KEYS, tag, NOW))
        self.said.pop(tag, None)

    @invariant()
    def clients_see_what_was_said(self) -> None:
        trusted = seen(self.files)
        assert {name: tag.digest for name, tag in trusted.tags.items()} == self.said
        assert trusted.targets[RELEASES].body.targets == trusted.targets[HUB].body.targets
        assert parse_file(ROOT, self.files[ROOT]).version == 1


TestPublications = Publications.TestCase
TestPublications.settings = settings(max_examples=10, stateful_step_count=8, deadline=None)


def after(files: Mapping[RoleName, bytes], made: Mapping[RoleName, bytes], keys: HubKeys) -> TrustedRepository:
    """As a consumer sees it who pinned the first root, and had seen what there was."""
    roots = [files[ROOT], *([made[ROOT]] if ROOT in made else [])]
    whole = {role: raw for role, raw in completed({**files, **made}, 2).items() if role != ROOT}
    known = {parse_file(ROOT, files[ROOT]).body.keys[key].canonical_id for key in root_ids(files[ROOT])}  # type: ignore[union-attr]
    trusted = verify_repository(whole, roots, gun=GUN, enrolled=frozenset(known), seen=seen_versions(files), now=NOW)
    assert trusted.root_keys == {keys.root.public.canonical_id}
    assert not trusted.skipped
    return trusted


def root_ids(raw: bytes) -> tuple[str, ...]:
    return parse_root(raw).body.roles[ROOT].key_ids


def seen_versions(files: Mapping[RoleName, bytes]) -> dict[RoleName, int]:
    return {role: parse_file(role, raw).version for role, raw in files.items()}


def test_what_is_on_the_present_keys_and_young_needs_nothing() -> None:
    files = first()
    assert plan.aligned(files, KEYS, NOW) == {} == plan.aligned(files, KEYS, NOW + timedelta(days=500))


def test_what_is_in_the_second_half_of_its_life_is_signed_anew_with_the_same_tags() -> None:
    files = first()
    later = NOW + timedelta(days=600)
    made = plan.aligned(files, KEYS, later)
    assert set(made) == {TARGETS, RELEASES, HUB}
    trusted = seen(completed({**files, **made}, 2))
    assert set(trusted.tags) == {"1"} and trusted.versions[RELEASES] == 2
    assert all(trusted.targets[role].expires == later + documents.TARGETS_LIFETIME for role in made)


def test_a_root_in_the_second_half_of_its_life_is_signed_anew_by_the_same_key() -> None:
    made = plan.aligned(first(), KEYS, NOW + timedelta(days=1900))
    assert set(made) == {ROOT, TARGETS, RELEASES, HUB}
    assert parse_root(made[ROOT]).version == 2
    assert after(first(), made, KEYS).versions[ROOT] == 2


@pytest.mark.parametrize("role", ["root", "targets", "release", "root and release"])
def test_a_repository_follows_a_rotated_key_and_keeps_its_tags(role: str) -> None:
    new = hub_keys()
    changes = {name: getattr(new, name) for name in role.split(" and ")}
    keys = replace(KEYS, **changes, former_roots=(KEYS.root,) if "root" in changes else ())
    files = first()
    made = plan.aligned(files, keys, NOW)
    expected = {"root": {ROOT, TARGETS}, "targets": {ROOT, TARGETS}, "release": {TARGETS, RELEASES, HUB}}
    assert set(made) == set().union(*(expected[name] for name in changes))
    trusted = after(files, made, keys)
    assert trusted.tags["1"].digest == Digest.of(b"one") and trusted.signers("1") == ["customhouse"]
    done = completed({**files, **made}, 2)
    assert plan.aligned(done, keys, NOW) == {}, "and needs it once"
    again = completed({**done, **plan.with_tag(done, keys, "2", Digest.of(b"two"), 3, NOW)}, 3)
    assert set(after(files, again, keys).tags) == {"1", "2"}


def test_the_old_release_key_signs_nothing_any_more() -> None:
    keys = replace(KEYS, release=PrivateKey.generate())
    files = first()
    moved = completed({**files, **plan.aligned(files, keys, NOW)}, 2)
    stolen = completed({**moved, **plan.with_tag(moved, KEYS, "evil", Digest.of(b"evil"), 4, NOW)}, 3)
    assert "evil" not in seen(stolen, keys).tags


def test_two_rotations_of_the_root_may_be_made_up_for_in_one() -> None:
    second, third = hub_keys(), hub_keys()
    keys = replace(KEYS, root=third.root, former_roots=(KEYS.root, second.root))
    assert after(first(), plan.aligned(first(), keys, NOW), keys).tags


def test_a_root_key_that_is_gone_is_named() -> None:
    with pytest.raises(plan.RootKeyAbsent, match=KEYS.root.public.canonical_id[:12]):
        plan.aligned(first(), replace(KEYS, root=hub_keys().root), NOW)


def test_a_hub_of_another_name_shows_itself_under_it_and_keeps_the_tags() -> None:
    keys = replace(KEYS, name="ministry")
    files = first()
    trusted = after(files, plan.aligned(files, keys, NOW), keys)
    assert trusted.signers("1") == ["ministry"] and set(trusted.targets) == {TARGETS, RELEASES, "targets/ministry"}
