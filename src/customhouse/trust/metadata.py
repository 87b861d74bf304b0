"""The four kinds of signed files, as values: parsed strictly, and built again to the same bytes.

1. A file has exactly the fields of its kind; an unknown, missing or repeated one is refused, because Go readers are
   blind to case and take the last of two, and so would read another document than the one that was signed.
2. Every key stands under its own id, every id that a role names is there, every base64 and every expiry is in the one
   form that is written again as it was.
3. Bytes in equal bytes out: a file that a Go component would write differently is refused (see canonical.py, 3).
   Large files of targets are read in a quicker way, which takes no file that this one would refuse (plain.py).
4. `null` is read as empty where Go leaves it after removals: delegation roles, their keys, a role's key ids.
Notary v1 wire: TUF JSON.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Generic, TypeVar

from customhouse.keys import InvalidKey, PublicKey, Signature
from customhouse.trust import plain
from customhouse.trust.canonical import JSON, NotCanonical, canonical, parse, published
from customhouse.trust.fields import Fields, InvalidMetadata
from customhouse.trust.filemeta import HASHES, Listed
from customhouse.trust.filemeta import FileMeta as FileMeta
from customhouse.trust.names import SNAPSHOT, TOP_ROLES, InvalidRole, RoleName

MAXIMUM_SIGNATURES = 64
MAXIMUM_KEYS = 512
MAXIMUM_TARGETS = 100_000
MAXIMUM_PLAIN = 32 * 1024 * 1024  # 100,000 tags of 128 letters, the longest there are, with both digests
MAXIMUM_NAME = 1024

_KEY_ID = re.compile(r"[0-9a-f]{64}")
_METHOD = re.compile(r"[a-z0-9][-a-z0-9# ]{0,39}")


@dataclass(frozen=True)
class RoleKeys:
    """Who signs for a role: key ids, and how many distinct ones must."""

    key_ids: tuple[str, ...]
    threshold: int

    def document(self) -> dict[str, JSON]:
        """The JSON object."""
        return {"keyids": list(self.key_ids), "threshold": self.threshold}


@dataclass(frozen=True)
class Delegation:
    """A role below another one, and the prefixes of names it may sign."""

    name: RoleName
    keys: RoleKeys
    paths: tuple[str, ...]

    def document(self) -> dict[str, JSON]:
        """The JSON object; `paths` is left out when there is none."""
        found: dict[str, JSON] = {"name": str(self.name), **self.keys.document()}
        return {**found, "paths": list(self.paths)} if self.paths else found


@dataclass(frozen=True)
class Root:
    """Which keys sign which top role."""

    version: int
    expires: datetime
    keys: Mapping[str, PublicKey]
    roles: Mapping[RoleName, RoleKeys]


@dataclass(frozen=True)
class Targets:
    """Names (tags) with their digests, and the delegations of this role."""

    version: int
    expires: datetime
    targets: Mapping[str, FileMeta]
    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    delegations: tuple[Delegation, ...] = ()

    def delegation(self, name: RoleName) -> Delegation | None:
        """The entry of a child role."""
        return next((entry for entry in self.delegations if entry.name == name), None)


@dataclass(frozen=True)
class Snapshot:
    """Which files belong together."""

    version: int
    expires: datetime
    meta: Mapping[RoleName, FileMeta]


@dataclass(frozen=True)
class Timestamp:
    """Which snapshot is the newest."""

    version: int
    expires: datetime
    snapshot: FileMeta


AnyBody = Root | Targets | Snapshot | Timestamp
Body = TypeVar("Body", bound=AnyBody, covariant=True)


@dataclass(frozen=True)
class Signed(Generic[Body]):
    """A file: its role, typed content, the bytes that were signed, its signatures, and the bytes that are stored."""

    role: RoleName
    body: Body
    payload: bytes
    signatures: tuple[Signature, ...]
    raw: bytes

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the stored bytes, under which clients ask for it."""
        return sha256(self.raw).hexdigest()

    @property
    def version(self) -> int:
        """The version."""
        return self.body.version

    @property
    def expires(self) -> datetime:
        """The moment from which it is no longer valid."""
        return self.body.expires


def parse_root(raw: bytes) -> Signed[Root]:
    """Raises InvalidMetadata."""
    read = _Reader(RoleName("root"))
    signed, payload, signatures = read.envelope(raw, "Root", {"consistent_snapshot", "keys", "roles"})
    if not isinstance(signed["consistent_snapshot"], bool):
        raise read.wrong("consistent_snapshot should be true or false")
    keys = read.keys(signed["keys"], "keys")
    listed = read.mapping(signed["roles"], "roles")
    if set(listed) != set(TOP_ROLES):
        raise read.wrong("roles should be exactly root, targets, snapshot and timestamp")
    entries = {RoleName(name): read.object(entry, name, _ROLE) for name, entry in listed.items()}
    roles = {role: read.role_keys(entry, role, keys) for role, entry in entries.items()}
    body = Root(read.version(signed), read.expires(signed), keys, roles)
    return Signed(read.role, body, payload, signatures, raw)


