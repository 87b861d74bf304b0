"""VEX documents as rows.

1. A document is known by the digest of its bytes. A later one of the same author, identifier and publisher supersedes
   it: the row stays, its statements rule no more.
2. An older document that comes late is kept as superseded.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from customhouse.advisories.feed import Vex, in_batches
from customhouse.advisories.snapshot import record_mark
from customhouse.advisories.store.tables import vex_document, vex_name, vex_statement
from customhouse.advisories.vex import Stated, VexStatement
from customhouse.db import Store

CHUNK = 500
_STATEMENT = msgspec.json.Decoder(VexStatement)


class VexRows(Store):
    """Every method works inside the caller's transaction."""

    def put(self, tx: Connection, vex: Vex, publisher: str, actor: str, now: datetime) -> tuple[int, list[int]]:
        """Keep a document. Gives the marks that the content gains (0: none) and loses."""
        read = vex.document
        if tx.execute(select(vex_document.c.digest).where(vex_document.c.digest == vex.digest)).scalar():
            return 0, []
        same = (
            (vex_document.c.identifier == read.identifier) & (vex_document.c.author == read.author)
            & (vex_document.c.publisher == publisher) & vex_document.c.superseded.is_(None)
        )  # fmt: skip
        held = tx.execute(select(vex_document.c.digest, vex_document.c.issued).where(same)).all()
        newer = [row for row in held if row.issued > read.issued]
        gone = [] if newer else [row.digest for row in held]
        for digest in gone:
            tx.execute(update(vex_document).where(vex_document.c.digest == digest).values(superseded=now))
            tx.execute(delete(vex_name).where(vex_name.c.document == digest))
        tx.execute(
            insert(vex_document).values(
                digest=vex.digest, identifier=read.identifier, author=read.author, form=read.form,
                version=read.version, issued=read.issued, publisher=publisher, imported=now, actor=actor,
                superseded=now if newer else None,
            )
        )  # fmt: skip
        bodies = [
            {"document": vex.digest, "position": number, "body": msgspec.json.encode(each).decode()}
            for number, each in enumerate(read.statements)
        ]
        if bodies:
            tx.execute(insert(vex_statement), bodies)
        names = [
            {"name": name, "document": vex.digest, "position": number}
            for number, each in enumerate(read.statements)
            for name in dict.fromkeys(each.names)
        ]
        if names and not newer:
            tx.execute(insert(vex_name), names)
        marks = [record_mark(f"vex:{row.digest}", row.issued, publisher) for row in held if row.digest in gone]
        return (0 if newer else record_mark(f"vex:{vex.digest}", read.issued, publisher)), marks

    def about(self, tx: Connection, names: Collection[str]) -> list[Stated]:
        """The statements in force that name one of these flaws."""
        found: dict[tuple[str, int], Stated] = {}
        for part in in_batches(sorted(set(names)), CHUNK):
            query = (
                select(
                    vex_statement.c.document, vex_statement.c.position, vex_statement.c.body,
                    vex_document.c.identifier, vex_document.c.author, vex_document.c.publisher,
                )
                .select_from(vex_name)
                .join(vex_document, vex_document.c.digest == vex_name.c.document)
                .join(
                    vex_statement,
                    (vex_statement.c.document == vex_name.c.document)
                    & (vex_statement.c.position == vex_name.c.position),
                )
                .where(vex_name.c.name.in_(part))
            )  # fmt: skip
            for row in tx.execute(query):
                found[row.document, row.position] = _stated(row)
        return [found[key] for key in sorted(found)]

    def of_publisher(self, tx: Connection, publisher: str) -> list[Stated]:
        """All statements in force that this publisher brought, to tell which of them cover nothing."""
        query = (
            select(
                vex_statement.c.document, vex_statement.c.position, vex_statement.c.body,
                vex_document.c.identifier, vex_document.c.author, vex_document.c.publisher,
            )
            .join(vex_document, vex_document.c.digest == vex_statement.c.document)
            .where(vex_document.c.publisher == publisher, vex_document.c.superseded.is_(None))
            .order_by(vex_statement.c.document, vex_statement.c.position)
        )  # fmt: skip
        return [_stated(row) for row in tx.execute(query)]

    def documents(self, tx: Connection, limit: int = 100) -> Sequence[Any]:
        """Documents in force, the latest first."""
        query = select(vex_document).where(vex_document.c.superseded.is_(None))
        return tx.execute(query.order_by(vex_document.c.imported.desc(), vex_document.c.digest).limit(limit)).all()


def _stated(row: Any) -> Stated:
    statement = _STATEMENT.decode(row.body)
    return Stated(statement, row.document, row.position, row.identifier, row.author, row.publisher)
