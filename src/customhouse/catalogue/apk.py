"""The package database of apk: `lib/apk/db/installed`, one block of `K:value` lines a package.

1. P name, V version, A architecture, o origin: the origin is the source package, and advisories name origins.
2. F opens a folder, R is a file in it: together the list of owned files.
3. A block that makes no sense is a problem, never an exception. https://wiki.alpinelinux.org/wiki/Apk_spec
"""

from collections.abc import Iterator
from dataclasses import dataclass

from customhouse.catalogue.cataloguer import Cataloguer, Evidence, Key
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

INSTALLED = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
WANTS = INSTALLED
_KEPT = frozenset({"P:", "V:", "A:", "o:", "L:", "m:"})


@dataclass(frozen=True)
class Block:
    """One installed package and the paths it owns; the origin's version is the package's own."""

    name: str
    version: str
    origin: str
    architecture: str
    license: str = ""
    maintainer: str = ""
    files: tuple[str, ...] = ()


def parse_installed(raw: bytes) -> tuple[list[Block], list[str]]:
    """Installed packages, and what could not be read."""
    problems: list[str] = []
    if len(raw) > LARGEST_DATABASE:
        raw = raw[:LARGEST_DATABASE]
        problems.append(f"is larger than {LARGEST_DATABASE} bytes; the rest was not read")
    found: list[Block] = []
    broken = 0
    for number, (fields, files) in enumerate(_blocks(raw), start=1):
        if number > MOST_PACKAGES:
            problems.append(f"lists more than {MOST_PACKAGES} packages; the rest was not read")
            break
        name, version, origin = fields.get("P", ""), fields.get("V", ""), fields.get("o", "")
        if not (acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION)):
            broken += 1
            continue
        if not acceptable(origin, LONGEST_NAME):
            origin = name
        architecture = fields.get("A", "")
        architecture = architecture if acceptable(architecture, 32) else ""
        license_, maintainer = plain(fields.get("L", "")), plain(fields.get("m", ""))
        found.append(Block(name, version, origin, architecture, license_, maintainer, tuple(files)))
    if broken:
        problems.append(f"{broken} blocks name no package with a version")
    elif not found and raw.strip(b"\0 \t\r\n"):
        problems.append("holds no package")
    return found, problems


def _blocks(raw: bytes) -> Iterator[tuple[dict[str, str], list[str]]]:
    fields: dict[str, str] = {}
    files: list[str] = []
    folder = ""
    for line in raw.decode("utf-8", "backslashreplace").split("\n"):
        line = line.rstrip("\r")
        if not line:
            if fields:
                yield fields, files
            fields, files, folder = {}, [], ""
        elif line.startswith("F:"):
            folder = line[2:].strip("/")
        elif line.startswith("R:"):
            files.append(f"{folder}/{line[2:]}" if folder else line[2:])
        elif line[:2] in _KEPT:
            fields.setdefault(line[0], line[2:].strip())
        elif ":" in line:
            fields.setdefault("", "")  # a block of other keys only is a broken package, not nothing
    if fields:
        yield fields, files


def _packages(evidence: Evidence) -> Iterator[Package]:
    seen: set[str | None] = set()
    for path in INSTALLED:
        real = evidence.fs.resolve(path)
        if real in seen:
            continue
        seen.add(real)
        raw = evidence.read(path)
        if not raw:
            continue
        listed = evidence.parsed(path, raw, parse_installed)
        layers = evidence.first_layers(path, lambda r: (_key(block) for block in parse_installed(r)[0]))
        if not listed:
            continue
        release = evidence.release("apk", path)
        for block in listed:
            qualifiers = {"arch": block.architecture, "distro": release.tag}
            yield Package(
                ecosystem=release.ecosystem,
                name=block.name,
                version=block.version,
                source_name=block.origin,
                source_version=block.version,
                purl=purl("apk", release.namespace, block.name, block.version, qualifiers),
                path=path,
                layer=layers.get(_key(block), 0),
                architecture=block.architecture,
                kind="os",
                licenses=(block.license,) if block.license else (),
                supplier=block.maintainer,
                files=block.files,
            )


def _key(block: Block) -> Key:
    return block.name, block.version, block.architecture


CATALOGUER = Cataloguer("apk", _packages, WANTS)
