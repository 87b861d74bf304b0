"""The registry's rules: what a repository may hold, and how it changes.

1. A manifest row implies rows for all that it needs in the same repository (invariant R4): `put_manifest` looks and
   writes in one transaction under the repository's lock, and nothing that is needed can be deleted under it.
2. Having a digest is not having the right to it (R3): every look-up goes through the repository.
3. Bytes before rows (R1): `attach_blob` sees the bytes, under the blob's lock, in the transaction of the row.
4. Methods that take `tx` work inside the caller's transaction; the others make their own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO

from sqlalchemy import Connection

from customhouse import faults
from customhouse.audit import Audit
from customhouse.blobs import BlobMissing, BlobStore, DigestMismatch
from customhouse.errors import Unavailable
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import parse_manifest
from customhouse.oci.reference import valid_repository, valid_tag
from customhouse.registry.cache import RawCache
from customhouse.registry.collector import Collector, Pace
from customhouse.registry.content import (
    BlobUnknown,
    ContentInUse,
    ContentMissing,
    InvalidName,
    InvalidTag,
    ManifestRefused,
    ManifestUnknown,
    RepositoryUnknown,
    StoredBlob,
    StoredManifest,
    check_held,
    check_quota,
    needs_of,
)
from customhouse.registry.following import Following
from customhouse.registry.integrity import Integrity
from customhouse.registry.keeper import Keeper
from customhouse.registry.rulebook import Rulebook
from customhouse.registry.store import Content, Found, Linked, Referrer, RegistryStore
from customhouse.registry.sweep import ALL_SHARDS, Breach, Grace, Swept
from customhouse.registry.uploads import Uploads

REMEMBERED_BYTES = 64 * 1024 * 1024
EVERY = 1_000_000
_MOST_SOURCES = 16


class RegistryService:
    """One registry: repositories, their manifests, tags and blobs."""

    def __init__(
        self, store: RegistryStore, blobs: BlobStore, audit: Audit, clock: Callable[[], datetime],
        grace: Grace = Grace(),
    ) -> None:  # fmt: skip
        self.store, self.blobs = store, blobs
        self.uploads = Uploads(store, blobs, self.attach_blob, clock)
        self._audit, self._clock, self._grace, self._raw = audit, clock, grace, RawCache(REMEMBERED_BYTES)
        self.integrity, self.rules = Integrity(store, blobs, audit), Rulebook(store, audit, clock)
        self._following = Following(store)
        self.retention = Keeper(store, self._following, audit, clock)
        self._collector = Collector(store, blobs, self.uploads, self._following, audit)

    # Reading

    def moment(self) -> tuple[datetime, int | None]:
        """Now, and a stamp that changes with every commit, None where commits are not counted (ready.py)."""
        return self._clock(), self.store.stamp()

    def resolve(self, repository: str, reference: str) -> StoredManifest:
        """By tag or digest, as a client may have it. Raises ManifestUnknown, ManifestRefused."""
        found = self.store.look(repository, reference) if _valid_reference(reference) else None
        if found is None:
            raise ManifestUnknown(repository, reference)
        if found.refused is not None:
            raise ManifestRefused(repository, found.digest, found.refused)
        return self._loaded(found)

    def manifest(self, repository: str, digest: Digest) -> StoredManifest:
        """By digest, withdrawn or not. Raises ManifestUnknown."""
        with self.store.read() as tx:
            found = self._found(tx, repository, digest)
        return self._loaded(found)

    def blob(self, repository: str, digest: Digest) -> StoredBlob:
        """Raises BlobUnknown unless this repository holds it."""
        found = self.store.look_blob(repository, digest)
        # Bytes may have been thrown away as altered: whoever asks is told, and so pushes them again.
        if found is None or self._fading(repository, digest, found) or self.blobs.stat(digest) is None:
            raise BlobUnknown(repository, digest)
        return StoredBlob(digest, found.size)

    def open_blob(self, repository: str, digest: Digest) -> BinaryIO:
        """The bytes of a blob that this repository holds. Raises BlobUnknown."""
        self.blob(repository, digest)
        try:
            return self.blobs.open(digest)
        except BlobMissing:
            raise BlobUnknown(repository, digest) from None

    def tags(self, repository: str, *, after: str = "", limit: int = EVERY) -> list[str]:
        """In order of their bytes. Raises RepositoryUnknown."""
        with self.store.read() as tx:
            found = self.store.tags(tx, repository, after, limit)
            if not found and not self.store.known(tx, repository):
                raise RepositoryUnknown(repository)
            return found

    def tag_digest(self, repository: str, tag: str) -> Digest | None:
        """What a tag points at, withdrawn or not."""
        with self.store.read() as tx:
            found = self.store.find(tx, repository, tag) if valid_tag(tag) else None
            return found.digest if found else None

    def referrers(
        self, repository: str, subject: Digest, artifact_type: str | None = None, *, after: str = "", limit: int = EVERY
    ) -> list[Referrer]:
        """Manifests of this repository whose subject is `subject`, which itself may be absent."""
        with self.store.read() as tx:
            return self.store.referrers(tx, repository, subject, artifact_type, after, limit)

    def repositories(self, prefix: str = "", *, after: str = "", limit: int = EVERY) -> list[str]:
        """Names of repositories that hold manifests."""
        with self.store.read() as tx:
            return self.store.repositories(tx, prefix, after, limit)

    def content_of(
        self, repositories: Callable[[str], bool], tags: Callable[[str], bool]
    ) -> dict[str, tuple[dict[str, Digest], dict[Digest, Digest]]]:
        """Of the repositories and tags that are chosen: each repository's tags, and what refers to what in it."""
        with self.store.read() as tx:
            found = {
                name: {tag: digest for _, tag, digest in self.store.all_tags(tx, name) if tags(tag)}
                for name in self.store.tagged(tx) if repositories(name)
            }
            return {name: (held, self.store.all_referring(tx, name)) for name, held in found.items() if held}

    def amount_of(self, repository: str) -> tuple[int, int, int, int]:
        """How many tags, manifests and blobs, and the bytes of those blobs. Raises RepositoryUnknown."""
        with self.store.read() as tx:
            if not self.store.known(tx, repository):
                raise RepositoryUnknown(repository)
            return self.store.amount_of(tx, repository)

    # What a push changes

    def push_manifest(
        self, repository: str, reference: str, raw: bytes, media_type: str | None, tags: Sequence[str] = ()
    ) -> StoredManifest:
        """Keep a manifest under a tag, or under its digest and `tags`; the bytes stay as they are."""
        with self.store.write() as tx:
            stored = self.put_manifest(tx, repository, reference, raw, media_type, self._clock(), tags)
            faults.point("registry.manifest.commit")
        self._raw.put(stored.digest, raw)
        return stored

    def put_manifest(
        self, tx: Connection, repository: str, reference: str, raw: bytes, media_type: str | None, now: datetime,
        tags: Sequence[str] = (),
    ) -> StoredManifest:  # fmt: skip
        """The same inside `tx`. Raises InvalidManifest, DigestMismatch, ContentMissing, SizeMismatch, InvalidTag,
        TagLocked."""
        _check_repository(repository)
        by_digest = Digest.parse(reference) if ":" in reference else None
        names = tuple(tags) if by_digest else (reference,)
        for name in names:
            if not valid_tag(name):
                raise InvalidTag(name)
        parsed = parse_manifest(raw, media_type)
        digest = Digest.of(raw, by_digest.algorithm if by_digest else "sha256")
        if by_digest and digest != by_digest:
            raise DigestMismatch(by_digest, digest)
        needed = needs_of(parsed)
        self.store.lock_repositories(tx, repository)
        self.rules.check(tx, repository, names, digest)
        held = self.store.linked(tx, repository, [child for child, kind in needed.items() if kind != "manifest"])
        held |= self.store.held(tx, repository, [child for child, kind in needed.items() if kind == "manifest"])
        check_held(repository, parsed, held)
        faults.point("registry.manifest.checked")
        subject = parsed.subject.digest if parsed.subject else None
        early = subject is not None and not self.store.held(tx, repository, [subject])
        self.store.put_manifest(
            tx,
            repository,
            Content(digest, parsed.media_type, raw, subject, parsed.referrer_type, parsed.annotations, needed),
            now,
            loose=early,
        )
        faults.point("registry.manifest.stored")
        for name in names:
            self.store.set_tag(tx, repository, name, digest, now)
        return StoredManifest(digest, parsed.media_type, len(raw), raw, subject)

    def attach_blob(self, tx: Connection, repository: str, digest: Digest, now: datetime) -> int:
        """Make a repository hold a blob whose bytes the caller has just stored; returns its size in bytes.

        Raises QuotaExceeded; Unavailable where a sweep took the bytes between the two: they have to be stored again.
        """
        _check_repository(repository)
        self.store.usage.lock(tx, repository)
        self.store.lock_blob(tx, digest)
        size = self.blobs.stat(digest)
        if size is None:
            raise Unavailable(f"the bytes of {digest} were swept while they arrived", hint="Send them again.")
        faults.point("registry.blob.seen")
        self.store.put_blob(tx, digest, size, now)
        check_quota(self.store.link_blobs(tx, repository, [digest], now))
        faults.point("registry.blob.linked")
        return size

    def mount(self, repository: str, digest: Digest, source: str) -> StoredBlob | None:
        """Make a repository hold what `source`, which the caller may read, holds; None if not. Raises QuotaExceeded."""
        _check_repository(repository)
        with self.store.write() as tx:
            self.store.usage.lock(tx, repository)
            if not self.store.linked(tx, source, [digest]):
                return None
            size = self.store.hold_blob(tx, digest)
            if size is None or self.blobs.stat(digest) is None:
                return None
            check_quota(self.store.link_blobs(tx, repository, [digest], self._clock()))
            faults.point("registry.mount.linked")
        return StoredBlob(digest, size)

    def sources(self, digest: Digest, repository: str) -> list[str]:
        """A few repositories beside this one that hold a blob: for a mount that names none."""
        beside = "/".join(repository.split("/")[:2]) + "/"
        with self.store.read() as tx:
            return self.store.repositories_with(tx, digest, _MOST_SOURCES, beside)

    # Deletion

    def delete_manifest(self, repository: str, digest: Digest, actor: str) -> None:
        """With the tags that point at it and the referrers that follow it; content that others hold stays.

        Raises ManifestUnknown, ContentInUse, TagLocked.
        """
        now = self._clock()
        with self.store.write() as tx:
            self.store.lock_repositories(tx, repository)
            self._found(tx, repository, digest)
            self._not_in_use(tx, repository, digest)
            self.rules.check(tx, repository, self.store.tags_of(tx, repository, digest), None)
            gone = self._following.drop(tx, repository, digest, now)
            faults.point("registry.manifest.deleted")
            self._log(tx, actor, "manifest.delete", repository, digest, gone.told, now)

    def delete_tag(self, repository: str, tag: str, actor: str) -> None:
        """Raises ManifestUnknown, TagLocked."""
        now = self._clock()
        with self.store.write() as tx:
            self.store.lock_repositories(tx, repository)
            digest = self._found(tx, repository, tag).digest
            self.rules.check(tx, repository, [tag], None)
            self.store.remove_tag(tx, repository, tag)
            self._log(tx, actor, "tag.delete", f"{repository}:{tag}", digest, {}, now)

    def delete_blob(self, repository: str, digest: Digest, actor: str) -> None:
        """Raises BlobUnknown, ContentInUse."""
        now = self._clock()
        with self.store.write() as tx:
            self.store.lock_repositories(tx, repository)
            if not self.store.linked(tx, repository, [digest]):
                raise BlobUnknown(repository, digest)
            self._not_in_use(tx, repository, digest)
            self.store.unlink_blobs(tx, repository, [digest], now)
            faults.point("registry.blob.deleted")
            self._log(tx, actor, "blob.delete", repository, digest, {}, now)

    # For those who certify and publish, inside their transactions

    def link_tree(
        self, tx: Connection, source: str, target: str, digest: Digest, now: datetime | None = None
    ) -> list[Digest]:
        """Make `target` hold a manifest of `source` and all that it needs; returns the digests, manifests first.

        Referrers are not followed. Raises ContentMissing naming what is absent, rows or bytes.
        """
        _check_repository(target)
        now = now or self._clock()
        self.store.lock_repositories(tx, source, target)
        manifests, blobs = self.store.below(tx, [digest])
        held = self.store.held(tx, source, list(manifests))
        linked = self.store.linked(tx, source, list(blobs))
        missing = [found for found in manifests if found not in held]
        missing += [found for found in blobs if self.blobs.stat(found) != linked.get(found, -1)]
        if missing:
            raise ContentMissing(source, tuple(missing))
        self.store.link_blobs(tx, target, blobs, now, needed=True)
        faults.point("registry.tree.blobs")
        self.store.hold_manifests(tx, target, manifests, now)
        faults.point("registry.tree.manifests")
        return [*manifests, *blobs]

    def set_tag(self, tx: Connection, repository: str, tag: str, digest: Digest, now: datetime) -> None:
        """Raises InvalidTag, ManifestUnknown, TagLocked."""
        if not valid_tag(tag):
            raise InvalidTag(tag)
        self.store.lock_repositories(tx, repository)
        self.rules.check(tx, repository, [tag], digest)
        self._found(tx, repository, digest)
        self.store.set_tag(tx, repository, tag, digest, now)

    def remove_tag(self, tx: Connection, repository: str, tag: str) -> Digest | None:
        """Returns what it pointed at, or None where there was no such tag. Locked or not: whoever asks may withdraw."""
        self.store.lock_repositories(tx, repository)
        return self.store.remove_tag(tx, repository, tag)

    def delete_repository(self, tx: Connection, repository: str) -> None:
        """Let go of everything in it; the sweep collects what no other repository holds. Raises TagLocked."""
        self.store.lock_repositories(tx, repository)
        self.rules.check_whole(tx, repository)
        self.store.drop_repository(tx, repository, self._clock())

    def tagged(self, tx: Connection, repository: str, digest: Digest) -> bool:
        """Does a tag of the repository point at it, as this transaction sees it?"""
        return bool(self.store.tags_of(tx, repository, digest))

    def refuse(self, tx: Connection, repository: str, digest: Digest, reason: str) -> None:
        """From now on pulls of this manifest are answered with the reason; of those below it too, unless another tag
        of the repository reaches them."""
        standing = [found for _, _, found in self.store.all_tags(tx, repository) if found != digest]
        for found in {digest} | self.store.below(tx, [digest])[0].keys() - self.store.below(tx, standing)[0].keys():
            self.store.refuse(tx, repository, found, reason)

    def unrefuse(self, tx: Connection, repository: str, digest: Digest) -> bool:
        """Hand it, and what is below it, out again; False where nothing was refused."""
        return any([self.store.unrefuse(tx, repository, found) for found in self.store.below(tx, [digest])[0]])

    # Upkeep

    def sweep(
        self, now: datetime, grace: Grace | None = None, shards: Iterable[int] = ALL_SHARDS, pace: Pace = Pace(),
        told: Callable[[Swept], None] = lambda _: None,
    ) -> Swept:  # fmt: skip
        """Collect what nothing has needed for longer than its grace; see `Collector.sweep`."""
        return self._collector.sweep(now, grace or self._grace, shards, pace, told)

    def survey(self, now: datetime) -> Swept:
        """What a sweep would collect now, bytes without a row and uploads apart; changes nothing."""
        cut = self._grace.cut(now)
        with self.store.read() as tx:
            links, blobs, freed, manifests = self.store.leftovers.survey(tx, cut.unused, cut.unlinked)
        return Swept(links, blobs, manifests, freed=freed)

    def all_tags(self, tx: Connection) -> Iterator[tuple[str, str, Digest]]:
        """(repository, tag, digest) of the whole registry, as this transaction sees it (for `doctor`)."""
        return self.store.all_tags(tx)

    def breaches(self, rehash: bool = False) -> Iterator[Breach]:
        """See `Integrity.breaches`."""
        return self.integrity.breaches(rehash)

    def _fading(self, repository: str, digest: Digest, found: Linked) -> bool:
        """Is it unused for so long that it may soon be gone? Looked at again: the mark may have been set in vain."""
        if not self._grace.fading(found.loose_since, self._clock()):
            return False
        with self.store.read() as tx:
            return self.store.needed_by(tx, repository, digest) is None

    def _found(self, tx: Connection, repository: str, reference: str) -> Found:
        found = self.store.find(tx, repository, reference) if _valid_reference(reference) else None
        if found is None:
            raise ManifestUnknown(repository, reference)
        return found

    def _loaded(self, found: Found) -> StoredManifest:
        raw = self._raw.get(found.digest)
        if raw is None:
            self.store.answers.before_asking()
            with self.store.read() as tx:
                raw = self.store.raw(tx, found.digest)
            if raw is None:
                raise ManifestUnknown("the store", found.digest)
            self._raw.put(found.digest, raw)
        return StoredManifest(found.digest, found.media_type, found.size, raw)

    def _not_in_use(self, tx: Connection, repository: str, digest: Digest) -> None:
        user = self.store.needed_by(tx, repository, digest)
        if user is not None:
            raise ContentInUse(digest, user)

    def _log(
        self, tx: Connection, actor: str, action: str, subject: str, digest: Digest, detail: dict[str, object],
        now: datetime,
    ) -> None:  # fmt: skip
        self._audit.append(tx, actor=actor, action=action, subject=subject, digest=digest, detail=detail, now=now)


def _valid_reference(reference: str) -> bool:
    return Digest.well_formed(reference) if ":" in reference else valid_tag(reference)


def _check_repository(name: str) -> None:
    if not valid_repository(name):
        raise InvalidName(name)
