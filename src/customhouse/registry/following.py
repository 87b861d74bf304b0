"""What goes with a manifest when it goes: signatures, attestations and other referrers follow their subject.

1. A referrer follows when nothing else wants it: no tag of its own, no manifest that stays. So do those that refer to
   it in turn.
2. The tags that clients derive from a subject's digest go too: `sha256-<hex>` is the referrers tag schema
   (distribution-spec 1.1, "Referrers Tag Schema"), with `.sig`, `.att` and `.sbom` it is cosign's. What they point at
   follows by the same rule.
3. The images of an index do not follow it: each is whole by itself, and may be pulled by its digest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from customhouse import faults
from customhouse.oci.digest import Digest
from customhouse.registry.store import RegistryStore

_DERIVED = ("", ".sig", ".att", ".sbom")
_SHOWN = 100


@dataclass
class Gone:
    """A manifest and its followers, in the order in which they were found, and every tag that went."""

    manifests: dict[Digest, None] = field(default_factory=dict)
    tags: dict[str, None] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, object]:
        """As the audit log has it."""
        followers = list(self.manifests)[1:]
        told: dict[str, object] = {"tags": list(self.tags)[:_SHOWN]}
        if followers:
            told |= {"followers": len(followers), "first": followers[:_SHOWN]}
        return told


class Following:
    """Drops manifests of a repository, whose lock the caller holds."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    def drop(self, tx: Connection, repository: str, digest: Digest, now: datetime) -> Gone:
        """The manifest, the tags that point at it, and all that follows it."""
        gone = Gone({digest: None}, dict.fromkeys(self._store.tags_of(tx, repository, digest)))
        waiting = [digest]
        while waiting:
            subject = waiting.pop()
            for follower in self._followers(tx, repository, subject, gone):
                if follower not in gone.manifests and self._free(tx, repository, follower, gone):
                    gone.manifests[follower] = None
                    waiting.append(follower)
        for tag in gone.tags:
            self._store.remove_tag(tx, repository, tag)
        for manifest in gone.manifests:
            self._store.drop_manifest(tx, repository, manifest, now)
        faults.point("registry.manifest.followed")
        return gone

    def _followers(self, tx: Connection, repository: str, subject: Digest, gone: Gone) -> Iterator[Digest]:
        """What derived tags point at comes first: the index of the referrers tag schema needs the referrers."""
        for suffix in _DERIVED:
            tag = f"{subject.algorithm}-{subject.hex}"[:128] + suffix
            found = self._store.find(tx, repository, tag) if len(tag) <= 128 else None
            if found is not None:
                gone.tags[tag] = None
                yield found.digest
        yield from self._store.referring(tx, repository, subject)

    def _free(self, tx: Connection, repository: str, follower: Digest, gone: Gone) -> bool:
        """Does neither a tag nor a manifest that stays want it?"""
        if any(tag not in gone.tags for tag in self._store.tags_of(tx, repository, follower)):
            return False
        return all(parent in gone.manifests for parent in self._store.parents(tx, repository, follower))
