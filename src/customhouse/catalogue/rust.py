"""Programs built by `cargo auditable`: the crates that it wrote into the section `.dep-v0`, JSON packed by zlib.

1. https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md A crate of kind `build` took part in the
   build only and is not in the program.
2. The program's own crate is listed too (`properties`: `main`); so is one that came from a folder or from git
   (`source`), under its name.
3. A section that cannot be unpacked within the budget is a problem: something is there and we cannot say what.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.elf import LARGEST_PROGRAM, MAGIC, huge_library, parse_elf
from customhouse.catalogue.package import LONGEST_NAME, LONGEST_VERSION, Package, acceptable, purl
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

ECOSYSTEM = "crates.io"
SECTION = ".dep-v0"
LARGEST_LIST = 8 << 20
MOST_CRATES = 9_000


class BrokenList(Exception):
    """The list of crates in a program cannot be read."""


def crates(body: bytes) -> list[tuple[str, str, str, bool]]:
    """(name, version, source, is it the program's own) of each crate in a program; none if there is no list.
    Raises BrokenList."""
    elf = parse_elf(body)
    place = elf.section(SECTION) if elf is not None else None
    if place is None:
        return []
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(body[place[0] : place[0] + place[1]], LARGEST_LIST)
        if not unpacker.eof:
            raise BrokenList("holds a list of crates that is cut off or too large")
        document = msgspec.json.decode(raw)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenList("holds a list of crates that cannot be unpacked") from error
    listed = document.get("packages") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MOST_CRATES:
        raise BrokenList("holds a list of crates without crates, or with too many")
    found = []
    for each in listed:
        name, version = (each.get("name"), each.get("version")) if isinstance(each, dict) else (None, None)
        if not (isinstance(name, str) and isinstance(version, str)):
            raise BrokenList("lists a crate without a name or a version")
        if not (acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION)):
            raise BrokenList("lists a crate without a name or a version")
        if each.get("kind") != "build":
            source = each.get("source")
            found.append((name, version, source if isinstance(source, str) else "", each.get("root") is True))
    return found


@dataclass(frozen=True)
class RustReader:
    """Facts: [name, version, source, own] a crate, or `problem` with a sentence."""

    name: str = "rust"
    version: int = 2
    limit: int = LARGEST_PROGRAM

    def wants(self, file: FileEntry) -> bool:
        return file.head.startswith(MAGIC) and file.size > 4096 and not huge_library(file)

    def read(self, path: str, body: bytes) -> Iterable[JSON]:
        try:
            found = crates(body)
        except BrokenList as error:
            yield {"problem": str(error)}
            return
        for name, version, source, own in found:
            yield [name, version, source[:32], own]


READER = RustReader()


def _packages(evidence: Evidence) -> Iterator[Package]:
    for entry, facts in evidence.facts(READER):
        for fact in facts:
            if isinstance(fact, dict):
                evidence.problem(entry.path, str(fact.get("problem")))
            elif isinstance(fact, list) and len(fact) == 4:
                name, version, source = str(fact[0]), str(fact[1]), str(fact[2])
                url = purl("cargo", None, name, version, {})
                said = {"source": source, "main": "true" if fact[3] else ""}
                properties = {key: value for key, value in said.items() if value}
                yield Package(
                    ECOSYSTEM, name, version, name, version, url, entry.path, entry.layer, properties=properties
                )


CATALOGUER = Cataloguer("rust", _packages, (), (READER,))
