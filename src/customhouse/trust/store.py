"""Rows of the trust room: files of every version, keys held for repositories, the changefeed.

1. Every lookup names GUN and role; a hash alone finds nothing.
2. `current` marks the one file of a (GUN, role) that is served without a version; a delegation that was removed has
   none, its history stays readable by hash for clients that are in the middle of an update.
3. A key belongs to one (GUN, role) for ever; at most one of them is pending, that is, never listed by a root.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from customhouse.answers import Answers
from customhouse.db import Database, Store, UtcDateTime, metadata

trust_file = Table(
    "trust_file",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gun", String(255), nullable=False),
    Column("role", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("current", Boolean, nullable=False),
    Index("ix_trust_file_hash", "gun", "role", "sha256"),
    Index("ix_trust_file_version", "gun", "role", "version"),
)
Index(
    "uq_trust_file_current", trust_file.c.gun, trust_file.c.role, unique=True,
    sqlite_where=trust_file.c.current == true(), postgresql_where=trust_file.c.current == true(),
)  # fmt: skip
Index("ix_trust_file_renewal", trust_file.c.role, trust_file.c.current, trust_file.c.expires)

trust_key = Table(
    "trust_key",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gun", String(255), nullable=False),
    Column("role", String(255), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("keytype", String(20), nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("pending", Boolean, nullable=False),
    UniqueConstraint("gun", "role", "key_id"),
)
Index(
    "uq_trust_key_pending", trust_key.c.gun, trust_key.c.role, unique=True,
    sqlite_where=trust_key.c.pending == true(), postgresql_where=trust_key.c.pending == true(),
)  # fmt: skip

trust_change = Table(
    "trust_change",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gun", String(255), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("category", String(20), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True)
class StoredFile:
    """One version of one role's file."""

    role: str
    version: int
    sha256: str
    content: bytes
    created: datetime
    expires: datetime


@dataclass(frozen=True)
class StoredKey:
    """A key held for one (GUN, role); `sealed` opens in the hub's vault only."""

    key_id: str
    keytype: str
    public: bytes
    sealed: bytes
    pending: bool


@dataclass(frozen=True)
class Change:
    """A line of the changefeed: a new timestamp, or a deletion (version 0, no hash)."""

    id: int
    gun: str
    version: int
    sha256: str
    category: str
    created: datetime


_FILE = (
    trust_file.c.role, trust_file.c.version, trust_file.c.sha256,
    trust_file.c.content, trust_file.c.created, trust_file.c.expires,
)  # fmt: skip


