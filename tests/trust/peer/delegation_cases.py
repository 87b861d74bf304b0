"""Cases of a publish: publishers' snapshots, delegations, expiry, races."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any

from customhouse.keys import PrivateKey
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust import documents
from customhouse.trust.metadata import FileMeta, format_expires
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, RoleName
from tests.trust.peer.publish_cases import client_snapshot, own_snapshot, versions, whole
from tests.trust.peer.sides import NOW, Repository, case, each, edited

Document = dict[str, Any]
ALICE = RoleName("targets/alice")


# ---- snapshot


SNAPSHOTS: dict[str, Callable[[Document], object]] = {
    "as it should be": lambda signed: None,
    "with another hash for root": lambda signed: signed["meta"]["root"].update(other_hash()),
    "with another hash for targets": lambda signed: signed["meta"]["targets"].update(other_hash()),
    "with another hash for a delegation": lambda signed: signed["meta"]["targets/releases"].update(other_hash()),
    "with another length for targets": lambda signed: signed["meta"]["targets"].update(length=7),
    "without targets": lambda signed: signed["meta"].pop("targets"),
    "without root": lambda signed: signed["meta"].pop("root"),
    "without a delegation that is sent": lambda signed: signed["meta"].pop("targets/releases"),
    "with a delegation that is nowhere": lambda signed: signed["meta"].update(
        {"targets/nobody": signed["meta"]["targets"]}
    ),
    "with a name that is no role": lambda signed: signed["meta"].update({"x": signed["meta"]["targets"]}),
    "with sha512 only": lambda signed: [each["hashes"].pop("sha256") for each in signed["meta"].values()],
    "with sha256 only": lambda signed: [each["hashes"].pop("sha512") for each in signed["meta"].values()],
    "of version 0": lambda signed: signed.update(version=0),
    "that has expired": lambda signed: signed.update(expires=format_expires(NOW - timedelta(hours=1))),
}


def other_hash() -> Document:
    return {"hashes": FileMeta.of(b"other").document()["hashes"]}


@each(list(SNAPSHOTS), "a publisher's snapshot {}")
def snapshots(repository: Repository, form: str) -> Iterator[object]:
    sim = own_snapshot(repository)
    sim.delegate(RELEASES)
    changed = edited(client_snapshot(sim), SNAPSHOTS[form], *sim.keys[SNAPSHOT])
    yield repository.publish({**sim.upload(), SNAPSHOT: changed})


@case("a publisher's snapshot that a stranger signed")
def foreign_snapshot_signature(repository: Repository) -> Iterator[object]:
    sim = own_snapshot(repository)
    strange = edited(client_snapshot(sim), lambda signed: None, PrivateKey.generate())
    yield repository.publish({**sim.upload(), SNAPSHOT: strange})


@case("a snapshot that a publisher signed in place of the server")
def snapshot_for_server(repository: Repository) -> Iterator[object]:
    yield repository.publish({**repository.sim.upload(), SNAPSHOT: client_snapshot(repository.sim)})


@case("a publisher's snapshot that leaves out a delegation of before, is older, or keeps a file that was replaced")
def later_snapshot(repository: Repository) -> Iterator[object]:
    sim = own_snapshot(repository)
    sim.delegate(RELEASES)
    yield repository.publish(whole(sim))
    first = client_snapshot(sim)
    sim.bump(TARGETS)
    files = {ROOT: sim.build_root(), **sim.upload(TARGETS)}
    short = documents.new_snapshot(files, 2, sim.keys[SNAPSHOT], NOW).raw
    yield repository.publish({**sim.upload(TARGETS), SNAPSHOT: short})
    yield repository.publish({**sim.upload(TARGETS), SNAPSHOT: client_snapshot(sim, 1)})
    yield repository.publish({**sim.upload(TARGETS), SNAPSHOT: first})
    yield repository.publish(sim.upload(TARGETS))
    yield versions(repository)


@case("a publisher's snapshot alone, of the next version")
def snapshot_alone(repository: Repository) -> Iterator[object]:
    sim = own_snapshot(repository)
    yield repository.publish(whole(sim))
    yield repository.publish({SNAPSHOT: client_snapshot(sim, 2)})
    yield repository.publish({SNAPSHOT: client_snapshot(sim, 9)})
    yield versions(repository)


# ---- delegations


@case("a delegation that nobody declared")
def undeclared(repository: Repository) -> Iterator[object]:
    sim = repository.published()
    sim.delegate(ALICE)
    yield repository.publish(sim.upload(ALICE))


@case("a delegation of a delegation that nobody declared")
def undeclared_below(repository: Repository) -> Iterator[object]:
    sim = repository.published(RELEASES)
    below = sim.delegate("targets/releases/a")
    yield repository.publish(sim.upload(below))
    orphan = RoleName("targets/nobody/a")
    yield repository.publish({orphan: sim.upload(below)[below]})


@case("parent and child in one upload, in every order of the parts")
def orders(repository: Repository) -> Iterator[object]:
    sim = repository.published()
    sim.delegate(RELEASES)
    below = sim.delegate("targets/releases/a")
    for order in permutations((TARGETS, RELEASES, below)):
        sim.bump(*order)
        files = sim.upload(*order)
        yield repository.publish({role: files[role] for role in order})


@case("delegations four deep, at once and then only the deepest")
def deep(repository: Repository) -> Iterator[object]:
    names = ["targets/a", "targets/a/b", "targets/a/b/c", "targets/a/b/c/d"]
    sim = repository.published(*names)
    deepest = RoleName(names[-1])
    for role in (deepest, RoleName(names[1]), deepest):
        sim.bump(role)
        yield repository.publish(sim.upload(role))
    yield f"in the snapshot: {len(repository.current(SNAPSHOT)['meta'])}"  # type: ignore[arg-type]


@case("a tag outside the paths of its delegation")
def outside(repository: Repository) -> Iterator[object]:
    sim = repository.sim
    sim.delegate(RELEASES, paths=["v"])
    sim.sign_tag("1", b"x", RELEASES)
    yield repository.publish(sim.upload())


@each(["1", "2"], "a delegation of threshold 2 with {} signatures")
def threshold(repository: Repository, count: str) -> Iterator[object]:
    sim = repository.sim
    sim.delegate(RELEASES, keys=2, threshold=2)
    sim.keys[RELEASES] = sim.keys[RELEASES][: int(count)]
    yield repository.publish(sim.upload())


@case("a delegation of threshold 2 with two signatures of one key")
def threshold_fooled(repository: Repository) -> Iterator[object]:
    sim = repository.sim
    sim.delegate(RELEASES, keys=2, threshold=2)
    sim.keys[RELEASES] = sim.keys[RELEASES][:1] * 2
    yield repository.publish(sim.upload())


DELEGATIONS: dict[str, Callable[[Document], object]] = {
    "of threshold 0": lambda signed: signed["delegations"]["roles"][0].update(threshold=0),
    "of threshold 5": lambda signed: signed["delegations"]["roles"][0].update(threshold=5),
    "without keys": lambda signed: signed["delegations"]["roles"][0].update(keyids=[]),
    "of keys null": lambda signed: signed["delegations"]["roles"][0].update(keyids=None),
    "of a key that is not listed": lambda signed: signed["delegations"]["roles"][0]["keyids"].append("0" * 64),
    "without paths": lambda signed: signed["delegations"]["roles"][0].pop("paths"),
    "with empty paths": lambda signed: signed["delegations"]["roles"][0].update(paths=[]),
    "with paths null": lambda signed: signed["delegations"]["roles"][0].update(paths=None),
    "named targets/a/b": lambda signed: signed["delegations"]["roles"][0].update(name="targets/a/b"),
    "named targets": lambda signed: signed["delegations"]["roles"][0].update(name="targets"),
    "named root": lambda signed: signed["delegations"]["roles"][0].update(name="root"),
    "named targets/A": lambda signed: signed["delegations"]["roles"][0].update(name="targets/A"),
    "listed twice": lambda signed: signed["delegations"]["roles"].append(signed["delegations"]["roles"][0]),
    "with a field that nobody knows": lambda signed: signed["delegations"]["roles"][0].update(terminating=True),
    "whose key stands under another id": lambda signed: other_id(signed),
}


def other_id(signed: Document) -> None:
    keys, entry = signed["delegations"]["keys"], signed["delegations"]["roles"][0]
    keys["0" * 64] = keys.pop(entry["keyids"][0])
    entry["keyids"] = ["0" * 64]


@each(list(DELEGATIONS), "targets that declare a delegation {}")
def declared(repository: Repository, form: str) -> Iterator[object]:
    sim = repository.sim
    sim.delegate(RELEASES)
    raw = edited(sim.upload(TARGETS)[TARGETS], DELEGATIONS[form], *sim.keys[TARGETS])
    yield repository.publish({ROOT: sim.build_root(), TARGETS: raw})


def entrust(sim: TrustSimulator, role: RoleName, keys: list[PrivateKey], threshold: int = 1) -> None:
    """The parent gives a role to these keys; its next version is ready."""
    sim.keys[role] = keys
    parent = documents.without_delegation(sim.bodies[role.parent], role)
    publics = [key.public for key in keys]
    sim.bodies[role.parent] = documents.with_delegation(parent, role, publics, threshold=threshold)
    sim.bump(role.parent)


@case("a delegation that is removed, and declared again with another key")
def removed(repository: Repository) -> Iterator[object]:
    sim = repository.published(RELEASES)
    sim.bump(RELEASES)
    yield repository.publish(sim.upload(RELEASES))
    sim.remove_delegation(RELEASES)
    sim.bump(TARGETS)
    yield repository.publish(sim.upload(TARGETS))
    meta = repository.current(SNAPSHOT)["meta"]
    yield "still in the snapshot" if RELEASES in meta else "no longer in the snapshot"  # type: ignore[operator]
    yield repository.get("targets/releases.json")
    sim.delegate(RELEASES)
    sim.bump(TARGETS)
    yield repository.publish(sim.upload(TARGETS, RELEASES))


@each(["another key", "a second key", "two signatures"],
      "a delegation of version 2 is given to {}, and signed from version 1")
def given_away(repository: Repository, to: str) -> Iterator[object]:
    sim = repository.published(RELEASES)
    sim.bump(RELEASES)
    yield repository.publish(sim.upload(RELEASES))
    old, new = sim.keys[RELEASES][0], PrivateKey.generate()
    entrust(sim, RELEASES, [new] if to == "another key" else [old, new], 2 if to == "two signatures" else 1)
    yield repository.publish(sim.upload(TARGETS))
    meta = repository.current(SNAPSHOT)["meta"]
    yield "in the snapshot" if RELEASES in meta else "no longer in the snapshot"  # type: ignore[operator]
    sim.bodies[RELEASES] = documents.empty_targets(NOW)
    yield repository.publish(sim.upload(RELEASES))


@case("a delegation whose parent was given to another key")
def parent_given_away(repository: Repository) -> Iterator[object]:
    below = RoleName("targets/releases/a")
    sim = repository.published(RELEASES, below)
    entrust(sim, RELEASES, [PrivateKey.generate()])
    yield repository.publish(sim.upload(TARGETS))
    sim.bump(below)
    yield repository.publish(sim.upload(below))


# ---- expiry


@each([ROOT, TARGETS, "targets/releases"], "{} that has expired")
def expired(repository: Repository, role: str) -> Iterator[object]:
    repository.sim.delegate(RELEASES)
    repository.sim.expire(RoleName(role))
    yield repository.publish(repository.sim.upload())


@case("what is published after targets, a delegation or the root has expired")
def after_expiry(repository: Repository) -> Iterator[object]:
    """One wait for all three."""
    sims = {}
    for number, role in enumerate((TARGETS, ALICE, ROOT)):
        other = Repository(repository.side, f"{repository.gun.rpartition('/')[2]}-{number}")
        for name in (RELEASES, ALICE):
            other.sim.delegate(name)
        files, end = other.sim.upload(), NOW.now(NOW.tzinfo) + timedelta(seconds=5)
        files[role] = edited(files[role], partial(dict.update, expires=format_expires(end)), *other.sim.keys[role])
        yield other.publish(files)
        sims[other] = other.sim
    time.sleep(max(0, (end - NOW.now(NOW.tzinfo)).total_seconds() + 0.2))
    for other, sim in sims.items():
        sim.bump(RELEASES)
        yield other.publish(sim.upload(RELEASES))
    (first, second, third) = sims
    first.sim.bump(TARGETS)
    yield first.publish(first.sim.upload(TARGETS))
    second.sim.bodies[ALICE] = documents.empty_targets(NOW)
    yield second.publish(second.sim.upload(ALICE))
    third.sim.bump(ROOT)
    yield third.publish(third.sim.upload(ROOT))


# ---- races and several repositories


@case("two updates that follow the same version")
def race(repository: Repository) -> Iterator[object]:
    sim = repository.published(RELEASES)
    sim.bump(TARGETS, RELEASES)
    sim.sign_tag("left")
    left = sim.upload(TARGETS)
    sim.remove_tag("left")
    sim.sign_tag("right")
    yield repository.publish(left)
    yield repository.publish(sim.upload(TARGETS))
    yield repository.publish(sim.upload(TARGETS, RELEASES))
    sim.bump(TARGETS)
    yield repository.publish(sim.upload(TARGETS, RELEASES))


@case("files of another repository")
def other_repository(repository: Repository) -> Iterator[object]:
    other = Repository(repository.side, f"{repository.gun.rpartition('/')[2]}-other")
    yield repository.publish(other.published().upload())


@case("a file of another role under this name")
def other_role(repository: Repository) -> Iterator[object]:
    sim = repository.sim
    files = sim.upload()
    yield repository.publish({ROOT: files[TARGETS], TARGETS: files[TARGETS]})
    yield repository.publish({ROOT: files[ROOT], TARGETS: files[ROOT]})
    sim.delegate(RELEASES)
    yield repository.publish({**sim.upload(), RELEASES: sim.upload(TARGETS)[TARGETS]})


@case("everything that a repository has, once more under a new version of targets")
def with_old_rest(repository: Repository) -> Iterator[object]:
    sim = repository.published(RELEASES)
    sim.bump(TARGETS)
    yield repository.post(*multipart(sim.upload()))
