"""Other keys for a repository that is in use: clients that trusted the old ones follow without being told.

1. The new key is on disk (or on its device) before anything names it. A rotation of root or targets that was cut off
   takes the same key again when it is repeated: the newest one of its role that was made after the present one and
   never was in use. What was in use once, earlier roots say; a key that was given up never comes back by itself.
2. A new root is signed by the old root key and the new one, so whoever trusts an older root gets to it, step by step.
   The old certificate stays listed, unused, as clients leave it.
3. New targets keys come with targets signed anew; snapshot and timestamp keys are the server's next ones, and it signs
   both with them as soon as the root names them. All files of a rotation are one publish.
4. Roles that need several signatures are not rotated here: that would lower what was agreed.
Notary v1 wire: root rotation; key endpoints.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from customhouse.errors import Invalid
from customhouse.keys import PublicKey, Signer, certified
from customhouse.trust import documents, signers
from customhouse.trust.certificates import fitting_name, root_certificate
from customhouse.trust.known import former_roots, repositories_of_root
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.publish import Published, TrustPublisher, key_ids, keys_of
from customhouse.trust.verify import SignedTag, TrustedRepository, canonical_ids

SERVER_ROLES = (SNAPSHOT, TIMESTAMP)


class SeveralNeeded(Invalid):
    """A role whose threshold is above 1."""

    def __init__(self, gun: str, role: str, needed: int) -> None:
        super().__init__(
            f"{role} of {gun} needs {needed} signatures; a rotation here would lower that to one",
            hint="Rotate it with the tool that set it up so.",
        )


@dataclass(frozen=True)
class Rotated:
    """What changed: canonical ids of the old keys and the new one, and the root's version.

    `lost`: tags that nothing signs any more. `elsewhere`: repositories known here whose root is an old key still.
    """

    gun: Gun
    role: str
    old: tuple[str, ...]
    new: str
    root_version: int
    lost: tuple[SignedTag, ...] = ()
    elsewhere: tuple[Gun, ...] = ()


def rotate_root(publisher: TrustPublisher, gun: Gun, to: str = "") -> Rotated:
    """A new root key; `to` names one that is here. Raises KeyMissing, SeveralNeeded."""
    old: set[str] = set()
    made: list[Signer] = []

    def act() -> Published:
        repository, now = publisher.read(gun), publisher.clock()
        _require(publisher, repository, ROOT)
        old.update(key_ids(repository, ROOT))
        made[:] = made or [_successor(publisher, repository, ROOT, to)]
        root = certified(made[0], root_certificate(made[0], fitting_name(gun), now))
        return _publish_root(publisher, repository, {ROOT: [root.public]}, [root], {})

    version = _root_after(publisher, gun, act)
    elsewhere = {other for key_id in old for other in repositories_of_root(publisher.keys.directory, key_id)} - {gun}
    new = made[0].public.canonical_id
    return Rotated(gun, ROOT, tuple(sorted(old)), new, version, elsewhere=tuple(sorted(elsewhere)))


def rotate_targets(publisher: TrustPublisher, gun: Gun, to: str = "") -> Rotated:
    """A new targets key, and targets signed with it; the root key signs both. Raises KeyMissing, SeveralNeeded."""
    old: set[str] = set()
    made: list[Signer] = []

    def act() -> Published:
        repository, now = publisher.read(gun), publisher.clock()
        _require(publisher, repository, ROOT, TARGETS)
        old.update(key_ids(repository, TARGETS))
        made[:] = made or [_successor(publisher, repository, TARGETS, to)]
        body = documents.next_targets(repository.targets[TARGETS].body, now)
        files = {TARGETS: documents.sign_targets(TARGETS, body, made).raw}
        return _publish_root(publisher, repository, {TARGETS: [made[0].public]}, [], files)

    version = _root_after(publisher, gun, act)
    return Rotated(gun, TARGETS, tuple(sorted(old)), made[0].public.canonical_id, version)


def rotate_server(publisher: TrustPublisher, gun: Gun, role: RoleName) -> Rotated:
    """The server's next snapshot or timestamp key; a snapshot key that was the publisher's becomes the server's."""
    old: set[str] = set()
    made: list[PublicKey] = []

    def act() -> Published:
        repository = publisher.read(gun)
        _require(publisher, repository, ROOT, role)
        old.update(key_ids(repository, role))
        made[:] = [publisher.server_key(gun, role, new=True)]
        return _publish_root(publisher, repository, {role: made}, [], {})

    version = _root_after(publisher, gun, act)
    return Rotated(gun, role, tuple(sorted(old)), made[0].canonical_id, version)


