"""The packages of rpm's database, and of the list that Microsoft's distroless images carry in its stead.

1. The database lies in one of three folders, in one of three forms (rpmdb.py); a reader takes it apart while its layer
   goes by, so that it is read once for every image on the same base, and its megabytes are not kept.
2. `version` is `[epoch:]version-release`, with the epoch only where it is not 0, as most of OSV writes it. The source
   package is told by SOURCERPM; it has the epoch of the binary, which rpm does not write there.
3. `properties`: `epoch`, `module` (MODULARITYLABEL: name:stream:version:context), `content_sets` (Red Hat's
   repositories that the image was built from, of `root/buildinfo`).
4. gpg-pubkey is a key that rpm trusts and no package.
5. A write-ahead log beside a sqlite database may hold newer rows. It cannot be read without the database, so a log that
   holds any is a problem: the list may be out of date.
6. `var/lib/rpmmanifest/container-manifest-2`: name, version-release, two times, vendor, (none), size, architecture,
   epoch, source, by tabulators.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from customhouse.catalogue.cataloguer import Cataloguer, Evidence, Key, Release
from customhouse.catalogue.package import (
    LARGEST_DATABASE,
    LONGEST_NAME,
    LONGEST_VERSION,
    MOST_PACKAGES,
    Package,
    acceptable,
    plain,
    purl,
)
from customhouse.catalogue.rpmdb import BrokenDatabase, headers
from customhouse.catalogue.rpmheader import BrokenHeader, Header, parse_header
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

FOLDERS = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
DATABASES = tuple(f"{folder}/{name}" for folder in FOLDERS for name in ("rpmdb.sqlite", "Packages.db", "Packages"))
LOGS = tuple(f"{folder}/rpmdb.sqlite-wal" for folder in FOLDERS)
MANIFEST = "var/lib/rpmmanifest/container-manifest-2"
CONTENT_SETS = ("root/buildinfo/content_manifests/*.json", "usr/share/buildinfo/content-sets.json")
WANTS = (*LOGS, MANIFEST, *CONTENT_SETS)
LARGEST = 192 << 20
_PUBLIC_KEY = "gpg-pubkey"
_EPOCH = re.compile("[0-9]{1,10}")
_DATABASES = frozenset(DATABASES)


@dataclass(frozen=True)
class RpmReader:
    """Facts: an object a package (`Header` with its files by folder), or `problem` with a sentence."""

    name: str = "rpm"
    version: int = 1
    limit: int = LARGEST

    def wants(self, file: FileEntry) -> bool:
        return file.path in _DATABASES

    def read(self, path: str, body: bytes) -> Iterable[JSON]:
        problems = 0
        try:
            for row in headers(body):
                try:
                    header = parse_header(row) if isinstance(row, bytes) else None
                except BrokenHeader:
                    header = None
                if header is None:
                    problems += 1
                elif header.name != _PUBLIC_KEY:
                    yield _fact(header)
        except BrokenDatabase as error:
            yield {"problem": str(error)}
        if problems:
            yield {"problem": f"{problems} packages in it cannot be read"}


READER = RpmReader()


@dataclass(frozen=True)
class Installed:
    """One package, from a header or from a line of the manifest."""

    name: str
    version: str
    release: str
    epoch: int | None
    architecture: str
    source_rpm: str
    vendor: str = ""
    license: str = ""
    module: str = ""
    files: tuple[str, ...] = ()

    @property
    def full_version(self) -> str:
        own = f"{self.version}-{self.release}" if self.release else self.version
        return f"{self.epoch}:{own}" if self.epoch else own

    @property
    def key(self) -> Key:
        return self.name, self.full_version, self.architecture

    def source(self) -> tuple[str, str]:
        """(name, version) of the source package; its own where SOURCERPM does not say."""
        stem = self.source_rpm.removesuffix(".rpm").removesuffix(".src").removesuffix(".nosrc")
        parts = stem.rsplit("-", 2)
        if stem == self.source_rpm or len(parts) != 3 or not all(parts):
            return self.name, self.full_version
        version = f"{parts[1]}-{parts[2]}"
        return parts[0], f"{self.epoch}:{version}" if self.epoch else version


def parse_manifest(raw: bytes) -> tuple[list[Installed], list[str]]:
    """The packages of a container manifest, and what in it could not be read."""
    problems: list[str] = []
    if len(raw) > LARGEST_DATABASE:
        raw = raw[:LARGEST_DATABASE]
        problems.append(f"is larger than {LARGEST_DATABASE} bytes; the rest was not read")
    found: list[Installed] = []
    broken = 0
    for line in raw.decode("utf-8", "backslashreplace").split("\n"):
        if not line.strip():
            continue
        if len(found) + broken >= MOST_PACKAGES:
            problems.append(f"lists more than {MOST_PACKAGES} packages; the rest was not read")
            break
        columns = line.rstrip("\r").split("\t")
        package = _manifest_line(columns) if len(columns) >= 10 else None
        if package is None:
            broken += 1
        elif package.name != _PUBLIC_KEY:
            found.append(package)
    if broken:
        problems.append(f"{broken} lines name no package with a version")
    return found, problems


def unsaved(log: bytes) -> bool:
    """Does a write-ahead log hold a transaction? https://www.sqlite.org/fileformat2.html#walformat"""
    if len(log) < 32 or log[:4] not in (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"):
        return False
    size = int.from_bytes(log[8:12], "big")
    if not 512 <= size <= 65536:
        return True  # not to be understood is not to be empty
    starts = range(32, len(log) - 23 - size, 24 + size)
    return any(log[at + 8 : at + 16] == log[16:24] and log[at + 4 : at + 8] != b"\0\0\0\0" for at in starts)


def _packages(evidence: Evidence) -> Iterator[Package]:
    facts = {entry.path: found for entry, found in evidence.facts(READER)}
    unread = {entry.path for entry, _ in evidence.image.unread(READER.name)}
    sets = _content_sets(evidence)
    seen: set[str] = set()
    for path in DATABASES:
        real = evidence.fs.resolve(path)
        if real is None or real in seen or real in unread:
            continue
        seen.add(real)
        if real not in facts:
            evidence.problem(path, "is an rpm database that was not read: it lies behind a link, or is empty")
            continue
        listed = [_installed(fact) for fact in facts[real] if isinstance(fact, dict) and "name" in fact]
        for fact in facts[real]:
            if isinstance(fact, dict) and "problem" in fact:
                evidence.problem(path, str(fact["problem"]))
        layers = _first_layers(evidence, real)
        yield from _described(evidence, listed, path, layers, sets)
    for path in LOGS:
        log = evidence.read(path)
        if log and unsaved(log):
            why = "holds changes that are not in the database: the list of packages may be out of date"
            evidence.problem(path, why)
    raw = evidence.read(MANIFEST)
    if raw:
        listed = evidence.parsed(MANIFEST, raw, parse_manifest)
        layers = evidence.first_layers(MANIFEST, lambda r: (package.key for package in parse_manifest(r)[0]))
        yield from _described(evidence, listed, MANIFEST, layers, sets)


def _described(
    evidence: Evidence, listed: list[Installed], path: str, layers: dict[Key, int], sets: str
) -> Iterator[Package]:
    if not listed:
        return
    release = evidence.release("rpm", path)
    for package in listed:
        yield _package(package, release, path, layers.get(package.key, 0), sets)


def _package(installed: Installed, release: Release, path: str, layer: int, sets: str) -> Package:
    epoch = "" if installed.epoch is None else str(installed.epoch)
    own = f"{installed.version}-{installed.release}" if installed.release else installed.version
    qualifiers = {
        "arch": installed.architecture, "epoch": epoch, "upstream": installed.source_rpm, "distro": release.tag,
    }  # fmt: skip
    source_name, source_version = installed.source()
    properties = {"epoch": epoch, "module": installed.module, "content_sets": sets}
    return Package(
        ecosystem=release.ecosystem,
        name=installed.name,
        version=installed.full_version,
        source_name=source_name,
        source_version=source_version,
        purl=purl("rpm", release.namespace, installed.name, own, qualifiers),
        path=path,
        layer=layer,
        architecture=installed.architecture,
        kind="os",
        licenses=(installed.license,) if installed.license else (),
        supplier=installed.vendor,
        files=installed.files,
        properties={key: value for key, value in properties.items() if value},
    )


def _first_layers(evidence: Evidence, real: str) -> dict[Key, int]:
    first: dict[Key, int] = {}
    for layer, path, found in evidence.image.layer_facts(READER.name):
        if path == real:
            for fact in found:
                if isinstance(fact, dict) and "name" in fact:
                    first.setdefault(_installed(fact, files=False).key, layer)
    return first


def _fact(header: Header) -> JSON:
    return {
        "name": header.name, "version": header.version, "release": header.release, "epoch": header.epoch,
        "architecture": header.architecture, "source": header.source_rpm, "vendor": header.vendor,
        "license": header.license, "module": header.module,
        "files": [[folder, list(names)] for folder, names in header.files],
    }  # fmt: skip


def _installed(fact: dict[str, JSON], *, files: bool = True) -> Installed:
    def text(key: str) -> str:
        value = fact.get(key)
        return value if isinstance(value, str) else ""

    epoch = fact.get("epoch")
    return Installed(
        name=text("name"),
        version=text("version"),
        release=text("release"),
        epoch=epoch if isinstance(epoch, int) else None,
        architecture=text("architecture"),
        source_rpm=text("source"),
        vendor=text("vendor"),
        license=text("license"),
        module=text("module"),
        files=tuple(_paths(fact.get("files"))) if files else (),
    )


def _paths(folders: JSON) -> Iterator[str]:
    for pair in folders if isinstance(folders, list) else ():
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], list):
            for name in pair[1]:
                yield f"{pair[0]}/{name}" if pair[0] else str(name)


