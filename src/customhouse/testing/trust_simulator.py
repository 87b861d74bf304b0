"""A publisher's repository that is right in every detail, until one detail is spoilt.

1. Valid by default: `files()` and `roots` pass every client rule at `now`.
2. Each spoiler breaks one thing and leaves the rest right: hashes above a spoilt file are those of the spoilt bytes,
   and signatures are over the spoilt content, unless the spoiler is about just that. So a refusal names what was
   spoilt. Five hooks reach everything: `edit`, `sign_with`, `edit_signatures`, `edit_bytes`, `replace`; the named
   spoilers are short for the usual ones, and `testing.spoilers` lists all, each with the refusal it must meet.
3. With `use_server_keys` the snapshot and timestamp are the server's, and `upload()` is what a client would send.
"""

import base64
import copy
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from customhouse.keys import PrivateKey, PublicKey, Signature
from customhouse.oci.digest import Digest
from customhouse.trust import documents
from customhouse.trust.canonical import JSON, NotCanonical, canonical
from customhouse.trust.certificates import root_certificate
from customhouse.trust.fields import InvalidMetadata
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

Document = dict[str, Any]
ALICE, DEEP = RoleName("targets/alice"), RoleName("targets/releases/deep")


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
        self.history: list[dict[RoleName, bytes]] = []
        self._root_signers: list[PrivateKey] = []
        self._edits: dict[RoleName, list[Callable[[Document], object]]] = {}
        self._signers: dict[RoleName, list[PrivateKey]] = {}
        self._signature_edits: dict[RoleName, list[Callable[[list[Document]], object]]] = {}
        self._byte_edits: dict[RoleName, list[Callable[[bytes], bytes]]] = {}
        self._replaced: dict[RoleName, bytes | None] = {}
        self._signed: dict[tuple[bytes, str], Signature] = {}

    @classmethod
    def complete(cls, gun: str, now: datetime, server: Mapping[RoleName, PublicKey] | None = None) -> "TrustSimulator":
        """A repository with something in every kind of role, at its second version; the first is in `history`.

        Tags: `1` in targets, `r` in targets/releases, `d` in targets/releases/deep, `a` in targets/alice.
        """
        made = cls(gun, now)
        made.use_server_keys(server or {})
        for role, tag in ((TARGETS, "1"), (RELEASES, "r"), (DEEP, "d"), (ALICE, "a")):
            if role.is_delegation:
                made.delegate(role)
            made.sign_tag(tag, f"manifest of {tag}".encode(), role)
        made.advance()
        return made

    def copy(self) -> "TrustSimulator":
        """The same repository and keys; what is done to one is not done to the other."""
        made = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict):
                inner = {key: list(each) if isinstance(each, list) else each for key, each in value.items()}
                setattr(made, name, inner)
            elif isinstance(value, list):
                setattr(made, name, list(value))
        made._signed = self._signed
        return made

    def sign_tag(self, tag: str, content: bytes = b"manifest", role: RoleName = TARGETS) -> Digest:
        """Sign these bytes under a tag, in the role's present version; returns their digest."""
        digest = Digest.of(content)
        self.bodies[role] = documents.with_tag(self.bodies[role], tag, digest, len(content))
        return digest

    def remove_tag(self, tag: str, role: RoleName = TARGETS) -> None:
        """Take a tag out of a role."""
        self.bodies[role] = documents.without_tag(self.bodies[role], tag)

    def delegate(
        self, name: str | RoleName = RELEASES, *, keys: int = 1, threshold: int = 1, paths: Iterable[str] = ("",),
        signers: Iterable[PrivateKey] = (),
    ) -> RoleName:
        """Add a delegation with new keys (or these), and an empty file of its own."""
        role = RoleName.parse(name)
        self.keys[role] = list(signers) or [PrivateKey.generate() for _ in range(keys)]
        publics = [key.public for key in self.keys[role]]
        parent = self.bodies[role.parent]
        self.bodies[role.parent] = documents.with_delegation(parent, role, publics, tuple(paths), threshold)
        self.bodies.setdefault(role, documents.empty_targets(self.now))
        return role

    def remove_delegation(self, name: str | RoleName) -> None:
        """Take a delegation away from its parent."""
        role = RoleName.parse(name)
        self.bodies[role.parent] = documents.without_delegation(self.bodies[role.parent], role)
        del self.bodies[role]

    def use_server_keys(self, keys: Mapping[RoleName, PublicKey]) -> None:
        """The server's snapshot and timestamp keys stand in the root from now on."""
        self.server.update(keys)

    def version(self, role: RoleName) -> int:
        """The present version of a role."""
        if role in self.bodies:
            return self.bodies[role].version
        return self.root_version if role == ROOT else self.versions[role]

    def bump(self, *roles: RoleName) -> None:
        """The next version of these roles."""
        for role in roles:
            if role in self.bodies:
                self.bodies[role] = documents.next_targets(self.bodies[role], self.now)
            elif role == ROOT:
                self.root_version += 1
            else:
                self.versions[role] += 1

    def advance(self) -> None:
        """What is there becomes history, and every role goes to its next version."""
        self.history.append(self.files())
        self.bump(ROOT, SNAPSHOT, TIMESTAMP, *self.bodies)

    def rotate_root(self, *, signed_by_old: bool = True) -> PrivateKey:
        """A root of version n+1 with a new root key, signed by both (or only by the new one)."""
        self.build_root()
        old = self.keys[ROOT]
        new = self.certified()
        self.keys[ROOT] = [new]
        self._root_signers = list(old) if signed_by_old else []
        self._signers.pop(ROOT, None)
        self.root_version += 1
        return new

    def rotate_root_to(self, *keys: PrivateKey, signers: Iterable[PrivateKey] = ()) -> None:
        """A root of version n+1 whose root role has these keys, signed by exactly `signers` (or by these keys)."""
        self.build_root()
        self.keys[ROOT] = list(keys)
        self._root_signers = []
        self._signers[ROOT] = list(signers) or list(keys)
        self.root_version += 1

    def certified(self, key: PrivateKey | None = None, common_name: str = "", at: datetime | None = None) -> PrivateKey:
        """A new root key, or this one, with a certificate that begins now (or at another moment)."""
        bare = PrivateKey(key.crypto) if key else PrivateKey.generate()
        return bare.with_certificate(root_certificate(bare, common_name or self.gun, at or self.now))

    # Hooks: each takes a role and may be combined with others.

    def edit(self, role: RoleName, change: Callable[[Document], object]) -> None:
        """Change the `signed` object before it is signed: what results is validly signed, whatever it says."""
        self._edits.setdefault(role, []).append(change)

    def sign_with(self, role: RoleName, *signers: PrivateKey) -> None:
        """Sign with these keys and no others."""
        self._signers[role] = list(signers)

    def edit_signatures(self, role: RoleName, change: Callable[[list[Document]], object]) -> None:
        """Change the list of signatures: objects of keyid, method and sig (base64)."""
        self._signature_edits.setdefault(role, []).append(change)

    def edit_bytes(self, role: RoleName, change: Callable[[bytes], bytes]) -> None:
        """Change the finished file; the files above name the changed bytes."""
        self._byte_edits.setdefault(role, []).append(change)

    def replace(self, role: RoleName, raw: bytes | None) -> None:
        """Put other bytes in a file's place (None: no file), of which the files above know nothing."""
        self._replaced[role] = raw

    def mend(self, *roles: RoleName) -> None:
        """Forget everything that was done to these roles by hooks and spoilers."""
        for role in roles:
            for hooks in (self._edits, self._signers, self._signature_edits, self._byte_edits, self._replaced):
                hooks.pop(role, None)

    # Spoilers: each takes a role, breaks one thing in what `files()` gives, and may be combined.

    def expire(self, role: RoleName) -> None:
        """Its expiry is an hour ago."""
        self.edit(role, lambda signed: signed.update(expires=format_expires(self.now - timedelta(hours=1))))

    def roll_back(self, role: RoleName, by: int = 1) -> None:
        """A validly signed file of a version lower by so much."""
        self.edit(role, lambda signed: signed.update(version=signed["version"] - by))

    def drop_signature(self, role: RoleName) -> None:
        """Its last signature is gone."""
        self.edit_signatures(role, lambda listed: listed.pop())

    def swap_key(self, role: RoleName) -> None:
        """Signed by a stranger's key, and by no other."""
        self.sign_with(role, PrivateKey.generate())

    def forge(self, role: RoleName) -> None:
        """The right key ids over signatures of other bytes."""

        def other(listed: list[Document]) -> None:
            signers = {key.public.key_id: key for key in [*self.keys[role], *self._signers.get(role, ())]}
            for each in listed:
                each["sig"] = base64.b64encode(signers[each["keyid"]].sign(b"other bytes").value).decode()

        self.edit_signatures(role, other)

    def repeat_signature(self, role: RoleName) -> None:
        """The first signature stands there twice, and no other: a count that does not look at keys is fooled."""
        self.edit_signatures(role, lambda listed: listed.__setitem__(slice(None), [listed[0], listed[0]]))

    def change_hash(self, role: RoleName) -> None:
        """The file above names another hash (snapshot for root and targets, timestamp for snapshot)."""
        self.edit(above(role), lambda signed: signed["meta"][role].update(hashes=_document(b"other bytes")["hashes"]))

    def change_length(self, role: RoleName) -> None:
        """The file above names another length."""
        self.edit(above(role), lambda signed: signed["meta"][role].update(length=signed["meta"][role]["length"] + 1))

    def re_encode(self, role: RoleName) -> None:
        """The same document with white space; every hash above is right."""
        self.edit_bytes(role, lambda raw: json.dumps(json.loads(raw), indent=1).encode())

    def add_field(self, role: RoleName) -> None:
        """A field that nobody knows, validly signed."""
        self.edit(role, lambda signed: signed.update({"x-note": "unknown"}))

    def repeat_field(self, role: RoleName) -> None:
        """The version stands there twice: the second reading differs."""
        self.edit_bytes(role, lambda raw: raw.replace(b'"version":', b'"version":1,"version":', 1))

    # What results.

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
        if self.root_version not in {_root_version(each) for each in self.roots} and _root_version(raw):
            self.roots.append(raw)
        return raw

    def files(self) -> dict[RoleName, bytes]:
        """Every role's file, snapshot and timestamp included, signed with the simulator's own keys."""
        files = {ROOT: self.build_root(), **self.signed_targets()}
        meta = {role: FileMeta.of(raw) for role, raw in files.items()}
        body = Snapshot(self.versions[SNAPSHOT], self.now + documents.SNAPSHOT_LIFETIME, meta)
        files[SNAPSHOT] = self._finish(SNAPSHOT, documents.snapshot_document(body), self.keys[SNAPSHOT])
        over = FileMeta.of(files[SNAPSHOT])
        stamp = Timestamp(self.versions[TIMESTAMP], self.now + documents.TIMESTAMP_LIFETIME, over)
        files[TIMESTAMP] = self._finish(TIMESTAMP, documents.timestamp_document(stamp), self.keys[TIMESTAMP])
        given = {**files, **self._replaced}
        return {role: raw for role, raw in given.items() if raw is not None}

    def signed_targets(self) -> dict[RoleName, bytes]:
        """Targets and every delegation."""
        return {
            role: self._finish(role, documents.targets_document(body), self.keys[role])
            for role, body in self.bodies.items()
        }

    def upload(self, *roles: RoleName) -> dict[RoleName, bytes]:
        """What a client with server-held snapshot sends: root, targets and delegations, or only these roles."""
        everything = {ROOT: self.build_root(), **self.signed_targets(), **self._replaced}
        return {role: raw for role in roles or everything if (raw := everything[role]) is not None}

    def _finish(self, role: RoleName, document: Document, signers: list[PrivateKey]) -> bytes:
        for change in self._edits.get(role, ()):
            change(document)
        payload = _payload(document)
        listed = [self._sign(signer, payload) for signer in self._signers.get(role, signers)]
        for spoil in self._signature_edits.get(role, ()):
            spoil(listed)
        raw = _published(payload, listed)
        for encode in self._byte_edits.get(role, ()):
            raw = encode(raw)
        return raw

    def _sign(self, signer: PrivateKey, payload: bytes) -> Document:
        """One signature per payload: the same document asked for twice is the same file."""
        known = (payload, signer.public.key_id)
        if known not in self._signed:
            self._signed[known] = signer.sign(payload)
        made = self._signed[known]
        return {"keyid": made.key_id, "method": made.method, "sig": base64.b64encode(made.value).decode()}


def above(role: RoleName) -> RoleName:
    """The role whose file names this one by hash and length."""
    return TIMESTAMP if role == SNAPSHOT else SNAPSHOT


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


@lru_cache(256)
def _root_version(raw: bytes) -> int:
    """0 for what cannot be read: a root so spoilt is nobody's history."""
    try:
        return parse_root(raw).version
    except InvalidMetadata:
        return 0


def _document(raw: bytes) -> Document:
    return FileMeta.of(raw).document()


def _payload(document: dict[str, JSON]) -> bytes:
    """Canonical where there is such a form; a spoilt document that has none is still signed as it is written."""
    try:
        return canonical(document)
    except (NotCanonical, TypeError):  # TypeError: a fraction, which is not even in the type
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _published(payload: bytes, signatures: list[Document]) -> bytes:
    signed = payload.decode()
    for special in "<>&\u2028\u2029":
        signed = signed.replace(special, f"\\u{ord(special):04x}")
    return f'{{"signed":{signed},"signatures":{json.dumps(signatures, separators=(",", ":"))}}}'.encode()
