"""The catalogue of an image: distribution, installed packages, and everything that could not be read.

1. Content is the publisher's and may be hostile: a broken database ends as a problem, within budgets.
2. A package of a database belongs to the first layer whose database lists the same name, version and architecture;
   a package told by a file belongs to the layer that holds the file.
3. What an operating system's package owns is not listed again as a language package (ownership.py).
4. A distribution whose package database is gone, or a stanza taken out of it, is a problem: packages do not
   disappear with their list.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from customhouse.catalogue import apk, distro, dpkg, npm, python
from customhouse.catalogue.distro import Distro
from customhouse.catalogue.ownership import not_owned
from customhouse.catalogue.package import MOST_PACKAGES, Catalogue, Package, Problem, purl
from customhouse.oci.entry import FileEntry
from customhouse.oci.image import Image

__all__ = ["WANTS", "Catalogue", "Distro", "Package", "Problem", "catalogue"]

WANTS: tuple[str, ...] = (*distro.FILES, *dpkg.WANTS, *apk.WANTS, *python.WANTS, *npm.WANTS)
"""Path patterns whose contents the catalogue reads."""

MOST_PROBLEMS = 50
RPM_DATABASES = tuple(
    f"{folder}/{name}"
    for folder in ("var/lib/rpm", "usr/share/rpm", "usr/lib/sysimage/rpm")
    for name in ("Packages", "Packages.db", "rpmdb.sqlite")
)
_Key = tuple[str, str, str]
T = TypeVar("T")


def catalogue(image: Image) -> Catalogue:
    """Everything that is installed in one image."""
    found = _Findings(image, distro.detect(image.fs.read))
    for scan in image.layers:
        if not scan.complete:
            found.problem(f"layer {scan.digest}", "could not be read to its end")
    stanzas = _dpkg(found)
    _apk(found)
    _without_database(found)
    language = list(_languages(found))
    found.packages += not_owned(language, image.fs, stanzas)
    if len(found.packages) > MOST_PACKAGES:
        found.problem("image", f"has more than {MOST_PACKAGES} packages")
    packages = sorted(found.packages[:MOST_PACKAGES], key=lambda p: (p.ecosystem, p.name, p.version, p.path))
    return Catalogue(tuple(packages), found.distro, tuple(found.problems))


@dataclass
class _Findings:
    image: Image
    distro: Distro | None
    packages: list[Package] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: str, reason: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(path, reason))

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; one that exists and cannot be read is a problem, one that does not is None."""
        raw = self.image.fs.read(path)
        if raw is None:
            entry = self.image.fs.entry(path)
            if entry is not None and entry.kind != "dir":
                self.problem(path, f"exists but could not be read ({entry.kind}, {entry.size} bytes)")
        return raw

    def ecosystem(self, family: str, path: str) -> tuple[str, str, str]:
        """(OSV ecosystem, purl namespace, purl qualifier) of this image's packages of one family."""
        known = self.distro
        if known is None:
            self.problem(path, "lists packages, but the image does not say of which distribution")
            return family, "", ""
        if known.family not in (family, ""):
            self.problem(path, f"is a {family} database, but the image says it is {known}")
            return family, "", ""
        return known.ecosystem, known.purl_namespace, known.tag


def _dpkg(found: _Findings) -> list[dpkg.Stanza]:
    stanzas: list[tuple[dpkg.Stanza, str, int]] = []
    raw = found.read(dpkg.STATUS)
    if raw:
        listed = _parsed(found, dpkg.STATUS, raw, dpkg.parse_status)
        layers = _origins(found, dpkg.STATUS, lambda r: (_stanza_key(s) for s in dpkg.parse_status(r)[0]))
        stanzas += [(stanza, dpkg.STATUS, layers.get(_stanza_key(stanza), 0)) for stanza in listed]
        missing = dpkg.struck_out(raw, found.image.fs.children(dpkg.INFO_FOLDER))
        if missing:
            shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
            found.problem(dpkg.STATUS, f"leaves out packages whose files are listed: {shown}")
    for name in found.image.fs.children(dpkg.STATUS_FOLDER):
        path = dpkg.STATUS_FOLDER + name
        entry = found.image.fs.entry(path)
        if name.endswith(".md5sums") or entry is None or entry.kind == "dir":
            continue
        raw = found.read(path)
        if raw:
            stanzas += [(s, path, entry.layer) for s in _parsed(found, path, raw, dpkg.parse_status)]
    if stanzas:
        ecosystem, namespace, tag = found.ecosystem("dpkg", stanzas[0][1])
        for stanza, path, layer in stanzas:
            url = purl("deb", namespace, stanza.name, stanza.version, {"arch": stanza.architecture, "distro": tag})
            found.packages.append(
                Package(
                    ecosystem,
                    stanza.name,
                    stanza.version,
                    stanza.source_name,
                    stanza.source_version,
                    url,
                    path,
                    layer,
                    stanza.architecture,
                )  # fmt: skip
            )
    return [stanza for stanza, _, _ in stanzas]


