"""Reading a repository's trust metadata over the wire, with every rule of verify.py.

1. The way down: timestamp, snapshot by hash, root by hash, targets by hash, the delegations that the snapshot knows.
   Nothing is used before `verify_repository` has judged the whole.
2. What the file above names by hash may come from a cache; only the timestamp is always asked for. Cached bytes are
   compared with that hash and judged like fetched ones: damage costs a request, never trust. What fails is not kept.
3. Roots: from the one that is known (or the enrolled keys) to the newest, each by its version where a step is missing.
4. Neither "not there" nor "no answer" ever counts as "nothing to check": both are errors of their own.
5. Every file has a limit, and all of a repository together have one of bytes, of files and of seconds: an answer that
   does not end, or drips, ends the reading.
Notary v1 wire: HTTP API; client verification workflow.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

from customhouse.errors import Invalid, NotFound
from customhouse.remote import AnswerTooLarge, RemoteNotFound, Unreachable
from customhouse.transport import Transport
from customhouse.trust.metadata import (
    AnyBody,
    FileMeta,
    Root,
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
    TrustError,
    require_same,
    verify_repository,
)

LARGEST_TIMESTAMP = 1024 * 1024
LARGEST_ROOT = 4 * 1024 * 1024
LARGEST_FILE = 100 * 1024 * 1024
LARGEST_REPOSITORY = 256 * 1024 * 1024
LONGEST_READING = 300.0
MOST_ROOTS = 1024
MOST_DELEGATIONS = 1024
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)  # what expired before that never was valid


class NoTrustData(NotFound):
    """The trust server knows nothing of this repository: nobody has signed there."""

    def __init__(self, gun: str) -> None:
        super().__init__(
            f"there is no trust data for {gun}", hint="Nobody has signed anything there; is the name right?"
        )
        self.gun = gun


class TooMuch(TrustError):
    """A file, or all of them, went on after `limit` bytes."""

    def __init__(self, role: RoleName, what: str, limit: int) -> None:
        super().__init__(
            role, f"{what} goes on after {limit} bytes", hint="Do not use it; tell the trust server's administrator."
        )
        self.limit = limit


class Cache(Protocol):
    """Files of earlier readings, by repository, role and sha256 (hexadecimal). What `get` gives is judged anew."""

    def get(self, gun: Gun, role: RoleName, digest: str) -> bytes | None:
        """The bytes that were put; None where there are none, or they cannot be read."""

    def put(self, gun: Gun, role: RoleName, digest: str, raw: bytes) -> None:
        """Keep bytes that passed every rule. A cache that cannot is no error."""


@dataclass(frozen=True)
class Anchor:
    """Where trust begins: enrolled root keys (canonical ids), a root that was trusted before, or neither (first sight).

    `seen` are the versions of an earlier reading, below which nothing may fall; `roots` are older roots at hand, so
    that they need not be asked for: they are steps of a chain, and no beginning.
    """

    enrolled: frozenset[str] | None = None
    known_root: bytes | None = None
    seen: Mapping[RoleName, int] | None = None
    roots: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Reading:
    """A verified repository with all files that were judged, and the roots that led to the newest, oldest first."""

    repository: TrustedRepository
    files: Mapping[RoleName, bytes]
    roots: tuple[bytes, ...]


class TrustClient:
    """One trust server; GUNs carry its host."""

    def __init__(
        self, transport: Transport, cache: Cache | None = None, *, actions: str = "pull",
        seconds: float = LONGEST_READING,
    ) -> None:
        """`actions` are asked for in the token's scope: a publisher's reading is the beginning of a push."""
        self.transport, self._cache = transport, cache
        self._actions, self._seconds = actions, seconds

    def fetch(self, gun: Gun, anchor: Anchor, now: datetime) -> TrustedRepository:
        """The verified repository. Raises NoTrustData, TrustError, InvalidMetadata, CertificateRefused, Unavailable."""
        return self.read(gun, anchor, now).repository

    def read(self, gun: Gun, anchor: Anchor, now: datetime) -> Reading:
        """As `fetch`, with the bytes. They are in the cache afterwards."""
        source = self._server(gun, self._cache)
        files = walk(gun, source.timestamp(), source.by_hash)
        found = _judge(source, gun, files, anchor, now)
        if self._cache is not None:
            kept = [(role, raw) for role, raw in files.items() if role != TIMESTAMP]
            for role, raw in [*kept, *((ROOT, raw) for raw in found.roots)]:
                digest = sha256(raw).hexdigest()
                if (role, digest) not in source.from_cache:
                    self._cache.put(gun, role, digest, raw)
        return found

    def fetch_for_update(self, gun: Gun, anchor: Anchor, now: datetime) -> TrustedRepository:
        """As `fetch`, but a publisher may read files that have expired, in order to sign them again."""
        source = self._server(gun, None)
        files = walk(gun, source.timestamp(), source.by_hash)
        expired = [parsed.expires for parsed in map(_parsed, files.items()) if parsed.expires <= now]
        moment = max(min(expired), _BEGINNING) - timedelta(seconds=1) if expired else now
        return _judge(source, gun, files, anchor, moment).repository

    def earlier_roots(self, gun: Gun, newest: int) -> list[Root]:
        """The roots before this version, as the server has them and unjudged: which keys were in use once."""
        source = self._server(gun, None)
        found = (source.root(number) for number in range(max(1, newest - MOST_ROOTS), newest))
        return [parse_root(raw).body for raw in found if raw is not None]

    def _server(self, gun: Gun, cache: Cache | None) -> "_Server":
        return _Server(self.transport, gun, self._actions, cache, self._seconds)


def walk(gun: Gun, timestamp: bytes, by_hash: Callable[[RoleName, FileMeta], bytes]) -> dict[RoleName, bytes]:
    """The files of a repository, unjudged: each is the one that the file above names, and is read only then."""

    def same(role: RoleName, meta: FileMeta, by: RoleName) -> bytes:
        raw = by_hash(role, meta)
        require_same(role, raw, meta, by)
        return raw

    files = {TIMESTAMP: timestamp}
    files[SNAPSHOT] = same(SNAPSHOT, parse_timestamp(timestamp).body.snapshot, TIMESTAMP)
    snapshot = parse_snapshot(files[SNAPSHOT]).body
    files[ROOT] = same(ROOT, snapshot.meta[ROOT], SNAPSHOT)
    queue = [TARGETS]
    while queue:
        role = queue.pop()
        if role in files or role not in snapshot.meta:
            continue
        files[role] = same(role, snapshot.meta[role], SNAPSHOT)
        try:
            below = parse_targets(files[role], role).body.delegations
        except Invalid:
            if role == TARGETS:
                raise
            continue  # judged by verify.py: a broken delegation is left out
        queue += [entry.name for entry in below]
        if len(queue) + len(files) > MOST_DELEGATIONS:
            raise TrustError(role, f"{gun} has more than {MOST_DELEGATIONS} delegations, which nobody here reads")
    return files


class _Server:
    """The files of one repository at its server, within the budget of one reading."""

    def __init__(self, transport: Transport, gun: Gun, actions: str, cache: Cache | None, seconds: float) -> None:
        self.from_cache: set[tuple[RoleName, str]] = set()
        self._transport, self._gun, self._cache = transport, gun, cache
        self._scope = f"repository:{gun}:{actions}"
        self._until, self._left = time.monotonic() + seconds, LARGEST_REPOSITORY

    def timestamp(self) -> bytes:
        try:
            return self._get(TIMESTAMP, f"{TIMESTAMP}.json", LARGEST_TIMESTAMP)
        except RemoteNotFound as error:
            raise NoTrustData(self._gun) from error

    def by_hash(self, role: RoleName, meta: FileMeta) -> bytes:
        cached = self._cache.get(self._gun, role, meta.sha256) if self._cache else None
        if cached is not None and len(cached) == meta.length and meta.fits(cached):
            self.from_cache.add((role, meta.sha256))
            return cached
        limit = LARGEST_ROOT if role == ROOT else LARGEST_FILE
        if meta.length > limit:
            raise TrustError(role, f"{role} of {self._gun} is said to have {meta.length} bytes; the limit is {limit}")
        try:
            return self._get(role, f"{role}.{meta.sha256}.json", meta.length)
        except RemoteNotFound as error:
            raise RoleMissing(role) from error

    def root(self, version: int) -> bytes | None:
        try:
            return self._get(ROOT, f"{version}.{ROOT}.json", LARGEST_ROOT)
        except RemoteNotFound:
            return None

    def _get(self, role: RoleName, name: str, limit: int) -> bytes:
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise Unreachable(
                f"the metadata of {self._gun} took longer than was waited for, at {role}", hint="Try again."
            )
        try:
            answer = self._transport.request(
                "GET", f"/v2/{self._gun}/_trust/tuf/{name}", scopes=(self._scope,),
                budget=min(limit, self._left), seconds=seconds,
            )
        except AnswerTooLarge as error:
            if limit > self._left:
                raise TooMuch(role, f"the metadata of {self._gun}", LARGEST_REPOSITORY) from error
            raise TooMuch(role, role, limit) from error
        self._left -= len(answer.body)
        return answer.body


def _judge(source: _Server, gun: Gun, files: Mapping[RoleName, bytes], anchor: Anchor, now: datetime) -> Reading:
    known = [anchor.known_root] if anchor.known_root else []
    seen = anchor.seen or {}
    newest = parse_root(files[ROOT])
    chain = known
    try:
        found = verify_repository(files, chain, gun=gun, enrolled=anchor.enrolled, seen=seen, now=now)
    except (RootNotEnrolled, NotEnoughSignatures) as error:
        first = parse_root(known[0]).version + 1 if known and anchor.enrolled is None else 1
        between = range(first, min(newest.version, first + MOST_ROOTS))
        if error.role != ROOT or not between:
            raise
        at_hand = {parse_root(raw).version: raw for raw in anchor.roots}
        steps = (at_hand.get(number) or source.root(number) for number in between)
        chain = known + [raw for raw in steps if raw is not None]
        found = verify_repository(files, chain, gun=gun, enrolled=anchor.enrolled, seen=seen, now=now)
    return Reading(found, files, tuple(dict.fromkeys([*chain, files[ROOT]])))


def _parsed(item: tuple[RoleName, bytes]) -> Signed[AnyBody]:
    return parse_file(*item)
