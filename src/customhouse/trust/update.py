"""What a publish makes of a repository: the update is judged by building the result and reading it as a client would.

1. Nothing is stored unless the resulting repository passes verify.py, as a fresh client would read it, now.
2. A root follows the stored one by exactly one version and is signed by its keys and its own. Any other file's
   version is above the stored one, by at most MAXIMUM_STEP: a publisher cannot run a version up to its end.
3. The timestamp is always made here; the snapshot too, unless its key is the client's. A client's own timestamp is
   ignored. The keys that sign them are this repository's, held here, and listed by the root.
4. A delegation's file ends when its parent no longer lists it, or lists keys and a threshold that its signatures do
   not meet. It leaves the snapshot, its tags count as removed, and its versions start anew at 1, as Go clients do:
   they would not load it. A client that caches the old file fails once and recovers.
5. An uploaded file must be usable in the result.
6. A file that is byte for byte the stored one changes nothing, so that the same request twice is answered alike.
Notary v1 wire: validation on publish; defects of the Go server that are not copied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from customhouse.errors import Conflict, Invalid
from customhouse.keys import Signer
from customhouse.trust.certificates import CertificateRefused
from customhouse.trust.documents import SNAPSHOT_LIFETIME, TIMESTAMP_LIFETIME, new_snapshot, new_timestamp
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.filemeta import differing
from customhouse.trust.metadata import AnyBody, Root, Signed, Snapshot, Targets, parse_file, parse_root, parse_targets
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import (
    Altered,
    NotEnoughSignatures,
    SignedTag,
    TrustedRepository,
    TrustError,
    valid_signers,
    verify_repository,
    verify_root_chain,
    verify_root_step,
)

MAXIMUM_STEP = 1000
MAXIMUM_DELEGATIONS = 1000

Kind = Literal["ErrValidation", "ErrBadHierarchy", "ErrBadRoot", "ErrBadTargets", "ErrBadSnapshot"]
HeldKeys = Mapping[RoleName, Mapping[str, Signer]]


class UpdateRefused(Invalid):
    """The update would not make a repository that clients can trust; `kind` is the class clients know it by."""

    def __init__(self, kind: Kind, message: str, *, hint: str = "", missing: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.missing = missing


class VersionConflict(Conflict):
    """Another version of this role came first: `stored` is the one that is there, `version` the one that was sent."""

    def __init__(self, gun: str, role: str, version: int, stored: int, *, expired: bool = False) -> None:
        super().__init__(
            f"{role} of {gun} is at version {stored} now; version {version} cannot follow it",
            hint="It has expired, and docker and notary do not read it: sign with `customhouse image sign`."
            if expired
            else "Somebody else published meanwhile: run the same command again.",
        )
        self.role = role
        self.version = version
        self.stored = stored


@dataclass(frozen=True)
class Stored:
    """What the server holds for a GUN: each role's current file with its version and expiry, and every root."""

    files: Mapping[RoleName, bytes]
    versions: Mapping[RoleName, int]
    expiries: Mapping[RoleName, datetime]
    roots: Sequence[bytes]

    def version(self, role: RoleName) -> int:
        """The stored version of a role, 0 when there is none."""
        return self.versions.get(role, 0)

    def expired(self, role: RoleName, now: datetime) -> bool:
        """Is the stored file of a role past its end?"""
        return role in self.expiries and self.expiries[role] <= now

    def repository(self, gun: Gun) -> TrustedRepository | None:
        """As it was signed, whether or not some file has expired since; None when there is none."""
        if TIMESTAMP not in self.files:
            return None
        moment = min(self.expiries.values()) - timedelta(seconds=1)
        try:
            return verify_repository(self.files, self.roots, gun=gun, enrolled=None, seen={}, now=moment)
        except Invalid:
            return None  # a certificate that had already ended then; every tag counts as new


@dataclass(frozen=True)
class Admitted:
    """The files to store, the delegations whose stored file ended (rule 4), and the repository that results."""

    files: Mapping[RoleName, Signed[AnyBody]]
    dropped: frozenset[RoleName]
    repository: TrustedRepository


