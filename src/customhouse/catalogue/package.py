"""The values of the catalogue: a package, what could not be read, and the whole list.

1. A package says where it was seen (path, layer) and under which source name advisories know it.
2. `ecosystem` is the name OSV uses: https://ossf.github.io/osv-schema/#defined-ecosystems; empty where OSV has none.
3. Whatever could not be read is a `Problem`. One problem makes the list incomplete, and an incomplete list
   never counts as "no flaw found".
4. What a publisher declared (licences, supplier) is kept as it was written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from packageurl import PackageURL

from customhouse.catalogue.distro import Distro

LONGEST_NAME = 214  # npm's limit; the others' are lower in practice
LONGEST_VERSION = 256
LONGEST_TEXT = 500
MOST_PACKAGES = 200_000
MOST_LICENSES = 40
LARGEST_DATABASE = 64 << 20
LARGEST_MANIFEST = 4 << 20

Kind = Literal["os", "library", "binary"]
"""What told of a package: an operating system's database, an ecosystem's own metadata, or a program's bytes."""

ProblemKind = Literal["unreadable", "missing", "struck-out", "unknown-release"]
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Package:
    """One installed package. `layer` is the index of the layer that first held this name and version, `path` what told
    of it, `locations` where else it was told of. `licenses` and `supplier` are as declared. `files` are the paths that
    a database says the package owns. `properties` are facts of one ecosystem alone, by a name that its file explains
    (`epoch` and `module` of rpm)."""

    ecosystem: str
    name: str
    version: str
    source_name: str
    source_version: str
    purl: str
    path: str
    layer: int
    architecture: str = ""
    kind: Kind = "library"
    licenses: tuple[str, ...] = ()
    supplier: str = ""
    locations: tuple[str, ...] = ()
    files: tuple[str, ...] = field(default=(), repr=False, compare=False)
    properties: Mapping[str, str] = field(default_factory=lambda: _NONE, hash=False)

    def seen_in(self, layer: int) -> "Package":
        return replace(self, layer=layer)


@dataclass(frozen=True)
class Problem:
    """A part of the image that could not be catalogued, and why. `kind`: something is there and was not read; a
    package database is gone; a package was taken out of one; packages are there and the release is not known."""

    path: str
    reason: str
    kind: ProblemKind = "unreadable"

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Catalogue:
    """Every package found, the distribution they belong to, and what is missing from the list. `owners` names, by path
    in the merged view, the operating system's package that a file belongs to."""

    packages: tuple[Package, ...] = ()
    distro: Distro | None = None
    problems: tuple[Problem, ...] = ()
    owners: Mapping[str, Package] = field(default_factory=dict, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        return not self.problems

    @property
    def ecosystems(self) -> tuple[str, ...]:
        return tuple(sorted({package.ecosystem for package in self.packages if package.ecosystem}))


def acceptable(text: str, longest: int) -> bool:
    """Is this a name or a version one can compare and print: not empty, not huge, no control or blank character?"""
    return 0 < len(text) <= longest and text.isprintable() and not any(c.isspace() for c in text)


def plain(text: str, longest: int = LONGEST_TEXT) -> str:
    """A publisher's free text (a licence, a name of somebody) on one line, without control characters, cut."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * longest]).split())[:longest]


def purl(kind: str, namespace: str | None, name: str, version: str, qualifiers: Mapping[str, str]) -> str:
    """The package URL, https://github.com/package-url/purl-spec; empty when the name cannot be one."""
    known = {key: value for key, value in qualifiers.items() if value}
    try:
        return PackageURL(kind, namespace, name, version, known).to_string()
    except ValueError:
        return ""
