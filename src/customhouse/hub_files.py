"""Files that every host of a hub has alike: its keys, certificates and local authority, by way of the database.

1. Where hosts share a database (PostgreSQL), it holds what their folders hold: `alike` brings what a folder lacks, and
   gives what the database lacks. One host makes a file, the others take it; two that start at once make it once,
   because whoever shares holds a lock until its files are rows.
2. A file that differs from its row is refused: this host would sign, or be trusted, as another hub.
3. A secret that is bare in its file is sealed in its row. The master key never comes here: the operator carries it.
4. A row is never changed: a key that is rotated is another file (hub_keys.py).
5. The store of blobs bears the hub's mark, and a row says so: a hub that finds another's, or none where it left one,
   does not start. It would miss what others pushed, and sweep away what it does not know.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Column, Connection, LargeBinary, String, Table, func, insert, select

from customhouse.blobs import BlobStore
from customhouse.db import Database, UtcDateTime, metadata
from customhouse.errors import Conflict
from customhouse.signing import Vault
from customhouse.wholefile import write_whole

hub_file = Table(
    "hub_file",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("added", UtcDateTime, nullable=False),
)

LOCK = "hub-files"
MARKED = "blobs/owner"
BARE = frozenset({"tls/ca.key"})
_FILES = select(hub_file.c.name, hub_file.c.content).where(hub_file.c.name != MARKED).order_by(hub_file.c.name)
_SHARED = ("keys/*.sealed", "keys/*.crt", "keys/*.device", "tls/ca.crt", "tls/ca.key")


class OtherHubsFile(Conflict):
    """A file of this host is not what the database says that it is."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is not the one that this database's hub has",
            hint="This folder is another hub's, or a start was cut before its keys were used: move its keys/ and tls/ "
            "away, and start again.",
        )
        self.path = path


class OtherBlobs(Conflict):
    """What is set as the hub's blobs is something else."""

    def __init__(self, owner: str) -> None:
        super().__init__(
            "these are another hub's blobs" if owner else "the blobs of this hub are not here",
            hint="Give each hub a folder or a prefix of its own."
            if owner
            else "Mount the folder, or set the bucket, that holds them: every host of a hub has the same.",
        )
        self.owner = owner


class HubFiles:
    """The shared files of the hub in `folder`. On SQLite there is one host, and the folder is all."""

    def __init__(self, database: Database, folder: Path, clock: Callable[[], datetime]) -> None:
        self._database, self._folder, self._clock = database, folder, clock
        self._shared = database.dialect == "postgresql"
        self._seen = 0

    def any(self) -> bool:
        """Did a host of this hub begin already?"""
        return self._count() > 0

    def changed(self) -> bool:
        """Has another host made files since this one looked? One does when it rotates a key."""
        return self._count() != self._seen

    @contextmanager
    def alike(self, vault: Vault) -> Iterator[None]:
        """Before the block the folder has every file of the others; what the block makes, they get.

        Raises OtherHubsFile, and SealBroken where this host has another master key.
        """
        if not self._shared:
            yield
            return
        with self._database.write() as tx:
            self._database.lock(tx, LOCK)
            known = self._bring(tx, vault)
            yield
            for path in sorted(path for pattern in _SHARED for path in self._folder.glob(pattern)):
                name = str(path.relative_to(self._folder))
                if name not in known:
                    content = path.read_bytes()
                    sealed = vault.seal(content, _context(name)) if name in BARE else content
                    tx.execute(insert(hub_file).values(name=name, content=sealed, added=self._clock()))
                    known.add(name)
        self._seen = len(known)

    def same_blobs(self, blobs: BlobStore, hub: str) -> None:
        """Mark this store as that of the hub with this mark, once. Raises OtherBlobs."""
        with self._database.write() as tx:
            self._database.lock(tx, LOCK)
            marked = tx.execute(select(hub_file.c.content).where(hub_file.c.name == MARKED)).scalar() is not None
            owner = blobs.owner()
            if not (owner or marked):
                blobs.claim(hub)
            elif owner != hub:
                raise OtherBlobs(owner)
            if not marked:
                tx.execute(insert(hub_file).values(name=MARKED, content=hub.encode(), added=self._clock()))

    def _count(self) -> int:
        if not self._shared:
            return 0
        with self._database.read() as tx:
            return int(tx.execute(select(func.count()).where(hub_file.c.name != MARKED)).scalar_one())

    def _bring(self, tx: Connection, vault: Vault) -> set[str]:
        known = set()
        for name, content in tx.execute(_FILES):
            path = self._folder / name
            wanted = vault.unseal(content, _context(name)) if name in BARE else content
            if not path.exists():
                write_whole(path, wanted)
            elif path.read_bytes() != wanted:
                raise OtherHubsFile(path)
            known.add(name)
        return known


def host_id(folder: Path) -> str:
    """A random name of the host that has this folder; made at first use."""
    path = folder / "host-id"
    if not path.exists():
        write_whole(path, secrets.token_hex(6).encode())
    return path.read_text().strip()


def clear_spool(spool: Path, before: float) -> None:
    """Remove what was begun in a folder for uploads before a moment (seconds since 1970)."""
    for left in spool.glob("*"):
        if left.lstat().st_mtime < before:
            shutil.rmtree(left, ignore_errors=True)


def _context(name: str) -> str:
    return f"hub-file:{name}"
