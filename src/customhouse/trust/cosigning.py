"""Signatures that several people give to one file, where a role needs more than one.

1. A file with too few signatures is never published as the role's file: clients would leave the role out. It waits as
   a proposal in a role that the signer may sign alone, `targets/NAME`: a target whose name no tag can have
   (`targets/releases@VERSION`), with hash and length of the payload, its expiry, and the signatures so far.
2. A proposal carries no content. The next signer builds the payload himself, from the present file and his own
   change; only when it is the proposed one to the byte are the signatures taken over, each verified, his own added.
3. A proposal's expiry is the proposer's choice within what every file is given: not past, and no later than the next
   signer's own would be (a day of leeway, as clocks differ).
4. One proposal of a role stands in a file, for the version after the present one; older ones leave with the next
   change.
Other clients of this wire carry proposals along and see nothing in them.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from customhouse.keys import PublicKey, Signature, Signer
from customhouse.trust.canonical import JSON, canonical, published
from customhouse.trust.documents import targets_document
from customhouse.trust.metadata import FileMeta, RoleKeys, Signed, Targets, format_expires, parse_targets
from customhouse.trust.names import RoleName

_NAME = re.compile(r"(targets/[-a-z0-9_/]+)@([1-9][0-9]{0,9})")
_MOST = 64
LEEWAY = timedelta(days=1)


@dataclass(frozen=True)
class Draft:
    """The next file of a role with the signatures that it has, of distinct keys; `missing` more are needed."""

    role: RoleName
    body: Targets
    payload: bytes
    signatures: tuple[Signature, ...]
    missing: int

    @property
    def file(self) -> Signed[Targets]:
        """To be published when nothing is missing."""
        return parse_targets(published(self.payload, self.signatures), self.role)

    @property
    def name(self) -> str:
        """The target under which it waits."""
        return f"{self.role}@{self.body.version}"

    def meta(self) -> FileMeta:
        """The entry of that target."""
        listed: list[JSON] = [
            {"keyid": each.key_id, "method": each.method, "sig": base64.b64encode(each.value).decode()}
            for each in self.signatures
        ]
        return replace(FileMeta.of(self.payload), custom={"expires": format_expires(self.body.expires), "sigs": listed})


def draft(
    role: RoleName,
    body: Targets,
    keys: Mapping[str, PublicKey],
    role_keys: RoleKeys,
    signers: Sequence[Signer],
    proposals: Iterable[FileMeta],
    now: datetime,
) -> Draft:
    """Sign the next file, on top of what others proposed; `keys` are those of the role, by TUF id."""
    found: dict[str, Signature] = {}
    payload, latest = canonical(targets_document(body)), body.expires + LEEWAY
    for proposal in proposals:
        expires, signatures = _read(proposal)
        if expires is None or not now < expires <= latest:
            continue
        candidate = replace(body, expires=expires)
        proposed = canonical(targets_document(candidate))
        if not proposal.fits(proposed) or (found and proposed != payload):
            continue
        valid = {
            keys[each.key_id].canonical_id: each for each in signatures
            if each.key_id in role_keys.key_ids and keys[each.key_id].verify(proposed, each.method, each.value)
        }
        if valid:
            body, payload, found = candidate, proposed, {**valid, **found}
    for signer in signers:
        if signer.public.canonical_id not in found:
            found[signer.public.canonical_id] = signer.sign(payload)
    return Draft(role, body, payload, tuple(found.values()), max(0, role_keys.threshold - len(found)))


def proposals(files: Iterable[Targets], role: RoleName, version: int) -> list[FileMeta]:
    """What was proposed as this version of a role, in other roles' files."""
    name = f"{role}@{version}"
    return [body.targets[name] for body in files if name in body.targets]


def with_proposal(body: Targets, proposal: Draft) -> Targets:
    """With this proposal, instead of any other one of its role."""
    kept = {name: meta for name, meta in body.targets.items() if _role_of(name) != proposal.role}
    return replace(body, targets={**kept, proposal.name: proposal.meta()})


def without_stale(body: Targets, versions: Mapping[RoleName, int]) -> Targets:
    """Without proposals for versions that are there already."""
    kept = {
        name: meta for name, meta in body.targets.items()
        if (role := _role_of(name)) is None or int(name.rpartition("@")[2]) > versions.get(role, 0)
    }
    return replace(body, targets=kept)


def is_proposal(name: str) -> bool:
    """Is this target a proposal, and no tag?"""
    return _role_of(name) is not None


def _role_of(name: str) -> RoleName | None:
    found = _NAME.fullmatch(name)
    return RoleName(found[1]) if found else None


def _read(proposal: FileMeta) -> tuple[datetime | None, list[Signature]]:
    """Expiry and signatures of a proposal; nothing from one that is not well-formed. It was signed, not checked."""
    custom = proposal.custom
    if not isinstance(custom, dict) or not isinstance(listed := custom.get("sigs"), list):
        return None, []
    try:
        expires = datetime.strptime(str(custom.get("expires")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        signatures = [
            Signature(str(each["keyid"]), str(each["method"]), base64.b64decode(str(each["sig"]), validate=True))
            for each in listed[:_MOST] if isinstance(each, dict)
        ]
    except (ValueError, KeyError):
        return None, []
    return expires, signatures
