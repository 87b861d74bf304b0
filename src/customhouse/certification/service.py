"""Certification: what the hub does with a submission, step by step.

1. A trust update that the trust server accepts makes its submissions in the same transaction (invariant S1); the
   workflow is started after the commit, and by `waiting()` if the process died in between (S2).
2. Every step is idempotent: it does nothing unless the submission is in the state the step is for, and its result
   and the move to the next state are one transaction.
3. What is examined is what was verified: bytes are read by digest from the pin in quarantine only (S3).
4. A verdict is bound to its inputs: digest, policy, advisories, analyser versions, waivers (S4).
"""

import io
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from customhouse import __version__, faults
from customhouse.accounts.access import Kind, kind_of, publisher_of
from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.certification.examination import Examiner, Material
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.policy import Policy
from customhouse.certification.store import CertificationStore
from customhouse.certification.submission import (
    ACTIVE,
    FINAL,
    MOVES,
    RESTING,
    State,
    Submission,
    SubmissionUnknown,
    WrongState,
)
from customhouse.certification.verdict import Verdict, judge
from customhouse.certification.waiver import Waiver
from customhouse.enrolment.service import EnrolmentService, NotEnrolled, Untrusted
from customhouse.errors import Invalid, NotFound
from customhouse.oci.digest import Digest
from customhouse.registry.service import RegistryService
from customhouse.trust.names import SNAPSHOT
from customhouse.trust.update import TrustUpdate

if TYPE_CHECKING:
    from sqlalchemy import Connection

HUB = "hub"  # the actor of what the hub does by itself


