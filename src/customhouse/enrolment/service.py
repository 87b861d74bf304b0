"""Enrolment: whose root keys the hub accepts, and whether a publisher's repository may be believed right now.

1. A publisher's root key is enrolled by an administrator or certifier: by a certificate, by its id, or from what a
   first push brought, best with the id that the publisher named; never by itself (no trust on first use without a
   person's word).
2. A repository, in staging or at another server, is judged by the client's rules against the enrolled keys and against
   the highest versions that ever verified: a rollback is refused after a restart, a restore, or a deletion of the
   metadata (T4).
3. What verified is remembered in one transaction, and only upwards. A delegation's version is remembered with its
   keys, and forgotten when an update that verifies ends its file: what comes next begins again at version 1, as
   clients have it.
4. What is remembered of another server's repository is remembered for one publisher: nobody spoils it for another.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from customhouse import faults
from customhouse.accounts.access import Kind, kind_of, publisher_of
from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.enrolment.origin import Origin
from customhouse.enrolment.store import EnrolmentStore
from customhouse.errors import Conflict, Denied, Invalid, NotFound, TooLarge
from customhouse.keys import PublicKey
from customhouse.oci.digest import Digest
from customhouse.trust.client import Anchor
from customhouse.trust.metadata import parse_root
from customhouse.trust.names import ROOT, TIMESTAMP, TOP_ROLES, Gun, RoleName
from customhouse.trust.service import TrustService
from customhouse.trust.update import TrustUpdate
from customhouse.trust.verify import RolledBack, RootNotEnrolled, SignedTag, TrustedRepository, verify_repository

if TYPE_CHECKING:
    from sqlalchemy import Connection


Fetch = Callable[[str, Origin, Anchor, datetime], TrustedRepository]
"""Reads another server's metadata for a publisher, with the client's rules; raises what the trust client raises."""
_KEY_ID = re.compile(r"[0-9a-f]{64}")
_MOST_KEYS = 16


class NotEnrolled(Conflict):
    """Nobody vouched for this publisher's root key yet; `enrolled` are the keys that were, at that moment."""

    def __init__(
        self, publisher: str, repository: str, found: frozenset[str], enrolled: frozenset[str], *, remote: bool = False
    ) -> None:
        self.enrolled = enrolled
        keys = sorted(found)
        words = [] if remote else ["--from-staging", repository]
        words += [f"--key-id {key}" for key in keys]
        super().__init__(
            f"the root key of {repository} is not enrolled for publisher {publisher} (found: "
            f"{', '.join(keys) or 'none'}); a certifier confirms it with `customhouse publisher enrol {publisher} "
            f"{' '.join(words)}` after comparing the key with the publisher",
        )


class Untrusted(Invalid):
    """The metadata does not hold against the client's rules, or does not say what was claimed."""


@dataclass(frozen=True)
class EnrolledKey:
    """A root key the hub accepts for a publisher."""

    id: str
    subject: str


