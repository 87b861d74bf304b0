"""Each spoiler with each role, as a returning client meets it: refused, or left out, with the exact reason."""

import pytest

from customhouse.errors import CustomhouseError
from customhouse.testing.spoilers import SPOILERS, Spoiler
from customhouse.testing.spoilers.harmless import Harmless
from customhouse.testing.trust_simulator import ALICE, DEEP
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from tests.trust.spoiling import EACH_HARMLESS, EACH_SPOILER, as_seen, complete, judged

TAGS = {TARGETS: "1", RELEASES: "r", DEEP: "d", ALICE: "a"}


def test_the_unspoilt_repository_is_valid_and_has_every_kind_of_role() -> None:
    found = as_seen()
    assert not found.skipped
    assert set(found.versions) == {ROOT, TARGETS, SNAPSHOT, TIMESTAMP, RELEASES, DEEP, ALICE}
    assert set(found.versions.values()) == {2}
    assert set(found.tags) == {"1", "r"}
    for role, name in TAGS.items():
        assert (place := found.find(name, [role])) and place[0] == role


@pytest.mark.parametrize(("spoiler", "role"), EACH_SPOILER)
def test_what_is_spoilt_is_refused_or_left_out_with_the_exact_reason(spoiler: Spoiler, role: RoleName) -> None:
    sim = complete()
    expected = spoiler.at_client(sim, role)
    spoiler.apply(sim, role)
    if expected is None:
        assert judged(sim).versions
        return
    if not expected.left_out:
        with pytest.raises(CustomhouseError) as refused:
            judged(sim)
        assert expected.fits(refused.value), f"expected {expected}, got {refused.value!r}"
        assert getattr(refused.value, "role", expected.role) == expected.role
        return
    found = judged(sim)
    assert list(found.skipped) == [expected.role]
    assert expected.fits(found.skipped[expected.role]), f"expected {expected}, got {found.skipped}"
    lost = [name for name in TAGS if name == expected.role or name.startswith(f"{expected.role}/")]
    for name in lost:
        assert name not in found.targets
        assert found.find(TAGS[name], [*TAGS]) is None
        assert TAGS[name] not in found.tags


@pytest.mark.parametrize(("change", "role"), EACH_HARMLESS)
def test_what_other_clients_write_is_accepted(change: Harmless, role: RoleName) -> None:
    sim = complete()
    change.apply(sim, role)
    found = judged(sim)
    assert not found.skipped
    assert set(found.versions) == set(as_seen().versions)


def test_what_only_the_server_can_refuse_is_a_short_list() -> None:
    sim = complete()
    accepted = {spoiler.name for spoiler in SPOILERS for role in spoiler.roles if not spoiler.at_client(sim, role)}
    assert accepted == {"far-ahead", "delegation-left-out"}


def test_every_spoiler_has_its_own_name_and_every_role_its_spoilers() -> None:
    names = [(spoiler.name, role) for spoiler in SPOILERS for role in spoiler.roles]
    assert len(set(names)) == len(names)
    for role in as_seen().versions:
        assert sum(role in spoiler.roles for spoiler in SPOILERS) > 100


def test_a_tag_of_a_role_that_the_snapshot_leaves_out_does_not_resolve() -> None:
    sim = complete()
    sim.edit(SNAPSHOT, lambda signed: signed["meta"].pop(RELEASES))
    found = judged(sim)
    assert set(found.tags) == {"1"}
    assert RELEASES not in found.targets and DEEP not in found.targets


def test_signatures_that_are_missing_are_counted() -> None:
    sim = complete()
    spoiler = next(each for each in SPOILERS if each.name == "role-threshold-beyond-keys")
    spoiler.apply(sim, TARGETS)
    with pytest.raises(CustomhouseError) as refused:
        judged(sim)
    assert (refused.value.valid, refused.value.needed, refused.value.missing) == (1, 3, 2)  # type: ignore[attr-defined]
