"""Rows of mirrors: what is wanted where, and what is known to be there.

1. What is wanted follows from the official tags and is not stored; what is stored is what was done, so that no event
   can be missed.
2. `mirror.holder` and `held_until` are a lease: one process works on a mirror at a time.
3. `mirror_key` and `mirror_former_root` outlive their mirror: whoever pinned a root of that host goes on when a
   mirror of it is added again.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)

from customhouse.db import Store, UtcDateTime, metadata

mirror = Table(
    "mirror",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("url", Text, nullable=False),
    Column("host", String(300), nullable=False),  # host[:port], as in references
    Column("trust_url", Text, nullable=False),  # empty: content only
    Column("ca", Text, nullable=False),  # PEM; empty: the system's authorities
    Column("username", String(255), nullable=False),
    Column("secret", LargeBinary),  # sealed for this mirror
    Column("repositories", JSON, nullable=False),  # patterns
    Column("tags", JSON, nullable=False),  # patterns
    Column("target", String(255), nullable=False),  # "{repository}" stands for the name here
    Column("added_by", String(64), nullable=False),
    Column("added", UtcDateTime, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("held_until", UtcDateTime),
    Column("asked", UtcDateTime),  # somebody wants a run now
    Column("finished", UtcDateTime),  # the last run that got through
    Column("attempts", Integer, nullable=False),
    Column("next_try", UtcDateTime),
    Column("error", Text, nullable=False),
)
mirror_key = Table(
    "mirror_key",
    metadata,
    Column("host", String(300), primary_key=True),
    Column("root", LargeBinary, nullable=False),  # sealed
    Column("targets", LargeBinary, nullable=False),  # sealed
    Column("certificate", Text, nullable=False),  # PEM, of the root
    Column("made", UtcDateTime, nullable=False),
)
mirror_former_root = Table(
    "mirror_former_root",
    metadata,
    Column("host", String(300), primary_key=True),
    Column("key_id", String(64), primary_key=True),  # canonical
    Column("root", LargeBinary, nullable=False),  # sealed
    Column("certificate", Text, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)
mirror_repository = Table(
    "mirror_repository",
    metadata,
    Column("mirror", String(64), primary_key=True),
    Column("repository", String(255), primary_key=True),
    Column("host", String(300), nullable=False),
    Column("target", String(255), nullable=False),
    Column("tried", String(64), nullable=False),  # fingerprint of what was wanted at the last attempt
    Column("done", String(64), nullable=False),  # fingerprint of what is there
    Column("root", LargeBinary),  # as the trust server had it last
    Column("versions", JSON, nullable=False),  # of each role there, below which none may fall
    Column("checked", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("next_try", UtcDateTime),
    Column("error", Text, nullable=False),
    Index("ix_mirror_repository_host_target", "host", "target"),
)
mirror_tag = Table(
    "mirror_tag",
    metadata,
    Column("mirror", String(64), primary_key=True),
    Column("repository", String(255), primary_key=True),
    Column("tag", String(128), primary_key=True),
    Column("digest", String(160), nullable=False),
    Column("size", Integer, nullable=False),  # bytes of the manifest
    Column("manifests", JSON, nullable=False),  # all that was sent for it: [digest, subject or ""]
    Column("state", String(16), nullable=False),  # sent | signed | leaving | left
    Column("changed", UtcDateTime, nullable=False),
    Column("error", Text, nullable=False),
)

Row = dict[str, Any]


class ReplicationStore(Store):
    """Every method works inside the caller's transaction."""

    @property
    def sole(self) -> bool:
        """Does no other process work on this database? Then what an earlier one held is free."""
        return self._database.dialect == "sqlite"

    def lock(self, tx: Connection, name: str) -> None:
        """Of one mirror, until the transaction ends."""
        self._database.lock(tx, f"mirror:{name}")

    # Mirrors

    def add(self, tx: Connection, row: Row) -> None:
        tx.execute(insert(mirror).values(row))

    def find(self, tx: Connection, name: str) -> Row | None:
        return _one(tx, select(mirror).where(mirror.c.name == name))

    def all(self, tx: Connection) -> list[Row]:
        """In order of name."""
        return [dict(row._mapping) for row in tx.execute(select(mirror).order_by(mirror.c.name))]

    def change(self, tx: Connection, name: str, **values: Any) -> bool:
        return tx.execute(update(mirror).where(mirror.c.name == name).values(values)).rowcount == 1

    def take(self, tx: Connection, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """The lease; True also for who has it."""
        free = or_(mirror.c.holder == holder, mirror.c.held_until.is_(None), mirror.c.held_until <= now)
        taken = update(mirror).where(mirror.c.name == name, free).values(holder=holder, held_until=until)
        return tx.execute(taken).rowcount == 1

    def free(self, tx: Connection, name: str, holder: str) -> None:
        """Give the lease back."""
        held = and_(mirror.c.name == name, mirror.c.holder == holder)
        tx.execute(update(mirror).where(held).values(holder="", held_until=None))

    def remove(self, tx: Connection, name: str) -> bool:
        """With all that is known of it."""
        tx.execute(delete(mirror_tag).where(mirror_tag.c.mirror == name))
        tx.execute(delete(mirror_repository).where(mirror_repository.c.mirror == name))
        return tx.execute(delete(mirror).where(mirror.c.name == name)).rowcount == 1

    # Keys

    def key(self, tx: Connection, host: str) -> Row | None:
        return _one(tx, select(mirror_key).where(mirror_key.c.host == host))

    def add_key(self, tx: Connection, row: Row) -> None:
        tx.execute(insert(mirror_key).values(row))

    def change_key(self, tx: Connection, host: str, **values: Any) -> None:
        tx.execute(update(mirror_key).where(mirror_key.c.host == host).values(values))

    def former_roots(self, tx: Connection, host: str) -> list[Row]:
        query = select(mirror_former_root).where(mirror_former_root.c.host == host)
        return [dict(row._mapping) for row in tx.execute(query.order_by(mirror_former_root.c.until))]

    def add_former_root(self, tx: Connection, row: Row) -> None:
        tx.execute(insert(mirror_former_root).values(row))

    def ask(self, tx: Connection, host: str, now: datetime) -> None:
        """Every mirror of a host is to be run now."""
        tx.execute(update(mirror).where(mirror.c.host == host).values(asked=now, next_try=None))

    # Repositories

    def repositories(self, tx: Connection, name: str) -> dict[str, Row]:
        query = select(mirror_repository).where(mirror_repository.c.mirror == name)
        rows = tx.execute(query.order_by(mirror_repository.c.repository))
        return {row.repository: dict(row._mapping) for row in rows}

    def others(self, tx: Connection, name: str, host: str, target: str, repository: str) -> list[str]:
        """Who else has something in this repository of a target: MIRROR (REPOSITORY)."""
        mine = and_(mirror_repository.c.mirror == name, mirror_repository.c.repository == repository)
        query = select(mirror_repository.c.mirror, mirror_repository.c.repository).where(
            mirror_repository.c.host == host, mirror_repository.c.target == target, ~mine
        )
        return [f"{row.mirror} ({row.repository})" for row in tx.execute(query)]

    def put_repository(self, tx: Connection, name: str, repository: str, **values: Any) -> None:
        """Change it, or begin it with these values."""
        at = and_(mirror_repository.c.mirror == name, mirror_repository.c.repository == repository)
        if tx.execute(update(mirror_repository).where(at).values(values)).rowcount == 0:
            first: Row = {"tried": "", "done": "", "versions": {}, "attempts": 0, "error": ""}
            tx.execute(insert(mirror_repository).values(mirror=name, repository=repository, **(first | values)))

    def drop_repository(self, tx: Connection, name: str, repository: str) -> None:
        at = and_(mirror_repository.c.mirror == name, mirror_repository.c.repository == repository)
        tx.execute(delete(mirror_repository).where(at))

    # Tags

    def tags(self, tx: Connection, name: str, repository: str | None = None) -> Iterator[Row]:
        query = select(mirror_tag).where(mirror_tag.c.mirror == name)
        if repository is not None:
            query = query.where(mirror_tag.c.repository == repository)
        rows = tx.execute(query.order_by(mirror_tag.c.repository, mirror_tag.c.tag))
        return (dict(row._mapping) for row in rows)

    def put_tag(self, tx: Connection, name: str, repository: str, tag: str, **values: Any) -> None:
        at = and_(mirror_tag.c.mirror == name, mirror_tag.c.repository == repository, mirror_tag.c.tag == tag)
        if tx.execute(update(mirror_tag).where(at).values(values)).rowcount == 0:
            tx.execute(insert(mirror_tag).values(mirror=name, repository=repository, tag=tag, **values))

    def drop_tags(self, tx: Connection, name: str, repository: str, tags: Iterable[str]) -> None:
        for tag in tags:
            at = and_(mirror_tag.c.mirror == name, mirror_tag.c.repository == repository, mirror_tag.c.tag == tag)
            tx.execute(delete(mirror_tag).where(at))


def _one(tx: Connection, query: Any) -> Row | None:
    row = tx.execute(query).one_or_none()
    return dict(row._mapping) if row else None
