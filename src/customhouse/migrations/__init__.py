"""The schema's history, one file a step in `versions/`. `upgrade` brings a database to this version.

1. A step that was released is never edited; a change of tables is a new step.
2. A database from a newer version is refused: this version would not know what its rows mean.
3. Steps run in one transaction under a lock, so that of several processes that start at once one migrates.
4. A database that is at this version already is left alone without loading Alembic: that would take a tenth of a start.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from customhouse.db import Database
from customhouse.errors import Conflict
from customhouse.faults import point

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

FOLDER = Path(__file__).parent


def upgrade(database: Database) -> None:
    """Make or extend the tables. Raises Conflict for a database of a newer Customhouse."""
    with database.read() as tx:
        if current(tx) == newest():
            return
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    scripts = _scripts()
    with database.write() as tx:
        database.patient(tx)
        database.lock(tx, "migrations")
        found = current(tx)
        if found is not None and found not in {step.revision for step in scripts.walk_revisions()}:
            raise Conflict(
                f"the database is of a newer Customhouse (schema {found})",
                hint="Start the version that wrote it, or restore a backup made before the upgrade.",
            )
        if found == scripts.get_current_head():
            return
        context = MigrationContext.configure(tx, opts={"fn": lambda rev, _context: scripts._upgrade_revs("head", rev)})
        with Operations.context(context):
            context.run_migrations()
        point("migrations.commit")


def current(tx: Connection) -> str | None:
    """The version that a database says it has."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    found = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found else None


def newest() -> str:
    """The last step; a file's name begins with its revision."""
    return max(file.stem.partition("_")[0] for file in (FOLDER / "versions").glob("[0-9]*.py"))


def _scripts() -> "ScriptDirectory":
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return ScriptDirectory.from_config(config)
