"""The package database of apk: `lib/apk/db/installed`, one block of `K:value` lines a package.

1. P name, V version, A architecture, o origin: the origin is the source package, and advisories name origins.
2. F opens a folder, R is a file in it: together the list of owned files.
3. A block that makes no sense is a problem, never an exception. https://wiki.alpinelinux.org/wiki/Apk_spec
"""

from collections.abc import Iterator
from dataclasses import dataclass

from customhouse.catalogue.package import LARGEST_DATABASE, LONGEST_NAME, LONGEST_VERSION, MOST_PACKAGES, acceptable

INSTALLED = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
WANTS = INSTALLED


@dataclass(frozen=True)
class Block:
    """One installed package; the origin's version is the package's own."""

    name: str
    version: str
    origin: str
    architecture: str


def parse_installed(raw: bytes) -> tuple[list[Block], list[str]]:
    """Installed packages, and what could not be read."""
    problems: list[str] = []
    if len(raw) > LARGEST_DATABASE:
        raw = raw[:LARGEST_DATABASE]
        problems.append(f"is larger than {LARGEST_DATABASE} bytes; the rest was not read")
    found: list[Block] = []
    broken = 0
    for number, fields in enumerate(_blocks(raw), start=1):
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
        found.append(Block(name, version, origin, architecture if acceptable(architecture, 32) else ""))
    if broken:
        problems.append(f"{broken} blocks name no package with a version")
    elif not found and raw.strip(b"\0 \t\r\n"):
        problems.append("holds no package")
    return found, problems


def parse_files(raw: bytes) -> Iterator[str]:
    """Paths owned by any installed package, without the leading slash."""
    folder = ""
    for line in raw[:LARGEST_DATABASE].decode("utf-8", "backslashreplace").split("\n"):
        if line.startswith("F:"):
            folder = line[2:].strip("/")
        elif line.startswith("R:"):
            yield f"{folder}/{line[2:]}" if folder else line[2:]
        elif not line:
            folder = ""


def _blocks(raw: bytes) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in raw.decode("utf-8", "replace").split("\n"):
        line = line.rstrip("\r")
        if not line:
            if fields:
                yield fields
            fields = {}
        elif line[:2] in ("P:", "V:", "A:", "o:"):
            fields.setdefault(line[0], line[2:].strip())
        elif ":" in line:
            fields.setdefault("", "")  # a block of other keys only is a broken package, not nothing
    if fields:
        yield fields
