"""People beside its author who approved a waiver."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table('waiver_approval',
    sa.Column('waiver', sa.String(length=40), nullable=False),
    sa.Column('reviewer', sa.String(length=64), nullable=False),
    sa.Column('at', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('waiver', 'reviewer', name=op.f('pk_waiver_approval'))
    )