@dataclass(frozen=True)
class TrustUpdate:
    """An accepted publish: versions as they are after it, which tags differ from before and what they now are (`tags`
    holds the changed ones), and the delegations whose versions start anew."""

    gun: Gun
    actor: str
    versions: Mapping[RoleName, int]
    tags: Mapping[str, SignedTag]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    dropped: frozenset[RoleName] = frozenset()


def difference(gun: Gun, actor: str, before: TrustedRepository | None, admitted: Admitted) -> TrustUpdate:
    """Name the tags that are new, point elsewhere, or are gone."""
    after = admitted.repository
    tags: dict[str, SignedTag] = {}
    removed: list[str] = []
    for name in sorted(_touched(before, after)):
        old, new = before.tag(name) if before else None, after.tag(name)
        if new is None:
            removed += [name] if old else []
        elif old is None or (old.digest, old.length) != (new.digest, new.length):
            tags[name] = new
    return TrustUpdate(gun, actor, after.versions, tags, tuple(tags), tuple(removed), admitted.dropped)


def _touched(before: TrustedRepository | None, after: TrustedRepository) -> set[str]:
    """Names that may stand for something else than before: where the roles, their paths and delegations are as they
    were, only those whose entry is another in some role."""
    if before is None or _shape(before) != _shape(after):
        found = [*after.targets.values(), *(before.targets.values() if before else ())]
        return {name for signed in found for name in signed.body.targets}
    pairs = ((before.targets[role].body.targets, signed.body.targets) for role, signed in after.targets.items())
    return {name for old, new in pairs for name in differing(old, new)}


def _shape(repository: TrustedRepository) -> list[object]:
    return [(role, repository.paths[role], signed.body.delegations) for role, signed in repository.targets.items()]


def admit(
    gun: Gun,
    stored: Stored,
    upload: Mapping[RoleName, bytes],
    held: HeldKeys,
    now: datetime,
    *,
    timestamp_lifetime: timedelta = TIMESTAMP_LIFETIME,
    step: int = 1,
) -> Admitted | None:
    """Judge an upload; None when it changes nothing. `step`: how far the files made here go ahead of the stored ones.

    Raises UpdateRefused or VersionConflict.
    """
    sent = {
        role: _parsed(role, raw)
        for role, raw in upload.items()
        if role != TIMESTAMP and stored.files.get(role) != raw
    }
    if not sent:
        if not stored.files:
            raise _no_root()
        return None
    result = {**stored.files, **{role: signed.raw for role, signed in sent.items()}}
    listed, ended = _tree(stored, result, sent)
    for role, signed in sent.items():
        if signed.version <= stored.version(role) and role not in ended and role != ROOT:
            raise VersionConflict(gun, role, signed.version, stored.version(role), expired=stored.expired(role, now))
        _require_next(gun, role, signed.version, stored.version(role))
    if ROOT not in result:
        raise _no_root()
    root = _root(gun, stored, result[ROOT], now)
    for role in sent:
        if role.is_delegation and role not in listed:
            raise UpdateRefused(
                "ErrBadTargets", f"{role} is not a delegation of {role.parent}", hint="Publish its parent with it."
            )
    if TARGETS not in result:
        raise UpdateRefused("ErrValidation", "targets must be loaded first", hint="Publish targets with the root.")
    result = {role: raw for role, raw in result.items() if role in sent or role not in ended}
    made = _sign(root, result, stored, sent, held, now, timestamp_lifetime, step)
    result.update({role: signed.raw for role, signed in made.items()})
    seen = {role: stored.version(role) for role in stored.files if role not in ended}
    repository = _judge(gun, result, [*stored.roots, root.raw], seen, sent, now)
    return Admitted({**sent, **made}, ended, repository)


