"""Who follows a mirror of advisories, and how far it came."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table('advisory_update',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('mirror', sa.Text(), nullable=False),
    sa.Column('began', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('held_until', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('finished', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('outcome', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_advisory_update'))
    )
