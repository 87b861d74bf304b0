"""Do rows, links and bytes agree, and what to do with bytes that do not (invariants R1, R2, R4 and R5).

1. `breaches` and `piece` read and change nothing. Both go through the rows in the order of their digests, a few
   hundred at a time: no list of everything is held, and a look at a million of them can be cut anywhere and go on.
2. What was collected between the look at its row and at its bytes is no breach: its row is gone too.
3. Altered bytes are worth nothing: they are thrown away, and their digest is then unknown until somebody pushes the
   right bytes again. That is written in the audit log.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from customhouse.audit import Audit
from customhouse.blobs import BlobMissing, BlobStore
from customhouse.errors import Invalid
from customhouse.oci.digest import Digest
from customhouse.registry.store import RegistryStore
from customhouse.registry.sweep import Breach

HUB = "hub"
PIECE_BYTES = 64 * 1024 * 1024
_ROWS = 500
_MOST = 10_000  # broken links that one look tells
_READ = 1024 * 1024
_BLOBS, _MANIFESTS, _LINKS, _BYTES = "blob:", "manifest:", "links", "bytes"
_START = _BLOBS


@dataclass(frozen=True)
class Amount:
    """What there is to read: how many blobs and manifests, and their bytes together."""

    items: int
    size: int


@dataclass(frozen=True)
class Piece:
    """One step of a look at everything: what it found, how much it read, and where the next one begins (None: it was
    the last). `orphans`: bytes without a row, which the sweep collects."""

    breaches: tuple[Breach, ...]
    items: int
    size: int
    next: str | None
    orphans: tuple[Digest, ...] = ()


class Integrity:
    """Looks after the content of one registry."""

    def __init__(self, store: RegistryStore, blobs: BlobStore, audit: Audit) -> None:
        self._store, self._blobs, self._audit = store, blobs, audit

    def breaches(self, rehash: bool = False) -> Iterator[Breach]:
        """Every place where R1 or R4 does not hold; with `rehash`, also bytes that are not those of their digest."""
        yield from self._links()
        if rehash:
            yield from self._altered_manifests()
        after = ""
        while rows := self._rows(after):
            for digest, size in rows:
                yield from self._judge(digest, size, rehash)
            after = rows[-1][0]

    def amount(self) -> Amount:
        """What a whole look reads."""
        with self._store.read() as tx:
            return Amount(*self._store.leftovers.amount(tx))

    def piece(self, after: str, threads: int, orphans_before: datetime) -> Piece:
        """The step that begins at `after` ("" for the first): everything is hashed again. Raises Invalid."""
        after = after or _START
        if after.startswith(_BLOBS):
            return self._piece_of_blobs(_digest(after, _BLOBS), threads)
        if after.startswith(_MANIFESTS):
            return self._piece_of_manifests(_digest(after, _MANIFESTS))
        if after == _LINKS:
            return Piece(tuple(islice(self._links(), _MOST)), 0, 0, _BYTES)
        if after != _BYTES:
            raise Invalid(f"{after[:80]!r} is no place to begin", hint="Give the `next` of an earlier piece.")
        with self._store.read() as tx:
            rowless = self._store.leftovers.rowless(tx, self._blobs.digests(orphans_before))
        return Piece((), 0, 0, None, tuple(rowless))

    def _piece_of_blobs(self, after: str, threads: int) -> Piece:
        rows, size = [], 0
        for digest, length in self._rows(after):
            rows.append((digest, length))
            size += length
            if size >= PIECE_BYTES:
                break
        if not rows:
            return Piece((), 0, 0, _MANIFESTS)
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda row: list(self._judge(row[0], row[1], True)), rows))
        return Piece(tuple(breach for one in found for breach in one), len(rows), size, _BLOBS + rows[-1][0])

    def _piece_of_manifests(self, after: str) -> Piece:
        with self._store.read() as tx:
            rows = self._store.leftovers.contents_after(tx, after, _ROWS // 5)
        found = tuple(breach for digest, raw in rows for breach in _judge_manifest(digest, raw))
        where = _MANIFESTS + rows[-1][0] if rows else _LINKS
        return Piece(found, len(rows), sum(len(raw) for _, raw in rows), where)

    def users(self, digest: Digest) -> list[str]:
        """Tags and untagged manifests (`repository:tag`, `repository@digest`) that need a blob or manifest; those
        that come first by name."""
        with self._store.read() as tx:
            found = self._store.leftovers.users(tx, digest)
            return found or self._store.repositories_with(tx, digest, 10)

    # ---- inside

    def _rows(self, after: str) -> list[tuple[Digest, int]]:
        with self._store.read() as tx:
            return self._store.leftovers.blobs_after(tx, after, _ROWS)

    def _links(self) -> Iterator[Breach]:
        leftovers = self._store.leftovers
        with self._store.read() as tx:
            for repository, parent, child in leftovers.broken_needs(tx):
                yield Breach("R4", f"{repository}@{parent}", f"needs {child}, which the repository does not hold")
            for repository, tag, digest in leftovers.dangling_tags(tx):
                yield Breach("R4", f"{repository}:{tag}", f"points at {digest}, which the repository does not hold")
            for counted, truly in self._store.usage.miscounted(tx):
                said = f"{counted.used} bytes of its staging are counted, and {truly} are held"
                yield Breach("R5", counted.publisher, said)
            for kind, lost in leftovers.unnoticed(tx):
                yield Breach("R2", lost, f"a {kind} that nothing needs, and no sweep will find it")

    def _altered_manifests(self) -> Iterator[Breach]:
        after = _MANIFESTS
        while after.startswith(_MANIFESTS):
            piece = self._piece_of_manifests(_digest(after, _MANIFESTS))
            yield from piece.breaches
            after = piece.next or ""

    def _judge(self, digest: Digest, size: int, rehash: bool) -> Iterator[Breach]:
        found = self._blobs.stat(digest)
        if found != size:
            with self._store.read() as tx:
                if self._store.leftovers.has_blob(tx, digest):  # else it was swept while we looked
                    yield Breach("R1", digest, f"has a row and {found or 'no'} of {size} bytes")
        elif rehash and not self._intact(digest):
            yield Breach("R1", digest, "the blob's bytes were altered in the store")

    def _intact(self, digest: Digest) -> bool:
        hasher = digest.hasher()
        try:
            with self._blobs.open(digest) as stream:
                while chunk := stream.read(_READ):
                    hasher.update(chunk)
        except BlobMissing:
            return True  # swept while we looked; `stat` has judged the rest
        return hasher.hexdigest() == digest.hex

    def discard_altered(self, manifest: Digest, now: datetime) -> list[Digest]:
        """See `RegistryService.discard_altered`."""
        with self._store.read() as tx:
            _, blobs = self._store.below(tx, [manifest])
        return [digest for digest in blobs if self.discard(digest, now)]

    def discard(self, digest: Digest, now: datetime) -> bool:
        """Throw the bytes of a blob away if they are not those of its digest; False where they are right or gone."""
        if self._intact(digest):
            return False
        with self._store.write() as tx:
            self._store.lock_blob(tx, digest)
            if self._intact(digest):  # the right bytes came meanwhile
                return False
            self._blobs.delete(digest)
            self._audit.append(tx, actor=HUB, action="blob.discard", subject=str(digest), digest=str(digest), now=now)
        return True


def _judge_manifest(digest: Digest, raw: bytes) -> Iterator[Breach]:
    if Digest.of(raw, digest.algorithm) != digest:
        yield Breach("R1", digest, "the manifest's bytes were altered in the database")


def _digest(place: str, kind: str) -> str:
    """What stands behind the kind: nothing, or a digest. Raises InvalidDigest."""
    text = place.removeprefix(kind)
    return Digest.parse(text) if text else ""
