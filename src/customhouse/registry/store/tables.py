"""The registry's tables; `customhouse.registry.store` says what they mean together.

Names are compared byte by byte (collation C), so that pages begin and end alike on both engines.

`loose_since`: from when on nothing may need the row any more, or null. Whatever could make a row useless sets it in its
own transaction; the sweep reads what is set, by a partial index, and nothing else. Set in vain does no harm.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from customhouse.db import UtcDateTime, metadata


def _name(length: int) -> Any:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _loose(table: str) -> tuple[Any, ...]:
    some = text("loose_since IS NOT NULL")
    index = Index(f"ix_registry_{table}_loose_since", "loose_since", sqlite_where=some, postgresql_where=some)
    return Column("loose_since", UtcDateTime), index


_REPOSITORY, _DIGEST, _TAG = _name(255), _name(160), _name(128)

blob = Table(
    "registry_blob",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
    *_loose("blob"),
)
link = Table(
    "registry_link",
    metadata,
    Column("repository", _REPOSITORY, primary_key=True),
    Column("digest", _DIGEST, ForeignKey("registry_blob.digest"), primary_key=True),
    Column("linked_at", UtcDateTime, nullable=False),
    # By repository too: whether one of a publisher's repositories holds a blob is asked at each push of one.
    Index("ix_registry_link_digest_repository", "digest", "repository"),
    *_loose("link"),
)
content = Table(
    "registry_content",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("media_type", String(255), nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("subject", _DIGEST, index=True),
    Column("artifact_type", String(255), nullable=False),
    Column("annotations", JSON, nullable=False),
    *_loose("content"),
)
need = Table(
    "registry_need",
    metadata,
    Column("parent", _DIGEST, ForeignKey("registry_content.digest"), primary_key=True),
    Column("child", _DIGEST, primary_key=True, index=True),
    Column("kind", String(8), nullable=False),
)
manifest = Table(
    "registry_manifest",
    metadata,
    Column("repository", _REPOSITORY, primary_key=True),
    Column("digest", _DIGEST, ForeignKey("registry_content.digest"), primary_key=True),
    Column("pushed_at", UtcDateTime, nullable=False),
    Index("ix_registry_manifest_digest", "digest"),
    *_loose("manifest"),
)
tag = Table(
    "registry_tag",
    metadata,
    Column("repository", _REPOSITORY, primary_key=True),
    Column("name", _TAG, primary_key=True),
    Column("digest", _DIGEST, nullable=False),
    Column("set_at", UtcDateTime, nullable=False),
    Index("ix_registry_tag_repository_digest", "repository", "digest"),
)
refusal = Table(
    "registry_refusal",
    metadata,
    Column("repository", _REPOSITORY, primary_key=True),
    Column("digest", _DIGEST, primary_key=True),
    Column("reason", Text, nullable=False),
)
upload = Table(
    "registry_upload",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("repository", _REPOSITORY, nullable=False),
    Column("touched_at", UtcDateTime, nullable=False, index=True),
)
tag_rule = Table(
    "registry_tag_rule",
    metadata,
    Column("position", Integer, primary_key=True),
    Column("repositories", String(255), nullable=False),
    Column("tags", String(128), nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("added_by", String(64), nullable=False),
    Column("added", UtcDateTime, nullable=False),
    UniqueConstraint("repositories", "tags"),
)
usage = Table(
    "registry_usage",
    metadata,
    Column("publisher", String(64), primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("most", BigInteger),
)
retention = Table(
    "registry_retention",
    metadata,
    Column("position", Integer, primary_key=True),
    Column("repositories", String(255), nullable=False, unique=True),
    Column("newest", Integer),
    Column("days", Integer),
    Column("never", JSON, nullable=False),
    Column("untagged_days", Integer),
    Column("added_by", String(64), nullable=False),
    Column("added", UtcDateTime, nullable=False),
)
