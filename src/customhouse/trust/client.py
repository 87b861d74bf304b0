"""Reading a repository's trust metadata over the wire, with every rule of verify.py.

1. The way down: timestamp, snapshot by hash, root by hash, targets by hash, the delegations that the snapshot knows.
   Nothing is used before `verify_repository` has judged the whole; sizes are bounded by what the file above says.
2. Roots: from the one that is known (or the enrolled keys) to the newest, each by its version where a step is missing.
3. Neither "not there" nor "no answer" ever counts as "nothing to check": both are errors of their own.
Notary v1 wire: HTTP API; client verification workflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from customhouse.errors import Invalid, NotFound
from customhouse.remote import RemoteNotFound
from customhouse.transport import Transport
from customhouse.trust.metadata import (
    AnyBody,
    FileMeta,
    Signed,
    parse_file,
    parse_root,
    parse_snapshot,
    parse_targets,
    parse_timestamp,
)
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import (
    NotEnoughSignatures,
    RoleMissing,
    RootNotEnrolled,
    TrustedRepository,
    verify_repository,
)

LARGEST_TIMESTAMP = 1024 * 1024
LARGEST_FILE = 100 * 1024 * 1024
MOST_ROOTS = 1024
MOST_DELEGATIONS = 1024


class NoTrustData(NotFound):
    """The trust server knows nothing of this repository: nobody has signed there."""

    def __init__(self, gun: str) -> None:
        super().__init__(
            f"there is no trust data for {gun}", hint="Nobody has signed anything there; is the name right?"
        )
        self.gun = gun


@dataclass(frozen=True)
class Anchor:
    """Where trust begins: enrolled root keys (canonical ids), a root that was trusted before, or neither (first sight).

    `seen` are the versions of an earlier reading, below which nothing may fall.
    """

    enrolled: frozenset[str] | None = None
    known_root: bytes | None = None
    seen: Mapping[RoleName, int] | None = None


class TrustClient:
    """One trust server; GUNs carry its host."""

    def __init__(self, transport: Transport, actions: str = "pull") -> None:
        """`actions` are asked for in the token's scope: a publisher's reading is the beginning of a push."""
        self.transport, self._actions = transport, actions

    def fetch(self, gun: Gun, anchor: Anchor, now: datetime) -> TrustedRepository:
        """The verified repository. Raises NoTrustData, TrustError, InvalidMetadata, CertificateRefused, Unavailable."""
        files = self._files(gun)
        return self._judge(gun, files, anchor, now)

    def fetch_for_update(self, gun: Gun, anchor: Anchor, now: datetime) -> TrustedRepository:
        """As `fetch`, but a publisher may read files that have expired, in order to sign them again."""
        files = self._files(gun)
        expired = [parsed.expires for parsed in map(_parsed, files.items()) if parsed.expires <= now]
        return self._judge(gun, files, anchor, min(expired) - timedelta(seconds=1) if expired else now)

    def _judge(
        self, gun: Gun, files: Mapping[RoleName, bytes], anchor: Anchor, now: datetime
    ) -> TrustedRepository:
        known = [anchor.known_root] if anchor.known_root else []
        seen = anchor.seen or {}
        newest = parse_root(files[ROOT])
        try:
            return verify_repository(files, known, gun=gun, enrolled=anchor.enrolled, seen=seen, now=now)
        except (RootNotEnrolled, NotEnoughSignatures) as error:
            first = parse_root(known[0]).version + 1 if known and anchor.enrolled is None else 1
            between = range(first, min(newest.version, first + MOST_ROOTS))
            if error.role != ROOT or not between:
                raise
        chain = known + [raw for raw in (self._version(gun, ROOT, number) for number in between) if raw is not None]
        return verify_repository(files, chain, gun=gun, enrolled=anchor.enrolled, seen=seen, now=now)

    # -- files ------------------------------------------------------------------------------------------------------

    def _files(self, gun: Gun) -> dict[RoleName, bytes]:
        try:
            raw = self._get(gun, f"{TIMESTAMP}.json", LARGEST_TIMESTAMP)
        except RemoteNotFound as error:
            raise NoTrustData(gun) from error
        files = {TIMESTAMP: raw}
        files[SNAPSHOT] = self._by_hash(gun, SNAPSHOT, parse_timestamp(raw).body.snapshot)
        snapshot = parse_snapshot(files[SNAPSHOT]).body
        files[ROOT] = self._by_hash(gun, ROOT, snapshot.meta[ROOT])
        queue = [TARGETS]
        while queue:
            role = queue.pop()
            if role in files or role not in snapshot.meta:
                continue
            files[role] = self._by_hash(gun, role, snapshot.meta[role])
            try:
                below = parse_targets(files[role], role).body.delegations
            except Invalid:
                if role == TARGETS:
                    raise
                continue  # judged by verify.py: a broken delegation is left out
            queue += [entry.name for entry in below]
            if len(queue) > MOST_DELEGATIONS:
                raise Invalid(f"{gun} has more than {MOST_DELEGATIONS} delegations")
        return files

    def _by_hash(self, gun: Gun, role: RoleName, meta: FileMeta) -> bytes:
        if meta.length > LARGEST_FILE:
            raise Invalid(f"{role} of {gun} is said to have {meta.length} bytes; the limit is {LARGEST_FILE}")
        try:
            return self._get(gun, f"{role}.{meta.sha256}.json", meta.length)
        except RemoteNotFound as error:
            raise RoleMissing(role) from error

    def _version(self, gun: Gun, role: RoleName, number: int) -> bytes | None:
        try:
            return self._get(gun, f"{number}.{role}.json", LARGEST_FILE)
        except RemoteNotFound:
            return None

    def _get(self, gun: Gun, name: str, budget: int) -> bytes:
        answer = self.transport.request(
            "GET", f"/v2/{gun}/_trust/tuf/{name}", scopes=(f"repository:{gun}:{self._actions}",), budget=budget
        )
        return answer.body


def _parsed(item: tuple[RoleName, bytes]) -> Signed[AnyBody]:
    return parse_file(*item)
