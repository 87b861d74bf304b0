"""Submissions: how they come in, how they move, and the questions about them.

1. A trust update that the trust server accepts makes its submissions in the same transaction (invariant S1); the
   workflow is started after the commit, or by a sweep if the process died in between (S2). What is signed at another
   server becomes a submission when a member asks for it; to ask again for what is under way or official is no news.
2. A move, its line of progress and its audit entry are one transaction, conditional on state and round.
3. Rows are held before the audit log is: of two transactions that meet, neither waits for the other's first lock.
4. One update makes at most MOST_AT_ONCE submissions, about a second of the one writer's time; it may end any number,
   for a signature that is taken back is never refused.
"""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from customhouse import faults
from customhouse.accounts.access import Kind, kind_of, publisher_of
from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.certification.store import CertificationStore
from customhouse.certification.submission import (
    ACTIVE,
    MOST_AT_ONCE,
    RESTING,
    RETRYABLE,
    State,
    Submission,
    SubmissionUnknown,
    TooManyTags,
    WrongState,
)
from customhouse.enrolment.origin import Origin
from customhouse.errors import Denied, Invalid
from customhouse.oci.digest import Digest
from customhouse.oci.reference import valid_tag
from customhouse.trust.names import SNAPSHOT
from customhouse.trust.update import TrustUpdate
from customhouse.trust.verify import SignedTag

if TYPE_CHECKING:
    from sqlalchemy import Connection

HUB = "hub"  # the actor of what the hub does by itself
_STANDING = ACTIVE | RESTING | {State.PUBLISHED}  # to be asked for the same once more changes nothing


@dataclass(frozen=True)
class _Offer:
    """What becomes a submission."""

    repository: str
    tag: str
    digest: Digest
    length: int
    snapshot_version: int
    author: str
    origin: Origin | None = None


