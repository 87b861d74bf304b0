"""What an ecosystem's file offers, and what it is given: one `Cataloguer` a file, listed in packages.py.

1. A cataloguer reads an `Evidence` and yields packages; what it cannot read it reports there.
2. Small files that only make sense in the merged view (databases) are named in `wants` and kept whole. A file that
   speaks for itself is read by a `ContentReader`: its facts are kept, its bytes are not.
3. A file that a reader wanted and did not get is a problem without the cataloguer's doing.
4. What is thrown at a cataloguer is the publisher's: it bounds its work and raises nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from customhouse.catalogue.distro import Distro
from customhouse.catalogue.package import Package, Problem, ProblemKind
from customhouse.oci.entry import FileEntry
from customhouse.oci.filesystem import Filesystem
from customhouse.oci.image import Image
from customhouse.oci.reader import JSON, ContentReader

MOST_PROBLEMS = 50
Key = tuple[str, str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Release:
    """Whose packages a database lists: OSV's ecosystem, the namespace and the `distro` qualifier of package URLs."""

    ecosystem: str
    namespace: str
    tag: str


@dataclass
class Evidence:
    """One image as a cataloguer sees it."""

    image: Image
    distro: Distro | None
    problems: list[Problem] = field(default_factory=list)

    @property
    def fs(self) -> Filesystem:
        return self.image.fs

    def problem(self, path: str, reason: str, kind: ProblemKind = "unreadable") -> None:
        """Say what could not be catalogued. The first fifty are kept."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(path, reason, kind))

    def read(self, path: str) -> bytes | None:
        """The bytes of a file in `wants`, or None; one that exists and cannot be read is a problem."""
        raw = self.fs.read(path)
        if raw is None:
            entry = self.fs.entry(path)
            if entry is not None and entry.kind != "dir":
                self.problem(path, f"exists but could not be read ({entry.kind}, {entry.size} bytes)")
        return raw

    def facts(self, reader: ContentReader) -> Iterator[tuple[FileEntry, tuple[JSON, ...]]]:
        """What a reader learnt of each file that the merged view holds, by path."""
        return self.image.facts(reader.name)

    def release(self, family: str, path: str) -> Release:
        """Whose packages a database of this family lists; a problem where the image does not say or says another."""
        known = self.distro
        if known is None:
            why = "lists packages, but the image does not say of which distribution"
            self.problem(path, why, "unknown-release")
            return Release(family, "", "")
        if known.family not in (family, ""):
            self.problem(path, f"is a {family} database, but the image says it is {known}", "unknown-release")
            return Release(family, "", "")
        return Release(known.ecosystem, known.purl_namespace, known.tag)

    def parsed(self, path: str, raw: bytes, parse: Callable[[bytes], tuple[list[T], list[str]]]) -> list[T]:
        """What a parser of a database found; what it says of the rest is a problem."""
        listed, problems = parse(raw)
        for reason in problems:
            self.problem(path, reason)
        return listed

    def first_layers(self, path: str, keys: Callable[[bytes], Iterable[Key]]) -> dict[Key, int]:
        """The first layer whose own copy of a database lists each package."""
        first: dict[Key, int] = {}
        names = {path, self.fs.resolve(path) or path}
        for layer, scan in enumerate(self.image.layers):
            for name in names:
                raw = scan.contents.get(name)
                if raw:
                    for key in keys(raw):
                        first.setdefault(key, layer)
        return first


@dataclass(frozen=True)
class Cataloguer:
    """One ecosystem. `wants` are path patterns (oci.wants) whose contents `packages` reads through the Evidence."""

    name: str
    packages: Callable[[Evidence], Iterator[Package]]
    wants: tuple[str, ...] = ()
    readers: tuple[ContentReader, ...] = ()