def rotate_signer(publisher: TrustPublisher, gun: Gun, name: str, public: PublicKey | None, to: str = "") -> Rotated:
    """Another key for a signer, in place of all they had; a new one is made here unless its public part is given.

    Raises NoSuchSigner, KeyMissing.
    """
    own = signers.own_role(name)
    repository = publisher.read(gun)
    publisher.require_key(repository, TARGETS, f"the signers of {gun}")
    if repository.targets[TARGETS].body.delegation(own) is None:
        raise signers.NoSuchSigner(gun, name)
    old = key_ids(repository, own)
    keys = publisher.keys
    new = public or (keys.open(_named(publisher, to, old)) if to else keys.create(name)).public
    done = signers.replace_keys(publisher, gun, name, [new])
    version = publisher.read(gun).root.version
    return Rotated(gun, own, tuple(sorted(old)), new.canonical_id, version, lost=done.lost)


def _root_after(publisher: TrustPublisher, gun: Gun, act: Callable[[], Published]) -> int:
    """Act; the version of the root that is now trusted, and remembered."""
    publisher.persist(gun, act)
    return publisher.read(gun).root.version


def _require(publisher: TrustPublisher, repository: TrustedRepository, *roles: RoleName) -> None:
    """The root key is here, and no role needs several signatures: before any key is made."""
    publisher.require_key(repository, ROOT, f"the root of {repository.gun}")
    for role in roles:
        if (needed := keys_of(repository, role)[1].threshold) > 1:
            raise SeveralNeeded(repository.gun, role, needed)


def _publish_root(
    publisher: TrustPublisher, repository: TrustedRepository, changes: Mapping[RoleName, Sequence[PublicKey]],
    new: Sequence[Signer], files: Mapping[RoleName, bytes],
) -> Published:
    now = publisher.clock()
    hands = [*publisher.signers(keys_of(repository, ROOT)[0]), *new]
    root = documents.rotated(repository.root.body, changes, hands, now)
    return publisher.send(repository, {ROOT: root.raw, **files}, now)


def _successor(publisher: TrustPublisher, repository: TrustedRepository, role: RoleName, to: str) -> Signer:
    """The key to go on with: the one named, the one of a rotation that was cut off (rule 1), or a new one."""
    keys, present = publisher.keys, key_ids(repository, role)
    if to:
        return keys.open(_named(publisher, to, present))
    gun = "" if role == ROOT else str(repository.gun)
    mine = [entry.key_id for entry in keys.entries() if entry.role == role and entry.gun == gun]
    place = max((place for place, key_id in enumerate(mine) if key_id in present), default=len(mine))
    waiting = set(mine[place + 1 :])
    if waiting:
        earlier = publisher.earlier_roots(repository)
        waiting -= {key_id for root in earlier for key_id in canonical_ids(root, role)}
        waiting -= former_roots(keys.directory) if role == ROOT else set()
    left = [key_id for key_id in mine if key_id in waiting]
    return keys.open(left[-1]) if left else keys.create(role, gun)


def _named(publisher: TrustPublisher, name: str, present: set[str]) -> str:
    entry = publisher.keys.entry(name)
    if entry.key_id in present:
        raise Invalid(f"the key {entry.key_id[:12]} is in use already", hint="Leave --to out to have one made.")
    return entry.key_id