class EnrolmentService:
    """The hub as a client of its publishers."""

    def __init__(
        self,
        store: EnrolmentStore,
        trust: TrustService,
        publisher_exists: Callable[[str], bool],
        audit: Audit,
        clock: Callable[[], datetime],
        host: str,
        fetch: Fetch,
    ) -> None:
        self._store, self._trust, self._publisher_exists = store, trust, publisher_exists
        self._audit, self._clock, self._host, self._fetch = audit, clock, host, fetch
        self.on_enrolled: Callable[[Connection, str], None] = lambda tx, publisher: None
        self.after_enrolled: Callable[[], None] = lambda: None
        self.before_verify: Callable[[Gun], object] = lambda gun: None

    def verify_tag(
        self, repository: str, publisher: str, tag: str, digest: Digest, origin: Origin | None = None
    ) -> SignedTag:
        """The publisher's signature of tag -> digest, verified now. Raises NotEnrolled or Untrusted, and for another
        server what stands in the way of asking it."""
        trusted = self.verify(repository, publisher, origin)
        where, tag = (str(origin.gun), origin.tag) if origin else (repository, tag)
        signed = trusted.tag(tag)
        if signed is None:
            raise Untrusted(f"{where}: the tag {tag} is no longer signed", hint="Sign it again to submit it.")
        if signed.digest != digest:
            raise Untrusted(f"{where}: the tag {tag} is now signed as {signed.digest}, not {digest}")
        return signed

    def verify(self, repository: str, publisher: str, origin: Origin | None = None) -> TrustedRepository:
        """The whole repository by the client's rules, as a fresh and as a returning client would see it: the one in
        staging, or the origin's at its trust server."""
        now = self._clock()
        if origin is None:
            trusted, forgotten = self._judge_staging(repository, publisher, now), set[str]()
        else:
            trusted, forgotten = self._judge_remote(publisher, origin, now, believed=True)
        faults.point("enrolment.remember")
        with self._store.write() as tx:
            key = _memory(publisher, origin) if origin else f"{self._host}/{repository}"
            self._store.remember(tx, key, trusted.root.raw, _remembered(trusted), now, forgotten=forgotten)
        return trusted

    def offered(self, publisher: str, origin: Origin) -> tuple[SignedTag, int]:
        """The tag as it is signed at another server now, by whomever, with the snapshot's version: what a submission
        may begin with. Raises Untrusted, also for what is older than what was seen; nothing is remembered."""
        trusted, _ = self._judge_remote(publisher, origin, self._clock(), believed=False)
        signed = trusted.tag(origin.tag)
        if signed is None:
            raise Untrusted(
                f"{origin.gun}: the tag {origin.tag} is not signed", hint="Sign it there first; is its name right?"
            )
        return signed, trusted.snapshot.version

    def _judge_staging(self, repository: str, publisher: str, now: datetime) -> TrustedRepository:
        gun = Gun.parse(f"{self._host}/{repository}")
        self.before_verify(gun)
        try:
            self._trust.current(gun, TIMESTAMP)  # signed anew where it is due: the hub may have slept for weeks
        except NotFound:
            raise Untrusted(f"{repository} has no trust metadata", hint="Push with a signature first.") from None
        with self._store.read() as tx:  # one view: a publish in between would mix two repositories
            enrolled = self._enrolled(tx, publisher)
            files, chain = self._trust.repository_files(gun, tx), self._trust.root_versions(gun, tx)
            root, seen = self._store.seen(tx, gun) or (None, {})
        try:
            return _judged(gun, files, [root, *chain] if root else chain, enrolled, seen, now)
        except RootNotEnrolled as error:
            raise NotEnrolled(publisher, repository, error.found, enrolled) from error
        except Invalid as error:
            raise Untrusted(f"{repository}: {error.message}", hint=error.hint) from error

    def _judge_remote(
        self, publisher: str, origin: Origin, now: datetime, *, believed: bool
    ) -> tuple[TrustedRepository, set[str]]:
        """With what of the memory has ended there. `believed`: by the enrolled keys, or by whatever root there is."""
        with self._store.read() as tx:
            enrolled = self._enrolled(tx, publisher)
            root, seen = self._store.seen(tx, _memory(publisher, origin)) or (None, {})
        anchor = Anchor(enrolled if believed else None, root, _tops(seen))
        try:
            trusted = self._fetch(publisher, origin, anchor, now)
            ended = {name for name in seen if "@" in name and name.partition("@")[0] not in trusted.snapshot.body.meta}
            _not_below(trusted, {name: version for name, version in seen.items() if name not in ended})
        except NotFound:
            hint = "Sign it there first; is its name right?"
            raise Untrusted(f"{origin.gun} has no trust metadata at {origin.asked}", hint=hint) from None
        except RootNotEnrolled as error:
            raise NotEnrolled(publisher, str(origin.gun), error.found, enrolled, remote=True) from error
        except (Invalid, TooLarge) as error:
            raise Untrusted(f"{origin.gun}: {error.message}", hint=error.hint) from error
        return trusted, ended

    def accepted(self, tx: "Connection", update: TrustUpdate) -> None:
        """A trust update was accepted, in its transaction: the delegations that it ended are forgotten.

        Only if it verifies against what is enrolled and was seen: old files that are published again, or another
        root, make nothing forgotten.
        """
        publisher = publisher_of(update.gun.repository)
        known = self._store.seen(tx, update.gun) if update.dropped and publisher else None
        if known is None or publisher is None:
            return
        root, seen = known
        ended = {name for name in seen if name.partition("@")[0] in update.dropped}
        seen = {name: version for name, version in seen.items() if name not in ended}
        files, chain = self._trust.repository_files(update.gun, tx), self._trust.root_versions(update.gun, tx)
        now = self._clock()
        try:
            trusted = _judged(update.gun, files, [root, *chain], self._enrolled(tx, publisher), seen, now)
        except Invalid:
            return
        self._store.remember(tx, update.gun, trusted.root.raw, _remembered(trusted), now, forgotten=ended)

    def enrol_certificate(self, principal: Principal, publisher: str, pem: bytes) -> list[EnrolledKey]:
        """Enrol the key of a certificate (or a bare public key) in PEM form."""
        key = PublicKey.of_certificate(pem) if b"CERTIFICATE" in pem else PublicKey.of_pem(pem)
        return self._enrol(principal, publisher, _pems([key]), "a certificate")

    def enrol_key_ids(self, principal: Principal, publisher: str, key_ids: Sequence[str]) -> list[EnrolledKey]:
        """Enrol keys by their canonical ids: an id is a hash of its key, so it names that key and no other."""
        return self._enrol(principal, publisher, {key_id: "" for key_id in _checked(key_ids)}, "its id")

    def enrol_from_staging(
        self, principal: Principal, publisher: str, repository: str, key_ids: Sequence[str] = ()
    ) -> list[EnrolledKey]:
        """Confirm the root keys that a first push to a staging repository brought; with `key_ids`, only if it is
        those."""
        repository = repository.removeprefix(f"{self._host}/")
        if kind_of(repository) is not Kind.STAGING or publisher_of(repository) != publisher:
            raise Invalid(
                f"{repository} is not a staging repository of {publisher}", hint=f"Name staging/{publisher}/NAME."
            )
        files = self._trust.repository_files(Gun.parse(f"{self._host}/{repository}"))
        if ROOT not in files:
            raise NotFound(f"{repository} holds no root yet", hint="Let the publisher push once with a signature.")
        body = parse_root(files[ROOT]).body
        keys = [body.keys[key_id] for key_id in body.roles[ROOT].key_ids]
        wanted, found = set(_checked(key_ids)), {key.canonical_id for key in keys}
        if wanted and found != wanted:
            raise Conflict(
                f"the root of {repository} is of key {', '.join(sorted(found))}, not {', '.join(sorted(wanted))}",
                hint="Nothing was enrolled. Ask the publisher who signed there, before you believe that key.",
            )
        return self._enrol(principal, publisher, _pems(keys), repository)

    def roots(self, publisher: str) -> list[EnrolledKey]:
        """The enrolled keys of a publisher."""
        with self._store.read() as tx:
            return [EnrolledKey(row["key_id"], row["source"]) for row in self._store.roots(tx, publisher)]

    def hold_enrolled(self, tx: "Connection", publisher: str) -> frozenset[str]:
        """The ids of the enrolled keys; none is added before the caller's transaction ends."""
        self._store.lock_roots(tx, publisher)
        return self._enrolled(tx, publisher)

    def remove(self, principal: Principal, publisher: str, key_id: str) -> None:
        """End the enrolment of a key: what it signed is refused from the next look on."""
        _may_enrol(principal)
        now = self._clock()
        with self._store.write() as tx:
            if not self._store.remove_root(tx, publisher, key_id):
                raise NotFound(f"{key_id} is not enrolled for {publisher}")
            self._audit.append(
                tx, actor=principal.owner, action="root.remove", subject=publisher, detail={"key": key_id}, now=now
            )

    def _enrol(
        self, principal: Principal, publisher: str, keys: Mapping[str, str], source: str
    ) -> list[EnrolledKey]:
        self.require_may_enrol(principal, publisher)
        with self._store.write() as tx:
            self.enrol_within(tx, principal, publisher, keys, source)
            faults.point("enrol.commit")
        self.after_enrolled()
        return [EnrolledKey(key, source) for key in keys]

    def enrol_within(
        self, tx: "Connection", principal: Principal, publisher: str, keys: Mapping[str, str], source: str
    ) -> None:
        """Enrol root keys in the caller's transaction, who calls `after_enrolled` when it is committed. `keys`: PEM by
        id, empty where only the id is known."""
        now = self._clock()
        self._store.lock_roots(tx, publisher)
        new = [key for key, pem in keys.items() if self._store.add_root(
            tx, publisher, key, pem=pem, source=source, by=principal.owner, now=now
        )]
        faults.point("enrol.keys")
        self.on_enrolled(tx, publisher)
        faults.point("enrol.waiting")
        for key in new:
            self._audit.append(
                tx, actor=principal.owner, action="root.enrol", subject=publisher,
                detail={"key": key, "source": source}, now=now,
            )

    def require_may_enrol(self, principal: Principal, publisher: str) -> None:
        """Raises Denied for those who may not vouch for a key, NotFound where there is no such publisher."""
        _may_enrol(principal)
        if not self._publisher_exists(publisher):
            raise NotFound(f"there is no publisher {publisher}", hint=f"`customhouse publisher add {publisher}`")

    def reset(self, principal: Principal, repository: str, reason: str) -> None:
        """Let a repository begin anew: what was seen of it is forgotten, and in staging its trust data. Another
        server's is named PUBLISHER@REGISTRY/NAME.

        For a publisher who lost a root key. The one way round invariant T4, so it needs a person and a reason.
        """
        _may_enrol(principal)
        repository = repository.removeprefix(f"{self._host}/")
        remote = "@" in repository
        if not remote and kind_of(repository) is not Kind.STAGING:
            hint = "Name staging/PUBLISHER/NAME, or PUBLISHER@REGISTRY/NAME for a repository elsewhere."
            raise Invalid(f"{repository} is not a staging repository", hint=hint)
        if not reason.strip():
            raise Invalid("a reset needs a reason", hint="It stands in the audit log for ever.")
        name, now = repository if remote else Gun.parse(f"{self._host}/{repository}"), self._clock()
        with self._store.write() as tx:
            gone = self._store.forget(tx, name)
            faults.point("reset.forgotten")
            if isinstance(name, Gun):
                gone = self._trust.delete_within(tx, name, principal.owner) or gone
            if not gone:
                raise NotFound(f"there is no trust data of {repository}", hint="It can begin as it is.")
            detail = {"reason": reason[:1000]}
            self._audit.append(tx, actor=principal.owner, action="trust.reset", subject=name, detail=detail, now=now)
            faults.point("reset.commit")

    def _enrolled(self, tx: "Connection", publisher: str) -> frozenset[str]:
        return frozenset(row["key_id"] for row in self._store.roots(tx, publisher))


