"""Sources."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0003"
down_revision = '0002'


def upgrade() -> None:
    op.create_table('source',
    sa.Column('publisher', sa.String(length=64), nullable=False),
    sa.Column('host', sa.String(length=300), nullable=False),
    sa.Column('url', sa.Text(), nullable=False),
    sa.Column('ca', sa.Text(), nullable=False),
    sa.Column('username', sa.String(length=255), nullable=False),
    sa.Column('secret', sa.LargeBinary(), nullable=True),
    sa.Column('added_by', sa.String(length=64), nullable=False),
    sa.Column('added', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('publisher', 'host', name=op.f('pk_source'))
    )
    op.add_column('submission', sa.Column('source', sa.String(length=400), server_default='', nullable=False))
    op.add_column('submission', sa.Column('trust_server', sa.String(length=300), server_default='', nullable=False))
