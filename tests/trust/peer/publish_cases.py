"""Cases of a publish: versions, what belongs together, roots and who signs them."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from customhouse.keys import PrivateKey
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust import documents
from customhouse.trust.metadata import format_expires
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from tests.trust.peer.sides import NOW, Repository, case, each, edited, resigned, root_with

Document = dict[str, Any]


def versions(repository: Repository) -> str:
    """Root, targets, snapshot and timestamp as they are served."""
    return "/".join(str(repository.version(role)) for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP))


def client_snapshot(sim: TrustSimulator, version: int = 1) -> bytes:
    """A snapshot by the publisher, of what he has."""
    files = {ROOT: sim.build_root(), **sim.signed_targets()}
    return documents.new_snapshot(files, version, sim.keys[SNAPSHOT], NOW).raw


def own_snapshot(repository: Repository) -> TrustSimulator:
    """A repository whose snapshot key is the publisher's; not published."""
    sim = repository.simulator()
    sim.use_server_keys({TIMESTAMP: repository.server_key(TIMESTAMP)})
    sim.sign_tag("1")
    return sim


def whole(sim: TrustSimulator, version: int = 1) -> dict[RoleName, bytes]:
    """Everything that a publisher with his own snapshot key sends."""
    return {**sim.upload(), SNAPSHOT: client_snapshot(sim, version)}


# ---- versions


@each(["0", "1", "2", "3", "10"], "a first root of version {}")
def first_root(repository: Repository, version: str) -> Iterator[object]:
    raw = root_with(repository.sim, lambda signed: signed.update(version=int(version)))
    yield repository.publish({**repository.sim.upload(TARGETS), ROOT: raw})


@each(["1", "2", "7", "1000", "1001", "2000000000", "2147483648"], "a first targets of version {}")
def first_targets(repository: Repository, version: str) -> Iterator[object]:
    body = repository.sim.bodies[TARGETS]
    raw = edited(
        documents.sign_targets(TARGETS, body, repository.sim.keys[TARGETS]).raw,
        lambda signed: signed.update(version=int(version)), *repository.sim.keys[TARGETS],
    )  # fmt: skip
    yield repository.publish({ROOT: repository.sim.build_root(), TARGETS: raw})


@each([ROOT, TARGETS, "targets/releases"], "{} of the stored version, the same bytes")
def the_same(repository: Repository, role: str) -> Iterator[object]:
    files = repository.published(RELEASES).upload()
    yield repository.publish({role: files[RoleName(role)]})
    yield versions(repository)


@each([ROOT, TARGETS, "targets/releases"], "{} of the stored version, other bytes")
def equal(repository: Repository, role: str) -> Iterator[object]:
    sim = repository.published(RELEASES)
    raw = repository.get(f"{role}.json").body
    later = format_expires(NOW + timedelta(days=20))
    other = edited(raw, lambda signed: signed.update(expires=later), *sim.keys[RoleName(role)])
    yield repository.publish({role: other})


@each([ROOT, TARGETS, "targets/releases"], "{} of a version below the stored one")
def lower(repository: Repository, role: str) -> Iterator[object]:
    sim = repository.published(RELEASES)
    old = sim.upload(RoleName(role))
    for _ in range(2):
        sim.bump(RoleName(role))
        yield repository.publish(sim.upload(RoleName(role)))
    yield repository.publish(old)


@each([TARGETS, "targets/releases"], "{} that leaves versions out")
def gap(repository: Repository, role: str) -> Iterator[object]:
    sim = repository.published(RELEASES)
    for step in (9, 990, 1001, 1_000_000):
        sim.bump(*[RoleName(role)] * (step if step < 1000 else 0))
        raw = sim.upload(RoleName(role))[RoleName(role)]
        if step > 1000:
            far = json.loads(raw)["signed"]["version"] + step
            raw = edited(raw, partial(dict.update, version=far), *sim.keys[RoleName(role)])
        yield repository.publish({role: raw})


@each(["2", "3"], "a root that follows version 1 as version {}")
def next_root(repository: Repository, version: str) -> Iterator[object]:
    sim = repository.published()
    sim.root_version = int(version)
    yield repository.publish(sim.upload(ROOT))
    yield repository.version(ROOT)