class TrustStore(Store):
    """The tables of the trust room."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.answers = Answers(database.path, database.engine)
        self.stamp = self.answers.stamp

    def lock(self, tx: Connection, gun: str) -> None:
        """Hold one repository until the transaction ends."""
        self._database.lock(tx, f"gun:{gun}")

    def look(self, gun: str, role: str, digest: str = "", *, at_most: int | None = None) -> StoredFile | None:
        """The current file, or the one of this sha256, as of now and without a transaction: the hot path.

        With `at_most`, one that is longer is not read from the database, and counts as absent.
        """

        def ask() -> StoredFile | None:
            condition = trust_file.c.sha256 == digest if digest else trust_file.c.current == true()
            if at_most is not None:
                condition &= func.length(trust_file.c.content) <= at_most
            with self.read() as tx:
                return self._newest(tx, gun, role, condition)

        return self.answers.get((gun, role, digest), ask, size=lambda file: len(file.content) if file else 0)

    def current(self, tx: Connection, gun: str, role: str) -> StoredFile | None:
        """The file that is served without a version."""
        return self._newest(tx, gun, role, trust_file.c.current == true())

    def current_files(self, tx: Connection, gun: str) -> list[StoredFile]:
        """The current file of every role."""
        rows = tx.execute(select(*_FILE).where(trust_file.c.gun == gun, trust_file.c.current == true()))
        return [StoredFile(*row) for row in rows]

    def by_hash(self, tx: Connection, gun: str, role: str, digest: str) -> StoredFile | None:
        """The file of this GUN and role with this sha256 (hexadecimal)."""
        return self._newest(tx, gun, role, trust_file.c.sha256 == digest)

    def by_version(self, tx: Connection, gun: str, role: str, version: int) -> StoredFile | None:
        """The file of this GUN, role and version."""
        return self._newest(tx, gun, role, trust_file.c.version == version)

    def roots(self, tx: Connection, gun: str) -> list[bytes]:
        """Every root, oldest first."""
        rows = tx.execute(
            select(trust_file.c.content)
            .where(trust_file.c.gun == gun, trust_file.c.role == "root")
            .order_by(trust_file.c.version)
        )
        return list(rows.scalars())

    def add(
        self, tx: Connection, gun: str, role: str, content: bytes, version: int, *, expires: datetime, now: datetime
    ) -> StoredFile:
        """Store a file as the current one of its role."""
        self.retire(tx, gun, [role])
        made = StoredFile(role, version, sha256(content).hexdigest(), content, now, expires)
        tx.execute(
            insert(trust_file).values(
                gun=gun, role=role, version=version, sha256=made.sha256, content=content,
                created=now, expires=expires, current=True,
            )  # fmt: skip
        )
        return made

    def retire(self, tx: Connection, gun: str, roles: Iterable[str]) -> None:
        """These roles have no current file any more."""
        tx.execute(
            update(trust_file)
            .where(trust_file.c.gun == gun, trust_file.c.role.in_(list(roles)), trust_file.c.current == true())
            .values(current=False)
        )

    def remove(self, tx: Connection, gun: str) -> bool:
        """Forget every file of a GUN; False when there was none. Keys stay: they never serve another GUN."""
        return tx.execute(delete(trust_file).where(trust_file.c.gun == gun)).rowcount > 0

    def due(self, tx: Connection, role: str, before: datetime) -> list[str]:
        """GUNs whose current file of this role expires before a moment."""
        rows = tx.execute(
            select(trust_file.c.gun)
            .where(trust_file.c.role == role, trust_file.c.current == true(), trust_file.c.expires < before)
            .order_by(trust_file.c.expires)
        )
        return list(rows.scalars())

    def first_end(self, tx: Connection, role: str) -> datetime | None:
        """When the first of all current files of this role expires; None where there is none."""
        found = tx.execute(
            select(trust_file.c.expires)
            .where(trust_file.c.role == role, trust_file.c.current == true())
            .order_by(trust_file.c.expires)
            .limit(1)
        )
        return found.scalar_one_or_none()

    def guns(self, tx: Connection) -> list[str]:
        """Every GUN with trust data, in order."""
        rows = tx.execute(
            select(trust_file.c.gun)
            .where(trust_file.c.role == "timestamp", trust_file.c.current == true())
            .order_by(trust_file.c.gun)
        )
        return list(rows.scalars())

    def keys(self, tx: Connection, gun: str, role: str) -> list[StoredKey]:
        """The keys held for a (GUN, role), oldest first."""
        rows = tx.execute(
            select(
                trust_key.c.key_id, trust_key.c.keytype, trust_key.c.public, trust_key.c.sealed, trust_key.c.pending
            )
            .where(trust_key.c.gun == gun, trust_key.c.role == role)
            .order_by(trust_key.c.id)
        )
        return [StoredKey(*row) for row in rows]

    def add_key(self, tx: Connection, gun: str, role: str, key: StoredKey, now: datetime) -> None:
        """Store a new pending key."""
        tx.execute(
            insert(trust_key).values(
                gun=gun, role=role, key_id=key.key_id, keytype=key.keytype, public=key.public,
                sealed=key.sealed, created=now, pending=True,
            )  # fmt: skip
        )

    def use_keys(self, tx: Connection, gun: str, listed: Mapping[str, Iterable[str]]) -> None:
        """A root lists these key ids by role: they are pending no more."""
        for role, key_ids in listed.items():
            tx.execute(
                update(trust_key)
                .where(trust_key.c.gun == gun, trust_key.c.role == role, trust_key.c.key_id.in_(list(key_ids)))
                .values(pending=False)
            )

    def add_change(self, tx: Connection, gun: str, version: int, digest: str, category: str, now: datetime) -> None:
        """Append to the changefeed."""
        tx.execute(
            insert(trust_change).values(gun=gun, version=version, sha256=digest, category=category, created=now)
        )

    def changes(self, tx: Connection, gun: str | None, after: int, limit: int) -> Iterator[Change]:
        """Oldest first, with an id above `after`."""
        query = select(*_CHANGE).where(trust_change.c.id > after).order_by(trust_change.c.id).limit(limit)
        if gun is not None:
            query = query.where(trust_change.c.gun == gun)
        return (Change(*row) for row in tx.execute(query).all())

    def changes_before(self, tx: Connection, gun: str | None, before: int | None, limit: int) -> list[Change]:
        """The last `limit` ones with an id below `before`, oldest first."""
        query = select(*_CHANGE).order_by(trust_change.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(trust_change.c.id < before)
        if gun is not None:
            query = query.where(trust_change.c.gun == gun)
        return [Change(*row) for row in reversed(tx.execute(query).all())]

    def _newest(self, tx: Connection, gun: str, role: str, condition: ColumnElement[bool]) -> StoredFile | None:
        found = tx.execute(
            select(*_FILE)
            .where(trust_file.c.gun == gun, trust_file.c.role == role, condition)
            .order_by(trust_file.c.id.desc())
            .limit(1)
        ).one_or_none()
        return StoredFile(*found) if found else None


_CHANGE = (
    trust_change.c.id, trust_change.c.gun, trust_change.c.version,
    trust_change.c.sha256, trust_change.c.category, trust_change.c.created,
)  # fmt: skip
