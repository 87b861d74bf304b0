"""Initial."""

import sqlalchemy as sa
from alembic import op

import customhouse.db

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table('account_login',
    sa.Column('name', sa.String(length=130), nullable=False),
    sa.Column('kind', sa.String(length=10), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_account_login'))
    )
    op.create_table('account_publisher',
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_account_publisher'))
    )
    op.create_table('advisory',
    sa.Column('id', sa.String(length=120), nullable=False),
    sa.Column('modified', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('published', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('withdrawn', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('content', sa.String(length=64), nullable=False),
    sa.Column('header', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_advisory'))
    )
    op.create_table('advisory_affected',
    sa.Column('advisory_id', sa.String(length=120), nullable=False),
    sa.Column('position', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('ecosystem', sa.String(length=512), nullable=False),
    sa.Column('package', sa.String(length=512), nullable=False),
    sa.Column('document', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('advisory_id', 'position', name=op.f('pk_advisory_affected'))
    )
    op.create_index('ix_advisory_affected_ecosystem_package', 'advisory_affected', ['ecosystem', 'package'], unique=False)
    op.create_table('advisory_holding',
    sa.Column('ecosystem', sa.String(length=512), nullable=False),
    sa.Column('records', sa.Integer(), nullable=False),
    sa.Column('newest', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('imported', customhouse.db.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('ecosystem', name=op.f('pk_advisory_holding'))
    )
    op.create_table('advisory_import',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('digest', sa.String(length=80), nullable=True),
    sa.Column('actor', sa.String(length=255), nullable=False),
    sa.Column('started', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('finished', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('outcome', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_advisory_import'))
    )
    op.create_table('advisory_state',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('records', sa.Integer(), nullable=False),
    sa.Column('total', sa.String(length=64), nullable=False),
    sa.Column('kev_version', sa.String(length=64), nullable=False),
    sa.Column('snapshot', sa.String(length=80), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_advisory_state'))
    )
    op.create_table('audit_entry',
    sa.Column('seq', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('at', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('actor', sa.String(length=255), nullable=False),
    sa.Column('action', sa.String(length=80), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('digest', sa.String(length=160), nullable=True),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.Column('previous', sa.String(length=64), nullable=False),
    sa.Column('hash', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_audit_entry')),
    sa.UniqueConstraint('hash', name=op.f('uq_audit_entry_hash'))
    )
    op.create_table('decision',
    sa.Column('submission', sa.String(length=40), nullable=False),
    sa.Column('verdict', sa.String(length=160), nullable=False),
    sa.Column('reviewer', sa.String(length=64), nullable=False),
    sa.Column('decision', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('at', customhouse.db.UtcDateTime(), nullable=False),
    sa.UniqueConstraint('submission', 'verdict', 'reviewer', name=op.f('uq_decision_submission_verdict_reviewer'))
    )
    op.create_table('executor_beat',
    sa.Column('executor', sa.String(length=120), nullable=False),
    sa.Column('beat', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('executor', name=op.f('pk_executor_beat'))
    )
    op.create_table('kev_entry',
    sa.Column('cve', sa.String(length=32), nullable=False),
    sa.Column('added', sa.Date(), nullable=True),
    sa.Column('due', sa.Date(), nullable=True),
    sa.Column('ransomware', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('cve', name=op.f('pk_kev_entry'))
    )
    op.create_table('publisher_root',
    sa.Column('publisher', sa.String(length=64), nullable=False),
    sa.Column('key_id', sa.String(length=64), nullable=False),
    sa.Column('pem', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('enrolled_by', sa.String(length=64), nullable=False),
    sa.Column('enrolled', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('publisher', 'key_id', name=op.f('pk_publisher_root'))
    )
    op.create_table('registry_blob',
    sa.Column('digest', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('stored_at', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_registry_blob'))
    )
    op.create_table('registry_content',
    sa.Column('digest', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=False),
    sa.Column('media_type', sa.String(length=255), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('subject', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=True),
    sa.Column('artifact_type', sa.String(length=255), nullable=False),
    sa.Column('annotations', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_registry_content'))
    )
    op.create_index(op.f('ix_registry_content_subject'), 'registry_content', ['subject'], unique=False)
    op.create_table('registry_refusal',
    sa.Column('repository', sa.String(length=255).with_variant(sa.String(length=255, collation='C'), 'postgresql'), nullable=False),
    sa.Column('digest', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('repository', 'digest', name=op.f('pk_registry_refusal'))
    )
    op.create_table('registry_tag',
    sa.Column('repository', sa.String(length=255).with_variant(sa.String(length=255, collation='C'), 'postgresql'), nullable=False),
    sa.Column('name', sa.String(length=128).with_variant(sa.String(length=128, collation='C'), 'postgresql'), nullable=False),
    sa.Column('digest', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=False),
    sa.Column('set_at', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('repository', 'name', name=op.f('pk_registry_tag'))
    )
    op.create_index('ix_registry_tag_repository_digest', 'registry_tag', ['repository', 'digest'], unique=False)
    op.create_table('registry_upload',
    sa.Column('id', sa.String(length=64), nullable=False),
    sa.Column('repository', sa.String(length=255).with_variant(sa.String(length=255, collation='C'), 'postgresql'), nullable=False),
    sa.Column('touched_at', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_registry_upload'))
    )
    op.create_table('seen_gun',
    sa.Column('gun', sa.String(length=512), nullable=False),
    sa.Column('root', sa.LargeBinary(), nullable=False),
    sa.Column('versions', sa.JSON(), nullable=False),
    sa.Column('updated', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('gun', name=op.f('pk_seen_gun'))
    )
    op.create_table('submission',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('publisher', sa.String(length=64), nullable=False),
    sa.Column('repository', sa.String(length=255), nullable=False),
    sa.Column('tag', sa.String(length=128), nullable=False),
    sa.Column('digest', sa.String(length=160), nullable=False),
    sa.Column('length', sa.Integer(), nullable=False),
    sa.Column('snapshot_version', sa.Integer(), nullable=False),
    sa.Column('author', sa.String(length=64), nullable=False),
    sa.Column('state', sa.String(length=24), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('round', sa.Integer(), nullable=False),
    sa.Column('verdict', sa.JSON(), nullable=True),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('updated', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_submission')),
    sa.UniqueConstraint('repository', 'tag', 'snapshot_version', name=op.f('uq_submission_repository_tag_snapshot_version'))
    )
    op.create_index(op.f('ix_submission_publisher'), 'submission', ['publisher'], unique=False)
    op.create_index(op.f('ix_submission_state'), 'submission', ['state'], unique=False)
    op.create_table('trust_change',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('gun', sa.String(length=255), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('category', sa.String(length=20), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_trust_change')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_trust_change_gun'), 'trust_change', ['gun'], unique=False)
    op.create_table('trust_file',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('gun', sa.String(length=255), nullable=False),
    sa.Column('role', sa.String(length=255), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('expires', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('current', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_trust_file'))
    )
    op.create_index('ix_trust_file_hash', 'trust_file', ['gun', 'role', 'sha256'], unique=False)
    op.create_index('ix_trust_file_renewal', 'trust_file', ['role', 'current', 'expires'], unique=False)
    op.create_index('ix_trust_file_version', 'trust_file', ['gun', 'role', 'version'], unique=False)
    op.create_index('uq_trust_file_current', 'trust_file', ['gun', 'role'], unique=True, sqlite_where=sa.text('current = 1'), postgresql_where=sa.text('current'))
    op.create_table('trust_key',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('gun', sa.String(length=255), nullable=False),
    sa.Column('role', sa.String(length=255), nullable=False),
    sa.Column('key_id', sa.String(length=64), nullable=False),
    sa.Column('keytype', sa.String(length=20), nullable=False),
    sa.Column('public', sa.LargeBinary(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('pending', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_trust_key')),
    sa.UniqueConstraint('gun', 'role', 'key_id', name=op.f('uq_trust_key_gun_role_key_id'))
    )
    op.create_index('uq_trust_key_pending', 'trust_key', ['gun', 'role'], unique=True, sqlite_where=sa.text('pending = 1'), postgresql_where=sa.text('pending'))
    op.create_table('waiver',
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('repository', sa.String(length=255), nullable=False),
    sa.Column('check', sa.String(length=40), nullable=True),
    sa.Column('fingerprint', sa.String(length=80), nullable=True),
    sa.Column('path', sa.Text(), nullable=True),
    sa.Column('purl', sa.Text(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('author', sa.String(length=64), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('expires', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('revoked', customhouse.db.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_waiver'))
    )
    op.create_table('account_session',
    sa.Column('secret_hash', sa.String(length=64), nullable=False),
    sa.Column('kind', sa.String(length=10), nullable=False),
    sa.Column('login', sa.String(length=130), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('expires', customhouse.db.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['login'], ['account_login.name'], name=op.f('fk_account_session_login_account_login')),
    sa.PrimaryKeyConstraint('secret_hash', name=op.f('pk_account_session'))
    )
    op.create_index(op.f('ix_account_session_expires'), 'account_session', ['expires'], unique=False)
    op.create_index(op.f('ix_account_session_login'), 'account_session', ['login'], unique=False)
    op.create_table('account_user',
    sa.Column('name', sa.String(length=130), nullable=False),
    sa.Column('role', sa.String(length=20), nullable=False),
    sa.Column('password_hash', sa.String(length=255), nullable=False),
    sa.Column('disabled', sa.Boolean(), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['name'], ['account_login.name'], name=op.f('fk_account_user_name_account_login')),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_account_user'))
    )
    op.create_table('certification',
    sa.Column('submission', sa.String(length=40), nullable=False),
    sa.Column('repository', sa.String(length=255), nullable=False),
    sa.Column('tag', sa.String(length=128), nullable=False),
    sa.Column('digest', sa.String(length=160), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('snapshot_version', sa.Integer(), nullable=False),
    sa.Column('published', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('ended', customhouse.db.UtcDateTime(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['submission'], ['submission.id'], name=op.f('fk_certification_submission_submission')),
    sa.PrimaryKeyConstraint('submission', name=op.f('pk_certification'))
    )
    op.create_index('uq_certification_standing', 'certification', ['repository', 'tag'], unique=True, sqlite_where=sa.text("state = 'published'"), postgresql_where=sa.text("state = 'published'"))
    op.create_table('examination',
    sa.Column('submission', sa.String(length=40), nullable=False),
    sa.Column('round', sa.Integer(), nullable=False),
    sa.Column('part', sa.String(length=16), nullable=False),
    sa.Column('findings', sa.JSON(), nullable=False),
    sa.Column('inputs', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['submission'], ['submission.id'], name=op.f('fk_examination_submission_submission')),
    sa.PrimaryKeyConstraint('submission', 'round', 'part', name=op.f('pk_examination'))
    )
    op.create_table('registry_link',
    sa.Column('repository', sa.String(length=255).with_variant(sa.String(length=255, collation='C'), 'postgresql'), nullable=False),
    sa.Column('digest', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=False),
    sa.Column('linked_at', customhouse.db.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['digest'], ['registry_blob.digest'], name=op.f('fk_registry_link_digest_registry_blob')),
    sa.PrimaryKeyConstraint('repository', 'digest', name=op.f('pk_registry_link'))
    )
    op.create_index('ix_registry_link_digest', 'registry_link', ['digest'], unique=False)
    op.create_table('registry_manifest',
    sa.Column('repository', sa.String(length=255).with_variant(sa.String(length=255, collation='C'), 'postgresql'), nullable=False),
    sa.Column('digest', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=False),
    sa.Column('pushed_at', customhouse.db.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['digest'], ['registry_content.digest'], name=op.f('fk_registry_manifest_digest_registry_content')),
    sa.PrimaryKeyConstraint('repository', 'digest', name=op.f('pk_registry_manifest'))
    )
    op.create_index('ix_registry_manifest_digest', 'registry_manifest', ['digest'], unique=False)
    op.create_table('registry_need',
    sa.Column('parent', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=False),
    sa.Column('child', sa.String(length=160).with_variant(sa.String(length=160, collation='C'), 'postgresql'), nullable=False),
    sa.Column('kind', sa.String(length=8), nullable=False),
    sa.ForeignKeyConstraint(['parent'], ['registry_content.digest'], name=op.f('fk_registry_need_parent_registry_content')),
    sa.PrimaryKeyConstraint('parent', 'child', name=op.f('pk_registry_need'))
    )
    op.create_index(op.f('ix_registry_need_child'), 'registry_need', ['child'], unique=False)
    op.create_table('submission_event',
    sa.Column('submission', sa.String(length=40), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('at', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('step', sa.String(length=40), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['submission'], ['submission.id'], name=op.f('fk_submission_event_submission_submission')),
    sa.PrimaryKeyConstraint('submission', 'seq', name=op.f('pk_submission_event'))
    )
    op.create_table('account_member',
    sa.Column('publisher', sa.String(length=64), nullable=False),
    sa.Column('user', sa.String(length=130), nullable=False),
    sa.ForeignKeyConstraint(['publisher'], ['account_publisher.name'], name=op.f('fk_account_member_publisher_account_publisher')),
    sa.ForeignKeyConstraint(['user'], ['account_user.name'], name=op.f('fk_account_member_user_account_user')),
    sa.PrimaryKeyConstraint('publisher', 'user', name=op.f('pk_account_member'))
    )
    op.create_index(op.f('ix_account_member_user'), 'account_member', ['user'], unique=False)
    op.create_table('account_token',
    sa.Column('username', sa.String(length=130), nullable=False),
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('publisher', sa.String(length=64), nullable=True),
    sa.Column('owner', sa.String(length=130), nullable=False),
    sa.Column('scope', sa.String(length=20), nullable=False),
    sa.Column('secret_hash', sa.String(length=64), nullable=False),
    sa.Column('created', customhouse.db.UtcDateTime(), nullable=False),
    sa.Column('expires', customhouse.db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['owner'], ['account_user.name'], name=op.f('fk_account_token_owner_account_user')),
    sa.ForeignKeyConstraint(['publisher'], ['account_publisher.name'], name=op.f('fk_account_token_publisher_account_publisher')),
    sa.ForeignKeyConstraint(['username'], ['account_login.name'], name=op.f('fk_account_token_username_account_login')),
    sa.PrimaryKeyConstraint('username', name=op.f('pk_account_token')),
    sa.UniqueConstraint('secret_hash', name=op.f('uq_account_token_secret_hash'))
    )
    op.create_index(op.f('ix_account_token_owner'), 'account_token', ['owner'], unique=False)
