"""The schema that migrations make is the schema that the stores declare, on both databases."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import customhouse.hub  # noqa: F401  declares every table
from customhouse import migrations
from customhouse.db import Database, metadata
from customhouse.errors import Conflict


def test_migrations_make_what_the_stores_declare(database_url: str) -> None:
    database = Database(database_url)
    migrations.upgrade(database)
    migrations.upgrade(database)
    with database.read() as tx:
        difference = compare_metadata(MigrationContext.configure(tx, opts={"compare_type": True}), metadata)
    database.close()
    assert difference == [], "run scripts/migration.py NAME"


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    database = Database(database_url)
    migrations.upgrade(database)
    with database.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer Customhouse"):
        migrations.upgrade(database)
    database.close()
