"""Which files the operating system's packages own, so that what they installed is not counted twice.

Debian's python3-requests brings a dist-info folder: its version is upstream's, its fixes are Debian's. Such a language
package is the distribution's business and is left out of the list. The question is put to the merged view, because
the package may be recorded in another layer than its files, and only packages that are installed own anything.
A path is compared where it lies when all links of its folders are followed: a package made before /lib became a link
to /usr/lib wrote the shorter name.
"""

from collections.abc import Iterable, Mapping

from customhouse.catalogue.package import Package
from customhouse.oci.filesystem import Filesystem


def owners(packages: Iterable[Package], fs: Filesystem) -> dict[str, Package]:
    """By the path in the merged view (folders' links followed), the package that owns it; the first one wins."""
    folders: dict[str, str | None] = {}
    found: dict[str, Package] = {}
    for package in packages:
        for path in package.files:
            folder, slash, name = path.rpartition("/")
            if folder not in folders:
                folders[folder] = fs.resolve(folder)
            real = folders[folder]
            if real is not None:
                found.setdefault(path if real == folder else f"{real}/{name}" if real else name, package)
    return found


def not_owned(found: Iterable[Package], owned: Mapping[str, Package], fs: Filesystem) -> list[Package]:
    """The packages that no installed package of the operating system brought."""
    return [package for package in found if not any(name in owned for name in _names(package.path, fs))]


def _names(path: str, fs: Filesystem) -> Iterable[str]:
    yield path
    folder, _, name = path.rpartition("/")
    real = fs.resolve(folder)
    if real is not None and real != folder:
        yield f"{real}/{name}" if real else name
    target = fs.resolve(path)
    if target is not None:
        yield target