def parse_targets(raw: bytes, role: RoleName) -> Signed[Targets]:
    """Of targets or a delegation. Raises InvalidMetadata."""
    known = _RECENT.get(role, raw)
    if known is not None:
        return replace(known, payload=plain.payload(raw))
    read = _Reader(role)
    quick = read.plain(raw)
    if quick:
        signed, listed, payload, signatures = quick
    else:
        signed, payload, signatures = read.envelope(raw, "Targets", {"delegations", "targets"})
    declared = read.object(signed["delegations"], "delegations", ({"keys", "roles"}, set()))
    keys = read.keys({} if declared["keys"] is None else declared["keys"], "delegations.keys")
    delegations = tuple(read.delegation(entry, keys) for entry in read.list(declared["roles"], "delegations.roles"))
    if len({entry.name for entry in delegations}) != len(delegations):
        raise read.wrong("a delegation is listed twice")
    targets = read.targets(listed if quick else signed["targets"])
    found = Signed(role, Targets(read.version(signed), read.expires(signed), targets, keys, delegations), payload,
                   signatures, raw)  # fmt: skip
    if quick:
        _RECENT.put(role, raw, replace(found, payload=b""))
    return found


def parse_snapshot(raw: bytes) -> Signed[Snapshot]:
    """Raises InvalidMetadata."""
    read = _Reader(SNAPSHOT)
    signed, payload, signatures = read.envelope(raw, "Snapshot", {"meta"})
    meta = {}
    for name, entry in read.mapping(signed["meta"], "meta").items():
        try:
            role = RoleName.parse(name)
        except InvalidRole:
            raise read.wrong(f"it names {name[:60]!r}, which is not a role") from None
        if role != "root" and not role.has_targets:
            raise read.wrong(f"it names {name!r}, which does not belong there")
        meta[role] = read.file(entry, name)
        if not meta[role].sha256:
            raise read.wrong(f"it has no sha256 for {name}")
    if not {"root", "targets"} <= set(meta):
        raise read.wrong("it should name root and targets")
    body = Snapshot(read.version(signed), read.expires(signed), meta)
    return Signed(read.role, body, payload, signatures, raw)


def parse_timestamp(raw: bytes) -> Signed[Timestamp]:
    """Raises InvalidMetadata."""
    read = _Reader(RoleName("timestamp"))
    signed, payload, signatures = read.envelope(raw, "Timestamp", {"meta"})
    meta = read.object(signed["meta"], "meta", ({"snapshot"}, set()))
    body = Timestamp(read.version(signed), read.expires(signed), read.file(meta["snapshot"], "snapshot"))
    if not body.snapshot.sha256:
        raise read.wrong("it has no sha256 for snapshot")
    return Signed(read.role, body, payload, signatures, raw)


def parse_file(role: RoleName, raw: bytes) -> Signed[AnyBody]:
    """Of any role. Raises InvalidMetadata."""
    if role.has_targets:
        return parse_targets(raw, role)
    if role == "root":
        return parse_root(raw)
    return parse_snapshot(raw) if role == SNAPSHOT else parse_timestamp(raw)


