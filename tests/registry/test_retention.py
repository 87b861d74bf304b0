"""Retention: what staging keeps by number, age and name, with all that this needs and all that refers to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.certification.submission import State
from customhouse.errors import Denied, NotFound
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry import keeper
from customhouse.registry.keeper import Let
from customhouse.registry.retention import HeldManifest, HeldTag, RetentionRule, going, retention_of
from customhouse.registry.rules import InvalidRule
from customhouse.registry.service import RegistryService
from customhouse.repositories.service import RepositoriesService
from tests.conftest import Clock
from tests.registry.conftest import image, index
from tests.registry.test_following import holds, signed
from tests.registry.test_service import LAYER, SOURCE, put_blob, put_image
from tests.rooms import ADMIN, CARL, PAULA, WEB, Rooms
from tests.rooms import image as whole_image

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ALL = "staging/**"


def rule(**more: Any) -> RetentionRule:
    numbers: dict[str, Any] = {"newest": None, "days": None, "never": (), "untagged_days": None, **more}
    return RetentionRule(more.pop("repositories", ALL), **{k: v for k, v in numbers.items() if k != "repositories"},
                         added_by="admin", added=NOW)  # fmt: skip


def keep(service: RegistryService, **more: Any) -> None:
    numbers: dict[str, Any] = {"newest": None, "days": None, "never": (), "untagged_days": None, **more}
    service.retention.set(ADMIN, ALL, **numbers)


def run(service: RegistryService, *wanted: Digest) -> list[Let]:
    told = list(service.retention.look(ADMIN, lambda tx, name: frozenset(wanted)))
    gone = list(service.retention.run(lambda tx, name: frozenset(wanted)))
    assert {tag for let in told for tag in let.tags} == {tag for let in gone for tag in let.tags}
    assert list(service.retention.run(lambda tx, name: frozenset(wanted))) == []
    assert list(service.breaches(rehash=True)) == []
    return gone


@pytest.mark.parametrize(
    "numbers",
    [
        {}, {"newest": 0}, {"days": -1}, {"untagged_days": 0}, {"newest": 10**9}, {"newest": 1, "never": ("a b",)},
        {"newest": 1, "never": ("a",) * 51}, {"newest": 1, "repositories": "acme/*"},
        {"newest": 1, "repositories": "**"},
    ],
)  # fmt: skip
def test_what_is_no_retention_is_no_rule(numbers: dict[str, Any]) -> None:
    with pytest.raises(InvalidRule):
        rule(**numbers)


def test_of_the_rules_that_match_the_last_counts_and_nothing_official_matches() -> None:
    rules = [rule(newest=1), rule(newest=2, repositories="staging/a/*")]
    assert [retention_of(rules, name) for name in ("staging/a/b", "staging/b/b", "a/b", "quarantine/a")] == [
        rules[1], rules[0], None, None
    ]  # fmt: skip


_DIGESTS = [Digest.of(b"%d" % number) for number in range(8)]


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 20), st.integers(-1, 7), st.sets(st.integers(0, 7)))),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 7), st.integers(0, 20))),
    st.integers(1, 3), st.integers(1, 10), st.integers(1, 10), st.sets(st.integers(0, 7), max_size=2),
)  # fmt: skip
def test_what_stays_lacks_nothing_and_what_is_wanted_stays(
    made: list[Any], named: list[Any], newest: int, days: int, untagged: int, wanted: set[int]
) -> None:
    held = {
        own: HeldManifest(
            _DIGESTS[own], NOW - timedelta(days=age), _DIGESTS[subject] if 0 <= subject < own else None,
            tuple(_DIGESTS[child] for child in children if child < own),
        )
        for own, age, subject, children in made
    }  # fmt: skip
    tags = {name: HeldTag(name, _DIGESTS[at], NOW - timedelta(days=age)) for name, at, age in named}
    asked = rule(newest=newest, days=days, never=("a",), untagged_days=untagged)
    need = frozenset(_DIGESTS[number] for number in wanted)
    found = going(asked, list(tags.values()), held.values(), standing=["b"], wanted=need, now=NOW)
    gone = [each.digest for each in found.manifests]
    left = {each.digest: each for each in held.values() if each.digest not in gone}
    stay = [tag for tag in tags.values() if tag not in found.tags]
    assert {"a", "b"} & set(tags) <= {tag.name for tag in stay} and len(stay) >= min(newest, len(tags))
    assert not need & set(gone) and not need & {tag.digest for tag in found.tags}
    assert not {tag.digest for tag in stay} & set(gone)
    for each in left.values():  # nothing that stays lost what it needs, nor do signatures of what stays go
        assert not set(each.children) & set(gone)
    for each in found.manifests:
        assert each.subject not in left and NOW - each.pushed_at >= timedelta(days=untagged)
        assert all(gone.index(each.digest) < gone.index(child) for child in each.children if child in gone)


def test_the_newest_the_young_and_those_that_never_go_are_kept(service: RegistryService, clock: Clock) -> None:
    for tag in ("v1", "old", "1", "2", "3"):
        put_image(service, SOURCE, tag, tag.encode())
        clock.advance(days=1)
    keep(service, newest=1, days=2, never=("v*",))
    (let,) = run(service)
    assert (let.repository, let.tags, let.manifests) == (SOURCE, ("1", "2", "old"), ())  # "3" is the newest
    assert service.tags(SOURCE) == ["3", "v1"]
    keep(service, untagged_days=3)
    (let,) = run(service)
    assert let.tags == () and len(let.manifests) == 2  # of "2", pushed two days ago, not yet
    with service.store.read() as tx:
        runs = [entry for entry in service._audit.entries(tx) if entry.action == "retention.run"]
    told = [(entry.actor, entry.subject, entry.detail["tags"]) for entry in runs]
    assert told == [("hub", SOURCE, 3), ("hub", SOURCE, 0)]


def test_an_index_keeps_its_images_and_a_subject_its_signatures(service: RegistryService, clock: Clock) -> None:
    put_image(service, SOURCE)
    service.push_manifest(SOURCE, "all", index(image(LAYER)), m.OCI_INDEX)
    service.delete_tag(SOURCE, "1", "alice")
    signature, of_tag = signed(service, index(image(LAYER)), "signature"), b"cosigned"
    put_blob(service, SOURCE, of_tag)
    cosigned = f"sha256-{Digest.of(index(image(LAYER))).hex}.sig"
    service.push_manifest(SOURCE, cosigned, image(of_tag), None)
    clock.advance(days=30)
    keep(service, newest=1, untagged_days=1)
    assert run(service) == [] and service.tags(SOURCE) == ["all", cosigned]
    service.delete_tag(SOURCE, "all", "alice")
    (let,) = run(service)
    assert let.tags == (cosigned,)
    assert holds(service, image(LAYER), index(image(LAYER)), signature, image(of_tag)) == [False] * 4
    assert service.tags(SOURCE) == []


def test_a_push_again_makes_young_and_a_young_signature_keeps_its_subject(
    service: RegistryService, clock: Clock
) -> None:
    for layer in (b"pushed again", b"signed now", b"old"):
        put_image(service, SOURCE, "x", layer)
    service.delete_tag(SOURCE, "x", "alice")
    keep(service, untagged_days=2)
    clock.advance(days=3)
    for layer in (b"pushed again", LAYER):
        put_blob(service, SOURCE, layer)
    service.push_manifest(SOURCE, str(Digest.of(image(b"pushed again"))), image(b"pushed again"), None)
    signature = signed(service, image(b"signed now"), "signature")
    run(service)
    kept = holds(service, image(b"pushed again"), image(b"signed now"), signature, image(b"old"))
    assert kept == [True, True, True, False]


def test_locked_tags_and_what_is_wanted_stay(service: RegistryService, clock: Clock) -> None:
    digests = {tag: put_image(service, SOURCE, tag, tag.encode()) for tag in ("locked", "wanted", "gone", "newest")}
    clock.advance(days=9)
    put_image(service, SOURCE, "newest", b"newest")
    service.rules.add(ADMIN, ALL, "locked", locked=True)
    keep(service, newest=1, untagged_days=1)
    (let,) = run(service, digests["wanted"])
    assert let.tags == ("gone",) and let.manifests == (digests["gone"],)
    assert service.tags(SOURCE) == ["locked", "newest", "wanted"]


def test_much_goes_a_part_at_a_time(
    service: RegistryService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "AT_ONCE", 2)
    for number in range(5):
        put_image(service, SOURCE, f"t{number}", b"%d" % number)
    service.push_manifest(SOURCE, "all", index(*[image(b"%d" % number) for number in range(5)]), m.OCI_INDEX)
    clock.advance(days=9)
    put_image(service, SOURCE, "new")
    keep(service, newest=1, untagged_days=1)
    gone = run(service)
    assert len(gone) >= 3 and service.tags(SOURCE) == ["new"]
    assert sum(len(let.manifests) for let in gone) == 6


def test_rules_are_administrators(service: RegistryService) -> None:
    keep(service, newest=3)
    keep(service, newest=4)
    assert [each.newest for each in service.retention.rules(CARL)] == [4]
    for refused in (
        lambda: service.retention.set(CARL, ALL, newest=1, days=None, never=(), untagged_days=None),
        lambda: service.retention.remove(CARL, ALL), lambda: service.retention.rules(PAULA),
        lambda: list(service.retention.look(CARL, lambda tx, name: frozenset())),
    ):  # fmt: skip
        with pytest.raises(Denied):
            refused()
    service.retention.remove(ADMIN, ALL)
    with pytest.raises(NotFound):
        service.retention.remove(ADMIN, ALL)


def test_what_is_official_or_under_way_is_not_touched(rooms: Rooms) -> None:
    """Of two signed images one is verified, and pinned; the other is yet to be verified."""
    done = rooms.publish(whole_image("a"), "1")
    pinned = rooms.go(rooms.submit(whole_image("b"), "2"), until="verify")
    waiting = rooms.submit(whole_image("c"), "3")
    rooms.clock.advance(days=1)
    rooms.push(whole_image("d"), "4")
    service = RepositoriesService(
        rooms.registry, rooms.certification, rooms.audit, rooms.clock, True, lambda who, name: None
    )
    service.retention.set(ADMIN, ALL, newest=1, days=None, never=(), untagged_days=1)
    told, _ = service.would_go(ADMIN)
    gone, more = service.let_go(ADMIN)
    assert not more and [let.tags for let in told] == [let.tags for let in gone]
    assert {tag for let in gone for tag in let.tags} == {"1", "2"}
    assert rooms.registry.tags(WEB) == ["3", "4"]
    assert [rooms.go(row.id).state for row in (pinned, waiting)] == [State.PUBLISHED, State.PUBLISHED]
    assert rooms.registry.resolve("acme/web", "1").digest == done.digest


def test_a_turn_of_the_upkeep_goes_on_where_the_one_before_stopped(rooms: Rooms) -> None:
    names = [f"staging/acme/{name}" for name in "abcd"]
    for name in names:
        for tag in ("1", "2"):
            rooms.push(whole_image(f"{name} {tag}"), tag, name)
            rooms.clock.advance(seconds=1)
    service = RepositoriesService(
        rooms.registry, rooms.certification, rooms.audit, rooms.clock, True, lambda who, name: None
    )
    service.retention.set(ADMIN, ALL, newest=1, days=None, never=(), untagged_days=None)
    left = []
    for _ in range(8):  # no time at all: one piece of work a turn, and a look at what is left is one of its own
        service.retain(0)
        left.append([len(rooms.registry.tags(name)) for name in names])
    assert left == [[1, 2, 2, 2]] * 2 + [[1, 1, 2, 2]] * 2 + [[1, 1, 1, 2]] * 2 + [[1, 1, 1, 1]] * 2
    service.retain(60)
    service.retain(60)
    assert [len(rooms.registry.tags(name)) for name in names] == [1, 1, 1, 1]
