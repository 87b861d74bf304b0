"""What the hub signs in a staging repository whose root and targets it keeps for a publisher. Pure.

1. Every enrolled signer has a role of his own, `targets/NAME`, and all of them share `targets/releases`: the layout
   in which docker signs with the one key that a person has.
2. The hub's kept keys sign root and targets only: who may sign, never which bytes a tag means. No tag is in targets.
3. `aligned` says what must be published so that targets name exactly the enrolled signers; nothing when they do.
Notary v1 wire: delegations; docker's push and trust sign.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from customhouse.errors import Invalid
from customhouse.keys import PublicKey, Signer
from customhouse.trust import documents
from customhouse.trust.metadata import Targets, parse_root, parse_targets
from customhouse.trust.names import RELEASES, ROOT, TARGETS, InvalidRole, RoleName

MOST_SIGNERS = 100


@dataclass(frozen=True)
class EnrolledSigner:
    """A person or machine who may sign a publisher's tags, with one of its keys."""

    name: str
    key: PublicKey

    @property
    def role(self) -> RoleName:
        """The delegation that is his alone."""
        return RoleName(f"{TARGETS}/{self.name}")


@dataclass(frozen=True)
class KeptKeys:
    """The root (known by its certificate) and targets signers that the hub keeps for one publisher."""

    root: Signer
    targets: Signer


def signer_name(text: str) -> str:
    """A name that can be a role of its own; raises Invalid."""
    try:
        role = RoleName.parse(f"{TARGETS}/{text}")
    except InvalidRole:
        role = RELEASES
    if role == RELEASES or "/" in text or not text[0].isalnum() or len(text) > 63:
        raise Invalid(
            f"{text[:80]!r} cannot name a signer",
            hint="It needs a-z 0-9 _ - and starts with a letter or digit; `releases` is taken by clients.",
        )
    return text


def is_kept(files: Mapping[RoleName, bytes], kept: KeptKeys) -> bool:
    """Is this repository's root the one that the hub keeps?"""
    if ROOT not in files:
        return False
    body = parse_root(files[ROOT]).body
    return {body.keys[key].canonical_id for key in body.roles[ROOT].key_ids} == {kept.root.public.canonical_id}


def beginning(
    kept: KeptKeys, signers: Sequence[EnrolledSigner], server: Mapping[RoleName, PublicKey], now: datetime
) -> dict[RoleName, bytes]:
    """Root and targets of a repository that has none; `server` holds its snapshot and timestamp keys."""
    root = documents.new_root(documents.top_keys(kept.root.public, kept.targets.public, server), [kept.root], now)
    body = _delegating(documents.empty_targets(now), signers)
    return {ROOT: root.raw, TARGETS: documents.sign_targets(TARGETS, body, [kept.targets]).raw}


def aligned(
    files: Mapping[RoleName, bytes], kept: KeptKeys, signers: Sequence[EnrolledSigner], now: datetime
) -> dict[RoleName, bytes]:
    """The next targets, when they name other signers than are enrolled or are in the second half of their life."""
    body = parse_targets(files[TARGETS], TARGETS).body
    wanted = _delegating(body, signers)
    if _names(wanted) == _names(body) and body.expires - now >= documents.TARGETS_LIFETIME / 2:
        return {}
    return {TARGETS: documents.sign_targets(TARGETS, documents.next_targets(wanted, now), [kept.targets]).raw}


def _delegating(body: Targets, signers: Iterable[EnrolledSigner]) -> Targets:
    """Targets that delegate to these signers and to nobody else."""
    keys: dict[RoleName, list[PublicKey]] = {}
    for signer in signers:
        keys.setdefault(signer.role, []).append(signer.key)
        keys.setdefault(RELEASES, []).append(signer.key)
    for entry in body.delegations:
        if entry.name not in keys:
            body = documents.without_delegation(body, entry.name)
    for role in sorted(keys):
        body = documents.with_delegation(body, role, keys[role])
    return body


def _names(body: Targets) -> dict[RoleName, tuple[tuple[str, ...], int, tuple[str, ...]]]:
    return {entry.name: (entry.keys.key_ids, entry.keys.threshold, entry.paths) for entry in body.delegations}