def format_expires(moment: datetime) -> str:
    """Whole seconds in UTC: a form that every reader writes again as it is."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()}Z"


_RECENT: plain.Recent[Signed[Targets]] = plain.Recent()
_ROLE = ({"keyids", "threshold"}, set[str]())
_DELEGATION = ({"keyids", "name", "threshold"}, {"paths"})


class _Reader(Fields):
    """Reads the parts that files are made of."""

    def envelope(
        self, raw: bytes, kind: str, fields: set[str]
    ) -> tuple[dict[str, JSON], bytes, tuple[Signature, ...]]:
        try:
            document = self.object(parse(raw), "the file", ({"signed", "signatures"}, set()))
            payload = canonical(document["signed"])
        except NotCanonical as error:
            raise self.wrong(error.reason) from None
        signed = self.object(document["signed"], "signed", (fields | {"_type", "expires", "version"}, set()))
        if signed["_type"] != kind:
            raise self.wrong(f"its _type should be {kind}")
        signatures = self.signatures(document["signatures"])
        if published(payload, signatures) != raw:
            raise self.wrong(
                "its bytes differ from those docker and notary write (white space, order or escapes); sign it with them"
            )
        return signed, payload, signatures

    def plain(self, raw: bytes) -> tuple[dict[str, JSON], Listed, bytes, tuple[Signature, ...]] | None:
        """The same for a plain file of targets; None when there is any doubt, for `envelope` to name it."""
        found = plain.read(raw) if len(raw) <= MAXIMUM_PLAIN else None
        if found is None:
            return None
        payload, rest = plain.payload(raw), (bytes(found.signed.delegations), bytes(found.signed.version))
        try:
            delegations, version = map(parse, rest)
            signatures = self.signatures(parse(bytes(found.signatures)))
            if (canonical(delegations), canonical(version)) != rest or published(payload, signatures) != raw:
                return None
        except (NotCanonical, InvalidMetadata):
            return None
        signed: dict[str, JSON] = {"delegations": delegations, "expires": found.signed.expires, "version": version}
        return signed, Listed(found.signed.targets), payload, signatures

    def signatures(self, value: JSON) -> tuple[Signature, ...]:
        listed = self.list(value, "signatures")
        if len(listed) > MAXIMUM_SIGNATURES:
            raise self.wrong(f"it has more than {MAXIMUM_SIGNATURES} signatures")
        return tuple(self.signature(entry) for entry in listed)

    def signature(self, value: JSON) -> Signature:
        entry = self.object(value, "a signature", ({"keyid", "method", "sig"}, set()))
        key_id, method = self.text(entry["keyid"], "keyid"), self.text(entry["method"], "method")
        if not _KEY_ID.fullmatch(key_id) or not _METHOD.fullmatch(method):
            raise self.wrong("a signature has a malformed keyid or method")
        return Signature(key_id, method, self.bytes(entry["sig"], "sig"))

    def keys(self, value: JSON, where: str) -> dict[str, PublicKey]:
        listed = self.mapping(value, where)
        if len(listed) > MAXIMUM_KEYS:
            raise self.wrong(f"{where} holds more than {MAXIMUM_KEYS} keys")
        found = {}
        for key_id, entry in listed.items():
            key = self.object(entry, "a key", ({"keytype", "keyval"}, set()))
            value_ = self.object(key["keyval"], "keyval", ({"private", "public"}, set()))
            if value_["private"] is not None:
                raise self.wrong("it holds a private key, which must now be replaced: rotate that key")
            try:
                keytype, public = self.text(key["keytype"], "keytype"), self.text(value_["public"], "public")
                found[key_id] = PublicKey.parse(keytype, public)
            except InvalidKey as error:
                raise self.wrong(f"the key {key_id[:16]!r} is not usable: {error.reason}") from None
            if found[key_id].key_id != key_id:
                raise self.wrong(f"the key {key_id[:16]!r} stands under an id that is not its own")
        return found

    def role_keys(self, entry: dict[str, JSON], where: str, keys: Iterable[str]) -> RoleKeys:
        key_ids = tuple(self.text(key_id, "keyids") for key_id in self.list(entry["keyids"], "keyids"))
        for key_id in key_ids:
            if key_id not in keys:
                raise self.wrong(f"{where[:60]} names the key {key_id[:16]!r}, which is not listed")
        if len(set(key_ids)) != len(key_ids):
            raise self.wrong(f"{where[:60]} names a key twice")
        return RoleKeys(key_ids, self.number(entry["threshold"], f"the threshold of {where}", 1))

    def delegation(self, value: JSON, keys: Iterable[str]) -> Delegation:
        entry = self.object(value, "a delegation", _DELEGATION)
        try:
            name = RoleName.parse(self.text(entry["name"], "name"))
        except InvalidRole as error:
            raise self.wrong(error.message) from None
        if not name.is_delegation or name.parent != self.role:
            raise self.wrong(f"{name} is not directly below {self.role}")
        paths = tuple(self.text(path, "paths") for path in self.list(entry.get("paths"), "paths"))
        if "paths" in entry and not paths:
            raise self.wrong(f"the empty paths of {name} should be left out")
        return Delegation(name, self.role_keys(entry, name, keys), paths)

    def targets(self, value: "JSON | Listed") -> Mapping[str, FileMeta]:
        listed = value if isinstance(value, Listed) else self.mapping(value, "targets")
        if len(listed) > MAXIMUM_TARGETS:
            raise self.wrong(f"it lists more than {MAXIMUM_TARGETS} targets")
        if not all(listed) or max(map(len, listed), default=0) > MAXIMUM_NAME:
            raise self.wrong("the name of a target is empty or too long")
        if isinstance(listed, Listed):
            return listed
        found = {name: self.file(entry, name, custom=True) for name, entry in listed.items()}
        for name, meta in found.items():
            if not meta.sha256:
                raise self.wrong(f"the target {name[:60]!r} has no sha256, without which docker cannot pull it")
        return found

    def file(self, value: JSON, where: str, *, custom: bool = False) -> FileMeta:
        entry = self.object(value, where, ({"hashes", "length"}, {"custom"} if custom else set()))
        hashes = {}
        for name, text in self.mapping(entry["hashes"], "hashes").items():
            if name not in HASHES:
                raise self.wrong(f"{where[:60]} has a hash of the unknown kind {name[:20]!r}")
            hashes[name] = self.bytes(text, name)
            if len(hashes[name]) != HASHES[name]().digest_size:
                raise self.wrong(f"{where[:60]} has a {name} of the wrong length")
        if not hashes:
            raise self.wrong(f"{where[:60]} has no hash")
        extra = entry.get("custom")
        if "custom" in entry and (extra is None or set(canonical(extra).decode()) & set("<>&\u2028\u2029")):
            raise self.wrong(f"the custom part of {where[:60]} is null or holds one of < > &")
        return FileMeta(self.number(entry["length"], "length", 0), hashes, extra)
