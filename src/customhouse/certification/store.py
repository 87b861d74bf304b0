"""Rows of certification: submissions, their events, what examination found, and the record of publications.

One row of `certification` per published submission is the record that an official tag stands on (invariant P1).
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    select,
    text,
    update,
)

from customhouse.certification.submission import ACTIVE, MOVES, RESTING, State, Submission
from customhouse.db import Database, UtcDateTime, metadata
from customhouse.oci.digest import Digest

submission_table = Table(
    "submission",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("publisher", String(64), nullable=False, index=True),
    Column("repository", String(255), nullable=False),
    Column("tag", String(128), nullable=False),
    Column("digest", String(160), nullable=False),
    Column("length", Integer, nullable=False),
    Column("snapshot_version", Integer, nullable=False),
    Column("author", String(64), nullable=False),
    Column("state", String(24), nullable=False, index=True),
    Column("reason", Text, nullable=False, default=""),
    Column("round", Integer, nullable=False, default=1),
    Column("verdict", JSON),
    Column("created", UtcDateTime, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
    UniqueConstraint("repository", "tag", "snapshot_version"),
)

submission_event = Table(
    "submission_event",
    metadata,
    Column("submission", String(40), ForeignKey("submission.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("step", String(40), nullable=False),
    Column("message", Text, nullable=False),
)

examination = Table(
    "examination",
    metadata,
    Column("submission", String(40), ForeignKey("submission.id"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("part", String(16), primary_key=True),  # "content" or "run"
    Column("findings", JSON, nullable=False),
    Column("inputs", JSON, nullable=False),  # what the verdict is bound to: policy, advisories, versions
)

certification = Table(
    "certification",
    metadata,
    Column("submission", String(40), ForeignKey("submission.id"), primary_key=True),
    Column("repository", String(255), nullable=False),
    Column("tag", String(128), nullable=False),
    Column("digest", String(160), nullable=False),
    Column("state", String(16), nullable=False),  # published | replaced | withdrawn
    Column("snapshot_version", Integer, nullable=False),  # the publisher's, for order
    Column("published", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime),
    Column("reason", Text, nullable=False, default=""),
    Index(
        "uq_certification_standing",
        "repository",
        "tag",
        unique=True,
        sqlite_where=text("state = 'published'"),
        postgresql_where=text("state = 'published'"),
    ),
)


class CertificationStore:
    """Every method that takes `tx` works inside the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> AbstractContextManager[Connection]:
        """A consistent view."""
        return self._database.read()

    def write(self) -> AbstractContextManager[Connection]:
        """One transaction."""
        return self._database.write()

    def lock(self, tx: Connection, name: str) -> None:
        """Serialise on `name` until the transaction ends."""
        self._database.lock(tx, name)

    def add(self, tx: Connection, row: Submission) -> None:
        """Insert a new submission."""
        values = {**row.__dict__, "state": row.state.value, "digest": str(row.digest)}
        tx.execute(insert(submission_table).values(values))

    def get(self, tx: Connection, submission: str) -> Submission | None:
        """By id."""
        row = tx.execute(select(submission_table).where(submission_table.c.id == submission)).one_or_none()
        return _submission(row._mapping) if row else None

    def latest(self, tx: Connection, repository: str, tag: str) -> Submission | None:
        """The newest submission of a tag, in the publisher's order."""
        row = tx.execute(
            select(submission_table)
            .where(submission_table.c.repository == repository, submission_table.c.tag == tag)
            .order_by(submission_table.c.snapshot_version.desc())
            .limit(1)
        ).one_or_none()
        return _submission(row._mapping) if row else None

    def newer_exists(self, tx: Connection, row: Submission) -> bool:
        """Has the publisher offered something newer under this tag, or is something newer official?"""
        table = submission_table
        newer = select(table.c.id).where(
            table.c.repository == row.repository,
            table.c.tag == row.tag,
            table.c.snapshot_version > row.snapshot_version,
        )
        return tx.execute(newer.limit(1)).first() is not None

    def unfinished(self, tx: Connection, repository: str, tag: str) -> list[Submission]:
        """Submissions of a tag that are not final."""
        open_states = [state.value for state in ACTIVE | RESTING]
        rows = tx.execute(
            select(submission_table).where(
                submission_table.c.repository == repository,
                submission_table.c.tag == tag,
                submission_table.c.state.in_(open_states),
            )
        )
        return [_submission(row._mapping) for row in rows]

    def in_states(self, tx: Connection, states: Iterable[State], publisher: str | None = None) -> list[Submission]:
        """Submissions in one of `states`, oldest first."""
        query = select(submission_table).where(submission_table.c.state.in_([state.value for state in states]))
        if publisher is not None:
            query = query.where(submission_table.c.publisher == publisher)
        return [_submission(row._mapping) for row in tx.execute(query.order_by(submission_table.c.id))]

    def page(
        self,
        tx: Connection,
        *,
        publishers: Sequence[str] | None,
        repository: str | None,
        state: State | None,
        before: str | None,
        limit: int,
    ) -> list[Submission]:
        """Newest first, the ones before id `before`; `publishers` None means all of them."""
        query = select(submission_table).order_by(submission_table.c.id.desc()).limit(limit)
        if publishers is not None:
            query = query.where(submission_table.c.publisher.in_(publishers))
        if repository is not None:
            query = query.where(submission_table.c.repository == repository)
        if state is not None:
            query = query.where(submission_table.c.state == state.value)
        if before is not None:
            query = query.where(submission_table.c.id < before)
        return [_submission(row._mapping) for row in tx.execute(query)]

    def move(
        self, tx: Connection, row: Submission, to: State, now: datetime, *, reason: str = "", again: bool = False
    ) -> bool:
        """Move on the condition that the row is still where `row` says; `again` begins a new round."""
        if to not in MOVES[row.state]:
            raise ValueError(f"{row.state.value} does not move to {to.value}")
        table = submission_table
        moved = tx.execute(
            update(table)
            .where(table.c.id == row.id, table.c.state == row.state.value, table.c.round == row.round)
            .values(state=to.value, reason=reason, updated=now, round=row.round + (1 if again else 0))
        ).rowcount
        return moved == 1

    def next_round(self, tx: Connection, row: Submission, now: datetime) -> bool:
        """Begin a new round in the same state, for a workflow that broke."""
        table = submission_table
        return (
            tx.execute(
                update(table)
                .where(table.c.id == row.id, table.c.state == row.state.value, table.c.round == row.round)
                .values(round=row.round + 1, updated=now)
            ).rowcount
            == 1
        )

    def set_verdict(self, tx: Connection, submission: str, verdict: dict[str, Any]) -> None:
        """Store the judged findings."""
        tx.execute(update(submission_table).where(submission_table.c.id == submission).values(verdict=verdict))

    def add_event(self, tx: Connection, submission: str, step: str, message: str, now: datetime) -> None:
        """One line of progress that a person follows."""
        self._database.lock(tx, f"events:{submission}")
        last = tx.execute(
            select(func.max(submission_event.c.seq)).where(submission_event.c.submission == submission)
        ).scalar()
        tx.execute(
            insert(submission_event).values(
                submission=submission, seq=(last or 0) + 1, at=now, step=step, message=message
            )
        )

    def events(self, tx: Connection, submission: str, after: int = 0) -> list[dict[str, Any]]:
        """Progress after sequence number `after`."""
        rows = tx.execute(
            select(submission_event)
            .where(submission_event.c.submission == submission, submission_event.c.seq > after)
            .order_by(submission_event.c.seq)
            .limit(1000)
        )
        return [{"seq": r.seq, "at": r.at.isoformat(), "step": r.step, "message": r.message} for r in rows]

    def put_examination(
        self, tx: Connection, row: Submission, part: str, findings: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> None:
        """Keep what one part of the examination found in this round; a repeat replaces it."""
        key = (examination.c.submission == row.id, examination.c.round == row.round, examination.c.part == part)
        if not tx.execute(update(examination).where(*key).values(findings=findings, inputs=inputs)).rowcount:
            tx.execute(
                insert(examination).values(
                    submission=row.id, round=row.round, part=part, findings=findings, inputs=inputs
                )
            )

    def examinations(self, tx: Connection, row: Submission) -> dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]:
        """part -> (findings, inputs) of this round."""
        rows = tx.execute(
            select(examination).where(examination.c.submission == row.id, examination.c.round == row.round)
        )
        return {item.part: (item.findings, item.inputs) for item in rows}

    def record_publication(self, tx: Connection, row: Submission, now: datetime) -> None:
        """The certification record; one that stood on the same tag is replaced."""
        table = certification
        tx.execute(
            update(table)
            .where(table.c.repository == row.official, table.c.tag == row.tag, table.c.state == "published")
            .values(state="replaced", ended=now)
        )
        tx.execute(
            insert(table).values(
                submission=row.id,
                repository=row.official,
                tag=row.tag,
                digest=str(row.digest),
                state="published",
                snapshot_version=row.snapshot_version,
                published=now,
            )
        )

    def record_withdrawal(self, tx: Connection, submission: str, reason: str, now: datetime) -> bool:
        """End the record of a publication; False if it is not the one that stands now."""
        table = certification
        return (
            tx.execute(
                update(table)
                .where(table.c.submission == submission, table.c.state == "published")
                .values(state="withdrawn", ended=now, reason=reason)
            ).rowcount
            == 1
        )

    def published(self, tx: Connection, repository: str | None = None) -> list[dict[str, Any]]:
        """The records that official tags stand on."""
        query = select(certification).where(certification.c.state == "published")
        if repository is not None:
            query = query.where(certification.c.repository == repository)
        return [dict(row._mapping) for row in tx.execute(query.order_by(certification.c.repository))]

    def records(self, tx: Connection, submission: str) -> list[dict[str, Any]]:
        """The certification records of one submission: none or one."""
        rows = tx.execute(select(certification).where(certification.c.submission == submission))
        return [dict(row._mapping) for row in rows]


def _submission(row: Any) -> Submission:
    return Submission(**{**row, "digest": Digest(row["digest"]), "state": State(row["state"])})
