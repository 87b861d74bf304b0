"""Who signs the tags of a repository: named signers, each with a role of their own, and together `targets/releases`.

1. A signer's keys stand in `targets/NAME` and in `targets/releases`, as docker has it; the targets key signs both.
2. The paths of `targets/releases` are those of all signers together: clients look there, and cannot tell one signer's
   release from another's. That each signer keeps to their own paths, their client sees to.
3. When keys change, `targets/releases` is signed anew with the keys that are here. Where they are too few, clients
   leave it out, and its tags are lost until they are signed again: `lost` names them.
Notary v1 wire: docker trust signer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from customhouse.errors import Invalid, NotFound
from customhouse.keys import PublicKey
from customhouse.trust import documents
from customhouse.trust.metadata import Targets
from customhouse.trust.names import RELEASES, TARGETS, Gun, RoleName
from customhouse.trust.publish import Published, TrustPublisher, keys_of
from customhouse.trust.verify import SignedTag, TrustedRepository


class NoSuchSigner(NotFound):
    """The repository has no signer of this name."""

    def __init__(self, gun: str, name: str) -> None:
        super().__init__(f"{gun} has no signer {name}", hint=f"See them: customhouse image signer list {gun}")
        self.gun, self.name = gun, name


@dataclass(frozen=True)
class SignersChanged:
    """A change of who may sign: the publish, and the tags that nothing signs any more."""

    published: Published
    lost: tuple[SignedTag, ...]


@dataclass(frozen=True)
class SignerEntry:
    """One role beside targets: its name, keys by canonical id, paths and threshold."""

    name: str
    key_ids: tuple[str, ...]
    paths: tuple[str, ...]
    threshold: int
    tags: int


def listed(repository: TrustedRepository) -> list[SignerEntry]:
    """The direct children of targets."""
    found = []
    for entry in repository.targets[TARGETS].body.delegations:
        keys, role_keys = keys_of(repository, entry.name)
        file = repository.targets.get(entry.name)
        tags = [name for name in file.body.targets if repository.tag(name)] if file else []
        ids = tuple(sorted(key.canonical_id for key in keys.values()))
        found.append(SignerEntry(entry.name.removeprefix("targets/"), ids, entry.paths, role_keys.threshold, len(tags)))
    return found


def add(
    publisher: TrustPublisher, gun: Gun, name: str, keys: Sequence[PublicKey], *,
    paths: Sequence[str] = (), threshold: int | None = None,
) -> SignersChanged:
    """Let keys sign tags under a name, beside the keys it has. No `paths`: as before, or every tag.

    `threshold` is of releases, for all signers; None leaves it as it is. Raises KeyMissing, Invalid.
    """
    own = own_role(name)

    def change(body: Targets) -> Targets:
        entry = body.delegation(own)
        allowed = sorted(set(paths)) or (entry.paths if entry else ("",))
        body = documents.with_delegation(body, own, [*_keys(body, own).values(), *keys], allowed)
        return _released(body, [*_keys(body, RELEASES).values(), *keys], threshold)

    return _delegate(publisher, gun, change)


def remove(publisher: TrustPublisher, gun: Gun, name: str) -> SignersChanged:
    """Let a signer sign no more. Raises NoSuchSigner, KeyMissing."""
    own = own_role(name)

    def change(body: Targets) -> Targets:
        gone = _keys(body, own)
        if not gone:
            raise NoSuchSigner(gun, name)
        body = documents.without_delegation(body, own)
        others = {key_id for entry in body.delegations if entry.name != RELEASES for key_id in entry.keys.key_ids}
        left = [key for key_id, key in _keys(body, RELEASES).items() if key_id not in gone or key_id in others]
        return _released(body, left, None) if left else documents.without_delegation(body, RELEASES)

    return _delegate(publisher, gun, change)


def replace_keys(publisher: TrustPublisher, gun: Gun, name: str, keys: Sequence[PublicKey]) -> SignersChanged:
    """Other keys for a signer, in place of all they had. Raises NoSuchSigner, KeyMissing."""
    own = own_role(name)

    def change(body: Targets) -> Targets:
        entry, gone = body.delegation(own), _keys(body, own)
        if entry is None:
            raise NoSuchSigner(gun, name)
        body = documents.with_delegation(body, own, keys, entry.paths)
        others = {key_id for each in body.delegations if each.name != RELEASES for key_id in each.keys.key_ids}
        left = [key for key_id, key in _keys(body, RELEASES).items() if key_id not in gone or key_id in others]
        return _released(body, [*left, *keys], None)

    return _delegate(publisher, gun, change, own)


def own_role(name: str) -> RoleName:
    """The role of a signer's name. Raises InvalidRole, Invalid."""
    role = RoleName.parse(f"{TARGETS}/{name}")
    if role == RELEASES or role.depth != 2:
        raise Invalid(
            f"{name!r} cannot be the name of a signer", hint="Take a-z 0-9 _ -, such as a person's or machine's name."
        )
    return role


def _delegate(
    publisher: TrustPublisher, gun: Gun, change: Callable[[Targets], Targets], *roles: RoleName
) -> SignersChanged:
    """The new targets; releases and `roles` are signed anew, where enough of the keys that they now have are here."""
    before: dict[str, SignedTag] = {}

    def act() -> Published:
        repository, now = publisher.read(gun), publisher.clock()
        before.update(repository.tags)
        publisher.require_key(repository, TARGETS, f"the signers of {gun}")
        targets = documents.next_targets(change(repository.targets[TARGETS].body), now)
        signers = publisher.signers(keys_of(repository, TARGETS)[0])
        files = {TARGETS: documents.sign_targets(TARGETS, targets, signers).raw}
        for role in (RELEASES, *roles):
            file, entry = repository.targets.get(role), targets.delegation(role)
            here = publisher.signers(_keys(targets, role))
            if file and entry and len(here) >= entry.keys.threshold:
                files[role] = documents.sign_targets(role, documents.next_targets(file.body, now), here).raw
        return publisher.send(repository, files, now)

    published = publisher.persist(gun, act)
    after = publisher.read(gun).tags
    return SignersChanged(published, tuple(tag for name, tag in sorted(before.items()) if name not in after))


def _released(body: Targets, keys: Sequence[PublicKey], threshold: int | None) -> Targets:
    """With the role that all signers share."""
    entry = body.delegation(RELEASES)
    needed = threshold or (min(entry.keys.threshold, len(keys)) if entry else 1)
    distinct = {key.canonical_id for key in keys}
    if needed > len(distinct):
        raise Invalid(
            f"{needed} signatures cannot be had from {len(distinct)} keys",
            hint="Add the other signers first, then the threshold with the last of them.",
        )
    paths = {path for each in body.delegations if each.name != RELEASES for path in each.paths}
    return documents.with_delegation(body, RELEASES, keys, ("",) if "" in paths or not paths else sorted(paths), needed)


def _keys(body: Targets, role: RoleName) -> dict[str, PublicKey]:
    """The keys of a child role, by TUF id; {} where there is no such role."""
    entry = body.delegation(role)
    return {key_id: body.keys[key_id] for key_id in entry.keys.key_ids} if entry else {}
