"""Signers."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0002"
down_revision = '0001'


def upgrade() -> None:
    op.create_table('publisher_key',
    sa.Column('publisher', sa.String(length=64), nullable=False),
    sa.Column('role', sa.String(length=20), nullable=False),
    sa.Column('keytype', sa.String(length=20), nullable=False),
    sa.Column('public', sa.LargeBinary(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('publisher', 'role', name=op.f('pk_publisher_key'))
    )
    op.create_table('publisher_signer',
    sa.Column('publisher', sa.String(length=64), nullable=False),
    sa.Column('key_id', sa.String(length=64), nullable=False),
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('keytype', sa.String(length=20), nullable=False),
    sa.Column('public', sa.LargeBinary(), nullable=False),
    sa.Column('enrolled_by', sa.String(length=64), nullable=False),
    sa.Column('enrolled', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('publisher', 'key_id', name=op.f('pk_publisher_signer'))
    )
