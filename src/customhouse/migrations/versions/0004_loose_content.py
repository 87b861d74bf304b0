"""From when on nothing needs a blob, a link, a manifest or its bytes: what is unused now starts to be old now."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0004"
down_revision = '0003'

UNUSED = {
    "registry_link": """NOT EXISTS (SELECT 1 FROM registry_need n JOIN registry_manifest m ON m.digest = n.parent
        WHERE m.repository = registry_link.repository AND n.child = registry_link.digest)""",
    "registry_blob": "NOT EXISTS (SELECT 1 FROM registry_link l WHERE l.digest = registry_blob.digest)",
    "registry_content": "NOT EXISTS (SELECT 1 FROM registry_manifest m WHERE m.digest = registry_content.digest)",
    "registry_manifest": """EXISTS (SELECT 1 FROM registry_content c WHERE c.digest = registry_manifest.digest
        AND c.subject IS NOT NULL AND NOT EXISTS (SELECT 1 FROM registry_manifest s
        WHERE s.repository = registry_manifest.repository AND s.digest = c.subject))""",
}


def upgrade() -> None:
    some = sa.text("loose_since IS NOT NULL")
    for table, unused in UNUSED.items():
        op.add_column(table, sa.Column("loose_since", customhouse.db.UtcDateTime(), nullable=True))
        op.create_index(f"ix_{table}_loose_since", table, ["loose_since"], sqlite_where=some, postgresql_where=some)
        op.execute(f"UPDATE {table} SET loose_since = CURRENT_TIMESTAMP WHERE {unused}")
    op.create_index("ix_registry_upload_touched_at", "registry_upload", ["touched_at"])
