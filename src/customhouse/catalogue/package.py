"""The values of the catalogue: a package, what could not be read, and the whole list.

1. A package says where it was seen (path, layer) and under which source name advisories know it.
2. `ecosystem` is the name OSV uses: https://ossf.github.io/osv-schema/#defined-ecosystems
3. Whatever could not be read is a `Problem`. One problem makes the list incomplete, and an incomplete list
   never counts as "no flaw found".
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from packageurl import PackageURL

from customhouse.catalogue.distro import Distro

LONGEST_NAME = 214  # npm's limit; the others' are lower in practice
LONGEST_VERSION = 256
MOST_PACKAGES = 200_000
LARGEST_DATABASE = 64 << 20
LARGEST_MANIFEST = 4 << 20


@dataclass(frozen=True)
class Package:
    """One installed package. `layer` is the index of the layer that first held this name and version."""

    ecosystem: str
    name: str
    version: str
    source_name: str
    source_version: str
    purl: str
    path: str
    layer: int
    architecture: str = ""

    def seen_in(self, layer: int) -> "Package":
        return replace(self, layer=layer)


@dataclass(frozen=True)
class Problem:
    """A part of the image that could not be catalogued, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Catalogue:
    """Every package found, the distribution they belong to, and what is missing from the list."""

    packages: tuple[Package, ...] = ()
    distro: Distro | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.problems

    @property
    def ecosystems(self) -> tuple[str, ...]:
        return tuple(sorted({package.ecosystem for package in self.packages}))


def acceptable(text: str, longest: int) -> bool:
    """Is this a name or a version one can compare and print: not empty, not huge, no control or blank character?"""
    return 0 < len(text) <= longest and text.isprintable() and not any(c.isspace() for c in text)


def purl(kind: str, namespace: str | None, name: str, version: str, qualifiers: Mapping[str, str]) -> str:
    """The package URL, https://github.com/package-url/purl-spec; empty when the name cannot be one."""
    known = {key: value for key, value in qualifiers.items() if value}
    try:
        return PackageURL(kind, namespace, name, version, known).to_string()
    except ValueError:
        return ""
