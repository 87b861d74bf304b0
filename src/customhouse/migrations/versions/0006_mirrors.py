"""Mirrors."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0006"
down_revision = '0005'


def upgrade() -> None:
    op.create_table('mirror',
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('url', sa.Text(), nullable=False),
    sa.Column('host', sa.String(length=300), nullable=False),
    sa.Column('trust_url', sa.Text(), nullable=False),
    sa.Column('ca', sa.Text(), nullable=False),
    sa.Column('username', sa.String(length=255), nullable=False),
    sa.Column('secret', sa.LargeBinary(), nullable=True),
    sa.Column('repositories', sa.JSON(), nullable=False),
    sa.Column('tags', sa.JSON(), nullable=False),
    sa.Column('target', sa.String(length=255), nullable=False),
    sa.Column('added_by', sa.String(length=64), nullable=False),
    sa.Column('added', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('holder', sa.String(length=64), nullable=False),
    sa.Column('held_until', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('asked', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('finished', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_try', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('error', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_mirror'))
    )
    op.create_table('mirror_key',
    sa.Column('host', sa.String(length=300), nullable=False),
    sa.Column('root', sa.LargeBinary(), nullable=False),
    sa.Column('targets', sa.LargeBinary(), nullable=False),
    sa.Column('certificate', sa.Text(), nullable=False),
    sa.Column('made', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('host', name=op.f('pk_mirror_key'))
    )
    op.create_table('mirror_repository',
    sa.Column('mirror', sa.String(length=64), nullable=False),
    sa.Column('repository', sa.String(length=255), nullable=False),
    sa.Column('host', sa.String(length=300), nullable=False),
    sa.Column('target', sa.String(length=255), nullable=False),
    sa.Column('tried', sa.String(length=64), nullable=False),
    sa.Column('done', sa.String(length=64), nullable=False),
    sa.Column('root', sa.LargeBinary(), nullable=True),
    sa.Column('versions', sa.JSON(), nullable=False),
    sa.Column('checked', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_try', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('error', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('mirror', 'repository', name=op.f('pk_mirror_repository'))
    )
    with op.batch_alter_table('mirror_repository', schema=None) as batch_op:
        batch_op.create_index('ix_mirror_repository_host_target', ['host', 'target'], unique=False)

    op.create_table('mirror_tag',
    sa.Column('mirror', sa.String(length=64), nullable=False),
    sa.Column('repository', sa.String(length=255), nullable=False),
    sa.Column('tag', sa.String(length=128), nullable=False),
    sa.Column('digest', sa.String(length=160), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('manifests', sa.JSON(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('changed', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('error', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('mirror', 'repository', 'tag', name=op.f('pk_mirror_tag'))
    )
