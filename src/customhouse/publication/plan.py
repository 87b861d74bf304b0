"""What a publication signs: the files of an official GUN with a tag added or removed. Pure.

1. root (x509, CN `<host>/*`) and targets are signed once, when the GUN begins, and at rotation; their keys may be
   taken off-line afterwards.
2. The online key signs `targets/releases`, which clients look up first, and `targets/<hub>`, by which they show who
   signed. Both always list the same tags.
3. Snapshot and timestamp are the trust server's; it signs them when the files are committed.
4. No key and no signature of a publisher is ever among these files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from customhouse.keys import PublicKey, Signer
from customhouse.oci.digest import Digest
from customhouse.trust import documents
from customhouse.trust.metadata import Targets, parse_targets
from customhouse.trust.names import RELEASES, ROOT, TARGETS, RoleName


@dataclass(frozen=True)
class HubKeys:
    """The hub's signers: root and targets for the beginning of a GUN, `release` for every publication."""

    root: Signer
    targets: Signer
    release: Signer
    name: str

    @property
    def signer_role(self) -> RoleName:
        """The delegation that names the hub as signer."""
        return RoleName.parse(f"targets/{self.name}")


def beginning(keys: HubKeys, server: Mapping[RoleName, PublicKey], now: datetime) -> dict[RoleName, bytes]:
    """The root and targets of a GUN that has none."""
    root = documents.new_root(documents.top_keys(keys.root.public, keys.targets.public, server), [keys.root], now)
    body = documents.empty_targets(now)
    for role in (keys.signer_role, RELEASES):
        body = documents.with_delegation(body, role, [keys.release.public])
    targets = documents.sign_targets(TARGETS, body, [keys.targets])
    return {ROOT: root.raw, TARGETS: targets.raw}


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


def renewed(current: Mapping[RoleName, bytes], keys: HubKeys, now: datetime) -> dict[RoleName, bytes]:
    """Targets and delegations that are in the second half of their life, signed anew with the same content."""
    signers = {TARGETS: keys.targets, RELEASES: keys.release, keys.signer_role: keys.release}
    files = {}
    for role, signer in signers.items():
        if role not in current:
            continue
        body = parse_targets(current[role], role).body
        if body.expires - now < documents.TARGETS_LIFETIME / 2:
            files[role] = documents.sign_targets(role, documents.next_targets(body, now), [signer]).raw
    return files


def _next(current: Mapping[RoleName, bytes], keys: HubKeys, now: datetime) -> dict[RoleName, Targets]:
    """Both delegations at their next version; a first one is version 1."""
    bodies = {}
    for role in (RELEASES, keys.signer_role):
        if role in current:
            bodies[role] = documents.next_targets(parse_targets(current[role], role).body, now)
        else:
            bodies[role] = documents.empty_targets(now)
    return bodies
