"""Publication and withdrawal: the act by which an image becomes official, and its undoing.

1. The last look: immediately before signing, the publisher's signature is verified again where it was made, in
   staging or at another server, and the approvals still match the verdict (invariant P4). A server that cannot be
   asked is no leave to sign: the submission fails, and a person may try again.
2. Signing may be slow and stays outside the transaction; the commit is on the condition that the official GUN is
   still at the versions that were signed over, otherwise everything is signed again (P3).
3. Manifests, tag, signed metadata, certification record, state and audit entry change in one transaction (P1).
4. A repeat finds the submission no longer `publishing` and does nothing (P6).
5. Withdrawal takes the same way: new targets without the tag, so that clients with a cache stop too (P7). Content
   that another publication replaced is withdrawn too: its digest is refused, the tag stays with its successor.
6. A locked tag stays on its digest until it is withdrawn: what would move it is rejected, also here.
7. What was withdrawn once becomes official again by people only: its verdict says so, or it is judged again.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from customhouse import faults
from customhouse.accounts.access import Kind, kind_of
from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.certification.service import CertificationService
from customhouse.certification.submission import FINAL, State, Submission, WrongState
from customhouse.enrolment.service import EnrolmentService, NotEnrolled, Untrusted
from customhouse.errors import Denied, Invalid, NotFound, Unavailable
from customhouse.publication import plan
from customhouse.publication.plan import HubKeys
from customhouse.registry.content import TagLocked
from customhouse.registry.service import RegistryService
from customhouse.review.service import ReviewService, checked_reason
from customhouse.trust.bundle import BundledRepository, BundledRoot
from customhouse.trust.documents import ROOT_LIFETIME, TARGETS_LIFETIME
from customhouse.trust.metadata import parse_file
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.service import TrustService
from customhouse.trust.update import MAXIMUM_STEP, VersionConflict
from customhouse.trust.verify import SignedTag

if TYPE_CHECKING:
    from sqlalchemy import Connection

LARGEST_PAGE = 8 * 1024 * 1024  # of files in one answer; the last repository may go beyond
ATTEMPTS = 20  # other publications in the same GUN may come first; each attempt signs again


class PublicationService:
    """The only writer of official repositories."""

    def __init__(
        self,
        *,
        certification: CertificationService,
        review: ReviewService,
        enrolment: EnrolmentService,
        registry: RegistryService,
        trust: TrustService,
        keys: HubKeys,
        audit: Audit,
        clock: Callable[[], datetime],
    ) -> None:
        self._certification, self._review, self._enrolment = certification, review, enrolment
        self._registry, self._trust, self._keys = registry, trust, keys
        self._audit, self._clock = audit, clock
        self.before_signing: Callable[[], object] = lambda: None
        """Called before keys are used: on another host they may have been rotated meanwhile."""

    @property
    def keys(self) -> HubKeys:
        """The hub's signers, as they are now."""
        return self._keys

    def use(self, keys: HubKeys) -> None:
        """Sign with these keys from now on."""
        self._keys = keys

    def publish(self, submission: str) -> str:
        """The publish step: ends in published, superseded, rejected or back in review; no-op in any other state."""
        for _ in range(ATTEMPTS):
            row = self._certification.get(submission)
            if row.state is not State.PUBLISHING:
                return row.state.value
            try:
                signed = self._enrolment.verify_tag(row.repository, row.publisher, row.tag, row.digest, row.origin)
            except (NotEnrolled, Untrusted) as error:
                return self._end(row, State.REJECTED, f"at the last look before signing: {error.message}")
            faults.point("publish.verified")
            self.before_signing()
            now, gun = self._clock(), self._gun(row)
            current = self._trust.repository_files(gun)
            files = plan.aligned(current, self._keys, now) if current else self._beginning(gun, now)
            files.update(plan.with_tag(current, self._keys, row.tag, row.digest, signed.length, now))
            faults.point("publish.signed")
            try:
                with self._certification.transaction() as tx:
                    return self._commit(tx, row, signed, gun, current, files, now)
            except TagLocked as error:  # another submission of this tag came first, or a rule did
                return self._end(row, State.REJECTED, error.for_submission(row.id))
            except VersionConflict:
                continue
        raise Unavailable(f"{row.official} is being published to by others all the time", hint="It is tried again.")

    def withdraw(self, principal: Principal, submission: str, reason: str) -> Submission:
        """Undo a publication, or end a submission that is under way. Publishers may withdraw their own."""
        row = self._certification.visible(principal, submission)
        if not (principal.certifies or principal.works_for(row.publisher)):
            raise Denied(f"only members of {row.publisher} and certifiers may withdraw this")
        reason = checked_reason(reason)
        if not reason:
            raise Invalid("a withdrawal needs a reason", hint="Consumers who pull the digest read it.")
        said = f"withdrawn by {principal.owner}: {reason}"
        for _ in range(ATTEMPTS):
            row = self._certification.get(submission)
            self.before_signing()
            now, gun = self._clock(), self._gun(row)
            current = self._trust.repository_files(gun) if row.state is State.PUBLISHED else {}
            files = plan.aligned(current, self._keys, now) if current else {}
            files.update(plan.without_tag(current, self._keys, row.tag, now) if current else {})
            faults.point("withdraw.signed")
            try:
                with self._certification.transaction() as tx:
                    self._commit_withdrawal(tx, principal, row, said, gun, current, files, now)
                return self._certification.get(submission)
            except VersionConflict:
                continue
        raise Unavailable(f"{row.official} is being published to by others all the time", hint="Try again.")

    # ---- one transaction each

    def _commit(
        self, tx: "Connection", row: Submission, signed: SignedTag, gun: Gun, current: dict[RoleName, bytes],
        files: dict[RoleName, bytes], now: datetime,
    ) -> str:
        certification = self._certification
        self._trust.lock(tx, gun)
        held = certification.current(tx, row.id, hold=True)
        if (held.state, held.round) != (row.state, row.round):
            return held.state.value
        if certification.overtaken(tx, row):
            certification.move(tx, row, State.SUPERSEDED, "a newer submission of this tag came first")
            return State.SUPERSEDED.value
        if not self._review.approved(tx, row):
            certification.move(tx, row, State.AWAITING_REVIEW, "the approvals no longer match the verdict")
            return State.AWAITING_REVIEW.value
        if certification.withdrawals(tx, row) != (row.verdict or {})["inputs"]["withdrawn"]:
            why = "this very content was withdrawn meanwhile: it is judged again"
            certification.move(tx, row, State.RECEIVED, why, again=True)
            return State.RECEIVED.value
        certification.move(tx, row, State.PUBLISHED, f"official as {row.official}:{row.tag}")
        faults.point("publish.commit.state")
        self._registry.unrefuse(tx, row.official, row.digest)
        self._registry.link_tree(tx, row.quarantine, row.official, row.digest)
        faults.point("publish.commit.content")
        self._registry.set_tag(tx, row.official, row.tag, row.digest, now)
        faults.point("publish.commit.tag")
        self._trust.commit(tx, gun, files, _versions(current))
        faults.point("publish.commit.trust")
        certification.record_publication(tx, row)
        faults.point("publish.commit.record")
        self._audit.append(
            tx, actor="hub", action="publication.publish", subject=f"{gun}:{row.tag}", digest=str(row.digest),
            detail={"submission": row.id, "verdict": (row.verdict or {}).get("digest"), "length": signed.length},
            now=now,
        )
        faults.point("publish.commit.end")
        return State.PUBLISHED.value

    def _commit_withdrawal(
        self, tx: "Connection", principal: Principal, row: Submission, said: str, gun: Gun,
        current: dict[RoleName, bytes], files: dict[RoleName, bytes], now: datetime,
    ) -> None:
        certification = self._certification
        self._trust.lock(tx, gun)
        held = certification.current(tx, row.id, hold=True)
        if held.state in FINAL - {State.PUBLISHED}:
            raise WrongState(held, "there is nothing to withdraw")
        if (held.state, held.round) != (row.state, row.round):
            raise VersionConflict(gun, row.tag, row.round, held.round)
        certification.move(tx, row, State.WITHDRAWN, said, actor=principal.owner)
        faults.point("withdraw.commit.state")
        if row.state is not State.PUBLISHED:
            return
        if certification.record_withdrawal(tx, row, said):
            self._registry.remove_tag(tx, row.official, row.tag)
            faults.point("withdraw.commit.tag")
            self._trust.commit(tx, gun, files, _versions(current))
            faults.point("withdraw.commit.trust")
        if not self._registry.tagged(tx, row.official, row.digest):
            # Another tag that stands on the same digest is official in its own right until it is withdrawn too.
            self._registry.refuse(tx, row.official, row.digest, said)
        self._audit.append(
            tx, actor=principal.owner, action="publication.withdraw", subject=f"{gun}:{row.tag}",
            digest=str(row.digest), detail={"submission": row.id, "reason": said}, now=now,
        )
        faults.point("withdraw.commit.end")

    # ---- inside

    def _beginning(self, gun: Gun, now: datetime) -> dict[RoleName, bytes]:
        with self._certification.transaction() as tx:
            return plan.beginning(self._keys, self._trust.server_keys(tx, gun), now)

    def _end(self, row: Submission, state: State, reason: str) -> str:
        with self._certification.transaction() as tx:
            self._certification.move(tx, row, state, reason)
            return self._certification.current(tx, row.id).state.value

    def _gun(self, row: Submission) -> Gun:
        return Gun.parse(f"{self._certification.host}/{row.official}")

    def renew_all(self, now: datetime) -> int:
        """Sign anew what of the official repositories is in the second half of its life; how many were.

        Otherwise every tag of a repository that nothing new is published to would stop after three years.
        """
        lives = {role: TARGETS_LIFETIME for role in (TARGETS, RELEASES, self._keys.signer_role)} | {ROOT: ROOT_LIFETIME}
        due = {gun for role, life in lives.items() for gun in self._trust.expiring(role, now + life / 2)}
        return sum(self._align(gun, now) for gun in sorted(due) if kind_of(gun.repository) is Kind.OFFICIAL)

    def align_all(self, now: datetime) -> int:
        """Put every official repository on the hub's present keys and name; how many were not.

        To be called at each start, and when keys were rotated on another host; a hub's name does not change while it
        runs.
        """
        with self._certification.view() as tx:
            guns = [gun for gun in self._trust.guns(tx) if kind_of(gun.repository) is Kind.OFFICIAL]
        return sum(self._align(gun, now) for gun in guns)

    def _align(self, gun: Gun, now: datetime) -> bool:
        for _ in range(ATTEMPTS):
            self.before_signing()
            current = self._trust.repository_files(gun)
            files = plan.aligned(current, self._keys, now)
            if not files:
                return False
            try:
                with self._certification.transaction() as tx:
                    self._trust.commit(tx, gun, files, _versions(current))
                    detail = {"roles": sorted(files)}
                    self._audit.append(tx, actor="hub", action="publication.renew", subject=gun, detail=detail, now=now)
                    faults.point("publication.renew")
                return True
            except VersionConflict:
                continue
        return False  # others publish all the time, and each publication aligns

    def go_ahead(self, step: int, now: datetime) -> list[Gun]:
        """Put every repository `step` versions ahead of where it is: a hub that was restored from a backup is behind
        what clients have seen, and they refuse what is older. Official ones are signed anew as a whole; of the others
        what the trust server signs, snapshot and timestamp. Returns them. Raises VersionConflict on a hub that runs.
        """
        if not 1 <= step <= MAXIMUM_STEP:
            raise Invalid(f"{step} is no number of versions", hint=f"Give 1 to {MAXIMUM_STEP}.")
        with self._certification.view() as tx:
            guns = self._trust.guns(tx)
        for gun in guns:
            if kind_of(gun.repository) is not Kind.OFFICIAL:
                self._trust.resign(gun, now, step)
                continue
            self._align(gun, now)  # on the keys that sign now
            current = self._trust.repository_files(gun)
            with self._certification.transaction() as tx:
                files = plan.ahead(current, self._keys, step, now)
                self._trust.commit(tx, gun, files, _versions(current), step)
                detail = {"versions": step}
                self._audit.append(tx, actor="hub", action="publication.ahead", subject=gun, detail=detail, now=now)
        return guns

    def root_certificate(self) -> BundledRoot:
        """What a consumer pins: the hub's root certificate."""
        return BundledRoot(self._keys.root.public.public.decode())

    def signer_key(self) -> str:
        """The public key of the delegation that names the hub as signer, PEM."""
        key = self._keys.release.public.crypto
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def bundled(
        self, may_read: Callable[[str], bool], after: str, limit: int, *, repository: str = "", metadata: bool = False
    ) -> list[BundledRepository]:
        """Official repositories that the caller may read, in order, after a GUN; at most `limit`, and so many bytes.

        `repository` asks for one of them, and raises NotFound where there is none to see.
        """
        with self._certification.view() as tx:
            guns = [gun for gun in self._trust.guns(tx) if kind_of(gun.repository) is Kind.OFFICIAL]
        readable = (gun for gun in guns if gun > after and may_read(gun.repository))
        if repository:
            readable = (gun for gun in guns if gun.repository == repository and may_read(repository))
        found: list[BundledRepository] = []
        for gun in readable:
            if len(found) == limit or sum(each.size for each in found) > LARGEST_PAGE:
                break
            if metadata:
                self._trust.current(gun, TIMESTAMP)  # renewed when that is due, so that the copy is good for long
            files = self._trust.repository_files(gun)
            if ROOT in files:
                earlier = tuple(raw for raw in self._trust.root_versions(gun) if raw != files[ROOT])
                found.append(BundledRepository(gun, files[ROOT], files if metadata else {}, earlier))
        if repository and not found:
            raise NotFound(
                f"there is no official repository {repository[:255]}", hint="Is the name right, and published to?"
            )
        return found


def _versions(files: dict[RoleName, bytes]) -> dict[RoleName, int]:
    """The versions that were signed over; a GUN that must still be new has no root.

    Snapshot and timestamp are not among them: the trust server makes them within the commit.
    """
    if not files:
        return {ROOT: 0}
    return {role: parse_file(role, raw).version for role, raw in files.items() if role not in (SNAPSHOT, TIMESTAMP)}
