"""What may be collected: times and nothing else. The rows and locks are looked at by whoever acts on it.

1. Anything young is left alone: a push links its blobs one by one and names them in a manifest only at its end.
2. Rows go first, bytes after (R2). Bytes without a row are left alone for as long as an upload may take to write its
   row; after that they are what a crash left.
3. A clock that went back collects less, never more: what seems to come from the future is young.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Grace:
    """How long each kind of leftover is kept."""

    unused: timedelta = timedelta(hours=24)  # a blob that no manifest of its repository needs
    unlinked: timedelta = timedelta(hours=1)  # a blob that no repository holds any more
    orphan: timedelta = timedelta(hours=24)  # bytes without a row
    upload: timedelta = timedelta(hours=24)  # an upload that nobody goes on with

    def __post_init__(self) -> None:
        if min(self.unused, self.unlinked, self.orphan, self.upload) < timedelta(0):
            raise ValueError("a grace cannot be negative")

    def cut(self, now: datetime) -> "Cut":
        """What is older than these moments may go."""
        return Cut(now - self.unused, now - self.unlinked, now - self.orphan, now - self.upload)


@dataclass(frozen=True)
class Cut:
    """The moments before which leftovers of each kind may be collected."""

    unused: datetime
    unlinked: datetime
    orphan: datetime
    upload: datetime


@dataclass(frozen=True)
class Swept:
    """How many of each kind were collected."""

    links: int = 0
    blobs: int = 0
    manifests: int = 0
    orphans: int = 0
    uploads: int = 0

    @property
    def total(self) -> int:
        return self.links + self.blobs + self.manifests + self.orphans + self.uploads


@dataclass(frozen=True)
class Breach:
    """An invariant of the registry that does not hold: its name in the design, where, and what is wrong."""

    invariant: str
    subject: str
    message: str