class CertificationService:
    """Intake, moves and questions; what a workflow does is in steps.py."""

    def __init__(
        self,
        store: CertificationStore,
        *,
        audit: Audit,
        clock: Callable[[], datetime],
        host: str,
        wake: Callable[[], None],
        offered: Callable[[str, Origin], tuple[SignedTag, int]],
    ) -> None:
        """`offered(publisher, origin)`: what is signed there now, and by which version of the snapshot."""
        self._store, self.host, self._offered = store, host, offered
        self._audit, self._clock, self._wake = audit, clock, wake

    # ---- intake

    def now(self) -> datetime:
        """The moment by the clock of this service."""
        return self._clock()

    def accepted(self, tx: "Connection", update: TrustUpdate) -> None:
        """A trust update was accepted: one submission for each new or changed tag, in its transaction."""
        repository = update.gun.repository
        if kind_of(repository) is not Kind.STAGING:
            return
        if len(update.changed) > MOST_AT_ONCE:
            raise TooManyTags(len(update.changed))
        self._store.lock(tx, f"intake:{repository}")
        open_rows: dict[str, list[Submission]] = {}
        for older in self._store.hold_unfinished(tx, repository, [*update.changed, *update.removed]):
            open_rows.setdefault(older.tag, []).append(older)
        for tag in update.changed:
            for older in open_rows.get(tag, ()):
                self.move(tx, older, State.SUPERSEDED, f"a newer {tag} was signed: {update.tags[tag].digest}")
            signed, version = update.tags[tag], update.versions[SNAPSHOT]
            self._receive(tx, _Offer(repository, tag, signed.digest, signed.length, version, update.actor))
            faults.point("intake.submission")
        for tag in update.removed:
            for older in open_rows.get(tag, ()):
                self.move(tx, older, State.SUPERSEDED, f"the publisher removed the signature of {tag}")

    def committed(self, update: TrustUpdate) -> None:
        """The update is durable: let the workflows begin."""
        if update.changed:
            self._wake()

    def enrolled(self, tx: "Connection", publisher: str) -> None:
        """A root of this publisher was enrolled: what waited for it goes on (called in that transaction)."""
        for row in self._store.hold_in_state(tx, State.AWAITING_ENROLMENT, publisher):
            self.move(tx, row, State.RECEIVED, "the publisher's root was enrolled", again=True)

    def submit(self, principal: Principal, origin: Origin, repository: str, tag: str) -> Submission:
        """Offer what is signed at another server as staging/PUBLISHER/NAME:TAG. The server is asked at once, so that
        whoever submits is told what is wrong there; the workflow then judges it by the enrolled keys."""
        publisher = publisher_of(repository)
        if kind_of(repository) is not Kind.STAGING or publisher is None or not valid_tag(tag):
            name = f"{repository[:255]}:{tag[:128]}"
            raise Invalid(f"{name} is not an image of a publisher here", hint="Name it PUBLISHER/NAME[:TAG].")
        if not principal.works_for(publisher):
            raise Denied(f"only members of {publisher} may submit for it", hint="Ask an administrator of this hub.")
        signed, version = self._offered(publisher, origin)
        offer = _Offer(repository, tag, signed.digest, signed.length, version, principal.owner, origin)
        with self._store.write() as tx:
            self._store.lock(tx, f"intake:{repository}")
            newest = self._store.latest(tx, repository, tag)
            if newest and (newest.origin, newest.digest) == (origin, signed.digest) and newest.state in _STANDING:
                return newest
            for older in self._store.hold_unfinished(tx, repository, [tag]):
                if older.tag == tag:
                    self.move(tx, older, State.SUPERSEDED, f"{origin} was submitted: {signed.digest}")
            row = self._receive(tx, offer)
            faults.point("intake.remote")
        self._wake()
        return row

    def _receive(self, tx: "Connection", offer: _Offer) -> Submission:
        now, origin = self._clock(), offer.origin
        row = Submission(
            id=f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(5)}",
            publisher=str(publisher_of(offer.repository)),
            repository=offer.repository,
            tag=offer.tag,
            digest=offer.digest,
            length=offer.length,
            snapshot_version=self._store.next_place(tx, offer.repository, offer.tag, offer.snapshot_version),
            author=offer.author,
            state=State.RECEIVED,
            reason="",
            round=1,
            verdict=None,
            created=now,
            updated=now,
            source=str(origin) if origin else "",
            trust_server=origin.trust_server if origin else "",
        )
        self._store.add(tx, row)
        said = f"{offer.tag} signed as {offer.digest} by {offer.author}"
        if origin:
            said = f"{origin}, signed as {offer.digest}, submitted by {offer.author}"
        self._store.add_event(tx, row.id, "receive", said, now)
        detail = {"submission": row.id, "snapshot_version": offer.snapshot_version}
        if origin:
            detail |= {"source": row.source, "trust_server": origin.asked}
        self._audit.append(
            tx, actor=offer.author, action="submission.receive", subject=row.reference(self.host),
            digest=str(row.digest), detail=detail, now=now,
        )
        return row

    # ---- what people ask

    def get(self, submission: str) -> Submission:
        """By id; raises SubmissionUnknown."""
        with self._store.read() as tx:
            return self.current(tx, submission)

    def visible(self, principal: Principal, submission: str) -> Submission:
        """By id, for somebody who may see it: its publisher's people, certifiers, administrators."""
        row = self.get(submission)
        if not _may_see(principal, row):
            raise SubmissionUnknown(submission)
        return row

    def latest(self, principal: Principal, repository: str, tag: str) -> Submission:
        """The newest submission of a tag; raises SubmissionUnknown."""
        with self._store.read() as tx:
            row = self._store.latest(tx, repository, tag)
        if row is None or not _may_see(principal, row):
            raise SubmissionUnknown(f"of {self.host}/{repository}:{tag}")
        return row

    def page(
        self, principal: Principal, *, repository: str | None, state: State | None, publisher: str | None,
        before: str | None, limit: int,
    ) -> list[Submission]:
        """Newest first; a publisher's people see their own."""
        publishers = None
        if not principal.certifies:
            publishers = sorted(name for name in principal.publishers if principal.works_for(name, "pull"))
        if publisher is not None:
            publishers = [publisher] if publishers is None or publisher in publishers else []
        with self._store.read() as tx:
            return self._store.page(
                tx, publishers=publishers, repository=repository, state=state, before=before, limit=limit
            )

    def events(self, submission: str, after: int) -> list[dict[str, Any]]:
        """Progress after sequence number `after`."""
        with self._store.read() as tx:
            return self._store.events(tx, submission, after)

    def retry(self, principal: Principal, submission: str) -> Submission:
        """Examine a rejected, failed or reviewed submission again, with today's policy, advisories and waivers."""
        row = self.visible(principal, submission)
        if not (principal.certifies or principal.works_for(row.publisher)):
            raise Denied(f"only members of {row.publisher} and certifiers may try this again")
        with self._store.write() as tx:
            row = self.current(tx, submission, hold=True)
            if row.state not in RETRYABLE:
                raise WrongState(row, "only a rejected or failed submission, or one in review, can be tried again")
            if self._store.newer_exists(tx, row):
                raise WrongState(row, "a newer submission of this tag exists")
            self.move(tx, row, State.RECEIVED, f"tried again by {principal.owner}", actor=principal.owner, again=True)
            faults.point("retry.commit")
        self._wake()
        return self.get(submission)

    # ---- what other rooms ask

    def active(self) -> list[Submission]:
        """What should have a live workflow now (invariant S1)."""
        with self._store.read() as tx:
            return self._store.in_states(tx, ACTIVE)

    def in_states(self, tx: "Connection", *states: State) -> list[Submission]:
        """Oldest first."""
        return self._store.in_states(tx, states)

    def numbers(self, tx: "Connection") -> dict[str, int]:
        """How many submissions are in each state, all states included."""
        return {state.value: 0 for state in State} | self._store.numbers(tx)

    def another_round(self, row: Submission) -> None:
        """The workflow of this round broke: begin another one in the same state."""
        with self._store.write() as tx:
            self._store.next_round(tx, row, self._clock())

    def view(self) -> "AbstractContextManager[Connection]":
        """One consistent view over every room's rows."""
        return self._store.read()

    def transaction(self) -> "AbstractContextManager[Connection]":
        """One transaction over every room's rows."""
        return self._store.write()

    def current(self, tx: "Connection", submission: str, *, hold: bool = False) -> Submission:
        """The submission as this transaction sees it; with `hold` nobody else moves it before the end."""
        row = self._store.get(tx, submission, hold=hold)
        if row is None:
            raise SubmissionUnknown(submission)
        return row

    def move(
        self, tx: "Connection", row: Submission, state: State, reason: str, *, actor: str = HUB, again: bool = False
    ) -> bool:
        """Move inside the caller's transaction, with its line of progress and its audit entry.

        False, and nothing written, if the submission moved meanwhile. `again` begins a new round.
        """
        now = self._clock()
        if not self._store.move(tx, row, state, now, reason=reason, again=again):
            return False
        self._store.add_event(tx, row.id, state.value, reason, now)
        self._audit.append(
            tx, actor=actor, action=f"submission.{state.value}", subject=row.reference(self.host),
            digest=str(row.digest), detail={"submission": row.id, "reason": reason}, now=now,
        )
        return True

    # ---- for publication, inside its transaction

    def overtaken(self, tx: "Connection", row: Submission) -> bool:
        """Has the publisher signed something newer under this tag (invariant P5)?"""
        return self._store.newer_exists(tx, row)

    def withdrawals(self, tx: "Connection", row: Submission) -> list[str]:
        """Submissions by which this very content was official in the same repository, and then withdrawn."""
        return self._store.withdrawals(tx, row.official, row.digest)

    def record_publication(self, tx: "Connection", row: Submission) -> None:
        """The record that the official tag stands on; an older one is replaced."""
        self._store.record_publication(tx, row, self._clock())

    def record_withdrawal(self, tx: "Connection", row: Submission, reason: str) -> bool:
        """End the record; True if the tag stood on it, False if a newer one had replaced it already."""
        before = self._store.record_withdrawal(tx, row.id, reason, self._clock())
        if before is None:
            raise WrongState(row, "it was withdrawn already")
        return before == "published"

    def published(self, tx: "Connection") -> list[dict[str, Any]]:
        """The records that official tags stand on."""
        return [record for record in self._store.records(tx) if record["state"] == "published"]

    def records(self, tx: "Connection") -> list[dict[str, Any]]:
        """Every certification record: standing, replaced and withdrawn."""
        return self._store.records(tx)


def _may_see(principal: Principal, row: Submission) -> bool:
    return principal.certifies or principal.works_for(row.publisher, "pull")
