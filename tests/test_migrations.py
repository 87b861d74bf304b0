"""The schema that migrations make is the schema that the stores declare, on both databases."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
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


def test_what_an_older_version_wrote_is_still_there(database_url: str) -> None:
    """Submissions of a hub that knew no sources: they came by a push."""
    database = Database(database_url)
    scripts = migrations._scripts()
    with database.write() as tx:
        context = MigrationContext.configure(tx, opts={"fn": lambda rev, _context: scripts._upgrade_revs("0002", rev)})
        with Operations.context(context):
            context.run_migrations()
        tx.execute(text(
            "INSERT INTO submission (id, publisher, repository, tag, digest, length, snapshot_version, author, state,"
            " reason, round, created, updated) VALUES ('s', 'acme', 'staging/acme/web', '1', 'sha256:0', 1, 1, 'alice',"
            " 'published', '', 1, '2026-11-20 00:00:00', '2026-11-20 00:00:00')"
        ))
        tx.execute(text(
            "INSERT INTO submission_event (submission, seq, at, step, message)"
            " VALUES ('s', 1, '2026-11-20 00:00:00', 'receive', '')"
        ))
    migrations.upgrade(database)
    with database.read() as tx:
        assert tx.execute(text("SELECT source, trust_server FROM submission")).all() == [("", "")]
        assert tx.execute(text("SELECT count(*) FROM submission_event")).scalar() == 1
    database.close()


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    database = Database(database_url)
    migrations.upgrade(database)
    with database.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer Customhouse"):
        migrations.upgrade(database)
    database.close()
