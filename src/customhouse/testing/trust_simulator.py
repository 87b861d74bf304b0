"""A publisher's repository that is right in every detail, until one detail is spoilt.

1. Valid by default: `files()` and `roots` pass every client rule at `now`.
2. Each spoiler breaks one thing and leaves the rest right: hashes above a spoilt file are those of the spoilt bytes,
   unless the spoiler is about hashes. So a refusal names exactly what was spoilt.
3. With `use_server_keys` the snapshot and timestamp are the server's, and `upload()` is what a client would send.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from customhouse.keys import PrivateKey, PublicKey, Signature
from customhouse.oci.digest import Digest
from customhouse.trust import documents
from customhouse.trust.canonical import JSON, canonical, published
from customhouse.trust.certificates import root_certificate
from customhouse.trust.metadata import (
    FileMeta,
    RoleKeys,
    Root,
    Snapshot,
    Targets,
    Timestamp,
    format_expires,
    parse_root,
)
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TOP_ROLES, Gun, RoleName


class TrustSimulator:
    """One GUN with keys for all its roles."""

    def __init__(self, gun: str, now: datetime, *, root_key: PrivateKey | None = None, common_name: str = "") -> None:
        self.gun = Gun.parse(gun)
        self.now = now
        certified = root_key or PrivateKey.generate()
        if not certified.public.certificates:
            certified = certified.with_certificate(root_certificate(certified, common_name or gun, now))
        self.keys: dict[RoleName, list[PrivateKey]] = {role: [PrivateKey.generate()] for role in TOP_ROLES}
        self.keys[ROOT] = [certified]
        self.server: dict[RoleName, PublicKey] = {}
        self.thresholds: dict[RoleName, int] = {}
        self.bodies: dict[RoleName, Targets] = {TARGETS: documents.empty_targets(now)}
        self.versions: dict[RoleName, int] = {SNAPSHOT: 1, TIMESTAMP: 1}
        self.root_version = 1
        self.roots: list[bytes] = []
        self._root_signers: list[PrivateKey] = []
        self._spoilt: dict[str, set[RoleName]] = {}
        self._rolled: dict[RoleName, int] = {}
        self._signed: dict[tuple[bytes, str], Signature] = {}

    def sign_tag(self, tag: str, content: bytes = b"manifest", role: RoleName = TARGETS) -> Digest:
        """Sign these bytes under a tag; returns their digest. The role moves to its next version if it was built."""
        digest = Digest.of(content)
        self.bodies[role] = documents.with_tag(self.bodies[role], tag, digest, len(content))
        return digest

    def remove_tag(self, tag: str, role: RoleName = TARGETS) -> None:
        """Take a tag out of a role."""
        self.bodies[role] = documents.without_tag(self.bodies[role], tag)

    def delegate(
        self, name: str | RoleName = RELEASES, *, keys: int = 1, threshold: int = 1, paths: Iterable[str] = ("",)
    ) -> RoleName:
        """Add a delegation with new keys, and an empty file of its own."""
        role = RoleName.parse(name)
        self.keys[role] = [PrivateKey.generate() for _ in range(keys)]
        publics = [key.public for key in self.keys[role]]
        parent = self.bodies[role.parent]
        self.bodies[role.parent] = documents.with_delegation(parent, role, publics, tuple(paths), threshold)
        self.bodies[role] = documents.empty_targets(self.now)
        return role

    def remove_delegation(self, name: str | RoleName) -> None:
        """Take a delegation away from its parent."""
        role = RoleName.parse(name)
        self.bodies[role.parent] = documents.without_delegation(self.bodies[role.parent], role)
        del self.bodies[role]

    def use_server_keys(self, keys: Mapping[RoleName, PublicKey]) -> None:
        """The server's snapshot and timestamp keys stand in the root from now on."""
        self.server.update(keys)

    def bump(self, *roles: RoleName) -> None:
        """The next version of these roles."""
        for role in roles:
            if role in self.bodies:
                self.bodies[role] = documents.next_targets(self.bodies[role], self.now)
            elif role == ROOT:
                self.root_version += 1
            else:
                self.versions[role] += 1

    def rotate_root(self, *, signed_by_old: bool = True) -> PrivateKey:
        """A root of version n+1 with a new root key, signed by both (or only by the new one)."""
        self.build_root()
        old = self.keys[ROOT]
        new = PrivateKey.generate()
        self.keys[ROOT] = [new.with_certificate(root_certificate(new, self.gun, self.now))]
        self._root_signers = list(old) if signed_by_old else []
        self.root_version += 1
        return new

    # Spoilers: each takes a role, breaks one thing in what `files()` gives, and may be combined.

    def expire(self, role: RoleName) -> None:
        """Its expiry is an hour ago."""
        self._mark("expire", role)

    def roll_back(self, role: RoleName, by: int = 1) -> None:
        """A validly signed file of a version lower by so much."""
        self._rolled[role] = by

    def drop_signature(self, role: RoleName) -> None:
        """Its last signature is gone."""
        self._mark("drop", role)

    def swap_key(self, role: RoleName) -> None:
        """Signed by a stranger's key, and by no other."""
        self._mark("swap", role)

    def forge(self, role: RoleName) -> None:
        """The right key ids over signatures of other bytes."""
        self._mark("forge", role)

    def repeat_signature(self, role: RoleName) -> None:
        """The first signature stands there twice, and no other: a count that does not look at keys is fooled."""
        self._mark("repeat", role)

    def change_hash(self, role: RoleName) -> None:
        """The file above names another hash (snapshot for root and targets, timestamp for snapshot)."""
        self._mark("hash", role)

    def change_length(self, role: RoleName) -> None:
        """The file above names another length."""
        self._mark("length", role)

    def re_encode(self, role: RoleName) -> None:
        """The same document with white space; every hash above is right."""
        self._mark("encode", role)

    def add_field(self, role: RoleName) -> None:
        """A field that nobody knows, validly signed."""
        self._mark("field", role)

    def repeat_field(self, role: RoleName) -> None:
        """The version stands there twice: the second reading differs."""
        self._mark("twice", role)

    def build_root(self) -> bytes:
        """The root at its present version; remembered in `roots`."""
        publics = {role: [key.public for key in self.keys[role]] for role in TOP_ROLES}
        publics.update({role: [key] for role, key in self.server.items()})
        roles = {
            role: RoleKeys(tuple(sorted(key.key_id for key in publics[role])), self.thresholds.get(role, 1))
            for role in TOP_ROLES
        }
        listed = {key.key_id: key for keys in publics.values() for key in keys}
        if self.roots:  # certificates of earlier roots stay listed
            before = parse_root(self.roots[-1]).body.keys
            listed = {**{key_id: key for key_id, key in before.items() if key.certificates}, **listed}
        body = Root(self.root_version, self.now + documents.ROOT_LIFETIME, listed, roles)
        raw = self._finish(ROOT, documents.root_document(body), [*self.keys[ROOT], *self._root_signers])
        if not any(json.loads(each)["signed"]["version"] == self.root_version for each in self.roots):
            self.roots.append(raw)
        return raw

    def files(self) -> dict[RoleName, bytes]:
        """Every role's file, snapshot and timestamp included, signed with the simulator's own keys."""
        files = {ROOT: self.build_root(), **self.signed_targets()}
        meta = {role: self._meta(role, raw) for role, raw in files.items()}
        body = Snapshot(self.versions[SNAPSHOT], self.now + documents.SNAPSHOT_LIFETIME, meta)
        files[SNAPSHOT] = self._finish(SNAPSHOT, documents.snapshot_document(body), self.keys[SNAPSHOT])
        over = self._meta(SNAPSHOT, files[SNAPSHOT])
        stamp = Timestamp(self.versions[TIMESTAMP], self.now + documents.TIMESTAMP_LIFETIME, over)
        files[TIMESTAMP] = self._finish(TIMESTAMP, documents.timestamp_document(stamp), self.keys[TIMESTAMP])
        return files

    def signed_targets(self) -> dict[RoleName, bytes]:
        """Targets and every delegation."""
        return {
            role: self._finish(role, documents.targets_document(body), self.keys[role])
            for role, body in self.bodies.items()
        }

    def upload(self, *roles: RoleName) -> dict[RoleName, bytes]:
        """What a client with server-held snapshot sends: root, targets and delegations, or only these roles."""
        everything = {ROOT: self.build_root(), **self.signed_targets()}
        return {role: everything[role] for role in roles or everything}

    def _mark(self, spoiler: str, role: RoleName) -> None:
        self._spoilt.setdefault(spoiler, set()).add(RoleName.parse(role))

    def _is(self, spoiler: str, role: RoleName) -> bool:
        return role in self._spoilt.get(spoiler, set())

    def _meta(self, role: RoleName, raw: bytes) -> FileMeta:
        meta = FileMeta.of(raw)
        if self._is("hash", role):
            meta = replace(meta, hashes=FileMeta.of(raw + b" ").hashes)
        return replace(meta, length=meta.length + 1) if self._is("length", role) else meta

    def _finish(self, role: RoleName, document: dict[str, JSON], signers: list[PrivateKey]) -> bytes:
        if self._is("expire", role):
            document["expires"] = format_expires(self.now - timedelta(hours=1))
        if role in self._rolled:
            version = document["version"]
            assert isinstance(version, int)
            document["version"] = version - self._rolled[role]
        if self._is("field", role):
            document["x-note"] = "unknown"
        if self._is("swap", role):
            signers = [PrivateKey.generate()]
        payload = canonical(document)
        signatures = [self._sign(signer, payload) for signer in signers]
        if self._is("drop", role):
            signatures.pop()
        if self._is("repeat", role):
            signatures = [signatures[0], signatures[0]]
        if self._is("forge", role):
            signatures = [
                Signature(each.key_id, each.method, signer.sign(payload + b" ").value)
                for each, signer in zip(signatures, signers, strict=True)
            ]
        raw = published(payload, signatures)
        if self._is("twice", role):
            raw = raw.replace(b'"version":', b'"version":1,"version":', 1)
        return json.dumps(json.loads(raw), indent=1).encode() if self._is("encode", role) else raw

    def _sign(self, signer: PrivateKey, payload: bytes) -> Signature:
        """One signature per payload: the same document asked for twice is the same file."""
        known = (payload, signer.public.key_id)
        if known not in self._signed:
            self._signed[known] = signer.sign(payload)
        return self._signed[known]


def multipart(files: Mapping[RoleName, bytes] | Mapping[str, bytes]) -> tuple[bytes, str]:
    """The body of a publish as the clients write it, and its content type; without files only the closing line."""
    boundary = base64.b16encode(b"customhouse publish").decode().lower()
    parts = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{role}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode() + raw + b"\r\n"
        for role, raw in files.items()
    )
    opening = b"" if files else b"\r\n"
    return opening + parts + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
