"""Export: a hub becomes a folder, while it runs or while it is stopped.

1. Rows come from one read transaction, so they agree with each other; then every blob that they name is copied and
   hashed on the way. A blob that was collected between the two has no row in a second look: the rows are read again
   until nothing that they name is gone. Nothing is locked, and the hub goes on.
2. Blobs that are in the folder already are kept, so a cut export goes on, and a repeated one copies what is new.
   What the new rows no longer name is removed at the end.
3. `archive.json` goes first and comes last. Bytes are durable before it is there.
"""

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from customhouse import migrations
from customhouse.archive import (
    BLOB_TABLE,
    BLOBS,
    FILES,
    FORMAT,
    INDEX,
    ROWS,
    VERSION,
    Contents,
    Part,
    Progress,
    blobs_in,
    in_parallel,
    part_of,
)
from customhouse.archive.store import ArchiveStore
from customhouse.blobs import BlobMissing, BlobStore, DigestMismatch
from customhouse.blobs.choice import open_blobs
from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.errors import Conflict, Invalid
from customhouse.hub import master_key
from customhouse.oci.digest import Digest
from customhouse.settings import Settings
from customhouse.signing import Vault
from customhouse.wholefile import write_whole

LOOKS = 10  # each has only what was pushed and collected since the one before
_PIECE = 1024 * 1024
_HUB_FOLDERS = ("keys", "tls")


def export(
    settings: Settings, folder: Path, now: datetime, *, with_master_key: bool = False, damaged: bool = False,
    progress: Progress = lambda done, total: None,
) -> tuple[Contents, str]:
    """Write a hub to `folder`; returns what is in it, and the SHA-256 of its index, to be kept elsewhere.

    `damaged`: go on where a blob's bytes are gone or altered, and name it. Raises Conflict, Invalid, StorageFull.
    """
    if not (settings.data / "keys").is_dir():
        raise Invalid(f"{settings.data} is not the data of a hub", hint="Give the --data of `customhouse serve`.")
    if folder.exists() and any(folder.iterdir()) and not (folder / ROWS).is_dir():
        raise Conflict(f"{folder} is not empty, and no export", hint="Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / INDEX).unlink(missing_ok=True)
    database, source = Database(settings.database_url), open_blobs(settings.data / "blobs", settings)
    try:
        made = _Export(database, source, folder, damaged, progress)
        made.run()
        files = _files(settings, folder, with_master_key)
    finally:
        source.close()
        database.close()
    parts = [part_of(folder, folder / ROWS / f"{name}.jsonl") for name in made.rows]
    contents = Contents(
        FORMAT, VERSION, migrations.newest(), now.isoformat(), settings.url, settings.hub_name, made.rows,
        (*parts, *files), made.rows[BLOB_TABLE] - len(made.damaged), made.bytes, tuple(sorted(made.damaged)),
    )
    write_whole(folder / INDEX, contents.encode())
    return contents, part_of(folder, folder / INDEX).sha256


class _Export:
    def __init__(
        self, database: Database, source: BlobStore, folder: Path, damaged: bool, progress: Progress
    ) -> None:
        self._store, self._source, self._folder = ArchiveStore(database), source, folder
        self._go_on, self._progress = damaged, progress
        self._target = FileBlobs(folder / BLOBS)
        self.rows: dict[str, int] = {}
        self.damaged: set[Digest] = set()
        self.bytes = 0

    def run(self) -> None:
        for _ in range(LOOKS):
            self.rows = self._store.write_rows(self._folder)
            if self._copy_blobs():
                self._remove_unnamed()
                return
        raise Conflict("content was collected faster than it could be copied", hint="Run the export again.")

    def _copy_blobs(self) -> bool:
        """Every blob that the rows name; False where one is gone, and its row as well."""
        total = sum(size for _, size in blobs_in(self._folder))
        self.bytes, done, whole = 0, 0, True
        for digest, size, how in in_parallel(blobs_in(self._folder), self._copy):
            done += size
            self._progress(done, total)
            if how == "copied":
                self.bytes += size
            elif self._store.has_blob(digest):
                if not self._go_on:
                    raise Conflict(
                        f"the bytes of {digest} are {how}",
                        hint="`customhouse storage verify` names what it belongs to; --damaged leaves it out.",
                    )
                self.damaged.add(digest)
            else:
                whole = False
        return whole

    def _copy(self, item: tuple[Digest, int]) -> tuple[Digest, int, str]:
        digest, size = item
        if self._target.stat(digest) == size:
            return digest, size, "copied"
        upload = self._target.upload(f"{digest.algorithm}-{digest.hex[:56]}")
        try:
            with self._source.open(digest) as stream:
                stream.seek(upload.offset)  # a cut export goes on where it was; the hash is of the whole
                while piece := stream.read(_PIECE):
                    upload.write(piece)
            upload.commit(digest)
        except BlobMissing:
            upload.cancel()
            return digest, size, "gone"
        except DigestMismatch:
            upload.cancel()
            return digest, size, "altered"
        finally:
            upload.close()
        return digest, size, "copied"

    def _remove_unnamed(self) -> None:
        """Both lists are in order, so neither has to be held."""
        named = (digest for digest, _ in blobs_in(self._folder))
        wanted = next(named, None)
        for digest in _in_order(self._folder / BLOBS):
            while wanted is not None and wanted < digest:
                wanted = next(named, None)
            if digest != wanted:
                self._target.delete(Digest(digest))
        for left in (self._folder / BLOBS / "uploads").iterdir():
            left.unlink()


def _in_order(root: Path) -> Iterator[str]:
    for algorithm in ("sha256", "sha512"):
        for folder in sorted((root / algorithm).glob("??")):
            yield from (f"{algorithm}:{path.name}" for path in sorted(folder.iterdir()))


def _files(settings: Settings, folder: Path, with_master_key: bool) -> list[Part]:
    """Keys and certificates. A private key of TLS is in the clear where the hub keeps it, and sealed here."""
    vault, target = Vault(master_key(settings)), folder / FILES
    if target.exists():
        shutil.rmtree(target)
    for name in _HUB_FOLDERS:
        for path in sorted((settings.data / name).glob("*")):
            if path.suffix == ".new":
                continue
            content, written = path.read_bytes(), target / name / path.name
            if name == "tls" and path.suffix == ".key":
                content = vault.seal(content, f"archive:{name}/{path.name}")
                written = written.with_name(f"{path.name}.sealed")
            write_whole(written, content)
    if with_master_key:
        write_whole(target / "master-key", master_key(settings).hex().encode())
    return [part_of(folder, path) for path in sorted(target.rglob("*")) if path.is_file()]
