"""Rows of certification: submissions, their events, what examination found, and the record of publications.

One row of `certification` per published submission is the record that an official tag stands on (invariant P1).
"""

from collections.abc import Iterable, Sequence
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
from customhouse.db import Store, UtcDateTime, metadata
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
    Column("source", String(400), nullable=False, server_default=""),  # REGISTRY/NAME:TAG; empty for a push
    Column("trust_server", String(300), nullable=False, server_default=""),
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


MOST_NAMED = 10_000  # in one statement; engines take 32,766 parameters or more


class CertificationStore(Store):
    """Every method that takes `tx` works inside the caller's transaction."""

    def lock(self, tx: Connection, name: str) -> None:
        """Serialise on `name` until the transaction ends."""
        self._database.lock(tx, name)

    def add(self, tx: Connection, row: Submission) -> None:
        """Insert a new submission."""
        values = {**row.__dict__, "state": row.state.value, "digest": str(row.digest)}
        tx.execute(insert(submission_table).values(values))

    def get(self, tx: Connection, submission: str, *, hold: bool = False) -> Submission | None:
        """By id; with `hold` nobody else moves it before this transaction ends."""
        query = select(submission_table).where(submission_table.c.id == submission)
        row = tx.execute(query.with_for_update() if hold else query).one_or_none()
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
        """Has the publisher offered something newer under this tag?"""
        table = submission_table
        newer = select(table.c.id).where(
            table.c.repository == row.repository,
            table.c.tag == row.tag,
            table.c.snapshot_version > row.snapshot_version,
        )
        return tx.execute(newer.limit(1)).first() is not None

    def next_place(self, tx: Connection, repository: str, tag: str, snapshot_version: int) -> int:
        """The place of a new submission in its tag's order: the snapshot's version, above all that came before."""
        table = submission_table
        highest = tx.execute(
            select(func.max(table.c.snapshot_version)).where(table.c.repository == repository, table.c.tag == tag)
        ).scalar()
        return max(snapshot_version, (highest or 0) + 1)

    def hold_unfinished(self, tx: Connection, repository: str, tags: Sequence[str]) -> list[Submission]:
        """Submissions of these tags, and maybe of others of the repository, that are not final; nobody else moves them
        before this transaction ends."""
        table = submission_table
        query = select(table).where(table.c.repository == repository, table.c.state.in_(_values(ACTIVE | RESTING)))
        if len(tags) <= MOST_NAMED:
            query = query.where(table.c.tag.in_(tags))
        return [_submission(row._mapping) for row in tx.execute(query.order_by(table.c.id).with_for_update())]

    def hold_in_state(self, tx: Connection, state: State, publisher: str) -> list[Submission]:
        """A publisher's submissions in one state; nobody else moves them before this transaction ends."""
        table = submission_table
        query = select(table).where(table.c.publisher == publisher, table.c.state == state.value)
        return [_submission(row._mapping) for row in tx.execute(query.order_by(table.c.id).with_for_update())]

    def in_states(self, tx: Connection, states: Iterable[State]) -> list[Submission]:
        """Submissions in one of `states`, oldest first."""
        query = select(submission_table).where(submission_table.c.state.in_(_values(states)))
        return [_submission(row._mapping) for row in tx.execute(query.order_by(submission_table.c.id))]

    def numbers(self, tx: Connection) -> dict[str, int]:
        """How many submissions are in each state; states without any are not among them."""
        state = submission_table.c.state
        return {name: number for name, number in tx.execute(select(state, func.count()).group_by(state))}

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

    def record_withdrawal(self, tx: Connection, submission: str, reason: str, now: datetime) -> str | None:
        """End the record of a publication; returns what it was ("published", "replaced"), None if it had ended."""
        table = certification
        query = select(table.c.state).where(table.c.submission == submission, table.c.state != "withdrawn")
        before: str | None = tx.execute(query.with_for_update()).scalar()
        if before is not None:
            ended = {"state": "withdrawn", "ended": now, "reason": reason}
            tx.execute(update(table).where(table.c.submission == submission).values(ended))
        return before

    def withdrawals(self, tx: Connection, repository: str, digest: Digest) -> list[str]:
        """The submissions by which this content was official here and then withdrawn."""
        table = certification
        query = select(table.c.submission).where(
            table.c.repository == repository, table.c.digest == str(digest), table.c.state == "withdrawn"
        )
        return list(tx.execute(query.order_by(table.c.submission)).scalars())

    def records(self, tx: Connection) -> list[dict[str, Any]]:
        """Every certification record, also those that ended."""
        query = select(certification).order_by(certification.c.repository, certification.c.submission)
        return [dict(row._mapping) for row in tx.execute(query)]


def _values(states: Iterable[State]) -> list[str]:
    return [state.value for state in states]


def _submission(row: Any) -> Submission:
    return Submission(**{**row, "digest": Digest(row["digest"]), "state": State(row["state"])})
