"""Former roots of mirrors."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0008"
down_revision = '0007'


def upgrade() -> None:
    op.create_table('mirror_former_root',
    sa.Column('host', sa.String(length=300), nullable=False),
    sa.Column('key_id', sa.String(length=64), nullable=False),
    sa.Column('root', sa.LargeBinary(), nullable=False),
    sa.Column('certificate', sa.Text(), nullable=False),
    sa.Column('until', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('host', 'key_id', name=op.f('pk_mirror_former_root'))
    )
