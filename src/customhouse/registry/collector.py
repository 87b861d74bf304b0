"""Collects what nothing needs any more, beside pushes and other collectors (R2).

1. The cost is that of what changed: candidates come from indexes of what may be unused (`loose_since`), bytes without a
   row (only a crash leaves them) from a few 256ths of the store at a time.
2. Many rows in one short transaction, then a rest, so that pushes come in between; rows first, bytes after.
3. What was read as a candidate decides nothing: it is looked at again under the locks a push takes. What somebody else
   is busy with is left for the next time.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice

from sqlalchemy import Connection

from customhouse import faults
from customhouse.audit import Audit
from customhouse.blobs import BlobStore, HasUnfinished, UploadBusy
from customhouse.oci.digest import Digest
from customhouse.registry.following import Following
from customhouse.registry.store import RegistryStore
from customhouse.registry.sweep import ALL_SHARDS, Cut, Grace, Swept
from customhouse.registry.uploads import Uploads

HUB = "hub"
_PIECE = 200  # blobs whose bytes go in one turn
_HANDS = 4  # how many remove bytes at the same time
_BYTES_SECONDS = 0.02  # how long rows may be locked while bytes go


@dataclass(frozen=True)
class Pace:
    """How long a sweep may take, in seconds; how long it rests after each transaction, as a multiple of it; and how
    many rows it takes in one, for which pushes may have to wait."""

    seconds: float = float("inf")
    rest: float = 0.0
    batch: int = 1000


class Collector:
    """The sweeps of one registry."""

    def __init__(
        self, store: RegistryStore, blobs: BlobStore, uploads: Uploads, following: Following, audit: Audit
    ) -> None:
        self._store, self._blobs, self._uploads = store, blobs, uploads
        self._following, self._audit = following, audit

    def sweep(
        self, now: datetime, grace: Grace, shards: Iterable[int] = ALL_SHARDS, pace: Pace = Pace(),
        told: Callable[[Swept], None] = lambda _: None,
    ) -> Swept:  # fmt: skip
        """Everything that is older than its grace, or what can be done in time; `told` hears of each step."""
        run = _Run(self._store, grace.cut(now), pace, told)
        for step in (self._manifests, self._links, self._contents, self._blob_rows, self._stale_uploads):
            step(run, now)
        self._orphans(run, shards)
        return run.swept

    def _manifests(self, run: "_Run", now: datetime) -> None:
        """Those whose subject did not come: what refers to nothing is needed by nobody, unless a tag says so."""
        while run.goes_on:
            with self._store.read() as tx:
                loose = self._store.leftovers.loose_manifests(tx, run.cut.subject, run.batch)
            for repository, digests in loose.items():
                with run.write() as tx:
                    self._store.lock_repositories(tx, repository)
                    for digest in digests:
                        self._manifest(tx, repository, digest, now)
            if _count(loose) < run.batch:
                return

    def _manifest(self, tx: Connection, repository: str, digest: Digest, now: datetime) -> None:
        if not self._store.leftovers.awaited(tx, repository, digest, now):
            return
        tags = self._store.tags_of(tx, repository, digest)
        if not tags and self._store.needed_by(tx, repository, digest) is None:
            gone = self._following.drop(tx, repository, digest, now)
            faults.point("registry.sweep.manifest")
            self._audit.append(
                tx, actor=HUB, action="manifest.collect", subject=repository, digest=digest, detail=gone.told, now=now
            )

    def _links(self, run: "_Run", now: datetime) -> None:
        while run.goes_on:
            with self._store.read() as tx:
                loose = self._store.leftovers.loose_links(tx, run.cut.unused, run.batch)
            handled = 0
            for repository, digests in loose.items():
                with run.write() as tx:
                    self._store.lock_repositories(tx, repository)
                    self._store.usage.lock(tx, repository)  # before any link: whoever links has it before too
                    unused = self._store.leftovers.forget_used(tx, repository, digests)
                    gone = self._store.unlink_blobs(tx, repository, unused, run.cut.unused, before=run.cut.unused)
                    handled += len(digests) - len(unused) + gone
                run.add(links=gone)
            faults.point("registry.sweep.links")
            if _count(loose) < run.batch or not handled:
                return

    def _contents(self, run: "_Run", now: datetime) -> None:
        while run.goes_on:
            with run.write() as tx:
                gone, forgotten = self._store.leftovers.collect_contents(tx, run.batch)
            run.add(manifests=gone)
            if gone + forgotten < run.batch:
                return

    def _blob_rows(self, run: "_Run", now: datetime) -> None:
        while run.goes_on:
            with self._store.read() as tx:
                loose = self._store.leftovers.loose_blobs(tx, run.cut.unlinked, run.batch)
            if not loose:
                return
            with run.write() as tx:
                gone, forgotten = self._store.leftovers.collect_blobs(tx, loose, run.cut.unlinked)
            faults.point("registry.sweep.row")
            dropped = self._drop_bytes(run, list(gone))
            run.add(blobs=len(dropped), freed=sum(gone[digest] for digest in dropped))
            if len(loose) < run.batch or not gone and not forgotten:
                return

    def _orphans(self, run: "_Run", shards: Iterable[int]) -> None:
        for shard in shards:
            found = self._blobs.digests(run.cut.orphan, shard)
            while run.goes_on and (piece := list(islice(found, run.batch))):
                with self._store.read() as tx:
                    rowless = self._store.leftovers.rowless(tx, piece)
                sizes = {digest: self._blobs.stat(digest) or 0 for digest in rowless}
                dropped = self._drop_bytes(run, rowless)
                run.add(orphans=len(dropped), freed=sum(sizes[digest] for digest in dropped))

    def _drop_bytes(self, run: "_Run", digests: Sequence[Digest]) -> list[Digest]:
        """Of these blobs, those whose bytes went: the others have got a row again."""
        dropped: list[Digest] = []
        remaining = list(digests)
        with ThreadPoolExecutor(_HANDS) as hands:
            while remaining:
                piece, remaining = remaining[:_PIECE], remaining[_PIECE:]
                with run.write() as tx:
                    rowless = self._store.leftovers.lock_rowless(tx, piece)
                    work = partial(self._delete, time.monotonic() + _BYTES_SECONDS)
                    done = hands.map(work, [rowless[hand::_HANDS] for hand in range(_HANDS)])
                    gone = {digest for some in done for digest in some}
                dropped += gone
                remaining = [digest for digest in rowless if digest not in gone] + remaining
                faults.point("registry.sweep.bytes")
        return dropped

    def _delete(self, until: float, digests: Sequence[Digest]) -> list[Digest]:
        """As many as go in time, one at least; returns them."""
        done: list[Digest] = []
        for digest in digests:
            if done and time.monotonic() > until:
                break
            self._blobs.delete(digest)
            done.append(digest)
        return done

    def _stale_uploads(self, run: "_Run", now: datetime) -> None:
        while run.goes_on:
            with self._store.read() as tx:
                stale = self._store.leftovers.stale_uploads(tx, run.cut.upload, run.batch)
            gone = sum(self._drop_upload(name) for name in stale)
            run.add(uploads=gone)
            if len(stale) < run.batch or not gone:
                break
        if not isinstance(self._blobs, HasUnfinished):
            return
        unfinished = self._blobs.unfinished(run.cut.upload)
        while run.goes_on and (names := list(islice(unfinished, run.batch))):
            with self._store.read() as tx:
                unknown = self._store.leftovers.unknown_uploads(tx, names)
            run.add(uploads=sum(self._drop_upload(name) for name in unknown))

    def _drop_upload(self, name: str) -> bool:
        try:
            self._uploads.abandon(name, self._blobs.upload(name))
        except UploadBusy:
            return False
        return True


class _Run:
    """One sweep: until when, how hurried, and what it has done."""

    def __init__(self, store: RegistryStore, cut: Cut, pace: Pace, told: Callable[[Swept], None]) -> None:
        self.cut, self.swept = cut, Swept()
        self.batch = pace.batch
        self._store, self._pace, self._told = store, pace, told
        self._end = time.monotonic() + pace.seconds

    @property
    def goes_on(self) -> bool:
        if time.monotonic() < self._end:
            return True
        self.swept = replace(self.swept, more=True)
        return False

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, and a rest."""
        with self._store.write() as tx:
            began = time.monotonic()
            yield tx
        if self._pace.rest:
            time.sleep(min(1.0, (time.monotonic() - began) * self._pace.rest))

    def add(self, links: int = 0, blobs: int = 0, manifests: int = 0, orphans: int = 0, uploads: int = 0,
            freed: int = 0) -> None:  # fmt: skip
        swept = self.swept
        self.swept = Swept(
            swept.links + links, swept.blobs + blobs, swept.manifests + manifests, swept.orphans + orphans,
            swept.uploads + uploads, swept.freed + freed, swept.more,
        )  # fmt: skip
        self._told(self.swept)


def _count(loose: dict[str, list[Digest]]) -> int:
    return sum(len(digests) for digests in loose.values())