def renewal(
    stored: Stored, held: HeldKeys, now: datetime, *, timestamp_lifetime: timedelta = TIMESTAMP_LIFETIME, ahead: int = 0
) -> dict[RoleName, Signed[AnyBody]]:
    """New snapshot and timestamp files where less than half of their life remains; empty when none is due. With
    `ahead`, in any case, and so many versions further.

    A clock that goes back makes nothing due; one that leaps ahead makes one new version each.
    """
    if not {ROOT, SNAPSHOT, TIMESTAMP} <= set(stored.files):
        return {}
    root = parse_root(stored.files[ROOT]).body
    made: dict[RoleName, Signed[AnyBody]] = {}
    step = ahead or 1
    signers = _signers(root, SNAPSHOT, held)
    if signers and (ahead or stored.expiries[SNAPSHOT] - now < SNAPSHOT_LIFETIME / 2):
        made[SNAPSHOT] = new_snapshot(stored.files, stored.version(SNAPSHOT) + step, signers, now)
    signers = _signers(root, TIMESTAMP, held)
    if signers and (ahead or made or stored.expiries[TIMESTAMP] - now < timestamp_lifetime / 2):
        over = made[SNAPSHOT].raw if SNAPSHOT in made else stored.files[SNAPSHOT]
        made[TIMESTAMP] = new_timestamp(over, stored.version(TIMESTAMP) + step, signers, now, timestamp_lifetime)
    return made if TIMESTAMP in made else {}


def _no_root() -> UpdateRefused:
    return UpdateRefused(
        "ErrValidation",
        "no pre-existing root and no root provided in update.",
        hint="Publish root and targets first; docker push with DOCKER_CONTENT_TRUST=1 does both.",
    )


def _kind(role: RoleName) -> Kind:
    if role.has_targets:
        return "ErrBadTargets"
    return "ErrBadRoot" if role == ROOT else "ErrBadSnapshot" if role == SNAPSHOT else "ErrValidation"


def _parsed(role: RoleName, raw: bytes) -> Signed[AnyBody]:
    try:
        return parse_file(role, raw)
    except InvalidMetadata as error:
        raise UpdateRefused(_kind(role), error.message) from None


def _require_next(gun: Gun, role: RoleName, version: int, stored: int) -> None:
    if role == ROOT and version == stored:
        raise VersionConflict(gun, role, version, stored)
    if role == ROOT and not stored < version <= max(stored + 1, 2):
        raise UpdateRefused(
            "ErrBadRoot",
            f"Root modifications must increment the version. Current {stored}, new {version}",
            hint="Read the repository again, and publish a root that follows its newest one.",
        )
    if version > stored + MAXIMUM_STEP:
        raise UpdateRefused(
            _kind(role),
            f"{role} version {version} is too far ahead of {stored}",
            hint=f"Publish a version of at most {stored + MAXIMUM_STEP}.",
        )


def _root(gun: Gun, stored: Stored, raw: bytes, now: datetime) -> Signed[Root]:
    """A new root is judged before anything is signed: of all that is wrong, what is wrong with it matters first."""
    root = parse_root(raw)
    if stored.files.get(ROOT) == raw:
        return root
    try:
        if ROOT in stored.files:
            verify_root_step(parse_root(stored.files[ROOT]), root, gun)
    except TrustError as error:
        raise UpdateRefused(
            "ErrBadRoot",
            f"could not rotate trust to a new trusted root: {error.message}",
            hint="Sign the new root with the old root key and the new one.",
        ) from None
    try:
        return verify_root_chain([*stored.roots, raw], gun, enrolled=None, now=now)
    except (CertificateRefused, TrustError) as error:
        raise UpdateRefused("ErrBadRoot", error.message, hint=error.hint) from None


def _tree(
    stored: Stored, result: Mapping[RoleName, bytes], sent: Mapping[RoleName, Signed[AnyBody]]
) -> tuple[set[RoleName], frozenset[RoleName]]:
    """Every delegation that is named from targets down, with a file or without; and those whose stored file ended."""
    listed: set[RoleName] = set()
    unsigned: set[RoleName] = set()
    queue = [TARGETS]
    while queue:
        role = queue.pop()
        if role not in result or (role in unsigned and role not in sent):
            continue
        body = sent[role].body if role in sent else parse_targets(result[role], role).body
        assert isinstance(body, Targets)
        for entry in body.delegations:
            listed.add(entry.name)
            queue.append(entry.name)
            if role in sent and entry.name in stored.files:  # otherwise its keys are those of the last publish
                file = parse_targets(stored.files[entry.name], entry.name)
                if len(valid_signers(file, body.keys, entry.keys)) < entry.keys.threshold:
                    unsigned.add(entry.name)
        if len(listed) > MAXIMUM_DELEGATIONS:
            raise UpdateRefused("ErrBadTargets", f"there are more than {MAXIMUM_DELEGATIONS} delegations")
    unlisted = {role for role in stored.files if role.is_delegation and role not in listed}
    return listed, frozenset(unsigned | unlisted)