def _judged(
    gun: Gun, files: Mapping[RoleName, bytes], chain: Sequence[bytes], enrolled: frozenset[str],
    seen: Mapping[str, int], now: datetime,
) -> TrustedRepository:
    """By the client's rules, against what was seen. Raises RootNotEnrolled, Invalid."""
    trusted = verify_repository(files, chain, gun=gun, enrolled=enrolled, seen=_tops(seen), now=now)
    _not_below(trusted, seen)
    return trusted


def _tops(seen: Mapping[str, int]) -> dict[RoleName, int]:
    return {role: seen[role] for role in TOP_ROLES if role in seen}


def _not_below(trusted: TrustedRepository, seen: Mapping[str, int]) -> None:
    """Raises RolledBack: delegations too are not older than what was seen."""
    for name, version in _remembered(trusted).items():
        if version < seen.get(name, 0):
            raise RolledBack(RoleName(name.partition("@")[0]), version, seen[name])


def _memory(publisher: str, origin: Origin) -> str:
    """The name under which the versions of another server's repository are remembered."""
    return f"{publisher}@{origin.gun}"


def _remembered(trusted: TrustedRepository) -> dict[str, int]:
    """The versions to remember: of the top roles by name, of delegations by name and keys."""
    versions = {str(role): version for role, version in trusted.versions.items() if role in TOP_ROLES}
    for parent in trusted.targets.values():
        for entry in parent.body.delegations:
            if entry.name in trusted.targets:
                keys = sha256(" ".join(sorted(entry.keys.key_ids)).encode()).hexdigest()[:16]
                versions[f"{entry.name}@{keys}"] = trusted.targets[entry.name].version
    return versions


def _pems(keys: Sequence[PublicKey]) -> dict[str, str]:
    return {key.canonical_id: key.bare.encoded for key in keys}


def _checked(key_ids: Sequence[str]) -> list[str]:
    """Ids of keys in one spelling. Raises Invalid."""
    found = list(dict.fromkeys(key_id.strip().lower() for key_id in key_ids))
    if len(found) > _MOST_KEYS or not all(_KEY_ID.fullmatch(key_id) for key_id in found):
        raise Invalid(
            "a key id has 64 hexadecimal digits", hint="`customhouse image root-cert` prints it for the publisher."
        )
    return found


def _may_enrol(principal: Principal) -> None:
    if not principal.certifies:
        raise Denied(
            "only a certifier or an administrator may enrol a root key",
            hint="It says whose signature the hub believes: a publisher cannot say that of himself.",
        )

