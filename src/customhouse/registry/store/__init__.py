"""Rows of the registry: which repository holds which content.

1. `registry_content` holds a manifest's bytes once, `registry_need` the edges out of it; both depend on the bytes only.
   `registry_manifest`, `registry_link` and `registry_tag` say what a repository holds.
2. A blob row exists only while its bytes do. Whoever links a blob holds its row (FOR KEY SHARE), whoever collects one
   takes it FOR UPDATE first and looks again: one of the two waits and then sees what the other did.
3. A change of what one repository holds is made under `lock_repositories`. A new link alone is not: it holds the row
   of its blob before it writes, and so does whoever removes links.
4. Whatever may make a row useless says so in `loose_since`, in the same transaction; `collector.py` looks only there.
   Rows of blobs are taken in the order of their digests, before their links; `Usage.lock` comes before them.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, and_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from customhouse.answers import Answers
from customhouse.db import Database, Store
from customhouse.oci.digest import Digest
from customhouse.registry.rules import Used
from customhouse.registry.store.leftovers import Leftovers, used
from customhouse.registry.store.retention import RetentionRows
from customhouse.registry.store.rows import Content, Found, Linked, Referrer
from customhouse.registry.store.rules import RuleRows
from customhouse.registry.store.tables import blob, content, link, manifest, need, refusal, tag, upload
from customhouse.registry.store.usage import Usage

__all__ = ["Content", "Found", "Linked", "Referrer", "RegistryStore"]

T = TypeVar("T")
IN_ONE_QUERY = 500


_FOUND = (
    select(content.c.digest, content.c.media_type, content.c.size, refusal.c.reason)
    .select_from(manifest)
    .join(content, content.c.digest == manifest.c.digest)
    .outerjoin(refusal, and_(refusal.c.repository == manifest.c.repository, refusal.c.digest == manifest.c.digest))
    .where(manifest.c.repository == bindparam("in_repository"))
)
# Built once: building such a query takes longer than SQLite takes to answer it.
_BY_DIGEST = _FOUND.where(manifest.c.digest == bindparam("wanted"))
_BY_TAG = _FOUND.join(
    tag, and_(tag.c.repository == manifest.c.repository, tag.c.digest == manifest.c.digest)
).where(tag.c.name == bindparam("wanted"))
_LINKED = (
    select(blob.c.size, link.c.loose_since)
    .join(link, link.c.digest == blob.c.digest)
    .where(link.c.repository == bindparam("in_repository"), link.c.digest == bindparam("wanted"))
)


class RegistryStore(Store):
    """The registry's tables. Every method works in the transaction it is given."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.answers = Answers(database.path, database.engine)
        self.stamp = self.answers.stamp
        self.leftovers, self.rules, self.usage = Leftovers(database), RuleRows(database), Usage(database)
        self.retention = RetentionRows(database)
        self.local = database.dialect == "sqlite"
        self._insert = insert_sqlite if database.dialect == "sqlite" else insert_postgresql

    # Looks without a transaction, for the hot paths

    def look(self, repository: str, reference: str) -> Found | None:
        """`find` as of now."""

        def ask() -> Found | None:
            with self.read() as tx:
                return self.find(tx, repository, reference)

        return self.answers.get(("manifest", repository, reference), ask)

    def look_blob(self, repository: str, digest: Digest) -> Linked | None:
        """What the repository holds now."""

        def ask() -> Linked | None:
            with self.read() as tx:
                row = tx.execute(_LINKED, {"in_repository": repository, "wanted": digest}).one_or_none()
                return Linked(row.size, row.loose_since) if row else None

        return self.answers.get(("blob", repository, digest), ask)

    def lock_repositories(self, tx: Connection, *names: str) -> None:
        self._database.lock(tx, *(f"registry:{name}" for name in set(names)))

    # Blobs

    def lock_blob(self, tx: Connection, digest: Digest) -> None:
        """Between looking at a blob's bytes and writing or removing its row nobody else does either."""
        self._database.lock(tx, f"blob:{digest}")

    def put_blob(self, tx: Connection, digest: Digest, size: int, now: datetime) -> None:
        put = self._insert(blob).values(digest=digest, size=size, stored_at=now)
        changed = {"stored_at": now, "size": size, "loose_since": None}
        tx.execute(put.on_conflict_do_update(index_elements=["digest"], set_=changed))

    def hold_blob(self, tx: Connection, digest: Digest) -> int | None:
        """The size of a stored blob, whose row stays until this transaction ends."""
        held = select(blob.c.size).where(blob.c.digest == digest).with_for_update(read=True, key_share=True)
        return tx.execute(held).scalar()

    def link_blobs(
        self, tx: Connection, repository: str, digests: Iterable[Digest], now: datetime, *, needed: bool = False
    ) -> Used | None:
        """`needed`: by a manifest that the repository holds when this transaction ends. Returns what its publisher
        holds afterwards, where that is counted and became more."""
        loose, linked = None if needed else now, list(digests)
        rows = [
            {"repository": repository, "digest": digest, "linked_at": now, "loose_since": loose} for digest in linked
        ]
        held = self.usage.before_link(tx, repository, linked)
        if rows:
            put = self._insert(link)
            changed = {"linked_at": put.excluded.linked_at, "loose_since": put.excluded.loose_since}
            tx.execute(put.on_conflict_do_update(index_elements=["repository", "digest"], set_=changed), rows)
        return held

    def unlink_blobs(
        self, tx: Connection, repository: str, digests: Sequence[Digest], since: datetime,
        before: datetime | None = None,
    ) -> int:  # fmt: skip
        """The one place where links go; returns how many did. Their blobs may be unused since `since`. With `before`
        only links go that were loose before, and whose blobs nobody else is busy with."""
        self.usage.lock(tx, repository)
        gone: list[Digest] = []
        for some in _pieces(sorted(digests)):
            rows = select(blob.c.digest).where(blob.c.digest.in_(some)).order_by(blob.c.digest)
            free = list(tx.execute(rows.with_for_update(key_share=True, skip_locked=before is not None)).scalars())
            tx.execute(update(blob).where(blob.c.digest.in_(free)).values(loose_since=since))
            links = delete(link).where(link.c.repository == repository, link.c.digest.in_(free))
            links = links if before is None else links.where(link.c.loose_since < before)
            gone += [Digest(found) for found in tx.execute(links.returning(link.c.digest)).scalars()]
        self.usage.after_unlink(tx, repository, gone)
        return len(gone)

    def linked(self, tx: Connection, repository: str, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Of these, the ones that the repository holds, with their sizes."""
        found: dict[Digest, int] = {}
        for some in _pieces(digests):
            query = (
                select(blob.c.digest, blob.c.size)
                .join(link, link.c.digest == blob.c.digest)
                .where(link.c.repository == repository, link.c.digest.in_(some))
            )
            found.update({Digest(row.digest): row.size for row in tx.execute(query)})
        return found

    def repositories_with(self, tx: Connection, digest: Digest, limit: int, prefix: str = "") -> list[str]:
        at = and_(link.c.digest == digest, link.c.repository.startswith(prefix, autoescape=True))
        return list(tx.execute(select(link.c.repository).where(at).order_by(link.c.repository).limit(limit)).scalars())

    # Manifests

    def find(self, tx: Connection, repository: str, reference: str) -> Found | None:
        """By tag or digest."""
        query = _BY_DIGEST if ":" in reference else _BY_TAG
        row = tx.execute(query, {"in_repository": repository, "wanted": reference}).one_or_none()
        return Found(Digest(row.digest), row.media_type, row.size, row.reason) if row else None

    def raw(self, tx: Connection, digest: Digest) -> bytes | None:
        return tx.execute(select(content.c.raw).where(content.c.digest == digest)).scalar()

    def put_manifest(
        self, tx: Connection, repository: str, made: Content, now: datetime, *, loose: bool = False
    ) -> None:
        """Content, its edges, and the row that the repository holds it; `loose` where its subject is not there yet."""
        put = self._insert(content).values(
            digest=made.digest,
            media_type=made.media_type,
            raw=made.raw,
            size=len(made.raw),
            subject=made.subject,
            artifact_type=made.artifact_type,
            annotations=dict(made.annotations),
        )
        # An update in any case, so that the row is locked against a sweep on both outcomes.
        tx.execute(put.on_conflict_do_update(index_elements=["digest"], set_={"loose_since": None}))
        edges = [{"parent": made.digest, "child": child, "kind": kind} for child, kind in made.needs.items()]
        if edges:
            tx.execute(self._insert(need).on_conflict_do_nothing(), edges)
        self.hold_manifests(tx, repository, [made.digest], now)
        if loose:
            here = and_(manifest.c.repository == repository, manifest.c.digest == made.digest)
            tx.execute(update(manifest).where(here).values(loose_since=now))
        blobs = [child for child, kind in made.needs.items() if kind != "manifest"]
        for some in _pieces(blobs):
            links = and_(link.c.repository == repository, link.c.digest.in_(some), link.c.loose_since.is_not(None))
            tx.execute(update(link).where(links).values(loose_since=None))

    def hold_manifests(self, tx: Connection, repository: str, digests: Iterable[Digest], now: datetime) -> None:
        rows = [{"repository": repository, "digest": digest, "pushed_at": now} for digest in digests]
        if rows:
            put = self._insert(manifest)
            again = {"pushed_at": put.excluded.pushed_at}
            tx.execute(put.on_conflict_do_update(index_elements=["repository", "digest"], set_=again), rows)

    def drop_manifest(self, tx: Connection, repository: str, digest: Digest, now: datetime) -> None:
        tx.execute(delete(manifest).where(manifest.c.repository == repository, manifest.c.digest == digest))
        tx.execute(update(content).where(content.c.digest == digest).values(loose_since=now))
        children = select(need.c.child).where(need.c.parent == digest, need.c.kind != "manifest")
        links = and_(link.c.repository == repository, link.c.digest.in_(children), ~used)
        tx.execute(update(link).where(links).values(loose_since=now))

    def held(self, tx: Connection, repository: str, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Of these manifests, the ones that the repository holds, with their sizes."""
        found: dict[Digest, int] = {}
        for some in _pieces(digests):
            query = (
                select(content.c.digest, content.c.size)
                .join(manifest, manifest.c.digest == content.c.digest)
                .where(manifest.c.repository == repository, manifest.c.digest.in_(some))
            )
            found.update({Digest(row.digest): row.size for row in tx.execute(query)})
        return found

    def needs(self, tx: Connection, parents: Sequence[Digest]) -> list[tuple[Digest, str]]:
        """What these manifests need: (child, "blob" | "manifest" | "foreign")."""
        found: list[tuple[Digest, str]] = []
        for some in _pieces(parents):
            query = select(need.c.child, need.c.kind).where(need.c.parent.in_(some)).order_by(need.c.child)
            found.extend((Digest(row.child), row.kind) for row in tx.execute(query))
        return found

    def below(self, tx: Connection, roots: Iterable[Digest]) -> tuple[dict[Digest, None], dict[Digest, None]]:
        """(manifests, blobs): these manifests and all that they name, each once, parents first."""
        manifests: dict[Digest, None] = {}
        blobs: dict[Digest, None] = {}
        level = list(roots)
        while level:
            manifests.update(dict.fromkeys(level))
            needs = self.needs(tx, level)
            blobs.update({child: None for child, kind in needs if kind == "blob"})
            level = list({child: None for child, kind in needs if kind == "manifest" and child not in manifests})
        return manifests, blobs

    def parents(self, tx: Connection, repository: str, child: Digest, limit: int | None = None) -> list[Digest]:
        """Manifests of the repository that need this blob or manifest."""
        query = (
            select(need.c.parent)
            .join(manifest, manifest.c.digest == need.c.parent)
            .where(manifest.c.repository == repository, need.c.child == child)
            .limit(limit)
        )
        return [Digest(parent) for parent in tx.execute(query).scalars()]

    def needed_by(self, tx: Connection, repository: str, child: Digest) -> Digest | None:
        """A manifest of the repository that needs this blob or manifest."""
        return next(iter(self.parents(tx, repository, child, 1)), None)

    def referring(self, tx: Connection, repository: str, subject: Digest) -> list[Digest]:
        """Manifests of the repository whose subject this is."""
        query = (
            select(content.c.digest)
            .join(manifest, manifest.c.digest == content.c.digest)
            .where(manifest.c.repository == repository, content.c.subject == subject)
        )
        return [Digest(found) for found in tx.execute(query).scalars()]

    def referrers(
        self, tx: Connection, repository: str, subject: Digest, artifact_type: str | None, after: str, limit: int
    ) -> list[Referrer]:
        query = (
            select(*(column for column in content.c if column is not content.c.raw))
            .join(manifest, manifest.c.digest == content.c.digest)
            .where(manifest.c.repository == repository, content.c.subject == subject, content.c.digest > after)
            .order_by(content.c.digest)
            .limit(limit)
        )
        if artifact_type is not None:
            query = query.where(content.c.artifact_type == artifact_type)
        return [
            Referrer(Digest(row.digest), row.media_type, row.size, row.artifact_type, row.annotations)
            for row in tx.execute(query)
        ]

    def all_referring(self, tx: Connection, repository: str) -> dict[Digest, Digest]:
        """Manifests of the repository that have a subject, with it, in order."""
        joined = select(content.c.digest, content.c.subject).join(manifest, manifest.c.digest == content.c.digest)
        query = joined.where(manifest.c.repository == repository, content.c.subject.is_not(None))
        return {Digest(row.digest): Digest(row.subject) for row in tx.execute(query.order_by(content.c.digest))}

    # Tags, refusals, repositories

    def set_tag(self, tx: Connection, repository: str, name: str, digest: Digest, now: datetime) -> None:
        put = self._insert(tag).values(repository=repository, name=name, digest=digest, set_at=now)
        tx.execute(
            put.on_conflict_do_update(index_elements=["repository", "name"], set_={"digest": digest, "set_at": now})
        )

    def remove_tag(self, tx: Connection, repository: str, name: str) -> Digest | None:
        """Returns what it pointed at."""
        digest = self.tag_digest(tx, repository, name)
        tx.execute(delete(tag).where(tag.c.repository == repository, tag.c.name == name))
        return digest

    def tag_digest(self, tx: Connection, repository: str, name: str) -> Digest | None:
        found = tx.execute(select(tag.c.digest).where(tag.c.repository == repository, tag.c.name == name)).scalar()
        return Digest(found) if found else None

    def tags(self, tx: Connection, repository: str, after: str, limit: int) -> list[str]:
        query = select(tag.c.name).where(tag.c.repository == repository, tag.c.name > after)
        return list(tx.execute(query.order_by(tag.c.name).limit(limit)).scalars())

    def tags_of(self, tx: Connection, repository: str, digest: Digest) -> list[str]:
        query = select(tag.c.name).where(tag.c.repository == repository, tag.c.digest == digest).order_by(tag.c.name)
        return list(tx.execute(query).scalars())

    def all_tags(self, tx: Connection, repository: str | None = None) -> Iterator[tuple[str, str, Digest]]:
        """(repository, tag, digest) of the whole registry, or of one repository."""
        query = select(tag.c.repository, tag.c.name, tag.c.digest).order_by(tag.c.repository, tag.c.name)
        if repository is not None:
            query = query.where(tag.c.repository == repository)
        return ((row.repository, row.name, Digest(row.digest)) for row in tx.execute(query))

    def tagged(self, tx: Connection) -> list[str]:
        """Repositories that have a tag, in order."""
        return list(tx.execute(select(tag.c.repository).distinct().order_by(tag.c.repository)).scalars())

    def known(self, tx: Connection, repository: str) -> bool:
        """Does the repository hold anything?"""
        held = select(manifest.c.digest).where(manifest.c.repository == repository).limit(1)
        blobs = select(link.c.digest).where(link.c.repository == repository).limit(1)
        return tx.execute(held).first() is not None or tx.execute(blobs).first() is not None

    def repositories(self, tx: Connection, prefix: str, after: str, limit: int) -> list[str]:
        """Repositories that hold manifests, in order."""
        query = select(manifest.c.repository).distinct().where(manifest.c.repository > after)
        if prefix:
            query = query.where(manifest.c.repository.startswith(prefix, autoescape=True))
        return list(tx.execute(query.order_by(manifest.c.repository).limit(limit)).scalars())

    def amount_of(self, tx: Connection, repository: str) -> tuple[int, int, int, int]:
        """How many tags, manifests and blobs it holds, and the bytes of those blobs."""
        tags, manifests = (
            tx.execute(select(func.count()).where(table.c.repository == repository)).scalar() or 0
            for table in (tag, manifest)
        )
        blobs = select(func.count(), func.sum(blob.c.size)).join_from(link, blob, link.c.digest == blob.c.digest)
        count, size = tx.execute(blobs.where(link.c.repository == repository)).one()
        return tags, manifests, count, int(size or 0)

    def drop_repository(self, tx: Connection, repository: str, now: datetime) -> None:
        self.usage.lock(tx, repository)  # before the rows of uploads too, which those who finish one take last
        held = select(manifest.c.digest).where(manifest.c.repository == repository)
        rows = select(content.c.digest).where(content.c.digest.in_(held)).order_by(content.c.digest)
        for some in _pieces(list(tx.execute(rows.with_for_update(key_share=True)).scalars())):
            tx.execute(update(content).where(content.c.digest.in_(some)).values(loose_since=now))
        for table in (tag, refusal, manifest, upload):
            tx.execute(delete(table).where(table.c.repository == repository))
        linked = list(tx.execute(select(link.c.digest).where(link.c.repository == repository)).scalars())
        self.unlink_blobs(tx, repository, linked, now)

    def refuse(self, tx: Connection, repository: str, digest: Digest, reason: str) -> None:
        put = self._insert(refusal).values(repository=repository, digest=digest, reason=reason)
        tx.execute(put.on_conflict_do_update(index_elements=["repository", "digest"], set_={"reason": reason}))

    def unrefuse(self, tx: Connection, repository: str, digest: Digest) -> bool:
        gone = delete(refusal).where(refusal.c.repository == repository, refusal.c.digest == digest)
        return tx.execute(gone).rowcount > 0

    # Uploads

    def begin_upload(self, tx: Connection, name: str, repository: str, now: datetime) -> None:
        tx.execute(self._insert(upload).values(id=name, repository=repository, touched_at=now))

    def find_upload(self, tx: Connection, name: str, repository: str) -> datetime | None:
        """When it was last touched, or None where this repository has no such upload."""
        query = select(upload.c.touched_at).where(upload.c.id == name, upload.c.repository == repository)
        return tx.execute(query).scalar()

    def touch_upload(self, tx: Connection, name: str, now: datetime) -> None:
        tx.execute(update(upload).where(upload.c.id == name).values(touched_at=now))

    def limit_for(self, tx: Connection, repository: str, digest: Digest | None) -> Used | None:
        """What limits a push of a blob; see `Usage`."""
        return self.usage.limit_for(tx, repository, digest)

    def end_upload(self, tx: Connection, name: str) -> None:
        tx.execute(delete(upload).where(upload.c.id == name))


def _pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), IN_ONE_QUERY):
        yield items[start : start + IN_ONE_QUERY]
