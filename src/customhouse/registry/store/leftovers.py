"""What nothing uses any more, and what should never be there: the questions of the sweep and of the doctor.

Each `collect_…` looks again inside its own transaction, under the lock that a push would take; what a candidate list
said a moment ago decides nothing.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, and_, delete, exists, func, select

from customhouse.db import Database
from customhouse.oci.digest import Digest
from customhouse.registry.store.tables import blob, content, link, manifest, need, tag, upload

_used = exists(
    select(need.c.child)
    .join(manifest, manifest.c.digest == need.c.parent)
    .where(manifest.c.repository == link.c.repository, need.c.child == link.c.digest)
)
_linked = exists(select(link.c.digest).where(link.c.digest == blob.c.digest))
_kept = exists(select(manifest.c.digest).where(manifest.c.digest == content.c.digest))


class Leftovers:
    """Candidates, and their removal one by one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unused_links(self, tx: Connection, before: datetime, limit: int) -> list[tuple[str, Digest]]:
        """Blobs that a repository holds for no manifest of its own."""
        query = select(link.c.repository, link.c.digest).where(link.c.linked_at < before, ~_used).limit(limit)
        return [(row.repository, Digest(row.digest)) for row in tx.execute(query)]

    def collect_link(self, repository: str, digest: Digest, before: datetime) -> bool:
        with self._database.write() as tx:
            self._database.lock(tx, f"registry:{repository}")
            gone = delete(link).where(
                link.c.repository == repository, link.c.digest == digest, link.c.linked_at < before, ~_used
            )
            return tx.execute(gone).rowcount > 0

    def unlinked_blobs(self, tx: Connection, before: datetime, limit: int) -> list[Digest]:
        query = select(blob.c.digest).where(blob.c.stored_at < before, ~_linked).limit(limit)
        return [Digest(found) for found in tx.execute(query).scalars()]

    def collect_blob(self, digest: Digest, before: datetime) -> bool:
        """Remove the row; the bytes come after."""
        with self._database.write() as tx:
            self._database.lock(tx, f"blob:{digest}")
            # Waits for every linker that holds the row, and makes the next ones wait.
            row = select(blob.c.stored_at).where(blob.c.digest == digest).with_for_update()
            stored_at = tx.execute(row).scalar()
            if stored_at is None or stored_at >= before:
                return False
            if tx.execute(select(link.c.digest).where(link.c.digest == digest).limit(1)).first():
                return False
            return tx.execute(delete(blob).where(blob.c.digest == digest)).rowcount > 0

    def rowless(self, tx: Connection, digests: Iterable[Digest]) -> list[Digest]:
        """Of these, the ones that no row speaks of."""
        found: list[Digest] = []
        remaining = iter(digests)
        while piece := list(islice(remaining, 500)):
            known = set(tx.execute(select(blob.c.digest).where(blob.c.digest.in_(piece))).scalars())
            found += [digest for digest in piece if digest not in known]
        return found

    def without_row(self, tx: Connection, digest: Digest) -> bool:
        """Is there no row of this blob, and can none come before this transaction ends?"""
        self._database.lock(tx, f"blob:{digest}")
        return tx.execute(select(blob.c.digest).where(blob.c.digest == digest)).first() is None

    def collect_content(self) -> int:
        """Remove the bytes of manifests that no repository holds; returns how many."""
        with self._database.write() as tx:
            query = select(content.c.digest).where(~_kept).limit(1000).with_for_update(skip_locked=True)
            candidates = list(tx.execute(query).scalars())
            # Looked at again: a push may have come between the look and the lock.
            loose = select(content.c.digest).where(content.c.digest.in_(candidates), ~_kept)
            digests = list(tx.execute(loose).scalars())
            tx.execute(delete(need).where(need.c.parent.in_(digests)))
            tx.execute(delete(content).where(content.c.digest.in_(digests)))
            return len(digests)

    def stale_uploads(self, tx: Connection, before: datetime, limit: int) -> list[str]:
        query = select(upload.c.id).where(upload.c.touched_at < before).limit(limit)
        return list(tx.execute(query).scalars())

    def uploads(self, tx: Connection) -> set[str]:
        return set(tx.execute(select(upload.c.id)).scalars())

    # For the doctor

    def amount(self, tx: Connection) -> tuple[int, int]:
        """How many blobs and manifests there are, and their bytes together."""
        counted = [tx.execute(select(func.count(), func.sum(table.c.size))).one() for table in (blob, content)]
        return sum(count for count, _ in counted), sum(int(size or 0) for _, size in counted)

    def blobs_after(self, tx: Connection, after: str, limit: int) -> list[tuple[Digest, int]]:
        query = select(blob.c.digest, blob.c.size).where(blob.c.digest > after).order_by(blob.c.digest).limit(limit)
        return [(Digest(row.digest), row.size) for row in tx.execute(query)]

    def has_blob(self, tx: Connection, digest: Digest) -> bool:
        return tx.execute(select(blob.c.digest).where(blob.c.digest == digest)).first() is not None

    def contents_after(self, tx: Connection, after: str, limit: int) -> list[tuple[Digest, bytes]]:
        query = select(content.c.digest, content.c.raw).where(content.c.digest > after)
        return [(Digest(row.digest), row.raw) for row in tx.execute(query.order_by(content.c.digest).limit(limit))]

    def users(self, tx: Connection, digest: Digest, most: int = 20) -> list[str]:
        """Tags, and manifests that no tag names, that cannot do without a blob or manifest."""
        above, fresh = {str(digest)}, [str(digest)]
        while fresh and len(above) < 1000:
            parents = tx.execute(select(need.c.parent).where(need.c.child.in_(fresh)).distinct().limit(500)).scalars()
            fresh = [parent for parent in parents if parent not in above]
            above.update(fresh)
        joined = manifest.outerjoin(
            tag, and_(manifest.c.repository == tag.c.repository, manifest.c.digest == tag.c.digest)
        )
        query = (
            select(manifest.c.repository, manifest.c.digest, tag.c.name).select_from(joined)
            .where(manifest.c.digest.in_(sorted(above)[:500]))
            .order_by(tag.c.name.is_(None), manifest.c.repository, tag.c.name, manifest.c.digest).limit(most)
        )
        rows = tx.execute(query)
        return [f"{row.repository}:{row.name}" if row.name else f"{row.repository}@{row.digest}" for row in rows]

    def broken_needs(self, tx: Connection) -> Iterator[tuple[str, Digest, Digest]]:
        """(repository, manifest, child) where the repository holds the manifest and not the child."""
        held = select(manifest.c.repository, need.c.parent, need.c.child).join(
            need, need.c.parent == manifest.c.digest
        )
        other = manifest.alias()
        has_blob = exists().where(link.c.repository == manifest.c.repository, link.c.digest == need.c.child)
        has_manifest = exists().where(other.c.repository == manifest.c.repository, other.c.digest == need.c.child)
        query = held.where(
            ((need.c.kind == "blob") & ~has_blob) | ((need.c.kind == "manifest") & ~has_manifest)
        )
        for row in tx.execute(query):
            yield row.repository, Digest(row.parent), Digest(row.child)

    def dangling_tags(self, tx: Connection) -> Iterator[tuple[str, str, Digest]]:
        """(repository, tag, digest) where the tag points at what the repository does not hold."""
        joined = tag.outerjoin(
            manifest, and_(manifest.c.repository == tag.c.repository, manifest.c.digest == tag.c.digest)
        )
        query = select(tag.c.repository, tag.c.name, tag.c.digest).select_from(joined)
        for row in tx.execute(query.where(manifest.c.digest.is_(None))):
            yield row.repository, row.name, Digest(row.digest)
