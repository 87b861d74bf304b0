"""The tables of the advisories.

1. `advisory_affected` is what matching looks up; ranges and versions are one compact JSON text per package.
2. `advisory_alias` holds both directions of a record's names, so that a name leads to all records of the same flaw.
3. `dump` says that a record came in a whole dump: only such a one goes when a later dump is without it.
"""

from sqlalchemy import Column, Date, Float, Index, Integer, String, Table, Text

from customhouse.db import UtcDateTime, metadata

advisory = Table(
    "advisory",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("modified", UtcDateTime, nullable=False),
    Column("published", UtcDateTime),
    Column("withdrawn", UtcDateTime),
    Column("content", String(64), nullable=False),
    Column("header", Text, nullable=False),
    Column("dump", Integer, nullable=False, server_default="0"),
)
advisory_affected = Table(
    "advisory_affected",
    metadata,
    Column("advisory_id", String(120), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("ecosystem", String(512), nullable=False),
    Column("package", String(512), nullable=False),
    Column("document", Text, nullable=False),
    Index("ix_advisory_affected_ecosystem_package", "ecosystem", "package"),
)
advisory_alias = Table(
    "advisory_alias",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("advisory_id", String(120), primary_key=True),
    Index("ix_advisory_alias_advisory_id", "advisory_id"),
)
advisory_holding = Table(
    "advisory_holding",
    metadata,
    Column("ecosystem", String(512), primary_key=True),
    Column("records", Integer, nullable=False),
    Column("newest", UtcDateTime),
    Column("imported", UtcDateTime),
    Column("source", Text, nullable=False, server_default=""),
    Column("cursor", UtcDateTime),
)
advisory_state = Table(
    "advisory_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("records", Integer, nullable=False),
    Column("total", String(64), nullable=False),
    Column("kev_version", String(64), nullable=False),
    Column("snapshot", String(80), nullable=False),
    Column("epss_version", String(160), nullable=False, server_default=""),
)
kev_entry = Table(
    "kev_entry",
    metadata,
    Column("cve", String(32), primary_key=True),
    Column("added", Date),
    Column("due", Date),
    Column("ransomware", Integer, nullable=False),
)
epss_score = Table(
    "epss_score",
    metadata,
    Column("cve", String(32), primary_key=True),
    Column("score", Float, nullable=False),
    Column("percentile", Float, nullable=False),
)
vex_document = Table(
    "vex_document",
    metadata,
    Column("digest", String(80), primary_key=True),
    Column("identifier", String(512), nullable=False),
    Column("author", String(512), nullable=False),
    Column("form", String(16), nullable=False),
    Column("version", String(64), nullable=False),
    Column("issued", UtcDateTime, nullable=False),
    Column("publisher", String(255), nullable=False),  # empty: stated to the hub as a whole
    Column("imported", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("superseded", UtcDateTime),
    Index("ix_vex_document_identifier", "identifier", "author"),
)
vex_statement = Table(
    "vex_statement",
    metadata,
    Column("document", String(80), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
vex_name = Table(
    "vex_name",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("document", String(80), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
)
advisory_update = Table(
    "advisory_update",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("mirror", Text, nullable=False),
    Column("began", UtcDateTime, nullable=False),
    Column("held_until", UtcDateTime),
    Column("finished", UtcDateTime),
    Column("outcome", Text),
)
advisory_import = Table(
    "advisory_import",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", String(80)),
    Column("actor", String(255), nullable=False),
    Column("started", UtcDateTime, nullable=False),
    Column("finished", UtcDateTime),
    Column("outcome", Text),
)
