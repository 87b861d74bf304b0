"""Every row of a hub, to lines of JSON and back; the tables are those that the rooms declare.

1. All rows are read in one transaction, and written in one; neither holds more than a batch.
2. Lines are alike for both databases: bytes are base64, moments ISO 8601, rows in the order of their keys.
"""

import base64
import json
import os
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Connection, Date, LargeBinary, Table, bindparam, func, insert, select

import customhouse.hub  # noqa: F401  declares every table
from customhouse import migrations
from customhouse.archive import BLOB_TABLE, ROWS
from customhouse.db import Store, UtcDateTime, metadata
from customhouse.errors import Conflict, Invalid
from customhouse.oci.digest import Digest

LEFT_OUT = frozenset({"executor_beat", "registry_upload", "account_failure", "hub_file"})
_AT_ONCE, _BATCH_BYTES = 500, 16 * 1024 * 1024


class ArchiveStore(Store):
    """The rows of a whole hub."""

    def write_rows(self, folder: Path) -> dict[str, int]:
        """Every row, as files in the archive `folder`; how many of each table. Raises Conflict for another schema."""
        (folder / ROWS).mkdir(exist_ok=True, mode=0o700)
        with self.read() as tx:
            if (schema := migrations.current(tx)) != migrations.newest():
                raise Conflict(
                    f"the database has the schema {schema}, and this is {migrations.newest()}",
                    hint="Export with the version of Customhouse that serves it.",
                )
            return {table.name: _write_table(tx, table, folder / ROWS / f"{table.name}.jsonl") for table in tables()}

    def has_blob(self, digest: Digest) -> bool:
        """Is there still a row of it?"""
        table = metadata.tables[BLOB_TABLE]
        with self.read() as tx:
            return tx.execute(select(table.c.digest).where(table.c.digest == digest)).first() is not None

    def filled(self) -> bool:
        """Is any table there, with a row in it?"""
        with self.read() as tx:
            return migrations.current(tx) is not None and _filled(tx)

    def read_rows(self, folder: Path, expected: dict[str, int]) -> None:
        """Every row of the archive, into tables that are empty; into others, none. Raises Invalid."""
        with self.write() as tx:
            if not _filled(tx):
                for table in tables():
                    _fill(tx, table, folder, expected.get(table.name, 0))


def tables() -> list[Table]:
    """Every table that is carried over, those first that others refer to."""
    return [table for table in metadata.sorted_tables if table.name not in LEFT_OUT]


def row_to_line(table: Table, row: Any) -> bytes:
    """One row as a line of JSON; bytes are base64, moments ISO 8601."""
    values = dict(zip((column.name for column in table.columns), row, strict=True))
    for column in table.columns:
        value = values[column.name]
        if isinstance(value, bytes):
            values[column.name] = base64.b64encode(value).decode()
        elif isinstance(value, datetime | date):
            values[column.name] = value.isoformat()
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def line_to_row(table: Table, line: bytes) -> dict[str, Any]:
    """The row again. Raises Invalid."""
    try:
        values: dict[str, Any] = json.loads(line)
        if set(values) != {column.name for column in table.columns}:
            raise ValueError(f"the columns are {sorted(values)}")
        for column in table.columns:
            value = values[column.name]
            if value is None:
                continue
            if isinstance(column.type, LargeBinary):
                values[column.name] = base64.b64decode(value, validate=True)
            elif isinstance(column.type, UtcDateTime):
                values[column.name] = datetime.fromisoformat(value)
            elif isinstance(column.type, Date):
                values[column.name] = date.fromisoformat(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise Invalid(f"a row of {table.name} cannot be read: {error}") from None
    return values


def _write_table(tx: Connection, table: Table, path: Path) -> int:
    columns = list(table.primary_key.columns)
    query = select(table).order_by(*columns).execution_options(stream_results=True, yield_per=500)
    count = 0
    with path.open("wb") as lines:
        for row in tx.execute(query):
            lines.write(row_to_line(table, row))
            count += 1
        lines.flush()
        os.fsync(lines.fileno())
    return count


def _filled(tx: Connection) -> bool:
    return any(tx.execute(select(func.count()).select_from(table)).scalar() for table in tables())


def _fill(tx: Connection, table: Table, folder: Path, expected: int) -> None:
    # A JSON column's null is SQL's, as where a store leaves the value out.
    statement = insert(table).values({
        column.name: bindparam(column.name, type_=JSON(none_as_null=True) if isinstance(column.type, JSON) else None)
        for column in table.columns
    })
    count = 0
    for batch in _batches(table, folder / ROWS / f"{table.name}.jsonl"):
        tx.execute(statement, batch)
        count += len(batch)
    if count != expected:
        raise Invalid(f"the export has {count} rows of {table.name}, and says {expected}")
    counted = table.autoincrement_column
    if counted is not None and tx.dialect.name == "postgresql" and count:
        sequence = func.pg_get_serial_sequence(table.name, counted.name)
        tx.execute(select(func.setval(sequence, select(func.max(counted)).scalar_subquery())))


def _batches(table: Table, path: Path) -> Iterator[list[dict[str, Any]]]:
    batch, size = list[dict[str, Any]](), 0
    with path.open("rb") as lines:
        for line in lines:
            batch.append(line_to_row(table, line))
            size += len(line)
            if len(batch) == _AT_ONCE or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch
