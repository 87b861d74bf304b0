"""Advisory files: an OSV dump (`all.zip`, or a folder of records), one record, CISA's KEV list, an EPSS table, VEX
documents (OpenVEX, CSAF); plain or .gz.

1. What a file is, is told by its first bytes and its content, not by its name.
2. A record that cannot be used is reported as `Refused`; only a file that cannot be read at all raises.
3. Archives are read member by member under budgets on members, bytes and ratio; sizes that an archive states about
   itself are not believed. Nothing is unpacked to disk, archives inside archives are not opened.
4. Only a dump says that an ecosystem is known as a whole, and only for the ecosystems it is a dump of (`Tally`).
"""

import gzip
import struct
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from customhouse.advisories import csaf, epss, kev, openvex, osv
from customhouse.advisories.osv import Advisory, InvalidRecord
from customhouse.advisories.vex import InvalidVex, VexDocument
from customhouse.errors import Invalid, TooLarge

T = TypeVar("T")

MIB = 1 << 20
MODIFIED = "modified_id.csv"  # what a mirror says of its records; no record itself
CLOCK_SKEW = timedelta(days=1)
MOST_REFUSED = 0.05
FORM = b"2:"  # of what is kept of a record


@dataclass(frozen=True)
class FeedBudget:
    """How much one import may be. Sizes in bytes, unpacked."""

    members: int = 2_000_000
    directory: int = 512 * MIB
    total: int = 64 * 1024 * MIB
    record: int = osv.LARGEST_RECORD
    document: int = 256 * MIB
    ratio: int = 200
    depth: int = 8


class FeedUnreadable(Invalid):
    """This is no file of advisories that we can read."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"{name} {why}",
            hint="Give an OSV all.zip, a folder of records, one record, the KEV list, an EPSS table, or VEX.",
        )


class FeedTooLarge(TooLarge):
    """The file passes a limit on what one import may be."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} {why}", hint="Import the dumps of the ecosystems you need, one by one.")


@dataclass(frozen=True)
class Record:
    """One usable advisory; `content` is the SHA-256 of its bytes, and `dump` whether it came in a whole dump."""

    advisory: Advisory
    content: str
    dump: str


@dataclass(frozen=True)
class Refused:
    """One record that could not be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Vex:
    """One VEX document; `digest` is of its bytes."""

    document: VexDocument
    digest: str


Item = Record | Refused | kev.KevCatalog | epss.EpssTable | Vex


def read_feed(path: Path, name: str = "", budget: FeedBudget | None = None) -> Iterator[Item]:
    """Everything in a file or folder, in a stable order. Raises FeedUnreadable, FeedTooLarge."""
    limits = budget or FeedBudget()
    name = name or path.name
    if path.is_dir():
        yield from _folder(path, name, limits, limits.depth)
    elif path.is_file():
        with path.open("rb") as stream:
            yield from read_stream(stream, name, limits)
    else:
        raise FeedUnreadable(name, "is not there")


def read_stream(stream: BinaryIO, name: str, budget: FeedBudget) -> Iterator[Item]:
    """Everything in one open file, which must be seekable."""
    head = stream.read(4)
    stream.seek(0)
    if head.startswith(b"PK"):
        yield from _archive(stream, name, budget)
        return
    raw = _bounded_gunzip(stream, name, budget) if head.startswith(b"\x1f\x8b") else stream.read(budget.document + 1)
    if len(raw) > budget.document:
        raise FeedTooLarge(name, f"is larger than {budget.document} bytes")
    if epss.is_table(raw[:64]):
        try:
            yield epss.parse(raw)
        except epss.InvalidScores as error:
            raise FeedUnreadable(name, f"looks like an EPSS table but {error}") from error
        return
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FeedUnreadable(name, "is neither an archive nor JSON nor an EPSS table") from error
    yield from _documents(document, name, raw)


def in_batches(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """The items in order, `size` at a time."""
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch


@dataclass
class Tally:
    """What an import brought, counted while it is read."""

    records: int = 0
    withdrawn: int = 0
    flawed: int = 0
    refused: int = 0
    examples: list[Refused] = field(default_factory=list)
    ecosystems: Counter[str] = field(default_factory=Counter)
    ids: dict[str, set[str]] = field(default_factory=dict)
    _dumps: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    _newest: dict[str, datetime] = field(default_factory=dict)

    def refuse(self, item: Refused) -> None:
        self.refused += 1
        if len(self.examples) < 50:
            self.examples.append(item)

    def add(self, record: Record, now: datetime) -> None:
        advisory = record.advisory
        self.records += 1
        self.withdrawn += advisory.withdrawn is not None
        self.flawed += bool(advisory.flaws)
        names = {entry.ecosystem for entry in advisory.affected}
        families = {name.split(":")[0] for name in names}
        for name in names:
            self.ecosystems[name] += 1
            if advisory.modified <= now + CLOCK_SKEW:  # a record from the future proves nothing about freshness
                self._newest[name] = max(self._newest.get(name, advisory.modified), advisory.modified)
        if record.dump:
            self.ids.setdefault(record.dump, set()).add(advisory.id)
            counts = self._dumps.setdefault(record.dump, defaultdict(lambda: [0, 0]))
            for family in families:
                counts[family][0] += 1
                counts[family][1] += len(families) == 1

    def newest(self, ecosystem: str) -> datetime | None:
        """The time of the newest record about this ecosystem."""
        return self._newest.get(ecosystem)

    def families(self) -> dict[str, set[str]]:
        """By dump, the families of ecosystems of which it is one."""
        if self.refused > MOST_REFUSED * (self.records + self.refused):
            return {}
        return {
            dump: {family for family, (seen, alone) in counts.items() if alone * 2 >= seen}
            for dump, counts in self._dumps.items()
        }

    def whole(self) -> dict[str, datetime | None]:
        """Ecosystems of which this import is a dump, with their newest record.

        Dumps of one ecosystem hold a few records that concern others too, and must not stand for those: at least
        half of a family's records have to be about that family alone. Too many refused records, and it is no dump.
        """
        families = {family for found in self.families().values() for family in found}
        return {name: self._newest.get(name) for name in self.ecosystems if name.split(":")[0] in families}


def content_of(raw: bytes) -> str:
    """What a record's bytes are known by; another FORM, and each record counts as changed at the next import."""
    return sha256(FORM + raw).hexdigest()


def is_vex(document: object) -> bool:
    return openvex.is_document(document) or csaf.is_document(document)


def vex_of(document: object, raw: bytes) -> Vex:
    """A VEX document in whichever form it has. Raises InvalidVex."""
    read = openvex.from_document if openvex.is_document(document) else csaf.from_document
    return Vex(read(document), f"sha256:{sha256(raw).hexdigest()}")


def lineage(dump: str) -> int:
    """The name of a dump as a number above 0: a later dump of the same name takes the place of this one."""
    return int.from_bytes(sha256(dump.replace("/", "-").encode()).digest()[:4], "big") >> 1 | 1


def _documents(document: Any, name: str, raw: bytes) -> Iterator[Item]:
    if kev.is_catalog(document):
        try:
            yield kev.from_document(document)
        except kev.InvalidCatalog as error:
            raise FeedUnreadable(name, f"looks like the KEV list but {error}") from error
    elif is_vex(document):
        try:
            yield vex_of(document, raw)
        except InvalidVex as error:
            raise FeedUnreadable(name, f"looks like a VEX document but {error}") from error
    elif isinstance(document, list):
        for position, each in enumerate(document, start=1):
            yield _record(each, f"{name}#{position}", msgspec.json.encode(each, order="sorted"), "")
    else:
        yield _record(document, name, raw, "")


def _record(document: object, name: str, raw: bytes, dump: str) -> Record | Refused:
    try:
        return Record(osv.from_document(document), content_of(raw), dump)
    except InvalidRecord as error:
        return Refused(name, str(error))


def member(raw: bytes, name: str, dump: str, budget: FeedBudget | None = None) -> Item:
    """One file of a dump or mirror."""
    budget = budget or FeedBudget()
    if len(raw) > budget.record:
        return Refused(name, f"is larger than {budget.record} bytes")
    try:
        document = msgspec.json.decode(raw)
        if kev.is_catalog(document):
            return kev.from_document(document)
        if is_vex(document):
            return vex_of(document, raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Refused(name, "is no JSON")
    except (kev.InvalidCatalog, InvalidVex) as error:
        return Refused(name, str(error))
    return _record(document, name, raw, dump)


def _folder(folder: Path, name: str, budget: FeedBudget, depth: int) -> Iterator[Item]:
    if depth == 0:
        raise FeedTooLarge(name, f"has folders more than {budget.depth} deep")
    for path in sorted(folder.iterdir()):
        inner = f"{name}/{path.name}"
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from _folder(path, inner, budget, depth - 1)
        elif path.suffix in (".zip", ".gz") or path.suffix == ".csv" and path.name != MODIFIED:
            try:
                with path.open("rb") as stream:
                    yield from read_stream(stream, inner, budget)
            except FeedUnreadable as error:  # one broken file in a folder does not cost the others
                yield Refused(inner, error.message.removeprefix(inner).strip())
        elif path.suffix == ".json":
            with path.open("rb") as stream:
                raw = stream.read(budget.record + 1)
            yield member(raw, inner, name, budget)


def _archive(stream: BinaryIO, name: str, budget: FeedBudget) -> Iterator[Item]:
    members, directory = _stated_size(stream)
    if members > budget.members or directory > budget.directory:
        raise FeedTooLarge(name, f"has more than {budget.members} members")
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, ValueError, OSError, UnicodeDecodeError, NotImplementedError) as error:
        raise FeedUnreadable(name, "is a broken archive") from error
    left = budget.total
    with archive:
        for info in archive.infolist():
            if info.is_dir() or not info.filename.endswith(".json"):
                continue
            inner = f"{name}/{info.filename[:200]}"
            limit = min(budget.record, max(info.compress_size * budget.ratio, MIB))
            try:
                with archive.open(info) as content:
                    raw = content.read(limit + 1)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
                yield Refused(inner, f"cannot be unpacked ({type(error).__name__})")
                continue
            left -= len(raw)
            if left < 0:
                raise FeedTooLarge(name, f"unpacks to more than {budget.total} bytes")
            if len(raw) > limit:
                yield Refused(inner, f"unpacks to more than {limit} bytes")
                continue
            yield member(raw, inner, name, budget)


def _stated_size(stream: BinaryIO) -> tuple[int, int]:
    """(members, bytes of the directory) as the end record says, read before the directory is loaded into memory."""
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(max(0, size - 65_557))
    tail = stream.read()
    stream.seek(0)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        return 0, 0  # no end record: zipfile refuses it
    members, directory = struct.unpack_from("<HI", tail, at + 10)
    wide = tail.rfind(b"PK\x06\x06", 0, at)
    if wide >= 0 and len(tail) >= wide + 56:
        members, directory = struct.unpack_from("<QQ", tail, wide + 32)
    return members, directory


def _bounded_gunzip(stream: BinaryIO, name: str, budget: FeedBudget) -> bytes:
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return unpacked.read(budget.document + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FeedUnreadable(name, "is a broken gzip file") from error
