"""The client's rules: what makes a set of files a repository that may be trusted, at a given moment.

1. Root: a chain by version, in which every root satisfies the root role of the one before and its own. Enough
   enrolled keys signed one of them (or the first is taken, when nothing is enrolled). Only the newest must be
   unexpired. So a key that was rotated away signs no newer root, though it be enrolled still.
2. Timestamp -> snapshot -> root, targets, delegations: signatures, version not below what was seen, expiry, hashes.
3. A delegation whose file is missing, altered or rolled back fails everything; one with too few signatures, a
   broken format or past its expiry is left out, as every client leaves it out (`skipped` says why).
4. Signatures are counted: distinct keys that are listed for the role and verify. Two certificates of one key are one.
5. Lookup: `targets/releases`, then `targets`; in each, the role and then its delegations, breadth first. A name that
   is found first in any other role is no tag, as docker has it.
The server judges every publish with these rules, intake every submission, `customhouse verify` every consumer's pull.
Notary v1 wire: client verification workflow.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise

from customhouse.errors import Invalid
from customhouse.keys import PublicKey
from customhouse.oci.digest import Digest
from customhouse.oci.reference import valid_tag
from customhouse.trust.certificates import fitting, require_leaf
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.metadata import (
    AnyBody,
    FileMeta,
    RoleKeys,
    Root,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
    parse_root,
    parse_snapshot,
    parse_targets,
    parse_timestamp,
)
from customhouse.trust.names import LOOKUP_ORDER, RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName


class TrustError(Invalid):
    """The repository must not be trusted: `role` is where it broke."""

    def __init__(self, role: RoleName, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.role = role


class RoleMissing(TrustError):
    """A file that another one names, or that every repository has, is not there."""

    def __init__(self, role: RoleName) -> None:
        super().__init__(role, f"there is no {role} metadata", hint=f"Publish {role} again.")


class RoleExpired(TrustError):
    """The file was valid until `expires`."""

    def __init__(self, role: RoleName, version: int, expires: datetime) -> None:
        super().__init__(
            role, f"{role} version {version} expired on {expires.isoformat(' ')[:16]} UTC", hint=f"Sign {role} again."
        )
        self.version = version
        self.expires = expires


class NotEnoughSignatures(TrustError):
    """Of `needed` valid signatures by distinct keys of the role only `valid` are there."""

    def __init__(self, role: RoleName, version: int, valid: int, needed: int, *, by: str = "") -> None:
        super().__init__(
            role,
            f"{role} version {version} has {valid} of {needed} needed signatures{by}",
            hint=f"Sign {role} with {needed - valid} more of its keys.",
        )
        self.version = version
        self.valid = valid
        self.needed = needed

    @property
    def missing(self) -> int:
        """How many signatures are missing."""
        return self.needed - self.valid


class RolledBack(TrustError):
    """A version below one that was seen before."""

    def __init__(self, role: RoleName, version: int, seen: int) -> None:
        super().__init__(
            role,
            f"{role} version {version} is older than version {seen}, which was seen before",
            hint="Publish a newer version; if nobody published an old one on purpose, tell your administrator.",
        )
        self.version = version
        self.seen = seen


class Altered(TrustError):
    """The bytes are not the ones that the file above names: by hash or by length."""

    def __init__(self, role: RoleName, what: str, by: RoleName) -> None:
        super().__init__(role, f"the {what} of {role} is not the one that {by} names", hint="Publish the files again.")
        self.what = what
        self.by = by


class RootNotEnrolled(TrustError):
    """No root was signed by enough of the enrolled keys; `found` are the canonical ids of the newest root's keys."""

    def __init__(self, found: frozenset[str], enrolled: frozenset[str]) -> None:
        super().__init__(
            ROOT,
            f"the root key {', '.join(sorted(key[:12] for key in found))} is not one that was enrolled",
            hint="Sign with the enrolled root key, or have an administrator enrol this one.",
        )
        self.found = found
        self.enrolled = enrolled


@dataclass(frozen=True)
class SignedTag:
    """A tag as docker resolves it: the manifest's digest and length, and which role said so."""

    tag: str
    digest: Digest
    length: int
    role: RoleName
    role_version: int


