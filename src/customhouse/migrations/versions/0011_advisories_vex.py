"""Aliases of advisories, EPSS, VEX, and from where an ecosystem's advisories come."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table('advisory_alias',
    sa.Column('name', sa.String(length=120), nullable=False),
    sa.Column('advisory_id', sa.String(length=120), nullable=False),
    sa.PrimaryKeyConstraint('name', 'advisory_id', name=op.f('pk_advisory_alias'))
    )
    with op.batch_alter_table('advisory_alias', schema=None) as batch_op:
        batch_op.create_index('ix_advisory_alias_advisory_id', ['advisory_id'], unique=False)

    op.create_table('epss_score',
    sa.Column('cve', sa.String(length=32), nullable=False),
    sa.Column('score', sa.Float(), nullable=False),
    sa.Column('percentile', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('cve', name=op.f('pk_epss_score'))
    )
    op.create_table('vex_document',
    sa.Column('digest', sa.String(length=80), nullable=False),
    sa.Column('identifier', sa.String(length=512), nullable=False),
    sa.Column('author', sa.String(length=512), nullable=False),
    sa.Column('form', sa.String(length=16), nullable=False),
    sa.Column('version', sa.String(length=64), nullable=False),
    sa.Column('issued', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('publisher', sa.String(length=255), nullable=False),
    sa.Column('imported', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('actor', sa.String(length=255), nullable=False),
    sa.Column('superseded', customhouse.db.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_vex_document'))
    )
    with op.batch_alter_table('vex_document', schema=None) as batch_op:
        batch_op.create_index('ix_vex_document_identifier', ['identifier', 'author'], unique=False)

    op.create_table('vex_name',
    sa.Column('name', sa.String(length=120), nullable=False),
    sa.Column('document', sa.String(length=80), nullable=False),
    sa.Column('position', sa.Integer(), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('name', 'document', 'position', name=op.f('pk_vex_name'))
    )
    op.create_table('vex_statement',
    sa.Column('document', sa.String(length=80), nullable=False),
    sa.Column('position', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('document', 'position', name=op.f('pk_vex_statement'))
    )
    with op.batch_alter_table('advisory', schema=None) as batch_op:
        batch_op.add_column(sa.Column('dump', sa.Integer(), server_default='0', nullable=False))

    with op.batch_alter_table('advisory_holding', schema=None) as batch_op:
        batch_op.add_column(sa.Column('source', sa.Text(), server_default='', nullable=False))
        batch_op.add_column(sa.Column('cursor', customhouse.db.UtcDateTime(), nullable=True))

    with op.batch_alter_table('advisory_state', schema=None) as batch_op:
        batch_op.add_column(sa.Column('epss_version', sa.String(length=160), server_default='', nullable=False))
