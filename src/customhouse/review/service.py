"""Review: decisions of people about a submission, and waivers of findings.

1. An approval is bound to the verdict it was given for; a new verdict needs new approvals (invariant S4).
2. The person who signed the submission never approves it, nor by a token; two tokens of one person are one reviewer.
3. A waiver has a reason, an author and an end; it takes effect with the next examination (`submission retry`).
4. Two approvals at once, or one twice, count as they should: the row of a decision is unique, and a person's last
   word about a verdict is the one that counts.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from customhouse import faults
from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.certification.policy import VERIFICATION
from customhouse.certification.service import CertificationService
from customhouse.certification.submission import State, Submission, WrongState
from customhouse.certification.waiver import Waiver, in_force
from customhouse.errors import Denied, Invalid, NotFound
from customhouse.review.store import ReviewStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

LONGEST_REASON = 4000
LONGEST_WAIVER = timedelta(days=366)


class NotAReviewer(Denied):
    """Only certifiers and administrators decide."""

    def __init__(self) -> None:
        super().__init__(
            "only a certifier or an administrator may decide about a submission",
            hint="Sign in as one: `customhouse login URL -u USER --password-stdin`.",
        )


class OwnWork(Denied):
    """The author of a submission asked to approve it."""

    def __init__(self, author: str) -> None:
        super().__init__(
            f"{author} signed this submission and cannot approve it", hint="Ask another certifier to review it."
        )


class OwnWaiver(Denied):
    """The author of a waiver asked to approve it."""

    def __init__(self, author: str) -> None:
        super().__init__(f"{author} gave this waiver and cannot approve it", hint="Ask another certifier.")


class ReviewService:
    """Decisions and waivers."""

    def __init__(
        self,
        store: ReviewStore,
        certification: CertificationService,
        audit: Audit,
        clock: Callable[[], datetime],
        wake: Callable[[], None],
        checks: Collection[str],
    ) -> None:
        """`checks`: the ids that a waiver may name."""
        self._store, self._certification, self._audit = store, certification, audit
        self._clock, self._wake, self._checks = clock, wake, checks

    def approve(self, principal: Principal, submission: str, reason: str) -> Submission:
        """Count one approval; the last one needed sends the submission on to publication."""
        said, now = checked_reason(reason), self._clock()
        with self._store.write() as tx:
            row = self._held(tx, principal, submission)
            if principal.owner == row.author:
                raise OwnWork(row.author)
            verdict = row.verdict or {}
            self._store.decide(tx, row.id, verdict["digest"], principal.owner, "approve", said, now)
            faults.point("approve.decided")
            approvals, needed = self._counted(tx, row), int(verdict["approvals"])
            self._audit.append(
                tx, actor=principal.owner, action="submission.approve", subject=row.reference(self._certification.host),
                digest=str(row.digest), now=now,
                detail={"submission": row.id, "verdict": verdict["digest"], "reason": said,
                        "approvals": len(approvals), "needed": needed},
            )
            if len(approvals) >= needed:
                names = ", ".join(approvals)
                self._certification.move(
                    tx, row, State.PUBLISHING, f"approved by {names}", actor=principal.owner, again=True
                )
            faults.point("approve.commit")
        self._wake()
        return self._certification.get(submission)

    def reject(self, principal: Principal, submission: str, reason: str) -> Submission:
        """End the submission; the publisher reads the reason."""
        said, now = checked_reason(reason), self._clock()
        if not said:
            raise Invalid("a rejection needs a reason", hint="The publisher reads it: say what to change.")
        with self._store.write() as tx:
            row = self._held(tx, principal, submission)
            verdict = (row.verdict or {}).get("digest", "")
            self._store.decide(tx, row.id, verdict, principal.owner, "reject", said, now)
            self._certification.move(
                tx, row, State.REJECTED, f"rejected in review by {principal.owner}: {said}", actor=principal.owner
            )
            faults.point("reject.commit")
        return self._certification.get(submission)

    def approvals(self, row: Submission) -> list[str]:
        """Who approved the verdict that stands."""
        if not row.verdict:
            return []
        with self._store.read() as tx:
            return self._counted(tx, row)

    def approved(self, tx: "Connection", row: Submission) -> bool:
        """Do the approvals still match the verdict (the last look of P4)? True when none are needed."""
        return len(self._counted(tx, row)) >= int((row.verdict or {})["approvals"])

    def waive(
        self, principal: Principal, *, repository: str, reason: str, days: int, fingerprint: str | None = None,
        check: str | None = None, path: str | None = None, purl: str | None = None,
    ) -> Waiver:
        """Accept a finding by its fingerprint, or by check (and path or purl), within a repository scope."""
        if not principal.certifies:
            raise NotAReviewer
        if check is not None and check not in self._checks:
            raise Invalid(f"there is no check {check[:80]!r}", hint="Take its name from the finding.")
        if check in VERIFICATION:
            raise Invalid(f"{check} verifies that the bytes are those that were signed; no waiver accepts other ones")
        if not 1 <= days <= LONGEST_WAIVER.days:
            raise Invalid(f"a waiver lasts from 1 to {LONGEST_WAIVER.days} days, not {days}")
        now = self._clock()
        waiver = Waiver(
            id=secrets.token_hex(8), repository=_scope(repository.removeprefix(f"{self._certification.host}/")),
            reason=checked_reason(reason), author=principal.owner, expires=now + timedelta(days=days),
            fingerprint=fingerprint, check=check, path=path, purl=purl,
        )
        with self._store.write() as tx:
            self._store.add_waiver(tx, waiver, now)
            self._audit.append(
                tx, actor=principal.owner, action="waiver.add", subject=waiver.id, now=now,
                detail={"repository": waiver.repository, "check": check, "fingerprint": fingerprint, "path": path,
                        "purl": purl, "reason": waiver.reason, "expires": waiver.expires.isoformat()},
            )
        return waiver

    def approve_waiver(self, principal: Principal, waiver: str) -> Waiver:
        """A second person's yes to a waiver, where the policy wants one; it takes effect with the next examination."""
        if not principal.certifies:
            raise NotAReviewer
        now = self._clock()
        with self._store.write() as tx:
            found = self._store.waiver(tx, waiver, now)
            if found is None:
                raise NotFound(f"there is no waiver {waiver} in force")
            if principal.owner == found.author:
                raise OwnWaiver(found.author)
            self._store.approve_waiver(tx, waiver, principal.owner, now)
            self._audit.append(tx, actor=principal.owner, action="waiver.approve", subject=waiver, now=now)
        return replace(found, approvals=tuple(dict.fromkeys((*found.approvals, principal.owner))))

    def end_waiver(self, principal: Principal, waiver: str) -> None:
        """Revoke; certifications given with it stand until they are examined again."""
        if not principal.certifies:
            raise NotAReviewer
        now = self._clock()
        with self._store.write() as tx:
            if not self._store.revoke_waiver(tx, waiver, now):
                raise NotFound(f"there is no waiver {waiver} in force")
            self._audit.append(tx, actor=principal.owner, action="waiver.remove", subject=waiver, now=now)

    def waivers(self, principal: Principal) -> Sequence[dict[str, Any]]:
        """The waivers in force, with their authors and ends; a publisher's people see those of their own."""
        with self._store.read() as tx:
            found = self._store.waivers_in_force(tx, self._clock())
        return [
            item for item in found
            if principal.certifies or principal.works_for(item["repository"].split("/")[1], "pull")
        ]

    def _held(self, tx: "Connection", principal: Principal, submission: str) -> Submission:
        """The submission, waiting for a decision; nobody else decides before this transaction ends."""
        if not principal.certifies:
            raise NotAReviewer
        row = self._certification.current(tx, submission, hold=True)
        if row.state is not State.AWAITING_REVIEW:
            raise WrongState(row, "only one that is awaiting_review can be decided")
        return row

    def _counted(self, tx: "Connection", row: Submission) -> list[str]:
        approvals = self._store.approvals(tx, row.id, (row.verdict or {})["digest"])
        return [name for name in approvals if name != row.author]


def waivers_of(
    store: ReviewStore, clock: Callable[[], datetime]
) -> Callable[["Connection", str], Sequence[Waiver]]:
    """What certification asks when it judges: the waivers that hold for a repository now."""
    return lambda tx, repository: in_force(store.waivers(tx), repository, clock())


def checked_reason(text: str) -> str:
    """Trimmed; raises Invalid for one that nobody would read."""
    if len(text) > LONGEST_REASON:
        raise Invalid(f"the reason is longer than {LONGEST_REASON} characters")
    return text.strip()


def _scope(repository: str) -> str:
    """Waivers are about what is examined, and that is in staging; the official name means the same image."""
    return repository if repository.startswith("staging/") else f"staging/{repository}"