@dataclass(frozen=True)
class TrustedRepository:
    """Files that passed every rule at one moment. `targets` holds the usable roles with targets, in tree order."""

    gun: Gun
    root: Signed[Root]
    timestamp: Signed[Timestamp]
    snapshot: Signed[Snapshot]
    targets: Mapping[RoleName, Signed[Targets]]
    paths: Mapping[RoleName, tuple[str, ...]]
    skipped: Mapping[RoleName, Invalid]

    @property
    def root_keys(self) -> frozenset[str]:
        """Canonical ids of the newest root's keys: what an enrolment holds."""
        return canonical_ids(self.root.body, ROOT)

    @property
    def versions(self) -> dict[RoleName, int]:
        """The version of every role that was read, to be given as `seen` the next time."""
        top: list[Signed[AnyBody]] = [self.root, self.timestamp, self.snapshot]
        return {each.role: each.version for each in [*top, *self.targets.values()]}

    @property
    def tags(self) -> dict[str, SignedTag]:
        """Every tag that docker would resolve."""
        names = sorted({name for signed in self.targets.values() for name in signed.body.targets})
        found = ((name, self.tag(name)) for name in names)
        return {name: tag for name, tag in found if tag is not None}

    def tag(self, name: str) -> SignedTag | None:
        """What docker would resolve this tag to."""
        found = self.find(name)
        if found is None or found[0] not in LOOKUP_ORDER or not valid_tag(name):
            return None
        role, meta = found
        return SignedTag(name, Digest(f"sha256:{meta.sha256}"), meta.length, role, self.targets[role].version)

    def find(self, name: str, order: Sequence[RoleName] = LOOKUP_ORDER) -> tuple[RoleName, FileMeta] | None:
        """The first role, in lookup order, that may sign this name and lists it."""
        for role in self._looked_up if order is LOOKUP_ORDER else self._in_order(order):
            meta = self.targets[role].body.targets.get(name)
            if meta is not None and any(name.startswith(path) for path in self.paths[role]):
                return role, meta
        return None

    def signers(self, tag: str) -> list[str]:
        """Names of the delegations beside releases that list this tag with the same digest."""
        winner = self.find(tag)
        return [
            str(role).removeprefix("targets/")
            for role, signed in self.targets.items()
            if winner and role.depth == 2 and role != RELEASES
            and (meta := signed.body.targets.get(tag)) and meta.sha256 == winner[1].sha256
            and any(tag.startswith(path) for path in self.paths[role])
        ]

    @cached_property
    def _looked_up(self) -> list[RoleName]:
        return self._in_order(LOOKUP_ORDER)

    def _in_order(self, order: Sequence[RoleName]) -> list[RoleName]:
        return [role for start in order for role in self._below(start, frozenset(order) - {start})]

    def _below(self, start: RoleName, excluded: AbstractSet[RoleName]) -> Iterator[RoleName]:
        queue = [start]
        while queue:
            role = queue.pop(0)
            if role in excluded or role not in self.targets:
                continue
            yield role
            queue += [entry.name for entry in self.targets[role].body.delegations]


def canonical_ids(root: Root, role: RoleName) -> frozenset[str]:
    """Canonical ids of the keys of a top role."""
    return frozenset(root.keys[key_id].canonical_id for key_id in root.roles[role].key_ids)


def valid_signers(signed: Signed[AnyBody], keys: Mapping[str, PublicKey], role_keys: RoleKeys) -> frozenset[str]:
    """Canonical ids of the distinct keys of the role that signed these bytes."""
    return frozenset(
        keys[signature.key_id].canonical_id
        for signature in signed.signatures
        if signature.key_id in role_keys.key_ids
        and keys[signature.key_id].verify(signed.payload, signature.method, signature.value)
    )


def require_signatures(
    signed: Signed[AnyBody], keys: Mapping[str, PublicKey], role_keys: RoleKeys, *, by: str = ""
) -> None:
    """Raises NotEnoughSignatures."""
    valid = len(valid_signers(signed, keys, role_keys))
    if valid < role_keys.threshold:
        raise NotEnoughSignatures(signed.role, signed.version, valid, role_keys.threshold, by=by)


def verify_root_step(trusted: Signed[Root], new: Signed[Root], gun: Gun) -> None:
    """May `new` take the place of `trusted`? Raises NotEnoughSignatures, RolledBack."""
    if new.version < trusted.version:
        raise RolledBack(ROOT, new.version, trusted.version)
    _require_root_signatures(new, trusted.body, gun, by=f" by the root keys of version {trusted.version}")
    _require_root_signatures(new, new.body, gun)


def _require_root_signatures(
    signed: Signed[Root], root: Root, gun: Gun, now: datetime | None = None, *, by: str = ""
) -> None:
    """By enough root keys of `root`, of whom docker counts only those whose certificates speak for the GUN."""
    role = root.roles[ROOT]
    require_signatures(signed, root.keys, role, by=by)
    if now:
        require_leaf([root.keys[key_id] for key_id in role.key_ids], gun, now)
    certified = {key.key_id for key in fitting((root.keys[key_id] for key_id in role.key_ids), gun, now)}
    counted = RoleKeys(tuple(key_id for key_id in role.key_ids if key_id in certified), role.threshold)
    require_signatures(signed, root.keys, counted, by=f"{by or ' by root keys'} that hold a certificate for {gun}")


def verify_root_chain(
    chain: Sequence[bytes], gun: Gun, *, enrolled: AbstractSet[str] | None, now: datetime
) -> Signed[Root]:
    """The newest root of the chain, in any order given. `enrolled`: canonical key ids; None takes the first root."""
    roots = sorted({raw: parse_root(raw) for raw in chain}.values(), key=lambda root: root.version)
    if not roots:
        raise RoleMissing(ROOT)
    newest = roots[-1]
    for earlier, later in pairwise(roots):
        if earlier.version == later.version:
            raise TrustError(
                ROOT, f"there are two different roots of version {later.version}: the repository was begun anew",
                hint="Go on with the keys and metadata it had before, or publish under another repository name; if "
                "nobody began it anew on purpose, tell your administrator.",
            )
    if enrolled is not None:
        _require_enrolled(roots, frozenset(enrolled))
    require_signatures(roots[0], roots[0].body.keys, roots[0].body.roles[ROOT])
    for trusted, new in pairwise(roots):
        verify_root_step(trusted, new, gun)
    if newest.expires <= now:
        raise RoleExpired(ROOT, newest.version, newest.expires)
    _require_root_signatures(newest, newest.body, gun, now)
    return newest


