"""The schema's history. `upgrade` brings a database to this version; a newer one than we know is refused."""

from customhouse.db import Database


def upgrade(database: Database) -> None:
    """Make or extend the tables."""
    database.create()
