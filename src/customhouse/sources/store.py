"""Rows of sources: where a publisher's images may come from, and with which login."""

from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, String, Table, Text, delete, insert, select

from customhouse.db import Store, UtcDateTime, metadata

source = Table(
    "source",
    metadata,
    Column("publisher", String(64), primary_key=True),
    Column("host", String(300), primary_key=True),  # host[:port], as in references
    Column("url", Text, nullable=False),
    Column("ca", Text, nullable=False),  # PEM; empty: the system's authorities
    Column("username", String(255), nullable=False),
    Column("secret", LargeBinary),  # sealed for this publisher and host
    Column("added_by", String(64), nullable=False),
    Column("added", UtcDateTime, nullable=False),
)


class SourcesStore(Store):
    """Every method works inside the caller's transaction."""

    def put(self, tx: Connection, row: dict[str, Any]) -> None:
        """Add a source, or replace the one of that publisher and host."""
        self._database.lock(tx, f"source:{row['publisher']}")
        self.remove(tx, row["publisher"], row["host"])
        tx.execute(insert(source).values(row))

    def remove(self, tx: Connection, publisher: str, host: str) -> bool:
        """False where there was none."""
        gone = delete(source).where(source.c.publisher == publisher, source.c.host == host)
        return tx.execute(gone).rowcount == 1

    def all(self, tx: Connection, publishers: frozenset[str] | None) -> list[dict[str, Any]]:
        """In order of publisher and host; None: everybody's."""
        query = select(source).order_by(source.c.publisher, source.c.host)
        if publishers is not None:
            query = query.where(source.c.publisher.in_(sorted(publishers)))
        return [dict(row._mapping) for row in tx.execute(query)]