def _apk(found: _Findings) -> None:
    seen: set[str | None] = set()
    for path in apk.INSTALLED:
        real = found.image.fs.resolve(path)
        if real in seen:
            continue
        seen.add(real)
        raw = found.read(path)
        if not raw:
            continue
        listed = _parsed(found, path, raw, apk.parse_installed)
        layers = _origins(found, path, lambda r: (_block_key(b) for b in apk.parse_installed(r)[0]))
        if not listed:
            continue
        ecosystem, namespace, tag = found.ecosystem("apk", path)
        for block in listed:
            url = purl("apk", namespace, block.name, block.version, {"arch": block.architecture, "distro": tag})
            layer = layers.get(_block_key(block), 0)
            found.packages.append(
                Package(
                    ecosystem,
                    block.name,
                    block.version,
                    block.origin,
                    block.version,
                    url,
                    path,
                    layer,
                    block.architecture,
                )  # fmt: skip
            )


def _without_database(found: _Findings) -> None:
    fs = found.image.fs
    for path in RPM_DATABASES:
        if fs.exists(path):
            found.problem(path, "is an rpm database, which this version does not read")
            return
    if found.distro is None or found.packages or any(p.path in _DATABASES for p in found.problems):
        return
    if found.distro.family:
        found.problem(
            found.distro.path or "etc/os-release",
            f"says {found.distro}, but there is no {found.distro.family} database: packages cannot be listed",
        )


_DATABASES = frozenset({dpkg.STATUS, *apk.INSTALLED})


def _languages(found: _Findings) -> Iterator[Package]:
    fs = found.image.fs
    for entry in fs.walk():
        path = entry.path
        if entry.kind == "dir":
            continue
        if entry.kind == "symlink" and path.endswith((".dist-info", ".egg-info")):
            yield from _linked_distribution(found, entry)
        elif path.endswith(("METADATA", "PKG-INFO", ".egg-info")) and python.is_evidence(path):
            yield from _python(found, entry, path)
        elif path.endswith("/package.json") and npm.is_evidence(path):
            yield from _npm(found, entry)


def _linked_distribution(found: _Findings, entry: FileEntry) -> Iterator[Package]:
    target = found.image.fs.entry(entry.path)
    if target is None:
        return
    names = ("",) if target.kind != "dir" else ("/METADATA", "/PKG-INFO")
    for name in names:
        real = found.image.fs.resolve(entry.path + name)
        if real is not None and not python.is_evidence(real):  # under its own name it is met anyway
            yield from _python(found, entry, entry.path + name)


def _python(found: _Findings, entry: FileEntry, path: str) -> Iterator[Package]:
    raw = found.read(path)
    if raw is None:
        return
    said = python.parse_metadata(raw)
    if said is None:
        found.problem(path, "does not name a Python package with a version")
        return
    name = python.normal_name(said[0])
    url = purl("pypi", None, name, said[1], {})
    yield Package(python.ECOSYSTEM, name, said[1], name, said[1], url, path, entry.layer)


def _npm(found: _Findings, entry: FileEntry) -> Iterator[Package]:
    raw = found.read(entry.path)
    if raw is None:
        return
    try:
        said = npm.parse_manifest(raw)
    except npm.BrokenPackage as error:
        found.problem(entry.path, str(error))
        return
    if said is not None:
        name, version = said
        scope, _, short = name.rpartition("/")
        url = purl("npm", scope or None, short, version, {})
        yield Package(npm.ECOSYSTEM, name, version, name, version, url, entry.path, entry.layer)


def _parsed(found: _Findings, path: str, raw: bytes, parse: Callable[[bytes], tuple[list[T], list[str]]]) -> list[T]:
    listed, problems = parse(raw)
    for reason in problems:
        found.problem(path, reason)
    return listed


def _origins(found: _Findings, path: str, keys: Callable[[bytes], Iterable[_Key]]) -> dict[_Key, int]:
    """The first layer whose own copy of a database lists each package."""
    first: dict[_Key, int] = {}
    names = {path, found.image.fs.resolve(path) or path}
    for layer, scan in enumerate(found.image.layers):
        for name in names:
            raw = scan.contents.get(name)
            if raw:
                for key in keys(raw):
                    first.setdefault(key, layer)
    return first


def _stanza_key(stanza: dpkg.Stanza) -> _Key:
    return stanza.name, stanza.version, stanza.architecture


def _block_key(block: apk.Block) -> _Key:
    return block.name, block.version, block.architecture