def _signers(root: Root, role: RoleName, held: HeldKeys) -> list[Signer]:
    """The held keys that the root lists for the role, when they reach its threshold; otherwise none."""
    keys = root.roles[role]
    found = [held[role][key_id] for key_id in keys.key_ids if key_id in held.get(role, {})]
    return found if len(found) >= keys.threshold else []


def _sign(
    root: Signed[Root],
    result: Mapping[RoleName, bytes],
    stored: Stored,
    sent: Mapping[RoleName, Signed[AnyBody]],
    held: HeldKeys,
    now: datetime,
    timestamp_lifetime: timedelta,
    step: int,
) -> dict[RoleName, Signed[AnyBody]]:
    made: dict[RoleName, Signed[AnyBody]] = {}
    if SNAPSHOT in sent:
        _require_complete(sent[SNAPSHOT].body, result)
    else:
        signers = _signers(root.body, SNAPSHOT, held)
        if not signers:
            raise UpdateRefused(
                "ErrBadHierarchy",
                "the root names a snapshot key that this server does not hold, and no snapshot was sent",
                hint="Let the server hold it: notary key rotate GUN snapshot -r",
                missing="snapshot",
            )
        made[SNAPSHOT] = new_snapshot(result, stored.version(SNAPSHOT) + step, signers, now)
    signers = _signers(root.body, TIMESTAMP, held)
    if not signers:
        raise UpdateRefused(
            "ErrBadRoot",
            "no timestamp keys exist on the server for the one that the root names",
            hint="Ask the server for its key: notary key rotate GUN timestamp -r; after a deletion, start anew.",
        )
    over = made[SNAPSHOT].raw if SNAPSHOT in made else result[SNAPSHOT]
    made[TIMESTAMP] = new_timestamp(over, stored.version(TIMESTAMP) + step, signers, now, timestamp_lifetime)
    return made


def _require_complete(snapshot: AnyBody, result: Mapping[RoleName, bytes]) -> None:
    for role in result:
        if role.is_delegation and isinstance(snapshot, Snapshot) and role not in snapshot.meta:
            raise UpdateRefused(
                "ErrBadSnapshot", f"the snapshot leaves out {role}", hint="Update the repository and publish again."
            )


def _judge(
    gun: Gun,
    result: Mapping[RoleName, bytes],
    roots: Sequence[bytes],
    seen: Mapping[RoleName, int],
    sent: Mapping[RoleName, Signed[AnyBody]],
    now: datetime,
) -> TrustedRepository:
    try:
        repository = verify_repository(result, roots, gun=gun, enrolled=None, seen=seen, now=now)
    except CertificateRefused as error:
        raise UpdateRefused("ErrBadRoot", error.message, hint=error.hint) from None
    except NotEnoughSignatures as error:
        if ROOT in sent and error.role not in sent and error.role.has_targets:
            hint = f"Sign {error.role} with the keys that the new root names and publish both together."
            raise UpdateRefused("ErrBadRoot", f"after this root {error.message}", hint=hint) from None
        raise UpdateRefused(_kind(error.role), error.message, hint=error.hint) from None
    except TrustError as error:
        own = isinstance(error, Altered) and error.by == SNAPSHOT and SNAPSHOT in sent
        raise UpdateRefused("ErrBadSnapshot" if own else _kind(error.role), error.message, hint=error.hint) from None
    for role in sent:
        if role in repository.skipped:
            why = repository.skipped[role]
            raise UpdateRefused("ErrBadTargets", why.message, hint=why.hint)
        if role.is_delegation and role not in repository.targets:
            raise UpdateRefused("ErrBadTargets", f"{role} stands below a role that clients cannot use")
    return repository
