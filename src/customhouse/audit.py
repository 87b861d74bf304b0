"""The audit log: append-only, hash-chained, written in the transaction of what it records.

1. An entry's hash is SHA-256 over 0x00 and the canonical JSON of the entry, which holds the hash of the entry
   before it (the leaf prefix of RFC 6962 §2.1). Editing, dropping or reordering one breaks every later hash.
2. The sequence has no gaps: it is counted by the database under the lock "audit". Every transaction wants that lock,
   so entries are written at its very end, in the order of asking: whoever has the lock waits for nobody.
3. `verify` starts at the beginning or at a checkpoint ("SEQ:HASH") that was written down earlier; a checkpoint kept
   elsewhere is what shows that the whole log was not rewritten.
4. An entry never holds a secret.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import JSON, Column, Connection, Integer, String, Table, Text, insert, select

from customhouse.db import Database, UtcDateTime, metadata
from customhouse.errors import Conflict, Invalid
from customhouse.faults import point

START = "0" * 64

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(80), nullable=False),
    Column("subject", Text, nullable=False),
    Column("digest", String(160)),
    Column("detail", JSON, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)


@dataclass(frozen=True)
class Entry:
    """Who did what to which thing, and the hash that binds it to all before it."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    digest: str | None
    detail: dict[str, Any]
    previous: str
    hash: str

    def computed_hash(self) -> str:
        return _hash(
            self.seq, self.at, self.actor, self.action, self.subject, self.digest, self.detail, self.previous
        )


class ChainBroken(Conflict):
    """The log is not the one that was written: `seq` is the first entry that does not fit."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__(
            f"audit entry {seq}: {why}",
            hint="Compare with a backup; entries from here on cannot be trusted.",
        )
        self.seq = seq


class Audit:
    """The log of one hub."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self,
        tx: Connection,
        *,
        actor: str,
        action: str,
        subject: str,
        digest: str | None = None,
        detail: dict[str, Any] | None = None,
        now: datetime,
    ) -> None:
        """Add one entry to the caller's transaction; it is written when that ends."""
        digest_ = str(digest) if digest is not None else None
        self._database.at_end(lambda: self._write(tx, actor, action, subject, digest_, detail or {}, now))

    def _write(
        self, tx: Connection, actor: str, action: str, subject: str, digest: str | None, detail: dict[str, Any],
        now: datetime,
    ) -> None:
        self._database.lock(tx, "audit")
        last = tx.execute(
            select(audit_entry.c.seq, audit_entry.c.hash).order_by(audit_entry.c.seq.desc()).limit(1)
        ).one_or_none()
        seq, previous = (last.seq + 1, last.hash) if last else (1, START)
        tx.execute(
            insert(audit_entry).values(
                seq=seq,
                at=now,
                actor=actor,
                action=action,
                subject=subject,
                digest=digest,
                detail=detail,
                previous=previous,
                hash=_hash(seq, now, actor, action, subject, digest, detail, previous),
            )
        )
        point("audit.entry")

    def entries(self, tx: Connection, *, after: int = 0, limit: int = 1000) -> Iterator[Entry]:
        """Entries in order, the ones after sequence number `after`."""
        rows = tx.execute(
            select(audit_entry).where(audit_entry.c.seq > after).order_by(audit_entry.c.seq).limit(limit)
        )
        for row in rows:
            yield Entry(**row._mapping)

    def head(self, tx: Connection) -> int:
        """The number of the last entry, 0 before the first: whatever changes, this does."""
        return tx.execute(select(audit_entry.c.seq).order_by(audit_entry.c.seq.desc()).limit(1)).scalar() or 0

    def has(self, tx: Connection, actions: Collection[str], after: int) -> bool:
        """Is there one of these actions after a sequence number?"""
        query = select(audit_entry.c.seq).where(audit_entry.c.seq > after, audit_entry.c.action.in_(actions))
        return tx.execute(query.limit(1)).first() is not None

    def verify(self, tx: Connection, checkpoint: str | None = None) -> tuple[int, str]:
        """Prove the chain; returns (last sequence number, its hash): the checkpoint to write down.

        Raises ChainBroken at the first gap, edit or wrong link; Invalid for a malformed checkpoint.
        """
        seq, previous = _checkpoint(checkpoint)
        if seq:
            found = tx.execute(select(audit_entry.c.hash).where(audit_entry.c.seq == seq)).scalar()
            if found != previous:
                raise ChainBroken(seq, "is not the entry of the checkpoint")
        while True:
            batch = list(self.entries(tx, after=seq))
            for entry in batch:
                if entry.seq != seq + 1:
                    raise ChainBroken(seq + 1, "is missing")
                if entry.previous != previous:
                    raise ChainBroken(entry.seq, "does not follow the entry before it")
                if entry.computed_hash() != entry.hash:
                    raise ChainBroken(entry.seq, "was changed after it was written")
                seq, previous = entry.seq, entry.hash
            if not batch:
                return seq, previous


def _checkpoint(text: str | None) -> tuple[int, str]:
    if text is None:
        return 0, START
    number, _, digest = text.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) < 10 and len(digest) == 64):
        raise Invalid(f"{text!r} is not a checkpoint", hint="Give SEQ:HASH as `audit verify` printed it.")
    return int(number), digest


def _hash(
    seq: int,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    digest: str | None,
    detail: dict[str, Any],
    previous: str,
) -> str:
    body = {
        "seq": seq,
        "at": at.timestamp().hex(),  # exact: no text form loses a microsecond
        "actor": actor,
        "action": action,
        "subject": subject,
        "digest": digest,
        "detail": detail,
        "previous": previous,
    }
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(b"\x00" + canonical.encode()).hexdigest()
