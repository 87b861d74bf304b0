"""A rehearsal: what another policy would say of everything that is certified.

The findings that are stored are judged again; nothing is examined, nothing is changed. Where the other policy would
run a check with other parameters, the stored answer may be another one: such checks are named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from customhouse.certification.check import Check
from customhouse.certification.comparison import changed_parameters
from customhouse.certification.findings import JSON, Finding
from customhouse.certification.policy import Policy
from customhouse.certification.store import CertificationStore
from customhouse.certification.submission import State
from customhouse.certification.verdict import judge
from customhouse.certification.waiver import Waiver, countable

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Rehearsed:
    """A row for each certification, the checks that would run with other parameters, and the id after which the next
    page begins (None at the end)."""

    certifications: list[dict[str, JSON]]
    other_parameters: list[str]
    next: str | None


class Rehearsal:
    """Judges what is official now by another policy."""

    def __init__(
        self, store: CertificationStore, policy: Policy, checks: Sequence[Check],
        waivers: Callable[["Connection", str], Sequence[Waiver]], host: str, clock: Callable[[], datetime],
    ) -> None:
        self._store, self._policy, self._checks = store, policy, checks
        self._waivers, self._host, self._clock = waivers, host, clock

    @property
    def policy(self) -> Policy:
        """The policy that the hub judges by."""
        return self._policy

    def page(self, document: bytes, before: str | None, limit: int) -> "Rehearsed":
        """Newest first, the ones before id `before`. Raises PolicyError."""
        other = Policy.parse(document).bind(self._checks)
        now, answered = self._clock(), list[dict[str, JSON]]()
        with self._store.read() as tx:
            rows = self._store.page(
                tx, publishers=None, repository=None, state=State.PUBLISHED, before=before, limit=limit + 1
            )
            for row in rows[:limit]:
                parts = self._store.examinations(tx, row)
                findings = [Finding.parse(item) for found, _ in parts.values() for item in found]
                waivers = countable(self._waivers(tx, row.repository), other.waiver_approvals, row.author)
                verdict, stands = judge(findings, other, waivers, now), row.verdict or {}
                answered.append(
                    {
                        "submission": row.id,
                        "reference": row.official_reference(self._host),
                        "digest": str(row.digest),
                        "before": _short(stands), "after": _short(verdict.as_json()),
                    }
                )
        after = rows[limit - 1].id if len(rows) > limit else None
        return Rehearsed(answered, changed_parameters(self._policy, other, self._checks), after)


def _short(verdict: Mapping[str, JSON]) -> JSON:
    return {name: verdict.get(name) for name in ("value", "grade", "score", "reason", "approvals")}
