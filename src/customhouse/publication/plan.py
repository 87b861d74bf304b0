"""What a publication signs: the files of an official GUN with a tag added or removed. Pure.

1. root (x509, CN `<host>/*`) and targets are signed once, when the GUN begins, and when keys or names change or half
   of their life is over (`aligned`).
2. The online key signs `targets/releases`, which clients look up first, and `targets/<hub>`, by which they show who
   signed. Both always list the same tags.
3. Snapshot and timestamp are the trust server's; it signs them when the files are committed.
4. No key and no signature of a publisher is ever among these files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from customhouse.errors import NotFound
from customhouse.keys import CertifiedSigner, PublicKey, Signer
from customhouse.oci.digest import Digest
from customhouse.trust import documents
from customhouse.trust.metadata import Delegation, Root, Targets, parse_root, parse_targets
from customhouse.trust.names import RELEASES, ROOT, TARGETS, RoleName


class RootKeyAbsent(NotFound):
    """The root of a GUN was signed with a key that the hub no longer has."""

    def __init__(self, found: Iterable[str]) -> None:
        ids = ", ".join(sorted(key[:12] for key in found))
        super().__init__(f"the root key {ids} is not among the hub's keys", hint="Restore keys/ from a backup.")


@dataclass(frozen=True)
class HubKeys:
    """The hub's signers: root and targets for who may sign in a GUN, `release` for every publication.

    `former_roots` are root keys that were rotated: they sign once more, the root that names the new one.
    """

    root: Signer
    targets: Signer
    release: Signer
    name: str
    former_roots: tuple[Signer, ...] = ()

    @property
    def signer_role(self) -> RoleName:
        """The delegation that names the hub as signer."""
        return RoleName.parse(f"targets/{self.name}")


def beginning(keys: HubKeys, server: Mapping[RoleName, PublicKey], now: datetime) -> dict[RoleName, bytes]:
    """The root and targets of a GUN that has none."""
    root = documents.new_root(documents.top_keys(keys.root.public, keys.targets.public, server), [keys.root], now)
    body = _delegating(documents.empty_targets(now), keys)
    return {ROOT: root.raw, TARGETS: documents.sign_targets(TARGETS, body, [keys.targets]).raw}


def with_tag(
    current: Mapping[RoleName, bytes], keys: HubKeys, tag: str, digest: Digest, length: int, now: datetime
) -> dict[RoleName, bytes]:
    """The two delegations with `tag` naming the manifest `digest` of `length` bytes."""
    return {
        role: documents.sign_targets(role, documents.with_tag(body, tag, digest, length), [keys.release]).raw
        for role, body in _next(current, keys, now).items()
    }


def without_tag(current: Mapping[RoleName, bytes], keys: HubKeys, tag: str, now: datetime) -> dict[RoleName, bytes]:
    """The two delegations without `tag`."""
    return {
        role: documents.sign_targets(role, documents.without_tag(body, tag), [keys.release]).raw
        for role, body in _next(current, keys, now).items()
    }


def with_exactly(
    current: Mapping[RoleName, bytes], keys: HubKeys, tags: Mapping[str, tuple[Digest, int]], now: datetime
) -> dict[RoleName, bytes]:
    """The two delegations with these tags (digest, length) and no others; nothing when they are so already."""
    wanted = documents.empty_targets(now)
    for tag, (digest, length) in tags.items():
        wanted = documents.with_tag(wanted, tag, digest, length)
    roles = (RELEASES, keys.signer_role)
    if all(role in current and parse_targets(current[role], role).body.targets == wanted.targets for role in roles):
        return {}
    return {
        role: documents.sign_targets(role, replace(body, targets=wanted.targets), [keys.release]).raw
        for role, body in _next(current, keys, now).items()
    }


def aligned(current: Mapping[RoleName, bytes], keys: HubKeys, now: datetime) -> dict[RoleName, bytes]:
    """What must be signed so that a GUN stands on the present keys and name, in the first half of its life.

    Empty when it does. Raises RootKeyAbsent.
    """
    files = _aligned_root(parse_root(current[ROOT]).body, keys, now)
    before = parse_targets(current[TARGETS], TARGETS).body
    wanted = _delegating(before, keys)
    changed = {_entry(entry) for entry in wanted.delegations} != {_entry(entry) for entry in before.delegations}
    if changed or files or _old(before, now):
        body = documents.next_targets(wanted, now)
        files[TARGETS] = documents.sign_targets(TARGETS, body, [keys.targets]).raw
    for role, body in _next(current, keys, now).items() if RELEASES in current else ():
        if changed or role not in current or _old(parse_targets(current[role], role).body, now):
            files[role] = documents.sign_targets(role, body, [keys.release]).raw
    return files


def ahead(current: Mapping[RoleName, bytes], keys: HubKeys, step: int, now: datetime) -> dict[RoleName, bytes]:
    """Targets and delegations as they are, `step` versions further. The root is not signed anew: its versions follow
    each other one by one."""
    files = {}
    for role, raw in current.items():
        if role == TARGETS or role.is_delegation:
            body = documents.next_targets(parse_targets(raw, role).body, now)
            body = replace(body, version=body.version + step - 1)
            files[role] = documents.sign_targets(role, body, [keys.targets if role == TARGETS else keys.release]).raw
    return files


def _aligned_root(root: Root, keys: HubKeys, now: datetime) -> dict[RoleName, bytes]:
    listed = {role: root.roles[role].key_ids for role in (ROOT, TARGETS)}
    wanted = {ROOT: (keys.root.public.key_id,), TARGETS: (keys.targets.public.key_id,)}
    if listed == wanted and root.expires - now >= documents.ROOT_LIFETIME / 2:
        return {}
    held = {signer.public.canonical_id: signer for signer in (*keys.former_roots, keys.root)}
    publics = [root.keys[key_id] for key_id in listed[ROOT]]
    absent = [public.canonical_id for public in publics if public.canonical_id not in held]
    if absent:
        raise RootKeyAbsent(absent)
    signers: list[Signer] = [CertifiedSigner(held[public.canonical_id], public) for public in publics]
    if keys.root.public.key_id not in listed[ROOT]:
        signers.append(keys.root)
    changes = {ROOT: [keys.root.public], TARGETS: [keys.targets.public]}
    return {ROOT: documents.rotated(root, changes, signers, now).raw}


def _delegating(body: Targets, keys: HubKeys) -> Targets:
    """Targets that delegate to the hub's name and to releases with the release key, and to nobody else."""
    for entry in body.delegations:
        if entry.name not in (keys.signer_role, RELEASES):
            body = documents.without_delegation(body, entry.name)
    for role in (keys.signer_role, RELEASES):
        body = documents.with_delegation(body, role, [keys.release.public])
    return body


def _entry(entry: Delegation) -> tuple[RoleName, tuple[str, ...], tuple[str, ...]]:
    return entry.name, entry.keys.key_ids, entry.paths


def _old(body: Targets, now: datetime) -> bool:
    return body.expires - now < documents.TARGETS_LIFETIME / 2


def _next(current: Mapping[RoleName, bytes], keys: HubKeys, now: datetime) -> dict[RoleName, Targets]:
    """Both delegations at their next version, with the tags of releases; a first one is version 1."""
    tags = parse_targets(current[RELEASES], RELEASES).body.targets if RELEASES in current else {}
    bodies = {}
    for role in (RELEASES, keys.signer_role):
        if role in current:
            bodies[role] = documents.next_targets(parse_targets(current[role], role).body, now)
        else:
            bodies[role] = documents.empty_targets(now)
        bodies[role] = replace(bodies[role], targets=tags)
    return bodies
