"""Signing at another trust server: the hub as the publisher of its mirrors.

1. A mirror's host has a root and a targets key of its own, made here and sealed under "mirror-key:HOST:ROLE"; the
   root's certificate is for `HOST/*`, so that consumers pin it once. They sign who may sign, and never a tag. A root
   that was rotated is kept: it signs once more in each repository, the root that names the new one.
2. Tags are signed with the hub's release key in `targets/releases` and `targets/<hub>`, as at home: after a rotation
   of that key the next look puts every repository on it. Timestamp and snapshot are the foreign server's.
3. What is there already must be signed by this root, and not be older than what was seen: anything else is refused,
   and nothing is written over it.
4. After a publish the repository is read as a fresh client reads it; it must list exactly what was signed.
5. When another publish came first (VERSION), everything is read again and made anew, a few times.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from customhouse import faults
from customhouse.errors import Conflict
from customhouse.keys import PrivateKey, Signer, certified
from customhouse.oci.digest import Digest
from customhouse.publication import plan
from customhouse.publication.plan import HubKeys
from customhouse.remote import RemoteInvalid
from customhouse.replication.store import Row
from customhouse.signing import SealedSigner, Vault
from customhouse.transport import Transport
from customhouse.trust.certificates import root_certificate
from customhouse.trust.client import Anchor, NoTrustData, TrustClient
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TIMESTAMP, Gun, RoleName
from customhouse.trust.publish import post, server_key
from customhouse.trust.verify import TrustedRepository

ATTEMPTS = 4
Tags = Mapping[str, tuple[Digest, int]]


@dataclass(frozen=True)
class Signed:
    """What the trust server has afterwards: the root's bytes, and the version of each role."""

    root: bytes | None
    versions: Mapping[str, int]


def new_keys(vault: Vault, host: str, now: datetime) -> Row:
    """The row of a host's keys."""
    root, targets = PrivateKey.generate(), PrivateKey.generate()
    return {
        "host": host,
        "root": SealedSigner.create(vault, root, _context(host, "root")).sealed,
        "targets": SealedSigner.create(vault, targets, _context(host, "targets")).sealed,
        "certificate": root_certificate(root, f"{host}/*", now).decode(),
        "made": now,
    }


def keys_of(vault: Vault, row: Row, former: Iterable[Row], hub: HubKeys) -> HubKeys:
    """Who signs at this host; `former` are its rotated roots. Raises SealBroken."""
    def signer(role: str, held: Row) -> SealedSigner:
        context = _context(held["host"], role)
        return SealedSigner(
            vault, PrivateKey.of_der(vault.unseal(held[role], context)).public, held[role], context
        )

    def root(held: Row) -> Signer:
        return certified(signer("root", held), held["certificate"].encode())

    return replace(hub, root=root(row), targets=signer("targets", row), former_roots=tuple(map(root, former)))


def sign(
    transport: Transport, gun: Gun, keys: HubKeys, tags: Tags, seen: Mapping[str, int], now: datetime
) -> Signed:
    """Make the repository list exactly these tags. Raises Conflict, and what the client and the server raise."""
    client = TrustClient(transport, actions="push,pull")
    anchor = Anchor(
        enrolled=frozenset(root.public.canonical_id for root in (keys.root, *keys.former_roots)),
        seen={RoleName.parse(role): version for role, version in seen.items()},
    )
    for _ in range(ATTEMPTS):
        files = _files(client, transport, gun, keys, tags, anchor, now)
        if files is None:
            return Signed(None, {})
        faults.point("mirror.trust.signed")
        try:
            if files:
                post(transport, gun, files)
        except RemoteInvalid as error:
            if error.code != "VERSION":
                raise
            cause = error
            continue
        faults.point("mirror.trust.sent")
        return _proved(client.fetch(gun, anchor, now), tags)
    raise Conflict(f"others keep publishing to {gun} at the same time", hint="It is tried again.") from cause


def _files(
    client: TrustClient, transport: Transport, gun: Gun, keys: HubKeys, tags: Tags, anchor: Anchor, now: datetime
) -> dict[RoleName, bytes] | None:
    """What is to be published; None where there is nothing and nothing is wanted."""
    try:
        found = client.fetch_for_update(gun, anchor, now)
    except NoTrustData:
        if not tags:
            return None
        server = {role: server_key(transport, gun, role) for role in (SNAPSHOT, TIMESTAMP)}
        return plan.beginning(keys, server, now) | plan.with_exactly({}, keys, tags, now)
    current = {ROOT: found.root.raw, **{role: signed.raw for role, signed in found.targets.items()}}
    return plan.aligned(current, keys, now) | plan.with_exactly(current, keys, tags, now)


def _proved(found: TrustedRepository, tags: Tags) -> Signed:
    listed = {tag: (each.digest, each.length) for tag, each in found.tags.items() if each.role == RELEASES}
    if listed != dict(tags) or len(found.tags) != len(listed):
        raise Conflict(f"{found.gun} does not list what was signed there", hint="Does another hub publish to it?")
    return Signed(found.root.raw, {str(role): version for role, version in found.versions.items()})


def _context(host: str, role: str) -> str:
    return f"mirror-key:{host}:{role}"
