"""Signers: one key per person is enough, because the hub keeps root and targets for a publisher who wants it so.

1. A certifier enrols a person's public key under a name, as he would a root; with a publisher's first signer the hub
   makes that publisher's root and targets keys, seals them, and enrols the root. They never sign a tag, and are never
   those of official repositories.
2. A staging repository that has no trust data begins with these keys when somebody who may push asks for its
   metadata: docker and `customhouse image sign` find it ready. A repository with a root of its own is left alone.
3. Signers are rows; the targets of every kept repository follow them (`align`), by the way of every publish. They
   follow at once after a change, before each look of the hub at a signature, and by a sweep: a crash in between, or
   two changes at once, end in targets that name exactly the enrolled signers.
4. Who is removed signs no more from the next look on; what he alone had signed counts as not signed.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from customhouse import faults
from customhouse.accounts.access import Kind, kind_of, publisher_of
from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.enrolment import delegation
from customhouse.enrolment.delegation import MOST_SIGNERS, EnrolledSigner, KeptKeys, signer_name
from customhouse.enrolment.service import EnrolmentService
from customhouse.enrolment.store import EnrolmentStore, KeptKey
from customhouse.errors import Conflict, Invalid, NotFound, Unavailable
from customhouse.keys import PrivateKey, PublicKey
from customhouse.signing import SealedSigner, Vault
from customhouse.trust.certificates import fitting_name, root_certificate
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.service import TrustService
from customhouse.trust.update import VersionConflict

if TYPE_CHECKING:
    from sqlalchemy import Connection

ATTEMPTS = 20  # publishers may sign in the same repository meanwhile
HUB = "hub"


class SignersService:
    """Who may sign for a publisher whose root the hub keeps."""

    def __init__(
        self,
        store: EnrolmentStore,
        enrolment: EnrolmentService,
        trust: TrustService,
        vault: Vault,
        audit: Audit,
        clock: Callable[[], datetime],
        host: str,
    ) -> None:
        self._store, self._enrolment, self._trust, self._vault = store, enrolment, trust, vault
        self._audit, self._clock, self._host = audit, clock, host

    def signers(self, publisher: str) -> list[EnrolledSigner]:
        """By name."""
        with self._store.read() as tx:
            return self._store.signers(tx, publisher)

    def add(self, principal: Principal, publisher: str, name: str, pem: bytes) -> EnrolledSigner:
        """Let a public key (PEM) sign every tag of a publisher. Raises Denied, Conflict, InvalidKey."""
        self._enrolment.require_may_enrol(principal, publisher)
        new, now = EnrolledSigner(signer_name(name), PublicKey.of_pem(pem).bare), self._clock()
        with self._store.write() as tx:
            self._store.lock_roots(tx, publisher)
            there = self._store.signers(tx, publisher)
            held = next((each for each in there if each.key.key_id == new.key.key_id), None)
            if held is not None and held.name != new.name:
                raise Conflict(
                    f"this key is that of signer {held.name} of {publisher}", hint="Each signer has a key of his own."
                )
            if held is None:
                if len(there) >= MOST_SIGNERS:
                    raise Invalid(f"{publisher} has {MOST_SIGNERS} signers' keys", hint="Remove old ones first.")
                self._keep_keys(tx, principal, publisher, now)
                faults.point("signers.keys")
                self._store.add_signer(tx, publisher, new, by=principal.owner, now=now)
                self._audited(tx, principal, "signer.enrol", publisher, new, now)
            faults.point("signers.commit")
        self._enrolment.after_enrolled()
        self.align_all(publisher)
        return new

    def remove(self, principal: Principal, publisher: str, name: str, key_id: str = "") -> list[EnrolledSigner]:
        """End the enrolment of a signer, or of one key of his; what was removed. Raises Denied, NotFound."""
        self._enrolment.require_may_enrol(principal, publisher)
        now = self._clock()
        with self._store.write() as tx:
            self._store.lock_roots(tx, publisher)
            gone = [
                each for each in self._store.signers(tx, publisher)
                if each.name == name and key_id in ("", each.key.key_id)
            ]
            if not gone:
                raise NotFound(
                    f"{publisher} has no signer {name}" + (f" with key {key_id}" if key_id else ""),
                    hint=f"See them: customhouse publisher show {publisher}",
                )
            for each in gone:
                self._store.remove_signer(tx, publisher, each.key.key_id)
                self._audited(tx, principal, "signer.remove", publisher, each, now)
            faults.point("signers.removed")
        self.align_all(publisher)
        return gone

    def begin(self, gun: Gun, actor: str) -> bool:
        """Begin the trust data of a staging repository for whoever is about to sign there.

        False where its publisher has no signers. Begun by somebody else meanwhile is as good.
        """
        publisher = publisher_of(gun.repository) if kind_of(gun.repository) is Kind.STAGING else None
        if publisher is None:
            return False
        with self._store.read() as tx:
            kept, signers = self._kept(tx, publisher), self._store.signers(tx, publisher)
        if kept is None or not signers:
            return False
        server = {role: self._trust.key(gun, role, actor) for role in (SNAPSHOT, TIMESTAMP)}
        faults.point("signers.begin")
        try:
            self._trust.publish(gun, delegation.beginning(kept, signers, server, self._clock()), HUB)
        except VersionConflict:
            pass
        return True

    def align(self, gun: Gun) -> bool:
        """Make the targets of a kept repository name exactly the enrolled signers; False when they do already."""
        publisher = publisher_of(gun.repository) or ""
        for _ in range(ATTEMPTS):
            now = self._clock()
            with self._store.read() as tx:
                kept = self._kept(tx, publisher)
                if kept is None:
                    return False
                files, signers = self._trust.repository_files(gun, tx), self._store.signers(tx, publisher)
            if not delegation.is_kept(files, kept) or not (due := delegation.aligned(files, kept, signers, now)):
                return False
            faults.point("signers.align")
            try:
                self._trust.publish(gun, due, HUB)
                return True
            except VersionConflict:
                continue
        raise Unavailable(f"{gun} is being signed in by others all the time", hint="It is tried again.")

    def align_all(self, publisher: str = "") -> int:
        """Align every repository of one publisher, or of all; how many were not."""
        with self._store.read() as tx:
            kept = self._store.keepers(tx)
            guns = [
                gun for gun in self._trust.guns(tx)
                if kind_of(gun.repository) is Kind.STAGING and (owner := publisher_of(gun.repository)) in kept
                and publisher in ("", owner)
            ]
        return sum(self.align(gun) for gun in guns)

    def misaligned(self, tx: "Connection", gun: Gun) -> bool:
        """Does a kept repository name other signers than are enrolled, in this view (for `doctor`)?"""
        publisher = publisher_of(gun.repository) or ""
        kept = self._kept(tx, publisher) if kind_of(gun.repository) is Kind.STAGING else None
        files = self._trust.repository_files(gun, tx) if kept else {}
        if kept is None or not delegation.is_kept(files, kept):
            return False
        young = datetime.min.replace(tzinfo=UTC)  # signers only: that the targets grow old is no disagreement
        return bool(delegation.aligned(files, kept, self._store.signers(tx, publisher), young))

    # ---- inside

    def _keep_keys(self, tx: "Connection", principal: Principal, publisher: str, now: datetime) -> None:
        """Make the publisher's root and targets keys if there are none, and believe the root."""
        if self._store.kept(tx, publisher):
            return
        name = fitting_name(f"{self._host}/staging/{publisher}/*")
        for role in (ROOT, TARGETS):
            key = PrivateKey.generate()
            if role == ROOT:
                key = key.with_certificate(root_certificate(key, name, now))
                root = key.public
            sealed = SealedSigner.create(self._vault, key, _context(publisher, role)).sealed
            self._store.keep(tx, publisher, KeptKey(role, key.public, sealed), now)
        pems = {root.canonical_id: root.bare.encoded}
        self._enrolment.enrol_within(tx, principal, publisher, pems, "kept by the hub")

    def _kept(self, tx: "Connection", publisher: str) -> KeptKeys | None:
        found = {
            RoleName(each.role): SealedSigner(self._vault, each.public, each.sealed, _context(publisher, each.role))
            for each in self._store.kept(tx, publisher)
        }
        return KeptKeys(found[ROOT], found[TARGETS]) if found else None

    def _audited(
        self, tx: "Connection", principal: Principal, action: str, publisher: str, signer: EnrolledSigner, now: datetime
    ) -> None:
        self._audit.append(
            tx, actor=principal.owner, action=action, subject=publisher,
            detail={"signer": signer.name, "key": signer.key.key_id}, now=now,
        )


def _context(publisher: str, role: str) -> str:
    return f"publisher-key:{publisher}:{role}"