# ---- what belongs together


@case("a first publish of targets only")
def no_root(repository: Repository) -> Iterator[object]:
    yield repository.publish(repository.sim.upload(TARGETS))


@case("a first publish of the root only")
def no_targets(repository: Repository) -> Iterator[object]:
    yield repository.publish(repository.sim.upload(ROOT))


@case("a first publish of root and a delegation without targets")
def delegation_only(repository: Repository) -> Iterator[object]:
    repository.sim.delegate(RELEASES)
    yield repository.publish(repository.sim.upload(ROOT, RELEASES))


@case("root, targets and delegations at once, and then each alone")
def usual(repository: Repository) -> Iterator[object]:
    sim = repository.published(RELEASES)
    yield versions(repository)
    for role in (TARGETS, RELEASES, ROOT):
        sim.bump(role)
        yield repository.publish(sim.upload(role))
        yield versions(repository)


# ---- root


@each(["old and new", "old", "new", "a stranger's"], "a root with a new root key, signed by {} key")
def rotated(repository: Repository, by: str) -> Iterator[object]:
    sim = repository.published()
    old = list(sim.keys[ROOT])
    sim.rotate_root(signed_by_old=by == "old and new")
    new = sim.keys[ROOT]
    if by == "old":
        raw = edited(sim.build_root(), lambda signed: None, *old)
    elif by == "a stranger's":
        raw = edited(sim.build_root(), lambda signed: None, PrivateKey.generate())
    else:
        raw = sim.build_root()
    yield repository.publish({ROOT: raw})
    yield versions(repository)
    if by == "old and new":
        sim._root_signers = []
        sim.bump(ROOT, TARGETS)
        yield repository.publish({**sim.upload(TARGETS), ROOT: edited(sim.build_root(), lambda signed: None, *new)})


@each(["alone", "with targets that the new key signed", "with targets that the old key signed"],
      "a root with a new targets key, {}")
def targets_key(repository: Repository, how: str) -> Iterator[object]:
    sim = repository.published()
    sim.bump(ROOT, TARGETS)
    old = sim.upload(TARGETS)
    sim.keys[TARGETS] = [PrivateKey.generate()]
    sent = {**({} if how == "alone" else sim.upload(TARGETS) if "new key s" in how else old), **sim.upload(ROOT)}
    yield repository.publish(sent)
    yield versions(repository)


@case("a root that names a timestamp key that the server does not hold")
def foreign_timestamp(repository: Repository) -> Iterator[object]:
    del repository.sim.server[TIMESTAMP]
    yield repository.publish(repository.sim.upload())


@case("a root that names a snapshot key that the server does not hold, and no snapshot")
def foreign_snapshot(repository: Repository) -> Iterator[object]:
    del repository.sim.server[SNAPSHOT]
    yield repository.publish(repository.sim.upload())


def listing(role: RoleName, repository: Repository, *, threshold: int) -> dict[RoleName, bytes]:
    """The root lists the server's key and one of the publisher's for a role."""
    sim = repository.sim
    mine = sim.keys[role][0].public

    def change(signed: Document) -> None:
        signed["keys"][mine.key_id] = mine.document()
        signed["roles"][role]["keyids"] = sorted([*signed["roles"][role]["keyids"], mine.key_id])
        signed["roles"][role]["threshold"] = threshold

    return {**sim.upload(), ROOT: root_with(sim, change)}


@each([SNAPSHOT, TIMESTAMP], "a root that lists two {} keys, one of them the server's")
def two_keys(repository: Repository, role: str) -> Iterator[object]:
    yield repository.publish(listing(RoleName(role), repository, threshold=1))
    repository.sim.bump(TARGETS)
    yield repository.publish(repository.sim.upload(TARGETS))
    yield versions(repository)


@each([SNAPSHOT, TIMESTAMP], "a root that wants two signatures for {}, of which the server holds one key")
def two_signatures(repository: Repository, role: str) -> Iterator[object]:
    yield repository.publish(listing(RoleName(role), repository, threshold=2))


