"""What may be collected: times and nothing else. The rows and locks are looked at by whoever acts on it.

1. Anything young is left alone: a push links its blobs one by one and names them in a manifest only at its end.
2. A blob that no manifest needs is shown for half of its grace only. Whoever finds it absent sends it again, and
   whoever found it present has the other half to send the manifest.
3. Rows go first, bytes after (R2). Bytes without a row are left alone for as long as an upload may take to write its
   row; after that they are what a crash left.
4. A clock that went back collects less, never more: what seems to come from the future is young.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

SHARDS = 256
ALL_SHARDS = range(SHARDS)
SHARD_EVERY = timedelta(minutes=5)  # all of them in 21 hours
_MOST_SHARDS = 8


@dataclass(frozen=True)
class Grace:
    """How long each kind of leftover is kept."""

    unused: timedelta = timedelta(hours=24)  # a blob that no manifest of its repository needs
    unlinked: timedelta = timedelta(hours=1)  # a blob that no repository holds any more
    orphan: timedelta = timedelta(hours=24)  # bytes without a row
    upload: timedelta = timedelta(hours=24)  # an upload that nobody goes on with
    subject: timedelta = timedelta(days=7)  # an untagged manifest whose subject does not come

    def __post_init__(self) -> None:
        if min(self.unused, self.unlinked, self.orphan, self.upload, self.subject) < timedelta(0):
            raise ValueError("a grace cannot be negative")

    def cut(self, now: datetime) -> "Cut":
        """What is older than these moments may go."""
        return Cut(
            now - self.unused, now - self.unlinked, now - self.orphan, now - self.upload, now - self.subject
        )

    def fading(self, loose_since: datetime | None, now: datetime) -> bool:
        """Is an unused blob too old to be shown?"""
        return loose_since is not None and loose_since < now - self.unused / 2


@dataclass(frozen=True)
class Cut:
    """The moments before which leftovers of each kind may be collected."""

    unused: datetime
    unlinked: datetime
    orphan: datetime
    upload: datetime
    subject: datetime


@dataclass(frozen=True)
class Swept:
    """How many of each kind were collected; `freed` in bytes of blobs. `more` is left where the time was over."""

    links: int = 0
    blobs: int = 0
    manifests: int = 0
    orphans: int = 0
    uploads: int = 0
    freed: int = field(default=0, compare=False)
    more: bool = field(default=False, compare=False)

    @property
    def total(self) -> int:
        return self.links + self.blobs + self.manifests + self.orphans + self.uploads

    def as_json(self) -> dict[str, int]:
        """Counts by kind, and the bytes of blobs that are free again."""
        return {
            "links": self.links, "manifests": self.manifests, "blobs": self.blobs, "orphans": self.orphans,
            "uploads": self.uploads, "bytes": self.freed,
        }  # fmt: skip


@dataclass(frozen=True)
class Breach:
    """An invariant of the registry that does not hold: its name in the design, where, and what is wrong."""

    invariant: str
    subject: str
    message: str


def due_shards(last: datetime | None, now: datetime) -> Sequence[int]:
    """The 256ths of the store in which to look for bytes without a row, where one looked last at `last`.

    The clock says which, so a hub that starts anew every hour comes round all the same.
    """
    began = datetime(2020, 1, 1, tzinfo=now.tzinfo)
    end = (now - began) // SHARD_EVERY + 1
    start = end - 2 if last is None else (last - began) // SHARD_EVERY + 1
    return [number % SHARDS for number in range(max(start, end - _MOST_SHARDS), end)]
