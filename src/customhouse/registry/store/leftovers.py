"""What a crash, a deletion or an abandoned push may have left there: the questions of the collector and of the doctor.

1. Candidates are read by the partial indexes on `loose_since`; nothing here grows with what is kept.
2. What a list of candidates said a moment ago decides nothing: each `collect_…` looks again at rows it holds, and
   passes over those that somebody else is busy with. A candidate that is used after all is forgotten.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Row,
    String,
    and_,
    any_,
    bindparam,
    delete,
    exists,
    func,
    not_,
    select,
    update,
)

from customhouse.db import Database
from customhouse.oci.digest import Digest
from customhouse.registry.store.tables import blob, content, link, manifest, need, tag, upload

used = exists(
    select(need.c.child)
    .join(manifest, manifest.c.digest == need.c.parent)
    .where(manifest.c.repository == link.c.repository, need.c.child == link.c.digest)
)
_linked = exists(select(link.c.digest).where(link.c.digest == blob.c.digest))
_kept = exists(select(manifest.c.digest).where(manifest.c.digest == content.c.digest))
_subject = manifest.alias("subject")
_awaited = exists(
    select(content.c.digest).where(
        content.c.digest == manifest.c.digest,
        content.c.subject.is_not(None),
        ~exists().where(_subject.c.repository == manifest.c.repository, _subject.c.digest == content.c.subject),
    )
)


class Leftovers:
    """Candidates, and whether they are still what they were."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _among(self, column: Column[Any], values: Iterable[str]) -> ColumnElement[bool]:
        """One of many: as one value where the engine knows lists, which it reads far quicker than many values."""
        if self._database.dialect == "postgresql":
            return column == any_(bindparam(None, list(values), ARRAY(String)))
        return column.in_(list(values))

    def loose_links(self, tx: Connection, before: datetime, limit: int) -> dict[str, list[Digest]]:
        """By repository: blobs that it may hold for no manifest of its own; the oldest."""
        query = select(link.c.repository, link.c.digest).where(link.c.loose_since < before)
        return _by_repository(tx.execute(query.order_by(link.c.loose_since).limit(limit)))

    def forget_used(self, tx: Connection, repository: str, digests: Sequence[Digest]) -> list[Digest]:
        """Under the repository's lock: those that no manifest needs; the others are candidates no more."""
        here = and_(link.c.repository == repository, link.c.digest.in_(digests))
        unused = {Digest(found) for found in tx.execute(select(link.c.digest).where(here, ~used)).scalars()}
        if kept := [digest for digest in digests if digest not in unused]:
            here = and_(link.c.repository == repository, link.c.digest.in_(kept))
            tx.execute(update(link).where(here).values(loose_since=None))
        return [digest for digest in digests if digest in unused]

    def loose_blobs(self, tx: Connection, before: datetime, limit: int) -> list[Digest]:
        """Blobs that no repository may hold; the oldest."""
        query = select(blob.c.digest).where(blob.c.loose_since < before).order_by(blob.c.loose_since).limit(limit)
        return [Digest(found) for found in tx.execute(query).scalars()]

    def collect_blobs(
        self, tx: Connection, digests: Sequence[Digest], before: datetime
    ) -> tuple[dict[Digest, int], int]:
        """Remove the rows that nobody links; returns them with their sizes, and how many were forgotten."""
        # Passes over every row that a linker holds, and makes the next linkers wait.
        here = and_(self._among(blob.c.digest, digests), blob.c.loose_since < before)
        rows = select(blob.c.digest, blob.c.size).where(here)
        sizes = {Digest(row.digest): row.size for row in tx.execute(rows.with_for_update(skip_locked=True))}
        kept = set(tx.execute(select(link.c.digest).where(self._among(link.c.digest, sizes))).scalars())
        if kept:
            tx.execute(update(blob).where(blob.c.digest.in_(kept)).values(loose_since=None))
        gone = {digest: size for digest, size in sizes.items() if digest not in kept}
        tx.execute(delete(blob).where(self._among(blob.c.digest, gone)))
        return gone, len(kept)

    def rowless(self, tx: Connection, digests: Iterable[Digest]) -> list[Digest]:
        """Of these, the ones that no row speaks of."""
        found: list[Digest] = []
        remaining = iter(digests)
        while piece := list(islice(remaining, 500)):
            known = set(tx.execute(select(blob.c.digest).where(self._among(blob.c.digest, piece))).scalars())
            found += [digest for digest in piece if digest not in known]
        return found

    def lock_rowless(self, tx: Connection, digests: Sequence[Digest]) -> list[Digest]:
        """Of these, the ones that have no row, and can get none before this transaction ends."""
        self._database.lock(tx, *(f"blob:{digest}" for digest in digests))
        return self.rowless(tx, digests)

    def collect_contents(self, tx: Connection, limit: int) -> tuple[int, int]:
        """Remove the bytes of manifests that no repository holds; returns how many, and how many were forgotten."""
        query = select(content.c.digest).where(content.c.loose_since.is_not(None)).order_by(content.c.loose_since)
        candidates = list(tx.execute(query.limit(limit).with_for_update(skip_locked=True)).scalars())
        # Looked at again: a push may have come between the look and the lock.
        loose = select(content.c.digest).where(self._among(content.c.digest, candidates), ~_kept)
        digests = list(tx.execute(loose).scalars())
        tx.execute(delete(need).where(self._among(need.c.parent, digests)))
        tx.execute(delete(content).where(self._among(content.c.digest, digests)))
        left = self._among(content.c.digest, candidates)
        return len(digests), tx.execute(update(content).where(left).values(loose_since=None)).rowcount

    def loose_manifests(self, tx: Connection, before: datetime, limit: int) -> dict[str, list[Digest]]:
        """By repository: manifests whose subject it may not hold; the oldest."""
        query = select(manifest.c.repository, manifest.c.digest).where(manifest.c.loose_since < before)
        return _by_repository(tx.execute(query.order_by(manifest.c.loose_since).limit(limit)))

    def awaited(self, tx: Connection, repository: str, digest: Digest, now: datetime) -> bool:
        """Under the repository's lock: is its subject still absent? If so it is a candidate again from `now` on."""
        here = and_(manifest.c.repository == repository, manifest.c.digest == digest)
        awaited = tx.execute(select(manifest.c.digest).where(here, _awaited)).first() is not None
        tx.execute(update(manifest).where(here).values(loose_since=now if awaited else None))
        return awaited

    def stale_uploads(self, tx: Connection, before: datetime, limit: int) -> list[str]:
        query = select(upload.c.id).where(upload.c.touched_at < before).order_by(upload.c.touched_at).limit(limit)
        return list(tx.execute(query).scalars())

    def unknown_uploads(self, tx: Connection, names: Sequence[str]) -> list[str]:
        """Of these, the ones that no row speaks of."""
        known = set(tx.execute(select(upload.c.id).where(upload.c.id.in_(names))).scalars())
        return [name for name in names if name not in known]

    def survey(self, tx: Connection, unused: datetime, unlinked: datetime) -> tuple[int, int, int, int]:
        """How many links, blobs, bytes of blobs and manifests a sweep would collect now."""
        going = and_(link.c.loose_since < unused, ~used)
        links = tx.execute(select(func.count()).select_from(link).where(going)).scalar() or 0
        stays = exists(
            select(link.c.digest).where(link.c.digest == blob.c.digest, not_(and_(func.coalesce(
                link.c.loose_since < unused, False), ~used)))
        )
        loose = select(blob.c.digest, blob.c.size).where(blob.c.loose_since < unlinked, ~_linked)
        released = select(blob.c.digest, blob.c.size).where(
            blob.c.digest.in_(select(link.c.digest).where(going)), ~stays
        )
        sizes = {row.digest: row.size for row in (*tx.execute(loose), *tx.execute(released))}
        manifests = select(func.count()).select_from(content).where(content.c.loose_since.is_not(None), ~_kept)
        return links, len(sizes), sum(sizes.values()), tx.execute(manifests).scalar() or 0

    # For the doctor

    def unnoticed(self, tx: Connection) -> Iterator[tuple[str, Digest]]:
        """(kind, digest) of what nothing needs and no sweep will ever look at."""
        for kind, query in (
            ("link", select(link.c.digest).where(link.c.loose_since.is_(None), ~used)),
            ("blob", select(blob.c.digest).where(blob.c.loose_since.is_(None), ~_linked)),
            ("manifest", select(content.c.digest).where(content.c.loose_since.is_(None), ~_kept)),
        ):
            for found in tx.execute(query).scalars():
                yield kind, Digest(found)

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


def _by_repository(rows: Iterable[Row[Any]]) -> dict[str, list[Digest]]:
    found: dict[str, list[Digest]] = {}
    for row in rows:
        found.setdefault(str(row.repository), []).append(Digest(row.digest))
    return found
