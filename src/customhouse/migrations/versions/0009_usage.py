"""How much each publisher's staging holds, and may."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table('registry_usage',
    sa.Column('publisher', sa.String(length=64), nullable=False),
    sa.Column('used', sa.BigInteger(), nullable=False),
    sa.Column('most', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('publisher', name=op.f('pk_registry_usage'))
    )
    with op.batch_alter_table('registry_link', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_registry_link_digest'))
        batch_op.create_index('ix_registry_link_digest_repository', ['digest', 'repository'], unique=False)
    _count_what_is_there()


def _count_what_is_there() -> None:
    """The size of each distinct blob that a publisher's staging holds."""
    connection = op.get_bind()
    staging = sa.text("SELECT DISTINCT repository FROM registry_link WHERE repository >= 'staging/' AND repository < 'staging0'")
    for publisher in sorted({name.split("/")[1] for name in connection.execute(staging).scalars()}):
        count = sa.text(
            "INSERT INTO registry_usage (publisher, used) SELECT :publisher, COALESCE(SUM(size), 0) FROM registry_blob"
            " WHERE digest IN (SELECT digest FROM registry_link WHERE repository >= :first AND repository < :after)"
        )
        span = {"first": f"staging/{publisher}/", "after": f"staging/{publisher}0"}
        connection.execute(count, {"publisher": publisher, **span})
