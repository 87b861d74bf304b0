"""How much each publisher's staging holds: a counter, changed in the transaction that changes the links.

1. What counts is the size of each distinct blob that any `staging/<publisher>/…` links: once, however many of its
   repositories hold it. Manifests, uploads under way and what the hub pins or publishes do not count.
2. Links of one publisher change under its lock, so that two of them never count the same blob twice, nor pass a limit
   together. It is taken after the repository's and before anything of a blob.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from customhouse.accounts.access import Kind, kind_of, publisher_of
from customhouse.db import Database
from customhouse.oci.digest import Digest
from customhouse.registry.rules import Used
from customhouse.registry.store.tables import blob, link, usage

IN_ONE_QUERY = 500


class Usage:
    """The counters, and the limits that stand beside them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_sqlite if database.dialect == "sqlite" else insert_postgresql

    def of(self, tx: Connection, publisher: str) -> Used:
        row = tx.execute(select(usage.c.used, usage.c.most).where(usage.c.publisher == publisher)).one_or_none()
        return Used(publisher, row.used, row.most) if row else Used(publisher, 0)

    def lock(self, tx: Connection, repository: str) -> None:
        """To be held by whoever links or unlinks, before the rows of blobs."""
        if publisher := _counted(repository):
            self._database.lock(tx, f"usage:{publisher}")

    def limit_for(self, tx: Connection, repository: str, digest: Digest | None) -> Used | None:
        """What limits a push of a blob: None where nothing does, or where the blob is counted already."""
        publisher = _counted(repository)
        used = self.of(tx, publisher) if publisher else None
        if used is None or used.most is None or (digest and not self._uncounted(tx, used.publisher, [digest])):
            return None
        return used

    def set_limit(self, tx: Connection, publisher: str, most: int | None) -> Used:
        """The counter is counted anew as well."""
        self._database.lock(tx, f"usage:{publisher}")
        new = {"used": self._held(tx, publisher), "most": most}
        put = self._insert(usage).values(publisher=publisher, **new)
        tx.execute(put.on_conflict_do_update(index_elements=["publisher"], set_=new))
        return self.of(tx, publisher)

    def before_link(self, tx: Connection, repository: str, digests: Sequence[Digest]) -> Used | None:
        """Count blobs that the repository is about to link; what stands afterwards, or None where it is no more."""
        publisher = _counted(repository)
        if publisher is None or not digests:
            return None
        grown = self._size(tx, self._uncounted(tx, publisher, digests))
        if not grown:
            return None
        put = self._insert(usage).values(publisher=publisher, used=grown)
        put = put.on_conflict_do_update(index_elements=["publisher"], set_={"used": usage.c.used + grown})
        row = tx.execute(put.returning(usage.c.used, usage.c.most)).one()
        return Used(publisher, row.used, row.most, grown)

    def after_unlink(self, tx: Connection, repository: str, digests: Sequence[Digest]) -> None:
        """Count blobs no more that the repository has just let go of, unless another of its publisher holds them."""
        publisher = _counted(repository)
        if publisher is None or not digests:
            return
        gone = self._size(tx, self._uncounted(tx, publisher, digests))
        if gone:
            tx.execute(update(usage).where(usage.c.publisher == publisher).values(used=usage.c.used - gone))

    def miscounted(self, tx: Connection) -> Iterator[tuple[Used, int]]:
        """(what is counted, what is held in truth) where the two differ. Counts everything: for the doctor."""
        staging = select(link.c.repository).distinct().where(_begins(link.c.repository, "staging/"))
        publishers = set(tx.execute(select(usage.c.publisher)).scalars())
        publishers |= {name for each in tx.execute(staging).scalars() if (name := _counted(each))}
        for publisher in sorted(publishers):
            counted, truly = self.of(tx, publisher), self._held(tx, publisher)
            if counted.used != truly:
                yield counted, truly

    def _held(self, tx: Connection, publisher: str) -> int:
        held = select(link.c.digest).distinct().where(_in_staging(publisher))
        query = select(func.coalesce(func.sum(blob.c.size), 0)).where(blob.c.digest.in_(held))
        return int(tx.execute(query).scalar_one())

    def _uncounted(self, tx: Connection, publisher: str, digests: Sequence[Digest]) -> list[Digest]:
        """Those that no repository of the publisher's staging links."""
        found: list[Digest] = []
        for start in range(0, len(digests), IN_ONE_QUERY):
            some = digests[start : start + IN_ONE_QUERY]
            query = select(link.c.digest).distinct().where(link.c.digest.in_(some), _in_staging(publisher))
            held = set(tx.execute(query).scalars())
            found += [digest for digest in dict.fromkeys(some) if digest not in held]
        return found

    def _size(self, tx: Connection, digests: Sequence[Digest]) -> int:
        size = 0
        for start in range(0, len(digests), IN_ONE_QUERY):
            some = digests[start : start + IN_ONE_QUERY]
            query = select(func.coalesce(func.sum(blob.c.size), 0)).where(blob.c.digest.in_(some))
            size += int(tx.execute(query).scalar_one())
        return size


def _counted(repository: str) -> str | None:
    return publisher_of(repository) if kind_of(repository) is Kind.STAGING else None


def _in_staging(publisher: str) -> ColumnElement[bool]:
    return _begins(link.c.repository, f"staging/{publisher}/")


def _begins(name: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """As a range, for an index; names are compared byte by byte, and "0" comes after "/"."""
    return and_(name >= prefix, name < prefix[:-1] + "0")