def verify_repository(
    files: Mapping[RoleName, bytes],
    root_chain: Sequence[bytes],
    *,
    gun: Gun,
    enrolled: AbstractSet[str] | None,
    seen: Mapping[RoleName, int],
    now: datetime,
) -> TrustedRepository:
    """Judge current files and all known roots. Raises TrustError, InvalidMetadata or CertificateRefused.

    `files` by role: timestamp, snapshot, targets and delegations; its root, if any, joins the chain.
    """
    chain = [*root_chain, *([files[ROOT]] if ROOT in files else [])]
    root = verify_root_chain(chain, gun, enrolled=enrolled, now=now)
    check = _Check(root, seen, now)
    check.fresh(root)
    timestamp = parse_timestamp(_there(files, TIMESTAMP))
    check.top(timestamp)
    snapshot_raw = _there(files, SNAPSHOT)
    require_same(SNAPSHOT, snapshot_raw, timestamp.body.snapshot, TIMESTAMP)
    snapshot = parse_snapshot(snapshot_raw)
    check.top(snapshot)
    require_same(ROOT, root.raw, snapshot.body.meta[ROOT], SNAPSHOT)
    targets_raw = _there(files, TARGETS)
    require_same(TARGETS, targets_raw, snapshot.body.meta[TARGETS], SNAPSHOT)
    targets = parse_targets(targets_raw, TARGETS)
    check.top(targets)
    tree: dict[RoleName, Signed[Targets]] = {TARGETS: targets}
    paths: dict[RoleName, tuple[str, ...]] = {TARGETS: ("",)}
    skipped: dict[RoleName, Invalid] = {}
    _descend(targets, files, snapshot, check, tree, paths, skipped)
    return TrustedRepository(gun, root, timestamp, snapshot, tree, paths, skipped)


class _Check:
    """The rules that every role shares."""

    def __init__(self, root: Signed[Root], seen: Mapping[RoleName, int], now: datetime) -> None:
        self.root = root.body
        self.seen = seen
        self.now = now

    def top(self, signed: Signed[AnyBody]) -> None:
        require_signatures(signed, self.root.keys, self.root.roles[signed.role])
        self.fresh(signed)
        self.unexpired(signed)

    def fresh(self, signed: Signed[AnyBody]) -> None:
        if signed.version < self.seen.get(signed.role, 0):
            raise RolledBack(signed.role, signed.version, self.seen[signed.role])

    def unexpired(self, signed: Signed[AnyBody]) -> None:
        if signed.expires <= self.now:
            raise RoleExpired(signed.role, signed.version, signed.expires)


def _descend(
    parent: Signed[Targets],
    files: Mapping[RoleName, bytes],
    snapshot: Signed[Snapshot],
    check: _Check,
    tree: dict[RoleName, Signed[Targets]],
    paths: dict[RoleName, tuple[str, ...]],
    skipped: dict[RoleName, Invalid],
) -> None:
    for entry in parent.body.delegations:
        meta = snapshot.body.meta.get(entry.name)
        if meta is None:
            continue  # declared, and nothing signed yet
        raw = _there(files, entry.name)
        require_same(entry.name, raw, meta, SNAPSHOT)
        try:
            signed = parse_targets(raw, entry.name)
            require_signatures(signed, parent.body.keys, entry.keys)
        except (InvalidMetadata, NotEnoughSignatures) as error:
            skipped[entry.name] = error
            continue
        check.fresh(signed)
        try:
            check.unexpired(signed)
        except RoleExpired as error:
            skipped[entry.name] = error
            continue
        tree[entry.name] = signed
        allowed = paths[parent.role]
        paths[entry.name] = tuple(path for path in entry.paths if any(path.startswith(above) for above in allowed))
        _descend(signed, files, snapshot, check, tree, paths, skipped)


def _require_enrolled(roots: Sequence[Signed[Root]], enrolled: frozenset[str]) -> None:
    for root in roots:
        role = root.body.roles[ROOT]
        if len(valid_signers(root, root.body.keys, role) & enrolled) >= role.threshold:
            return
    raise RootNotEnrolled(canonical_ids(roots[-1].body, ROOT), enrolled)


def _there(files: Mapping[RoleName, bytes], role: RoleName) -> bytes:
    if role not in files:
        raise RoleMissing(role)
    return files[role]


def require_same(role: RoleName, raw: bytes, meta: FileMeta, by: RoleName) -> None:
    """Are these the bytes that the file of `by` names? Raises Altered."""
    if meta.length != len(raw):
        raise Altered(role, "length", by)
    if not meta.fits(raw):
        raise Altered(role, "hash", by)