class CertificationService:
    """The steps of a submission, and the questions about it."""

    def __init__(
        self,
        store: CertificationStore,
        *,
        registry: RegistryService,
        enrolment: EnrolmentService,
        examiner: Examiner,
        policy: Policy,
        waivers: Callable[["Connection", str], Sequence[Waiver]],
        audit: Audit,
        clock: Callable[[], datetime],
        host: str,
        wake: Callable[[], None],
    ) -> None:
        self._store, self.policy, self.host = store, policy, host
        self._registry, self._enrolment, self._examiner = registry, enrolment, examiner
        self._waivers, self._audit, self._clock, self._wake = waivers, audit, clock, wake

    # ---- intake

    def accepted(self, tx: "Connection", update: TrustUpdate) -> None:
        """A trust update was accepted: one submission for each new or changed tag, in its transaction."""
        repository = update.gun.repository
        if kind_of(repository) is not Kind.STAGING:
            return
        now = self._clock()
        for tag in update.changed:
            signed = update.tags[tag]
            row = Submission(
                id=f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(5)}",
                publisher=str(publisher_of(repository)),
                repository=repository,
                tag=tag,
                digest=signed.digest,
                length=signed.length,
                snapshot_version=update.versions[SNAPSHOT],
                author=update.actor,
                state=State.RECEIVED,
                reason="",
                round=1,
                verdict=None,
                created=now,
                updated=now,
            )
            for older in self._store.unfinished(tx, repository, tag):
                self.move(tx, older, State.SUPERSEDED, f"a newer {tag} was signed: {signed.digest}")
            self._store.add(tx, row)
            self._store.add_event(tx, row.id, "receive", f"{tag} signed as {signed.digest} by {update.actor}", now)
            self._audit.append(
                tx,
                actor=update.actor,
                action="submission.receive",
                subject=row.reference(self.host),
                digest=str(row.digest),
                detail={"submission": row.id, "snapshot_version": row.snapshot_version},
                now=now,
            )
            faults.point("intake.submission")
        for tag in update.removed:
            for older in self._store.unfinished(tx, repository, tag):
                self.move(tx, older, State.SUPERSEDED, f"the publisher removed the signature of {tag}")

    def committed(self, update: TrustUpdate) -> None:
        """The update is durable: let the workflows begin."""
        if update.changed:
            self._wake()

    # ---- the steps

    def verify(self, submission: str) -> str:
        """Authenticity and freshness by the publisher's enrolled root; then pin the content to quarantine."""
        row = self._begin(submission, State.RECEIVED, State.VERIFYING, "verify", "checking the publisher's signature")
        if row.state is not State.VERIFYING:
            return row.state.value
        try:
            signed = self._enrolment.verify_tag(row.repository, row.publisher, row.tag, row.digest)
        except NotEnrolled as error:
            return self._move(row, State.AWAITING_ENROLMENT, str(error))
        except Untrusted as error:
            return self._move(row, State.REJECTED, f"{error.message} {error.hint}".strip())
        faults.point("verify.pin")
        try:
            stored = self._registry.manifest(row.repository, row.digest)
            if stored.size != signed.length:
                raise Invalid(f"{row.digest} has {stored.size} bytes, and {signed.length} were signed")
            return self._pin(row, self._clock())
        except (Invalid, NotFound) as error:  # raised inside the transaction, which is rolled back
            message = f"{error.message}; push {row.reference(self.host)} again, then sign it"
            return self._move(row, State.REJECTED, message)

    def _pin(self, row: Submission, now: datetime) -> str:
        with self._store.write() as tx:
            if not self._store.move(tx, row, State.EXAMINING, now):
                return self._now(tx, row.id)
            pinned = self._registry.link_tree(tx, row.repository, row.quarantine, row.digest)
            self._registry.set_tag(tx, row.quarantine, row.tag, row.digest, now)
            self._store.add_event(
                tx, row.id, "pin", f"signature and freshness verified; {len(pinned)} blobs pinned in quarantine", now
            )
            self._audit.append(
                tx, actor=HUB, action="submission.verify", subject=row.reference(self.host), digest=str(row.digest),
                detail={"submission": row.id, "quarantine": row.quarantine}, now=now,
            )
            faults.point("verify.commit")
        return State.EXAMINING.value

    def examine(self, submission: str) -> str:
        """One pass over every layer of every platform, feeding all the checks."""
        return self._examine(submission, "content", lambda row: self._examiner.content(self._material(row)))

    def run(self, submission: str) -> str:
        """Start it in the sandbox and prove its health-check, unless its content must not be started."""
        return self._examine(submission, "run", self._run)

    def judge(self, submission: str) -> str:
        """Findings, policy and waivers give the verdict, and the verdict the next state."""
        row = self.get(submission)
        if row.state is not State.EXAMINING:
            return row.state.value
        now = self._clock()
        with self._store.write() as tx:
            parts = self._store.examinations(tx, row)
            waivers = tuple(self._waivers(tx, row.repository))
            findings = [Finding.parse(item) for found, _ in parts.values() for item in found]
            verdict = judge(findings, self.policy, waivers, now)
            inputs = {
                "digest": str(row.digest),
                "policy": str(self.policy.digest),
                "customhouse": __version__,
                "waivers": sorted(item.id for item in waivers),
                **{part: inputs for part, (_, inputs) in parts.items()},
            }
            self._store.set_verdict(tx, row.id, {**verdict.as_json(), "inputs": inputs})
            state = self._state_after(verdict)
            if not self._store.move(tx, row, state, now, reason=verdict.reason):
                return self._now(tx, row.id)
            self._store.add_event(tx, row.id, "judge", f"{verdict.value}, grade {verdict.grade}: {verdict.reason}", now)
            self._audit.append(
                tx, actor=HUB, action="submission.judge", subject=row.reference(self.host), digest=str(row.digest),
                detail={"submission": row.id, "verdict": verdict.value, "verdict_digest": str(verdict.digest)}, now=now,
            )
            faults.point("judge.commit")
        return state.value

    def fail(self, submission: str, why: str) -> str:
        """The hub itself could not go on; a person may retry."""
        row = self.get(submission)
        if row.state in FINAL:
            return row.state.value
        return self._move(row, State.FAILED, why)

    # ---- what people and other rooms ask

    def get(self, submission: str) -> Submission:
        """By id; raises SubmissionUnknown."""
        with self._store.read() as tx:
            row = self._store.get(tx, submission)
        if row is None:
            raise SubmissionUnknown(submission)
        return row

    def visible(self, principal: Principal, submission: str) -> Submission:
        """By id, for somebody who may see it: its publisher's people, certifiers, administrators."""
        row = self.get(submission)
        if not (principal.certifies or principal.works_for(row.publisher, "pull")):
            raise SubmissionUnknown(submission)
        return row

    def latest(self, principal: Principal, repository: str, tag: str) -> Submission:
        """The newest submission of a tag; raises SubmissionUnknown."""
        with self._store.read() as tx:
            row = self._store.latest(tx, repository, tag)
        if row is None:
            raise SubmissionUnknown(f"{self.host}/{repository}:{tag}")
        return self.visible(principal, row.id)

    def page(
        self, principal: Principal, *, repository: str | None, state: State | None, publisher: str | None,
        before: str | None, limit: int,
    ) -> list[Submission]:
        """Newest first; a publisher's people see their own."""
        publishers = None if principal.certifies else sorted(principal.publishers)
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
        if State.RECEIVED not in _retryable(row):
            raise WrongState(row, "only a rejected or failed submission, or one in review, can be tried again")
        with self._store.write() as tx:
            if self._store.newer_exists(tx, row):
                raise WrongState(row, "a newer submission of this tag exists")
            if not self.move(tx, row, State.RECEIVED, "tried again", actor=principal.owner, again=True):
                raise WrongState(row, "it was moved by somebody else just now")
            faults.point("retry.commit")
        self._wake()
        return self.get(submission)

    def enrolled(self, tx: "Connection", publisher: str) -> None:
        """A root of this publisher was enrolled: what waited for it goes on (called in that transaction)."""
        for row in self._store.in_states(tx, {State.AWAITING_ENROLMENT}, publisher):
            self.move(tx, row, State.RECEIVED, "the publisher's root was enrolled", again=True)

    def active(self) -> list[Submission]:
        """What should have a live workflow now (invariant S1)."""
        with self._store.read() as tx:
            return self._store.in_states(tx, ACTIVE)

    def resting(self) -> list[Submission]:
        """What waits for a person."""
        with self._store.read() as tx:
            return self._store.in_states(tx, RESTING)

    # ---- for publication, inside its transaction

    def transaction(self) -> "AbstractContextManager[Connection]":
        """One transaction over every room's rows."""
        return self._store.write()

    def current(self, tx: "Connection", submission: str) -> Submission:
        """The submission as this transaction sees it."""
        row = self._store.get(tx, submission)
        if row is None:
            raise SubmissionUnknown(submission)
        return row

    def overtaken(self, tx: "Connection", row: Submission) -> bool:
        """Has the publisher signed something newer under this tag (invariant P5)?"""
        return self._store.newer_exists(tx, row)

    def record_publication(self, tx: "Connection", row: Submission) -> None:
        """The record that the official tag stands on; an older one is replaced."""
        self._store.record_publication(tx, row, self._clock())

    def record_withdrawal(self, tx: "Connection", row: Submission, reason: str) -> None:
        """End that record; raises WrongState if another one stands under the tag now."""
        if not self._store.record_withdrawal(tx, row.id, reason, self._clock()):
            raise WrongState(row, "another submission stands under this tag now; withdraw that one")

    def published(self, tx: "Connection") -> list[dict[str, Any]]:
        """The records that official tags stand on."""
        return self._store.published(tx)

    def another_round(self, row: Submission) -> None:
        """The workflow of this round broke: begin another one in the same state."""
        with self._store.write() as tx:
            self._store.next_round(tx, row, self._clock())

    # ---- inside

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

    def _begin(self, submission: str, expected: State, state: State, step: str, message: str) -> Submission:
        """Enter a step: `expected` moves to `state`; entered already (after a crash) is fine too."""
        row = self.get(submission)
        if row.state is not expected:
            return row
        now = self._clock()
        with self._store.write() as tx:
            if self._store.move(tx, row, state, now):
                self._store.add_event(tx, row.id, step, message, now)
        return self.get(submission)

    def _move(self, row: Submission, state: State, reason: str) -> str:
        with self._store.write() as tx:
            self.move(tx, row, state, reason)
            return self._now(tx, row.id)

    def _now(self, tx: "Connection", submission: str) -> str:
        return self.current(tx, submission).state.value

    def _examine(
        self,
        submission: str,
        part: str,
        look: Callable[[Submission], tuple[list[Finding], dict[str, JSON]]],
    ) -> str:
        row = self.get(submission)
        if row.state is not State.EXAMINING:
            return row.state.value
        findings, inputs = look(row)
        now = self._clock()
        with self._store.write() as tx:
            current = self._store.get(tx, row.id)
            if current is None or current.state is not State.EXAMINING or current.round != row.round:
                return self._now(tx, row.id)
            self._store.put_examination(tx, row, part, [item.as_json() for item in findings], inputs)
            self._store.add_event(tx, row.id, part, _summary(part, findings), now)
            faults.point(f"{part}.commit")
        return State.EXAMINING.value

    def _run(self, row: Submission) -> tuple[list[Finding], dict[str, JSON]]:
        with self._store.read() as tx:
            found, inputs = self._store.examinations(tx, row)["content"]
        return self._examiner.run(self._material(row), [Finding.parse(item) for item in found], inputs)

    def _material(self, row: Submission) -> Material:
        """What is pinned, and nothing else (invariant S3)."""
        stored = self._registry.manifest(row.quarantine, row.digest)
        return Material(
            name=row.id,
            content=lambda digest: self._open(row.quarantine, digest),
            manifest=stored.raw,
            media_type=stored.media_type,
            reference=row.reference(self.host),
            tag=row.tag,
        )

    def _open(self, repository: str, digest: Digest) -> BinaryIO:
        try:
            return self._registry.open_blob(repository, digest)
        except NotFound:  # manifests of an index are not blobs
            return io.BytesIO(self._registry.manifest(repository, digest).raw)

    def _state_after(self, verdict: Verdict) -> State:
        if verdict.value == "refused":
            return State.REJECTED
        return State.AWAITING_REVIEW if verdict.approvals > 0 else State.PUBLISHING


def _retryable(row: Submission) -> Iterable[State]:
    return MOVES[row.state] if row.state is not State.AWAITING_ENROLMENT else ()


def _summary(part: str, findings: Sequence[Finding]) -> str:
    failed = [item.check for item in findings if item.outcome is Outcome.FAIL]
    unknown = [item.check for item in findings if item.outcome in (Outcome.NOT_EVALUABLE, Outcome.ERROR)]
    text = f"{'examined' if part == 'content' else 'run'}: {len(findings)} findings"
    if failed:
        text += f"; failed: {', '.join(sorted(set(failed)))}"
    return text + (f"; not evaluable: {', '.join(sorted(set(unknown)))}" if unknown else "")
