"""Programs built by Go: the modules that the linker wrote into them. https://pkg.go.dev/debug/buildinfo

1. The section `.go.buildinfo` (or, without sections, its sixteen-byte-aligned magic in the file) holds Go's version and
   a text of lines: `path`, `mod`, `dep`, `=>` (a replacement of the line before) and `build` (settings).
2. A replaced module is listed as what replaced it; a replacement by a folder keeps the original's name and version.
3. The main module is often `(devel)`: its version is then that of an `-X …version=` flag of the linker, if one is there
   and looks like a version; else it stays `(devel)`, which nothing may be matched with.
4. Go's own library is the package `stdlib`; the toolchain's programs (`cmd/…`) are the package `toolchain`.
5. `properties`: `main` (this is the program's own module), `version_from` ("ldflags"), `replaces`, `package` (the
   import path of main), `go`.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.elf import LARGEST_PROGRAM, Elf, huge_library, parse_elf
from customhouse.catalogue.elf import MAGIC as ELF_MAGIC
from customhouse.catalogue.package import LONGEST_NAME, LONGEST_VERSION, Package, acceptable, purl
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

ECOSYSTEM = "Go"
DEVEL = "(devel)"
MAGIC = b"\xff Go buildinf:"
SECTION = ".go.buildinfo"
SENTINEL = 16
LARGEST_TEXT = 4 << 20
MOST_MODULES = 9_000
MOST_FLAGS = 1_000
LONGEST_PATH = 1_024
_GO_VERSION = re.compile(r"go([0-9]{1,4}(?:\.[0-9]{1,4}){1,2}(?:(?:rc|beta|alpha)[0-9]{1,4})?)(?![0-9.])")
_SET_VERSION = re.compile(
    r"[A-Za-z0-9_./~-]{0,300}[./][A-Za-z_]{0,40}[vV]er(?:sion)?=['\"]?(v?[0-9]+\.[0-9]+(?:\.[0-9]+)?[-+.A-Za-z0-9]{0,64})['\"]?"
)


@dataclass(frozen=True)
class Module:
    """One line `mod` or `dep`, with its replacement applied; `replaces` is what stood there before."""

    path: str
    version: str
    replaces: str = ""


@dataclass(frozen=True)
class BuildInfo:
    go: str
    package: str
    main: Module | None
    dependencies: tuple[Module, ...]
    flags: str = ""


def build_info(body: bytes) -> BuildInfo | None:
    """What the linker wrote, or None: not made by Go, or without it."""
    elf = parse_elf(body)
    if elf is None:
        return None
    place = elf.section(SECTION)
    if place is not None:
        offset, size = place
        if size < 32 or body[offset : offset + len(MAGIC)] != MAGIC:
            return None
    elif elf.table[2]:
        return None
    else:
        offset = body.find(MAGIC)
        while offset >= 0 and offset % 16:
            offset = body.find(MAGIC, offset + 1)
        if offset < 0:
            return None
    version, text = _inline(body, offset) if body[offset + 15] & 2 else _pointed(body, offset, elf)
    if not version.startswith(b"go") and not version.startswith(b"devel"):
        return None
    if len(text) > 2 * SENTINEL and text[-SENTINEL - 1 : -SENTINEL] == b"\n":
        text = text[SENTINEL:-SENTINEL]
    return _parsed(version.decode("utf-8", "replace")[:LONGEST_VERSION], text)


def _inline(body: bytes, offset: int) -> tuple[bytes, bytes]:
    """Go ≥ 1.18: two texts, each behind its length."""
    version, at = _counted(body, offset + 32)
    text, _ = _counted(body, at)
    return version, text


def _counted(body: bytes, at: int) -> tuple[bytes, int]:
    length = shift = 0
    while at < len(body) and shift < 35:
        byte = body[at]
        at += 1
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if length > LARGEST_TEXT or at + length > len(body):
        return b"", len(body)
    return body[at : at + length], at + length


def _pointed(body: bytes, offset: int, elf: Elf) -> tuple[bytes, bytes]:
    """Before Go 1.18: two addresses of texts, which are an address and a length."""
    width = body[offset + 14]
    if width not in (4, 8):
        return b"", b""
    order: Literal["big", "little"] = "big" if body[offset + 15] & 1 else "little"

    def number(at: int) -> int:
        return int.from_bytes(body[at : at + width], order)

    def text(address: int) -> bytes:
        at = elf.offset_of(address)
        if at is None:
            return b""
        start, length = elf.offset_of(number(at)), number(at + width)
        return b"" if start is None or length > LARGEST_TEXT else body[start : start + length]

    return text(number(offset + 16)), text(number(offset + 16 + width))


def _parsed(go: str, text: bytes) -> BuildInfo:
    package = flags = ""
    main: Module | None = None
    found: list[Module] = []
    for line in text.decode("utf-8", "replace").split("\n")[: 2 * MOST_MODULES]:
        key, *columns = line.split("\t")
        if key == "path" and columns:
            package = columns[0]
        elif key == "mod" and len(columns) >= 2:
            main = Module(columns[0], columns[1] or DEVEL)
        elif key == "dep" and len(columns) >= 2 and len(found) < MOST_MODULES:
            found.append(Module(columns[0], columns[1]))
        elif key == "=>" and len(columns) >= 2 and found:
            found[-1] = _replaced(found[-1], columns[0], columns[1])
        elif key == "build" and columns and columns[0].startswith("-ldflags="):
            flags = columns[0].removeprefix("-ldflags=")
    return BuildInfo(go, package, main, tuple(found), flags)


def _replaced(module: Module, path: str, version: str) -> Module:
    before = f"{module.path}@{module.version}"
    if path.startswith((".", "/")) or not version:  # a folder of the builder's
        return Module(module.path, module.version, f"{before} by a folder")
    return Module(path, version, before)


def version_in_flags(flags: str) -> str:
    """The version that `-X name.version=…` gives, or ""; a flag whose value is no version is not looked at."""
    text = flags.strip()
    if text[:1] == text[-1:] == '"':
        text = text[1:-1].replace('\\"', '"')
    try:
        words = shlex.split(text[:20_000], posix=True)[:MOST_FLAGS]
    except ValueError:
        words = text[:20_000].split()[:MOST_FLAGS]
    found = {match[1] for word in words if (match := _SET_VERSION.fullmatch(word.removeprefix("-X=")))}
    return min(found, key=lambda version: (len(version), version)) if found else ""


@dataclass(frozen=True)
class GoReader:
    """One fact a program: Go's version, the main package and module, the modules, the version of a linker flag."""

    name: str = "golang"
    version: int = 2
    limit: int = LARGEST_PROGRAM

    def wants(self, file: FileEntry) -> bool:
        return file.head.startswith(ELF_MAGIC) and file.size > 4096 and not huge_library(file)

    def read(self, path: str, body: bytes) -> Iterable[JSON]:
        info = build_info(body)
        if info is not None:
            main = info.main
            yield {
                "go": info.go,
                "package": info.package[:LONGEST_PATH],
                "main": [main.path, main.version] if main else None,
                "set": version_in_flags(info.flags),
                "modules": [[each.path, each.version, each.replaces[:LONGEST_PATH]] for each in info.dependencies],
            }