def _manifest_line(columns: list[str]) -> Installed | None:
    name, (version, _, release) = columns[0], columns[1].rpartition("-")
    known = acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION)
    if not known or not acceptable(release, LONGEST_VERSION):
        return None
    return Installed(
        name=name,
        version=version,
        release=release,
        epoch=int(columns[8]) if _EPOCH.fullmatch(columns[8]) else None,
        architecture=columns[7] if acceptable(columns[7], 32) else "",
        source_rpm=columns[9] if acceptable(columns[9], LONGEST_NAME + LONGEST_VERSION) else "",
        vendor=plain(columns[4]),
    )


def _content_sets(evidence: Evidence) -> str:
    found: set[str] = set()
    for pattern in CONTENT_SETS:
        for entry in evidence.fs.glob(pattern):
            raw = evidence.read(entry.path)
            try:
                document = msgspec.json.decode(raw) if raw else None
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                evidence.problem(entry.path, "is no JSON")
                continue
            sets = document.get("content_sets") if isinstance(document, dict) else None
            names = sets if isinstance(sets, list) else []
            found.update(name for name in names[:200] if isinstance(name, str) and acceptable(name, LONGEST_NAME))
    return " ".join(sorted(found))


CATALOGUER = Cataloguer("rpm", _packages, WANTS, (READER,))
