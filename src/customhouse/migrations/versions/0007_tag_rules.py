"""Tag rules."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0007"
down_revision = '0006'


def upgrade() -> None:
    op.create_table('registry_tag_rule',
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('repositories', sa.String(length=255), nullable=False),
    sa.Column('tags', sa.String(length=128), nullable=False),
    sa.Column('locked', sa.Boolean(), nullable=False),
    sa.Column('added_by', sa.String(length=64), nullable=False),
    sa.Column('added', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('position', name=op.f('pk_registry_tag_rule')),
    sa.UniqueConstraint('repositories', 'tags', name=op.f('uq_registry_tag_rule_repositories_tags'))
    )
