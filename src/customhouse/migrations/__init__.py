"""The schema's history, one file a step in `versions/`. `upgrade` brings a database to this version.

1. A step that was released is never edited; a change of tables is a new step.
2. A database from a newer version is refused: this version would not know what its rows mean.
3. Steps run in one transaction under a lock, so that of several processes that start at once one migrates.
"""

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from customhouse.db import Database
from customhouse.errors import Conflict
from customhouse.faults import point

FOLDER = Path(__file__).parent


def upgrade(database: Database) -> None:
    """Make or extend the tables. Raises Conflict for a database of a newer Customhouse."""
    scripts = _scripts()
    with database.write() as tx:
        database.lock(tx, "migrations")
        current = _current(tx)
        if current is not None and current not in {step.revision for step in scripts.walk_revisions()}:
            raise Conflict(
                f"the database is of a newer Customhouse (schema {current})",
                hint="Start the version that wrote it, or restore a backup made before the upgrade.",
            )
        if current == scripts.get_current_head():
            return
        context = MigrationContext.configure(tx, opts={"fn": lambda rev, _context: scripts._upgrade_revs("head", rev)})
        with Operations.context(context):
            context.run_migrations()
        point("migrations.commit")


def _current(tx: Connection) -> str | None:
    return MigrationContext.configure(tx).get_current_revision()


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return ScriptDirectory.from_config(config)
