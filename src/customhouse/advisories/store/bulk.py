"""Many rows of plain values at once, by the way each database is fastest at."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table


def add_rows(tx: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows whose values stand in the order of the columns: texts and numbers only, which no type converts.

    COPY on PostgreSQL, one prepared statement on SQLite. https://www.postgresql.org/docs/current/sql-copy.html
    """
    if not rows:
        return
    columns = ", ".join(column.name for column in table.columns)
    if tx.dialect.name == "postgresql":
        connection: Any = tx.connection.driver_connection
        with connection.cursor() as cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    places = ", ".join("?" for _ in table.columns)
    tx.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) VALUES ({places})", list(rows))