@each([SNAPSHOT, TIMESTAMP], "a root that lists two {} keys, both the server's")
def two_of_ours(repository: Repository, role: str) -> Iterator[object]:
    sim = repository.published()
    second = repository.server_key(RoleName(role), "POST")

    def change(signed: Document) -> None:
        signed["version"] = 2
        signed["keys"][second.key_id] = second.document()
        signed["roles"][role]["keyids"] = sorted([*signed["roles"][role]["keyids"], second.key_id])

    yield repository.publish({ROOT: root_with(sim, change)})
    yield versions(repository)
    yield f"{len(repository.signatures(role))} signatures"

    def more(signed: Document) -> None:
        change(signed)
        signed["version"] = 3
        signed["roles"][role]["threshold"] = 2

    yield repository.publish({ROOT: root_with(sim, more)})
    yield f"{len(repository.signatures(role))} signatures"


@case("the snapshot key goes from the server to the publisher and back")
def snapshot_there_and_back(repository: Repository) -> Iterator[object]:
    sim = repository.published()
    held = sim.server.pop(SNAPSHOT)
    sim.bump(ROOT)
    yield repository.publish(sim.upload(ROOT))
    yield repository.publish({**sim.upload(ROOT), SNAPSHOT: client_snapshot(sim, 2)})
    sim.bump(TARGETS)
    yield repository.publish(sim.upload(TARGETS))
    yield repository.publish({**sim.upload(TARGETS), SNAPSHOT: client_snapshot(sim, 3)})
    sim.use_server_keys({SNAPSHOT: held})
    sim.bump(ROOT)
    yield repository.publish(sim.upload(ROOT))
    sim.bump(TARGETS)
    yield repository.publish(sim.upload(TARGETS))
    yield versions(repository)


@each(["0", "-1", "2", "true", "1.5"], "a root whose root role has the threshold {}")
def root_threshold(repository: Repository, value: str) -> Iterator[object]:
    sim = repository.sim
    raw = sim.build_root().replace(b'"threshold":1},"snapshot"', f'"threshold":{value}}},"snapshot"'.encode())
    yield repository.publish({**sim.upload(TARGETS), ROOT: resigned(raw, sim.keys[ROOT])})


@each(["1", "2"], "a root role of two keys with threshold 2 and {} of them signing")
def root_threshold_two(repository: Repository, count: str) -> Iterator[object]:
    sim = repository.sim
    sim.keys[ROOT] += repository.simulator().keys[ROOT]
    sim.thresholds[ROOT] = 2
    raw = edited(sim.build_root(), lambda signed: None, *sim.keys[ROOT][: int(count)])
    yield repository.publish({**sim.upload(TARGETS), ROOT: raw})


ROOT_FORMS: dict[str, Callable[[Document], object]] = {
    "without a snapshot role": lambda signed: signed["roles"].pop("snapshot"),
    "with a role that nobody knows": lambda signed: signed["roles"].update(mirror=signed["roles"]["targets"]),
    "that names a key which is not listed": lambda signed: signed["roles"]["targets"]["keyids"].append("0" * 64),
    "without keys for targets": lambda signed: signed["roles"]["targets"].update(keyids=[]),
    "that names a key twice": lambda signed: signed["roles"]["targets"]["keyids"].append(
        signed["roles"]["targets"]["keyids"][0]
    ),
    "with consistent_snapshot": lambda signed: signed.update(consistent_snapshot=True),
    "without consistent_snapshot": lambda signed: signed.pop("consistent_snapshot"),
    "with a key under another id": lambda signed: signed["keys"].update(
        {"0" * 64: next(iter(signed["keys"].values()))}
    ),
    "with a private key in it": lambda signed: next(iter(signed["keys"].values()))["keyval"].update(private="cA=="),
    "with a key of an unknown type that no role uses": lambda signed: signed["keys"].update(
        {"0" * 64: {"keytype": "sphincs", "keyval": {"private": None, "public": "cA=="}}}
    ),
    "with a field that nobody knows": lambda signed: signed.update(x_note="hello"),
}


@each(list(ROOT_FORMS), "a root {}")
def root_forms(repository: Repository, form: str) -> Iterator[object]:
    sim = repository.sim
    yield repository.publish({**sim.upload(TARGETS), ROOT: root_with(sim, ROOT_FORMS[form])})
