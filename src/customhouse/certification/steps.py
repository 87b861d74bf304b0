"""Certification, step by step: what a workflow does with a submission, from verification to verdict.

1. Every step is idempotent: it does nothing unless the submission is in the state the step is for, and its result
   and the move to the next state are one transaction.
2. What was signed at another server is fetched from there after its signature held, and not before; what its server
   cannot give now is asked for a few times, then the submission fails and a person may try again.
3. What would move a locked tag ends at once: it is not fetched, examined or shown to anybody for review.
4. What is examined is what was verified: bytes are read by digest from the pin in quarantine only (invariant S3).
5. A verdict is bound to its inputs: digest, policy, advisories, analyser versions, waivers, withdrawals (S4). It is
   given over both parts of the examination of its own round, never over one (S5).
6. Author and approver differ: a waiver that the author of the submission gave does not count for it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from customhouse import __version__, faults
from customhouse.audit import Audit
from customhouse.certification.attached import attached, companion_of, opened
from customhouse.certification.examination import Examiner, Material
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.service import HUB, CertificationService
from customhouse.certification.store import CertificationStore
from customhouse.certification.submission import ACTIVE, FINAL, State, Submission
from customhouse.certification.verdict import Verdict, judge
from customhouse.certification.waiver import Waiver, countable
from customhouse.enrolment.origin import Origin
from customhouse.enrolment.service import EnrolmentService, NotEnrolled, Untrusted
from customhouse.errors import Invalid, NotFound, TooLarge
from customhouse.oci.config import InvalidConfig
from customhouse.oci.digest import Digest
from customhouse.oci.image import NotAnImage
from customhouse.oci.manifest import InvalidManifest
from customhouse.registry.content import QuotaExceeded, TagLocked
from customhouse.registry.importer import Fetched
from customhouse.registry.service import RegistryService

if TYPE_CHECKING:
    from sqlalchemy import Connection

Bring = Callable[[str, Origin, str, Digest, int], Fetched]
"""Fetches an image for (publisher, origin, repository of ours, digest, length)."""
CONTENT, RUN = "content", "run"
QUARANTINE = "quarantine/"


class Steps:
    """The methods that a workflow calls: each from a submission's id to the state it is in afterwards."""

    def __init__(
        self,
        store: CertificationStore,
        *,
        submissions: CertificationService,
        registry: RegistryService,
        enrolment: EnrolmentService,
        examiner: Examiner,
        waivers: Callable[["Connection", str], Sequence[Waiver]],
        bring: Bring,
        audit: Audit,
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._submissions, self._policy = store, submissions, examiner.policy
        self._registry, self._enrolment, self._examiner = registry, enrolment, examiner
        self._waivers, self._bring, self._audit, self._clock = waivers, bring, audit, clock

    def verify(self, submission: str) -> str:
        """Authenticity and freshness by the publisher's enrolled root; then pin the content to quarantine."""
        row = self._begin(submission)
        if row.state is not State.VERIFYING:
            return row.state.value
        try:
            signed = self._enrolment.verify_tag(row.repository, row.publisher, row.tag, row.digest, row.origin)
        except NotEnrolled as error:
            return self._await_enrolment(row, error)
        except Untrusted as error:
            return self._end(row, State.REJECTED, f"{error.message}. {error.hint}".removesuffix(". "))
        faults.point("verify.pin")
        try:
            self._registry.rules.look(row.official, row.tag, row.digest)  # before anything is fetched or examined
            self._fetch(row, signed.length)
            stored = self._registry.manifest(row.repository, row.digest)
            if stored.size != signed.length:
                raise Invalid(f"{row.digest} has {stored.size} bytes, and {signed.length} were signed")
            return self._pin(row, self._clock())
        except QuotaExceeded as error:  # of what was fetched
            again = f"`customhouse submission retry {row.id}`"
            return self._end(row, State.REJECTED, f"{error.message}. {error.hint} Then: {again}")
        except TagLocked as error:
            return self._end(row, State.REJECTED, error.for_submission(row.id))
        except (Invalid, NotFound, TooLarge) as error:  # raised inside the transaction, which is rolled back
            again = f"push {row.reference(self._submissions.host)} again, then sign it"
            if row.origin is not None:
                again = f"submit {row.source} again when it is whole there"
            return self._end(row, State.REJECTED, f"{error.message}; {again}")

    def examine(self, submission: str) -> str:
        """One pass over every layer of every platform, feeding all the checks."""
        try:
            return self._examine(submission, CONTENT, self._content)
        except (NotAnImage, InvalidManifest, InvalidConfig) as error:  # the publisher's doing, not the hub's failure
            row = self._submissions.get(submission)
            self._discard_altered(row)
            return self._end(row, State.REJECTED, f"this cannot be examined: {error.message}")

    def run(self, submission: str) -> str:
        """Start it in the sandbox and prove its health-check, unless its content must not be started."""
        row = self._submissions.get(submission)
        with self._store.read() as tx:
            parts = self._store.examinations(tx, row)
        if CONTENT not in parts:  # another round began meanwhile; its own workflow does this
            return row.state.value
        content = [Finding.parse(item) for item in parts[CONTENT][0]]
        return self._examine(
            submission, RUN, lambda row: self._examiner.run(self._material(row), content, parts[CONTENT][1])
        )

    def judge(self, submission: str) -> str:
        """Findings, policy and waivers give the verdict, and the verdict the next state."""
        row = self._submissions.get(submission)
        if row.state is not State.EXAMINING:
            return row.state.value
        now = self._clock()
        with self._store.write() as tx:
            parts = self._store.examinations(tx, row)
            if set(parts) != {CONTENT, RUN}:
                return row.state.value
            waivers = countable(self._waivers(tx, row.repository), self._policy.waiver_approvals, row.author)
            withdrawn = self._submissions.withdrawals(tx, row)
            findings = [Finding.parse(item) for found, _ in parts.values() for item in found]
            verdict = judge(findings, self._policy, waivers, now)
            if withdrawn:
                verdict = verdict.needing_people(f"this content was official and withdrawn ({', '.join(withdrawn)})")
            state = _state_after(verdict)
            if not self._store.move(tx, row, state, now, reason=verdict.reason):
                return self._now(tx, row.id)
            inputs = {
                "digest": str(row.digest),
                "policy": str(self._policy.digest),
                "customhouse": __version__,
                "waivers": sorted(item.id for item in waivers),
                "withdrawn": withdrawn,
                **{part: inputs for part, (_, inputs) in parts.items()},
            }
            self._store.set_verdict(tx, row.id, {**verdict.as_json(), "inputs": inputs})
            self._store.add_event(tx, row.id, "judge", f"{verdict.value}, grade {verdict.grade}: {verdict.reason}", now)
            self._audited(tx, row, "submission.judge", now, verdict=verdict.value, verdict_digest=str(verdict.digest))
            faults.point("judge.commit")
        return state.value

    def fail(self, submission: str, why: str) -> str:
        """The hub itself could not go on; a person may retry."""
        row = self._submissions.get(submission)
        return self._end(row, State.FAILED, why) if row.state in ACTIVE else row.state.value

    def release(self, before: datetime) -> int:
        """Let go of the quarantine of submissions that are final since before that moment; returns how many."""
        pinned = [name.removeprefix(QUARANTINE) for name in self._registry.repositories(QUARANTINE)]
        with self._store.read() as tx:
            done = [name for name in pinned if _over(self._store.get(tx, name), before)]
        return sum(self._release(submission, before) for submission in done)

    # ---- inside

    def _begin(self, submission: str) -> Submission:
        """Enter verification; entered already (after a crash) is fine too."""
        row = self._submissions.get(submission)
        if row.state is not State.RECEIVED:
            return row
        now = self._clock()
        with self._store.write() as tx:
            if self._store.move(tx, row, State.VERIFYING, now):
                self._store.add_event(tx, row.id, "verify", "checking the publisher's signature", now)
        return self._submissions.get(submission)

    def _fetch(self, row: Submission, length: int) -> None:
        """Bring in what lies at another server; nothing to do for a push."""
        if row.origin is None:
            return
        fetched = self._bring(row.publisher, row.origin, row.repository, row.digest, length)
        if fetched.pieces:
            said = f"{fetched.pieces} manifests and blobs, {fetched.size} bytes, fetched from {row.origin.gun.host}"
            with self._store.write() as tx:
                self._store.add_event(tx, row.id, "fetch", said, self._clock())

    def _await_enrolment(self, row: Submission, error: NotEnrolled) -> str:
        with self._store.write() as tx:
            # Whoever enrols after this lock finds the submission waiting; what was enrolled before is seen here.
            if self._enrolment.hold_enrolled(tx, row.publisher) == error.enrolled:
                self._submissions.move(tx, row, State.AWAITING_ENROLMENT, str(error))
            else:
                self._store.next_round(tx, row, self._clock())
            return self._now(tx, row.id)

    def _pin(self, row: Submission, now: datetime) -> str:
        with self._store.write() as tx:
            if not self._store.move(tx, row, State.EXAMINING, now):
                return self._now(tx, row.id)
            pinned = self._registry.link_tree(tx, row.repository, row.quarantine, row.digest)
            self._registry.set_tag(tx, row.quarantine, row.tag, row.digest, now)
            said = f"signature and freshness verified; {len(pinned)} manifests and blobs pinned in quarantine"
            self._store.add_event(tx, row.id, "pin", said, now)
            self._audited(tx, row, "submission.verify", now, quarantine=row.quarantine)
            faults.point("verify.commit")
        return State.EXAMINING.value

    def _release(self, submission: str, before: datetime) -> bool:
        with self._store.write() as tx:
            row = self._store.get(tx, submission, hold=True)
            if row is None or not _over(row, before):
                return False
            self._registry.delete_repository(tx, row.quarantine)
            self._audited(tx, row, "quarantine.release", self._clock())
        return True

    def _end(self, row: Submission, state: State, reason: str) -> str:
        with self._store.write() as tx:
            self._submissions.move(tx, row, state, reason)
            return self._now(tx, row.id)

    def _now(self, tx: "Connection", submission: str) -> str:
        return self._submissions.current(tx, submission).state.value

    def _audited(self, tx: "Connection", row: Submission, action: str, now: datetime, **detail: str) -> None:
        self._audit.append(
            tx, actor=HUB, action=action, subject=row.reference(self._submissions.host), digest=str(row.digest),
            detail={"submission": row.id, **detail}, now=now,
        )

    def _examine(
        self,
        submission: str,
        part: str,
        look: Callable[[Submission], tuple[list[Finding], dict[str, JSON]]],
    ) -> str:
        row = self._submissions.get(submission)
        if row.state is not State.EXAMINING:
            return row.state.value
        findings, inputs = look(row)
        now = self._clock()
        with self._store.write() as tx:
            current = self._submissions.current(tx, row.id, hold=True)
            if current.state is not State.EXAMINING or current.round != row.round:
                return current.state.value
            self._store.put_examination(tx, row, part, [item.as_json() for item in findings], inputs)
            self._store.add_event(tx, row.id, part, _summary(part, findings), now)
            faults.point(f"{part}.commit")
        return State.EXAMINING.value

    def _content(self, row: Submission) -> tuple[list[Finding], dict[str, JSON]]:
        findings, inputs = self._examiner.content(self._material(row))
        if any(item.check == "MAN-DIGEST" and item.outcome is Outcome.FAIL for item in findings):
            self._discard_altered(row)
        return findings, inputs

    def _discard_altered(self, row: Submission) -> None:
        """If it was the store that altered the bytes, to push again must bring them again."""
        gone = self._registry.integrity.discard_altered(row.digest, self._clock())
        if gone:
            said = f"altered bytes were thrown away ({', '.join(gone)}): the next push brings them again"
            with self._store.write() as tx:
                self._store.add_event(tx, row.id, "content", said, self._clock())

    def _material(self, row: Submission) -> Material:
        stored = self._registry.manifest(row.quarantine, row.digest)
        return Material(
            name=row.id,
            content=lambda digest: opened(self._registry, row.quarantine, digest),
            manifest=stored.raw,
            media_type=stored.media_type,
            reference=row.reference(self._submissions.host),
            tag=row.tag,
            attached=attached(self._registry, row.repository, row.digest),
            companion=lambda companion: companion_of(self._registry, self._submissions.host, companion),
        )


def _state_after(verdict: Verdict) -> State:
    if verdict.value == "refused":
        return State.REJECTED
    return State.AWAITING_REVIEW if verdict.approvals > 0 else State.PUBLISHING


def _over(row: Submission | None, before: datetime) -> bool:
    return row is not None and row.state in FINAL and row.updated < before


def _summary(part: str, findings: Sequence[Finding]) -> str:
    failed = [item.check for item in findings if item.outcome is Outcome.FAIL]
    unknown = [item.check for item in findings if item.outcome in (Outcome.NOT_EVALUABLE, Outcome.ERROR)]
    text = f"{'examined' if part == CONTENT else 'run'}: {len(findings)} findings"
    if failed:
        text += f"; failed: {', '.join(sorted(set(failed)))}"
    return text + (f"; not evaluable: {', '.join(sorted(set(unknown)))}" if unknown else "")
