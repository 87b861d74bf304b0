"""The schema that migrations make is the schema that the stores declare, on both databases."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, text

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


def upgrade_to(tx: Connection, version: str) -> None:
    """As a hub of that version has its tables."""
    scripts = migrations._scripts()
    context = MigrationContext.configure(tx, opts={"fn": lambda rev, _context: scripts._upgrade_revs(version, rev)})
    with Operations.context(context):
        context.run_migrations()


def test_what_an_older_version_wrote_is_still_there(database_url: str) -> None:
    """Submissions of a hub that knew no sources: they came by a push."""
    database = Database(database_url)
    with database.write() as tx:
        upgrade_to(tx, "0002")
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


def test_what_nothing_needed_in_an_older_version_is_marked_so_that_a_sweep_finds_it(database_url: str) -> None:
    """And what is needed is not: each table once used, once unused."""
    database = Database(database_url)
    at = "'2026-11-20 00:00:00'"
    rows = {
        "registry_blob (digest, size, stored_at)": [f"'{name}', 1, {at}" for name in ("needed", "linked", "alone")],
        "registry_link (repository, digest, linked_at)": [
            f"'here', 'needed', {at}", f"'here', 'linked', {at}", f"'there', 'needed', {at}",
        ],
        "registry_content (digest, media_type, raw, size, subject, artifact_type, annotations)": [
            f"'{name}', 'a/b', '', 0, {subject}, '', '{{}}'" for name, subject in
            (("image", "NULL"), ("dropped", "NULL"), ("signature", "'image'"), ("early", "'absent'"))
        ],
        "registry_need (parent, child, kind)": ["'image', 'needed', 'blob'", "'dropped', 'linked', 'blob'"],
        "registry_manifest (repository, digest, pushed_at)": [
            f"'here', '{name}', {at}" for name in ("image", "signature", "early")
        ],
    }  # fmt: skip
    with database.write() as tx:
        upgrade_to(tx, "0003")
        for table, values in rows.items():
            for value in values:
                tx.execute(text(f"INSERT INTO {table} VALUES ({value})"))
    migrations.upgrade(database)
    with database.read() as tx:
        found = {
            table: sorted(tuple(row) for row in tx.execute(text(f"SELECT {key} FROM {table} WHERE loose_since > {at}")))
            for table, key in (
                ("registry_blob", "digest"), ("registry_link", "repository, digest"), ("registry_content", "digest"),
                ("registry_manifest", "digest"),
            )
        }  # fmt: skip
    database.close()
    assert found == {
        "registry_blob": [("alone",)], "registry_link": [("here", "linked"), ("there", "needed")],
        "registry_content": [("dropped",)], "registry_manifest": [("early",)],
    }  # fmt: skip


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    database = Database(database_url)
    migrations.upgrade(database)
    with database.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer Customhouse"):
        migrations.upgrade(database)
    database.close()
