"""Building signed files: dict, canonical bytes, signatures of a list of Signers. Pure: what is signed is decided here.

1. A file that follows another one has version n+1 and a new expiry; nothing else changes unless it was asked for.
2. Files built here are fixed points of every writer of this wire (canonical.py).
3. A file is signed by every Signer given; whether they reach the threshold is for verify.py to say.
Notary v1 wire: TUF JSON; defaults of expiry.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from customhouse.keys import PublicKey, Signer
from customhouse.oci.digest import Digest
from customhouse.trust.canonical import JSON, canonical, published
from customhouse.trust.metadata import (
    Delegation,
    FileMeta,
    RoleKeys,
    Root,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
    format_expires,
    parse_root,
    parse_snapshot,
    parse_targets,
    parse_timestamp,
)
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TOP_ROLES, RoleName

ROOT_LIFETIME = timedelta(days=3650)
TARGETS_LIFETIME = timedelta(days=1095)
SNAPSHOT_LIFETIME = timedelta(days=1095)
TIMESTAMP_LIFETIME = timedelta(days=14)


def sign(document: Mapping[str, JSON], signers: Sequence[Signer]) -> bytes:
    """The file of a `signed` object, with one signature per signer."""
    payload = canonical(dict(document))
    return published(payload, [signer.sign(payload) for signer in signers])


def new_root(
    keys: Mapping[RoleName, Sequence[PublicKey]],
    signers: Sequence[Signer],
    now: datetime,
    *,
    version: int = 1,
    thresholds: Mapping[RoleName, int] | None = None,
) -> Signed[Root]:
    """A root that gives each of the four top roles its keys; root keys must be certificates."""
    roles = {
        role: RoleKeys(tuple(sorted(key.key_id for key in keys[role])), (thresholds or {}).get(role, 1))
        for role in TOP_ROLES
    }
    listed = {key.key_id: key for role in TOP_ROLES for key in keys[role]}
    return sign_root(Root(version, now + ROOT_LIFETIME, listed, roles), signers)


def sign_root(root: Root, signers: Sequence[Signer]) -> Signed[Root]:
    """The file of this root."""
    return parse_root(sign(root_document(root), signers))


def root_document(root: Root) -> dict[str, JSON]:
    """The `signed` object."""
    return {
        "_type": "Root",
        "consistent_snapshot": False,
        "expires": format_expires(root.expires),
        "keys": _keys(root.keys.values()),
        "roles": {str(role): keys.document() for role, keys in root.roles.items()},
        "version": root.version,
    }


def rotated(
    root: Root, changes: Mapping[RoleName, Sequence[PublicKey]], signers: Sequence[Signer], now: datetime
) -> Signed[Root]:
    """The next root, with other keys for some roles. Sign with the old and the new root keys.

    Old root certificates stay listed, unused, as clients leave them.
    """
    roles = dict(root.roles)
    for role, keys in changes.items():
        ids = tuple(sorted(key.key_id for key in keys))
        roles[role] = RoleKeys(ids, min(roles[role].threshold, len(ids)))
    kept = {key_id for keys in roles.values() for key_id in keys.key_ids} | set(root.roles[ROOT].key_ids)
    listed = {**root.keys, **{key.key_id: key for keys in changes.values() for key in keys}}
    listed = {key_id: key for key_id, key in listed.items() if key_id in kept or key.certificates}
    return sign_root(Root(root.version + 1, now + ROOT_LIFETIME, listed, roles), signers)


def sign_targets(role: RoleName, body: Targets, signers: Sequence[Signer]) -> Signed[Targets]:
    """The file of targets or of a delegation."""
    return parse_targets(sign(targets_document(body), signers), role)


def targets_document(body: Targets) -> dict[str, JSON]:
    """The `signed` object."""
    return {
        "_type": "Targets",
        "delegations": {
            "keys": _keys(body.keys.values()),
            "roles": [entry.document() for entry in body.delegations],
        },
        "expires": format_expires(body.expires),
        "targets": {name: meta.document() for name, meta in body.targets.items()},
        "version": body.version,
    }


def empty_targets(now: datetime, *, version: int = 1) -> Targets:
    """Targets without names, to add to."""
    return Targets(version, now + TARGETS_LIFETIME, {})


def next_targets(body: Targets, now: datetime) -> Targets:
    """The same content at version n+1 with a new expiry."""
    return replace(body, version=body.version + 1, expires=now + TARGETS_LIFETIME)


def with_tag(body: Targets, tag: str, digest: Digest, length: int) -> Targets:
    """With a tag that names this manifest (sha256), of `length` bytes; replaces an earlier one."""
    meta = FileMeta(length, {digest.algorithm: bytes.fromhex(digest.hex)})
    return replace(body, targets={**body.targets, tag: meta})


def without_tag(body: Targets, tag: str) -> Targets:
    """Without this tag."""
    return replace(body, targets={name: meta for name, meta in body.targets.items() if name != tag})


def with_delegation(
    body: Targets, name: RoleName, keys: Iterable[PublicKey], paths: Sequence[str] = ("",), threshold: int = 1
) -> Targets:
    """With a child role of these keys; replaces its earlier entry. `""` allows every tag."""
    listed = {key.key_id: key for key in keys}
    entry = Delegation(name, RoleKeys(tuple(sorted(listed)), threshold), tuple(paths))
    others = tuple(each for each in body.delegations if each.name != name)
    return _pruned(replace(body, keys={**body.keys, **listed}, delegations=(*others, entry)))


def without_delegation(body: Targets, name: RoleName) -> Targets:
    """Without this child role, and without keys that no other one uses."""
    return _pruned(replace(body, delegations=tuple(each for each in body.delegations if each.name != name)))


def new_snapshot(
    files: Mapping[RoleName, bytes], version: int, signers: Sequence[Signer], now: datetime
) -> Signed[Snapshot]:
    """A snapshot of the root, targets and delegation files given; others among them are left out."""
    meta = {role: FileMeta.of(raw) for role, raw in files.items() if role == ROOT or role.has_targets}
    return parse_snapshot(sign(snapshot_document(Snapshot(version, now + SNAPSHOT_LIFETIME, meta)), signers))


def snapshot_document(body: Snapshot) -> dict[str, JSON]:
    """The `signed` object."""
    return {
        "_type": "Snapshot",
        "expires": format_expires(body.expires),
        "meta": {str(role): meta.document() for role, meta in body.meta.items()},
        "version": body.version,
    }


def new_timestamp(
    snapshot: bytes, version: int, signers: Sequence[Signer], now: datetime, lifetime: timedelta = TIMESTAMP_LIFETIME
) -> Signed[Timestamp]:
    """A timestamp over this snapshot file."""
    body = Timestamp(version, now + lifetime, FileMeta.of(snapshot))
    return parse_timestamp(sign(timestamp_document(body), signers))


def timestamp_document(body: Timestamp) -> dict[str, JSON]:
    """The `signed` object."""
    return {
        "_type": "Timestamp",
        "expires": format_expires(body.expires),
        "meta": {str(SNAPSHOT): body.snapshot.document()},
        "version": body.version,
    }


def top_keys(
    root: PublicKey, targets: PublicKey, server: Mapping[RoleName, PublicKey]
) -> dict[RoleName, list[PublicKey]]:
    """The argument of new_root: one key per role, snapshot and timestamp being the server's."""
    return {ROOT: [root], TARGETS: [targets], SNAPSHOT: [server[SNAPSHOT]], TIMESTAMP: [server[TIMESTAMP]]}


def _keys(keys: Iterable[PublicKey]) -> dict[str, JSON]:
    return {
        key.key_id: {"keytype": key.keytype, "keyval": {"private": None, "public": key.encoded}} for key in keys
    }


def _pruned(body: Targets) -> Targets:
    used = {key_id for entry in body.delegations for key_id in entry.keys.key_ids}
    return replace(body, keys={key_id: key for key_id, key in body.keys.items() if key_id in used})
