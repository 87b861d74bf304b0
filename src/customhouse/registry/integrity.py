"""Do rows, links and bytes agree, and what to do with bytes that do not (invariants R1 and R4).

1. `breaches` reads and changes nothing.
2. Altered bytes are worth nothing: they are thrown away, and their digest is then unknown until somebody pushes the
   right bytes again. That is written in the audit log.
"""

from collections.abc import Iterator
from datetime import datetime

from customhouse.audit import Audit
from customhouse.blobs import BlobMissing, BlobStore
from customhouse.oci.digest import Digest
from customhouse.registry.store import RegistryStore
from customhouse.registry.sweep import Breach

HUB = "hub"
_PIECE = 1024 * 1024


class Integrity:
    """Looks after the content of one registry."""

    def __init__(self, store: RegistryStore, blobs: BlobStore, audit: Audit) -> None:
        self._store, self._blobs, self._audit = store, blobs, audit

    def breaches(self, rehash: bool = False) -> Iterator[Breach]:
        """Every place where R1 or R4 does not hold; with `rehash`, also bytes that are not those of their digest."""
        leftovers = self._store.leftovers
        with self._store.read() as tx:
            blobs = list(leftovers.blobs(tx))
            for repository, parent, child in leftovers.broken_needs(tx):
                yield Breach("R4", f"{repository}@{parent}", f"needs {child}, which the repository does not hold")
            for repository, tag, digest in leftovers.dangling_tags(tx):
                yield Breach("R4", f"{repository}:{tag}", f"points at {digest}, which the repository does not hold")
            for digest, raw in leftovers.contents(tx) if rehash else ():
                if Digest.of(raw, digest.algorithm) != digest:
                    yield Breach("R1", digest, "the manifest's bytes were altered in the database")
        for digest, size in blobs:
            found = self._blobs.stat(digest)
            if found != size:
                with self._store.read() as tx:
                    if leftovers.has_blob(tx, digest):  # else it was swept while we looked
                        yield Breach("R1", digest, f"has a row and {found or 'no'} of {size} bytes")
            elif rehash and not self._intact(digest):
                yield Breach("R1", digest, "the blob's bytes were altered in the store")

    def _intact(self, digest: Digest) -> bool:
        hasher = digest.hasher()
        try:
            with self._blobs.open(digest) as stream:
                while chunk := stream.read(_PIECE):
                    hasher.update(chunk)
        except BlobMissing:
            return True  # swept while we looked; `stat` has judged the rest
        return hasher.hexdigest() == digest.hex

    def discard_altered(self, manifest: Digest, now: datetime) -> list[Digest]:
        """See `RegistryService.discard_altered`."""
        with self._store.read() as tx:
            _, blobs = self._store.below(tx, [manifest])
        return [digest for digest in blobs if self._discard(digest, now)]

    def _discard(self, digest: Digest, now: datetime) -> bool:
        if self._intact(digest):
            return False
        with self._store.write() as tx:
            self._store.lock_blob(tx, digest)
            if self._intact(digest):  # the right bytes came meanwhile
                return False
            self._blobs.delete(digest)
            self._audit.append(tx, actor=HUB, action="blob.discard", subject=str(digest), digest=str(digest), now=now)
        return True
