"""A whole hub as a folder: what is in it, and how rows are written down, alike for both databases.

1. `archive.json` is written last and names every other file with its size and SHA-256: a folder without it is no
   export. `rows/TABLE.jsonl` has one row a line, `blobs/` is laid out as a hub's own, `files/` has what the hub keeps
   beside its database.
2. Nothing secret is in the clear: keys are exported sealed as they are kept, the keys of TLS are sealed for the
   export, with the hub's master key. That key itself is left out unless somebody asks for it.
3. What lives only as long as a process (uploads under way, heartbeats, the engine's own tables) is left out, and
   what hosts share by the database and `files/` has already:
   submissions in progress are rows, and the hub that takes them over begins their work again.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest

FORMAT, VERSION = "customhouse-archive", 1
INDEX, ROWS, BLOBS, FILES = "archive.json", "rows", "blobs", "files"
BLOB_TABLE = "registry_blob"
THREADS = 4
Progress = Callable[[int, int], None]  # bytes done, of how many
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Part:
    """One file of an archive: its path in it, size and SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Contents:
    """What `archive.json` says. `damaged`: blobs that have a row, and no right bytes in the hub that was exported."""

    format: str
    version: int
    schema: str
    created: str
    url: str
    hub_name: str
    rows: dict[str, int]
    parts: tuple[Part, ...]
    blobs: int
    blob_bytes: int
    damaged: tuple[str, ...] = ()

    def encode(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def read(cls, folder: Path) -> "Contents":
        """Raises Invalid for what is no archive of this version."""
        path = folder / INDEX
        try:
            said = json.loads(path.read_bytes())
            if said["format"] != FORMAT or said["version"] != VERSION:
                raise Invalid(
                    f"{path} is {said['format']} {said['version']}, and this is {FORMAT} {VERSION}",
                    hint="Import it with the version of Customhouse that wrote it.",
                )
            parts = tuple(Part(**part) for part in said.pop("parts"))
            made = cls(**{**said, "parts": parts, "damaged": tuple(said["damaged"])})
        except FileNotFoundError:
            raise Invalid(f"{folder} is no finished export: it has no {INDEX}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise Invalid(f"{path} cannot be read: {error}") from None
        if any(Path(part.path).is_absolute() or ".." in Path(part.path).parts for part in made.parts):
            raise Invalid(f"{path} names files outside of the archive")
        return made


def blobs_in(folder: Path) -> Iterator[tuple[Digest, int]]:
    """(digest, size) of every blob that the archive's rows name, in order."""
    with (folder / ROWS / f"{BLOB_TABLE}.jsonl").open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            yield Digest.parse(row["digest"]), int(row["size"])


def part_of(folder: Path, path: Path) -> Part:
    """Size and hash of a file, read in pieces."""
    hasher, size = sha256(), 0
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            hasher.update(piece)
            size += len(piece)
    return Part(str(path.relative_to(folder)), size, hasher.hexdigest())


def in_parallel(items: Iterable[T], work: Callable[[T], R], threads: int = THREADS) -> Iterator[R]:
    """Results in order, a few items at work at a time: hashing and files leave the interpreter to the others."""
    waiting: list[Future[R]] = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 4 * threads:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for one in waiting:
                one.cancel()
