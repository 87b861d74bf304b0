"""The rules of retention, and what a repository holds that they are for."""

from sqlalchemy import Connection, delete, func, insert, select

from customhouse.db import Database
from customhouse.oci.digest import Digest
from customhouse.registry.retention import HeldManifest, HeldTag, RetentionRule
from customhouse.registry.store.tables import content, manifest, need, retention, tag


class RetentionRows:
    """Rules, as rows; one that is set again takes the last place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, tx: Connection) -> list[RetentionRule]:
        """In the order in which they were set."""
        return [
            RetentionRule(
                row.repositories, row.newest, row.days, tuple(row.never), row.untagged_days, row.added_by, row.added
            )
            for row in tx.execute(select(retention).order_by(retention.c.position))
        ]

    def count(self, tx: Connection) -> int:
        return tx.execute(select(func.count()).select_from(retention)).scalar_one()

    def set(self, tx: Connection, rule: RetentionRule) -> None:
        self._database.lock(tx, "registry rules")
        self.remove(tx, rule.repositories)
        row = {
            "repositories": rule.repositories, "newest": rule.newest, "days": rule.days, "never": list(rule.never),
            "untagged_days": rule.untagged_days, "added_by": rule.added_by, "added": rule.added,
        }  # fmt: skip
        tx.execute(insert(retention).values(row))

    def remove(self, tx: Connection, repositories: str) -> bool:
        """Was there one?"""
        return tx.execute(delete(retention).where(retention.c.repositories == repositories)).rowcount > 0

    def tags(self, tx: Connection, repository: str) -> list[HeldTag]:
        query = select(tag.c.name, tag.c.digest, tag.c.set_at).where(tag.c.repository == repository)
        return [HeldTag(row.name, Digest(row.digest), row.set_at) for row in tx.execute(query.order_by(tag.c.name))]

    def manifests(self, tx: Connection, repository: str) -> list[HeldManifest]:
        children: dict[str, list[Digest]] = {}
        edges = (
            select(need.c.parent, need.c.child)
            .join(manifest, manifest.c.digest == need.c.parent)
            .where(manifest.c.repository == repository, need.c.kind == "manifest")
        )
        for row in tx.execute(edges):
            children.setdefault(row.parent, []).append(Digest(row.child))
        query = (
            select(manifest.c.digest, manifest.c.pushed_at, content.c.subject)
            .join(content, content.c.digest == manifest.c.digest)
            .where(manifest.c.repository == repository)
            .order_by(manifest.c.digest)
        )
        return [
            HeldManifest(
                Digest(row.digest), row.pushed_at, Digest(row.subject) if row.subject else None,
                tuple(children.get(row.digest, ())),
            )
            for row in tx.execute(query)
        ]  # fmt: skip
