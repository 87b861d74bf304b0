"""What staging keeps, by rules of administrators."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table('registry_retention',
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('repositories', sa.String(length=255), nullable=False),
    sa.Column('newest', sa.Integer(), nullable=True),
    sa.Column('days', sa.Integer(), nullable=True),
    sa.Column('never', sa.JSON(), nullable=False),
    sa.Column('untagged_days', sa.Integer(), nullable=True),
    sa.Column('added_by', sa.String(length=64), nullable=False),
    sa.Column('added', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('position', name=op.f('pk_registry_retention')),
    sa.UniqueConstraint('repositories', name=op.f('uq_registry_retention_repositories'))
    )
