"""Hosts."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table('account_failure',
    sa.Column('client', sa.String(length=64), nullable=False),
    sa.Column('attempts_left', sa.Float(), nullable=False),
    sa.Column('at', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('client', name=op.f('pk_account_failure'))
    )
    with op.batch_alter_table('account_failure', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_account_failure_at'), ['at'], unique=False)

    op.create_table('hub_file',
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.Column('added', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_hub_file'))
    )
