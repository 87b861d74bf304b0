"""Rows of review: decisions of people, bound to a verdict, and waivers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, String, Table, Text, UniqueConstraint, insert, select, update

from customhouse.certification.waiver import Waiver
from customhouse.db import Store, UtcDateTime, metadata

decision_table = Table(
    "decision",
    metadata,
    Column("submission", String(40), nullable=False),
    Column("verdict", String(160), nullable=False),  # the verdict's digest: a new verdict needs new approvals
    Column("reviewer", String(64), nullable=False),  # the person, also when a token of theirs spoke
    Column("decision", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("submission", "verdict", "reviewer"),
)

waiver_table = Table(
    "waiver",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("repository", String(255), nullable=False),
    Column("check", String(40)),
    Column("fingerprint", String(80)),
    Column("path", Text),
    Column("purl", Text),
    Column("reason", Text, nullable=False),
    Column("author", String(64), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("revoked", UtcDateTime),
)

waiver_approval_table = Table(
    "waiver_approval",
    metadata,
    Column("waiver", String(40), primary_key=True),
    Column("reviewer", String(64), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)


class ReviewStore(Store):
    """Every method that takes `tx` works inside the caller's transaction."""

    def decide(
        self, tx: Connection, submission: str, verdict: str, reviewer: str, decision: str, reason: str, now: datetime
    ) -> None:
        """Record one decision; a person's later word about the same verdict takes the place of the earlier one."""
        table = decision_table
        whose = (table.c.submission == submission, table.c.verdict == verdict, table.c.reviewer == reviewer)
        said = {"decision": decision, "reason": reason, "at": now}
        if not tx.execute(update(table).where(*whose).values(said)).rowcount:
            tx.execute(insert(table).values(submission=submission, verdict=verdict, reviewer=reviewer, **said))

    def approvals(self, tx: Connection, submission: str, verdict: str) -> list[str]:
        """The distinct people who approved this verdict."""
        table = decision_table
        rows = tx.execute(
            select(table.c.reviewer)
            .where(table.c.submission == submission, table.c.verdict == verdict, table.c.decision == "approve")
            .order_by(table.c.at)
        )
        return [row.reviewer for row in rows]

    def add_waiver(self, tx: Connection, waiver: Waiver, now: datetime) -> None:
        """Insert a waiver."""
        values = {name: getattr(waiver, name) for name in _WAIVER_FIELDS}
        tx.execute(insert(waiver_table).values(**values, created=now))

    def waiver(self, tx: Connection, waiver: str, now: datetime) -> Waiver | None:
        """One that is in force, and stays so until this transaction ends."""
        table = waiver_table
        found = tx.execute(
            select(table)
            .where(table.c.id == waiver, table.c.revoked.is_(None), table.c.expires > now)
            .with_for_update()
        ).first()
        return None if found is None else _waiver(found._mapping, self._approvals(tx).get(waiver, ()))

    def approve_waiver(self, tx: Connection, waiver: str, reviewer: str, now: datetime) -> None:
        """Record an approval of a waiver that the caller holds; a second one of a person changes nothing."""
        table = waiver_approval_table
        whose = (table.c.waiver == waiver, table.c.reviewer == reviewer)
        if tx.execute(select(table.c.at).where(*whose)).first() is None:
            tx.execute(insert(table).values(waiver=waiver, reviewer=reviewer, at=now))

    def revoke_waiver(self, tx: Connection, waiver: str, now: datetime) -> bool:
        """End a waiver before its time; False if none is in force by that id."""
        table = waiver_table
        ended = tx.execute(
            update(table).where(table.c.id == waiver, table.c.revoked.is_(None)).values(revoked=now)
        ).rowcount
        return ended == 1

    def waivers(self, tx: Connection) -> list[Waiver]:
        """Waivers that nobody revoked; scope and end are for the caller to look at (`in_force`)."""
        rows = tx.execute(select(waiver_table).where(waiver_table.c.revoked.is_(None)))
        approvals = self._approvals(tx)
        return [_waiver(row._mapping, approvals.get(row.id, ())) for row in rows]

    def _approvals(self, tx: Connection) -> dict[str, tuple[str, ...]]:
        table, found = waiver_approval_table, dict[str, tuple[str, ...]]()
        for row in tx.execute(select(table).order_by(table.c.at, table.c.reviewer)):
            found[row.waiver] = (*found.get(row.waiver, ()), row.reviewer)
        return found

    def waivers_in_force(self, tx: Connection, now: datetime) -> list[dict[str, Any]]:
        """Every waiver that has not ended, newest first."""
        table = waiver_table
        rows = tx.execute(
            select(table)
            .where(table.c.revoked.is_(None), table.c.expires > now)
            .order_by(table.c.created.desc())
        )
        approvals = self._approvals(tx)
        return [{**row._mapping, "approvals": list(approvals.get(row.id, ()))} for row in rows]


def _waiver(row: Mapping[Any, Any], approvals: tuple[str, ...]) -> Waiver:
    return Waiver(**{name: row[name] for name in _WAIVER_FIELDS}, approvals=approvals)


_WAIVER_FIELDS = ("id", "repository", "check", "fingerprint", "path", "purl", "reason", "author", "expires")
