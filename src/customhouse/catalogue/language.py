"""What the packages of programming languages have in common: one shape of fact, one kind of reader.

1. A reader sees one file and states packages: type, namespace and name as in a package URL, version, licences as they
   are declared. What it cannot read it states as a problem, never as nothing.
2. Names and versions that cannot be compared or printed are a problem, too. Licences and names of people are cut.
3. `inside` is the path within an archive (`!/` parts archives in archives). `evidence` is "claim" where a file only
   says what else is installed (an SBOM), which is the publisher's word and not proof.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from customhouse.catalogue.cataloguer import Evidence
from customhouse.catalogue.package import (
    LARGEST_MANIFEST,
    LONGEST_NAME,
    LONGEST_VERSION,
    Package,
    acceptable,
    plain,
    purl,
)
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

Fact = dict[str, JSON]

ECOSYSTEMS: Mapping[str, str] = {
    "bitnami": "Bitnami",
    "bioconductor": "Bioconductor",
    "cargo": "crates.io",
    "composer": "Packagist",
    "cran": "CRAN",
    "gem": "RubyGems",
    "golang": "Go",
    "hex": "Hex",
    "maven": "Maven",
    "npm": "npm",
    "nuget": "NuGet",
    "pub": "Pub",
    "pypi": "PyPI",
}
"""Types of package URLs and the names that OSV gives their ecosystems; others are called as their type."""

_SEPARATORS = {"maven": ":"}
_QUALIFIERS = {"conda": ("build", "channel", "subdir"), "pypi": ("vcs_url", "download_url")}

MOST_LICENSES = 16
LONGEST_LICENSE = 160
LONGEST_SUPPLIER = 120
LONGEST_PROPERTY = 300


class Unreadable(Exception):
    """A file of a language's packages that cannot be read: the reason, as it stands after the path."""


@dataclass(frozen=True)
class LanguageReader:
    """A ContentReader of one ecosystem. `evidence` judges the path, `parse` may raise Unreadable."""

    name: str
    version: int
    evidence: Callable[[str], bool]
    parse: Callable[[str, bytes], Iterable[Fact]]
    limit: int = LARGEST_MANIFEST

    def wants(self, file: FileEntry) -> bool:
        return self.evidence(file.path)

    def read(self, path: str, body: bytes) -> Iterator[Fact]:
        try:
            yield from self.parse(path, body)
        except Unreadable as error:
            yield problem(str(error))


def stated(
    kind: str,
    name: str,
    version: str,
    *,
    namespace: str = "",
    licenses: Iterable[object] = (),
    supplier: object = "",
    inside: str = "",
    **properties: object,
) -> Fact:
    """The fact that a package is there, or the problem that its name or version is none."""
    if not (acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION)):
        return problem(f"names no package with a version ({shown(name)} {shown(version)})", inside)
    if namespace and not acceptable(namespace, LONGEST_NAME):
        return problem(f"names no package with a version ({shown(namespace)})", inside)
    fact: Fact = {"type": kind, "name": name, "version": version}
    if namespace:
        fact["namespace"] = namespace
    declared = [text for text in (_text(each, LONGEST_LICENSE) for each in licenses) if text]
    if declared:
        fact["licenses"] = cast(list[JSON], list(dict.fromkeys(declared))[:MOST_LICENSES])
    if by := _text(supplier, LONGEST_SUPPLIER):
        fact["supplier"] = by
    if inside:
        fact["inside"] = plain(inside)
    said: Fact = {
        key: text for key, text in sorted((k, _text(v, LONGEST_PROPERTY)) for k, v in properties.items()) if text
    }
    if said:
        fact["properties"] = said
    return fact


def problem(reason: str, inside: str = "") -> Fact:
    """The fact that something of a file could not be read."""
    fact: Fact = {"problem": reason[:300]}
    if inside:
        fact["inside"] = plain(inside)
    return fact


def package(fact: Fact, path: str, layer: int) -> Package:
    """The package that a fact of `stated` tells of."""
    kind, name, version = str(fact["type"]), str(fact["name"]), str(fact["version"])
    namespace = str(fact.get("namespace", ""))
    properties = {key: str(value) for key, value in cast(Fact, fact.get("properties", {})).items()}
    qualifiers = {key: properties[key] for key in _QUALIFIERS.get(kind, ()) if key in properties}
    full = f"{namespace}{_SEPARATORS.get(kind, '/')}{name}" if namespace else name
    if inside := str(fact.get("inside", "")):
        properties["inside"] = inside
    return Package(
        ECOSYSTEMS.get(kind, ""),
        full,
        version,
        full,
        version,
        purl(kind, namespace or None, name, version, qualifiers),
        path,
        layer,
        licenses=tuple(str(each) for each in cast(list[JSON], fact.get("licenses", []))),
        supplier=str(fact.get("supplier", "")),
        properties=properties,
    )


Keep = Callable[[Evidence, FileEntry, Fact], bool]


def packages(reader: LanguageReader, keep: Keep = lambda *_: True) -> Callable[[Evidence], Iterator[Package]]:
    """What a reader stated of the files that the image still has; its problems go to the evidence. `keep` judges what
    only the merged view can tell: whether a file counts."""

    def found(evidence: Evidence) -> Iterator[Package]:
        for entry, facts in evidence.facts(reader):
            for fact in cast(tuple[Fact, ...], facts):
                if not keep(evidence, entry, fact):
                    continue
                if "problem" in fact:
                    inside = f" ({fact['inside']})" if "inside" in fact else ""
                    evidence.problem(entry.path, f"{fact['problem']}{inside}")
                elif "type" in fact:
                    yield package(fact, entry.path, entry.layer)

    return found


def _text(value: object, longest: int) -> str:
    """The first line of a text, printable and cut; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    lines = value[: longest * 4].strip().split("\n", 1)
    text = plain(lines[0], longest)
    return f"{text}…" if len(lines) > 1 else text


def shown(text: str) -> str:
    """A hostile text as it may stand in a message."""
    return ascii(text[:60])
