"""The rules that administrators made, in the order in which they did."""

from sqlalchemy import Connection, delete, func, insert, select

from customhouse.db import Database
from customhouse.registry.rules import SHIPPED, TagRule
from customhouse.registry.store.tables import tag_rule


class RuleRows:
    """Rules, as rows; one that is made again takes the last place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, tx: Connection) -> list[TagRule]:
        """Those that are shipped, and then those that were added."""
        rows = tx.execute(select(tag_rule).order_by(tag_rule.c.position))
        return [*SHIPPED, *(TagRule(row.repositories, row.tags, row.locked, row.added_by, row.added) for row in rows)]

    def count(self, tx: Connection) -> int:
        """How many were added."""
        return tx.execute(select(func.count()).select_from(tag_rule)).scalar_one()

    def add(self, tx: Connection, rule: TagRule) -> None:
        self._database.lock(tx, "registry rules")
        self.remove(tx, rule.repositories, rule.tags)
        row = {
            "repositories": rule.repositories, "tags": rule.tags, "locked": rule.locked, "added_by": rule.added_by,
            "added": rule.added,
        }  # fmt: skip
        tx.execute(insert(tag_rule).values(row))

    def remove(self, tx: Connection, repositories: str, tags: str) -> bool:
        """Was there one?"""
        gone = delete(tag_rule).where(tag_rule.c.repositories == repositories, tag_rule.c.tags == tags)
        return tx.execute(gone).rowcount > 0
