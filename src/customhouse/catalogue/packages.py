"""The catalogue of an image: distribution, installed packages, and everything that could not be read.

1. Content is the publisher's and may be hostile: a broken database ends as a problem, within budgets.
2. A package of a database belongs to the first layer whose database lists the same name, version and architecture;
   a package told by a file belongs to the layer that holds the file.
3. What an operating system's package owns is not listed again as a language package (ownership.py).
4. A distribution whose package database is gone, or a stanza taken out of it, is a problem: packages do not
   disappear with their list.
5. An ecosystem is one file with one `Cataloguer` (cataloguer.py), named in `CATALOGUERS`.
"""

from collections.abc import Iterator
from dataclasses import replace

from customhouse.catalogue import (
    apk,
    binaries,
    distro,
    dotnet,
    dpkg,
    golang,
    java,
    npm,
    opkg,
    others,
    php,
    python,
    rpm,
    ruby,
    rust,
    sboms,
)
from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.distro import Distro
from customhouse.catalogue.ownership import not_owned, owners
from customhouse.catalogue.package import MOST_PACKAGES, Catalogue, Package, Problem
from customhouse.oci.image import Image
from customhouse.oci.reader import ContentReader

__all__ = ["CATALOGUERS", "READERS", "WANTS", "Catalogue", "Distro", "Package", "Problem", "catalogue"]

CATALOGUERS: tuple[Cataloguer, ...] = (
    dpkg.CATALOGUER,
    apk.CATALOGUER,
    rpm.CATALOGUER,
    opkg.CATALOGUER,
    python.CATALOGUER,
    npm.CATALOGUER,
    java.CATALOGUER,
    ruby.CATALOGUER,
    php.CATALOGUER,
    *others.CATALOGUERS,
    sboms.CATALOGUER,
    golang.CATALOGUER,
    rust.CATALOGUER,
    dotnet.CATALOGUER,
    binaries.CATALOGUER,
)

WANTS: tuple[str, ...] = (*distro.FILES, *(pattern for each in CATALOGUERS for pattern in each.wants))
"""Path patterns whose contents the catalogue reads."""

READERS: tuple[ContentReader, ...] = tuple(reader for each in CATALOGUERS for reader in each.readers)
"""What looks at single files while the layers go by."""


def catalogue(image: Image) -> Catalogue:
    """Everything that is installed in one image."""
    evidence = Evidence(image, distro.detect(image.fs.read))
    for scan in image.layers:
        if not scan.complete:
            evidence.problem(f"layer {scan.digest}", "could not be read to its end")
    found = [package for each in CATALOGUERS for package in _packages(each, evidence)]
    system = [package for package in found if package.kind == "os"]
    _without_database(evidence, system)
    owned = owners(system, image.fs)
    language = not_owned((package for package in found if package.kind != "os"), owned, image.fs, evidence.distro)
    found = [*system, *_once(sboms.without_proven_claims(language))]
    if len(found) > MOST_PACKAGES:
        evidence.problem("image", f"has more than {MOST_PACKAGES} packages")
    packages = sorted(found[:MOST_PACKAGES], key=lambda p: (p.ecosystem, p.name, p.version, p.path))
    return Catalogue(tuple(packages), evidence.distro, tuple(evidence.problems), owned)


def _packages(cataloguer: Cataloguer, evidence: Evidence) -> Iterator[Package]:
    yield from cataloguer.packages(evidence)
    for reader in cataloguer.readers:
        for entry, reason in evidence.image.unread(reader.name):
            evidence.problem(entry.path, reason)


def _once(found: list[Package]) -> Iterator[Package]:
    """A program of several files (python3.12 and libpython3.12.so) is one package, told of in several places."""
    programs: dict[str, list[Package]] = {}
    for package in found:
        if package.kind == "binary" and package.purl:
            programs.setdefault(package.purl, []).append(package)
        else:
            yield package
    for first, *more in programs.values():
        yield replace(first, locations=tuple(package.path for package in more)) if more else first


def _without_database(evidence: Evidence, system: list[Package]) -> None:
    """Rule 4, also where os-release went with the database: what a package manager leaves behind tells of it."""
    if system or any(problem.path in _DATABASES for problem in evidence.problems):
        return
    known = evidence.distro
    if known is not None and known.family:
        why = f"says {known}, but there is no {known.family} database: packages cannot be listed"
        evidence.problem(known.path or "etc/os-release", why, "missing")
        return
    for family, traces in _TRACES.items():
        left = [path for path in traces if evidence.fs.exists(path)]
        if left:
            why = f"is left of {family}, but there is no {family} database: packages cannot be listed"
            evidence.problem(left[0], why, "missing")
            return


_DATABASES = frozenset({dpkg.STATUS, *apk.INSTALLED, *rpm.DATABASES, rpm.MANIFEST, *opkg.DATABASES})
_TRACES = {
    "dpkg": ("var/lib/dpkg", "usr/bin/dpkg", "usr/share/doc/base-files/copyright", "etc/debian_version"),
    "apk": ("lib/apk", "usr/lib/apk", "sbin/apk", "usr/sbin/apk", "usr/bin/apk", "etc/apk/world"),
    "rpm": ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/bin/rpm", "etc/redhat-release"),
    "opkg": ("usr/lib/opkg", "var/lib/opkg"),
}
