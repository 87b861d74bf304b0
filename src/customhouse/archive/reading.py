"""Import: a folder becomes a hub, with whatever database and blob store its settings name.

1. Only into a place where there is no hub. A mark in the data directory says that an import is under way, so that a
   cut one can be run again; it goes when all is there.
2. Every part is compared with its hash before anything is written; blobs are hashed while they are copied.
3. Bytes before rows; all rows in one transaction. A hub does not start on a half-done import.
"""

from pathlib import Path

from customhouse import migrations
from customhouse.archive import (
    BLOBS,
    FILES,
    INDEX,
    Contents,
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
from customhouse.hub import IMPORTING, hold_data
from customhouse.oci.digest import Digest
from customhouse.settings import Settings
from customhouse.signing import SealBroken, Vault
from customhouse.wholefile import write_whole

_PIECE = 1024 * 1024


def take_in(
    settings: Settings, folder: Path, *, key_file: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Contents:
    """Make the hub that `folder` holds. `key_file` has the master key, where the export has none.

    Raises Invalid for an archive that is altered or of another version, Conflict where a hub is already.
    """
    contents = Contents.read(folder)
    if contents.schema != migrations.newest():
        raise Invalid(
            f"the export has the schema {contents.schema}, and this is {migrations.newest()}",
            hint="Import it with the version of Customhouse that wrote it, and upgrade then.",
        )
    for part in contents.parts:
        path = folder / part.path
        if not path.is_file() or part_of(folder, path) != part:
            raise Invalid(f"{path} is not the file that was exported", hint="Fetch the export again from its source.")
    key = _key(settings, folder, key_file)
    held = hold_data(settings.data)
    database, blobs = Database(settings.database_url), open_blobs(settings.data / "blobs", settings)
    try:
        mark = settings.data / IMPORTING
        _require_empty(settings, database, blobs, mark, part_of(folder, folder / INDEX).sha256)
        migrations.upgrade(database)
        _copy_blobs(folder, blobs, set(contents.damaged), progress)
        _write_files(settings, folder, contents, key)
        ArchiveStore(database).read_rows(folder, contents.rows)
        mark.unlink()
    finally:
        blobs.close()
        database.close()
        held.close()
    return contents


def _key(settings: Settings, folder: Path, key_file: Path | None) -> bytes:
    """The master key: it must open what the export has sealed."""
    own = settings.master_key_file or settings.data / "master-key"
    places = [path for path in (key_file, folder / FILES / "master-key", own) if path is not None and path.exists()]
    if not places:
        raise Invalid(
            "the export does not hold the master key, and without it no key of the hub opens",
            hint="Give the file `master-key` of the old hub's data: --master-key-file FILE.",
        )
    try:
        key = bytes.fromhex(places[0].read_text().strip())
        Vault(key).unseal((folder / FILES / "keys" / "token.sealed").read_bytes(), "hub-key:token")
    except (ValueError, FileNotFoundError, SealBroken):
        raise Invalid(
            f"{places[0]} does not hold the master key of this hub", hint="It holds 64 hexadecimal digits."
        ) from None
    return key


def _require_empty(settings: Settings, database: Database, blobs: BlobStore, mark: Path, index: str) -> None:
    if mark.exists():
        if mark.read_text() != index:
            raise Conflict(f"another export was begun to be imported into {settings.data}", hint="Take an empty one.")
        return
    kept = (settings.data / "keys").exists() or next(iter(blobs.digests()), None) is not None
    if kept or ArchiveStore(database).filled():
        raise Conflict("there is a hub already", hint="Import into empty data, database and blob store.")
    write_whole(mark, index.encode())


def _copy_blobs(folder: Path, blobs: BlobStore, damaged: set[str], progress: Progress) -> None:
    source = FileBlobs(folder / BLOBS)
    total, done = sum(size for _, size in blobs_in(folder)), 0

    def copy(item: tuple[Digest, int]) -> int:
        digest, size = item
        if digest in damaged or blobs.stat(digest) == size:
            return size
        upload = blobs.upload(f"{digest.algorithm}-{digest.hex[:56]}")
        try:
            with source.open(digest) as stream:
                stream.seek(upload.offset)
                while piece := stream.read(_PIECE):
                    upload.write(piece)
            upload.commit(digest)
        except (BlobMissing, DigestMismatch) as error:
            upload.cancel()
            raise Invalid(
                f"the export is not whole: {error.message}", hint="Fetch the export again from its source."
            ) from None
        finally:
            upload.close()
        return size

    for size in in_parallel(blobs_in(folder), copy):
        done += size
        progress(done, total)


def _write_files(settings: Settings, folder: Path, contents: Contents, key: bytes) -> None:
    vault = Vault(key)
    for part in contents.parts:
        path = Path(part.path)
        if path.parts[0] != FILES or len(path.parts) != 3:
            continue
        content, target = (folder / path).read_bytes(), settings.data.joinpath(*path.parts[1:])
        if path.parts[1] == "tls" and path.suffix == ".sealed":
            target = target.with_suffix("")
            content = vault.unseal(content, f"archive:tls/{target.name}")
        write_whole(target, content, 0o644 if target.suffix == ".crt" else 0o600)
    if settings.master_key_file is None:
        write_whole(settings.data / "master-key", key.hex().encode())