READER = GoReader()


def _packages(evidence: Evidence) -> Iterator[Package]:
    for entry, facts in evidence.facts(READER):
        for fact in facts:
            if isinstance(fact, dict):
                yield from _of_program(evidence, entry, fact)


def _of_program(evidence: Evidence, entry: FileEntry, fact: dict[str, JSON]) -> Iterator[Package]:
    go, package = str(fact.get("go")), str(fact.get("package"))
    about = {"go": go, "package": package}
    made_by = _GO_VERSION.match(go)
    if made_by:
        own = "toolchain" if package.startswith("cmd/") else "stdlib"
        yield _package(entry, own, made_by[1], {"go": go})
    main = fact.get("main")
    if main is None and "." in package.split("/")[0]:  # built outside of a module, as Debian does
        main = [package, DEVEL]
    if isinstance(main, list) and len(main) == 2:
        name, version, given = str(main[0]), str(main[1]), str(fact.get("set") or "")
        extra = {**about, "main": "true"}
        if version == DEVEL and given:
            version, extra["version_from"] = given if given.startswith("v") else f"v{given}", "ldflags"
        yield from _checked(evidence, entry, name, version, extra)
    modules = fact.get("modules")
    for each in modules if isinstance(modules, list) else ():
        if isinstance(each, list) and len(each) == 3:
            extra = {"replaces": str(each[2])} if each[2] else {}
            yield from _checked(evidence, entry, str(each[0]), str(each[1]), extra)


def _checked(
    evidence: Evidence, entry: FileEntry, name: str, version: str, properties: dict[str, str]
) -> Iterator[Package]:
    if acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION):
        yield _package(entry, name, version, properties)
    else:
        evidence.problem(entry.path, "names a Go module without a name or a version")


def _package(entry: FileEntry, name: str, version: str, properties: dict[str, str]) -> Package:
    namespace, _, short = name.rpartition("/")
    url = purl("golang", namespace or None, short, version, {})
    known = {key: value for key, value in properties.items() if value}
    return Package(ECOSYSTEM, name, version, name, version, url, entry.path, entry.layer, properties=known)


CATALOGUER = Cataloguer("golang", _packages, (), (READER,))
