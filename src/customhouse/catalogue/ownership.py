"""Which files the operating system's packages own, so that what they installed is not counted twice.

Debian's python3-requests brings a dist-info folder: its version is upstream's, its fixes are Debian's. Such a language
package is the distribution's business and is left out of the list. The question is put to the merged view, because
the package may be recorded in another layer than its files, and only packages that are installed own anything.
"""

from collections.abc import Iterable, Sequence

from customhouse.catalogue import apk, dpkg
from customhouse.catalogue.package import Package
from customhouse.oci.filesystem import Filesystem

_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")


def not_owned(found: Iterable[Package], fs: Filesystem, stanzas: Sequence[dpkg.Stanza]) -> list[Package]:
    """The language packages that no installed package of the operating system owns."""
    candidates = list(found)
    if not candidates:
        return []
    owned = owned_files(fs, stanzas)
    return [package for package in candidates if not any(name in owned for name in _names(package.path, fs))]


def owned_files(fs: Filesystem, stanzas: Sequence[dpkg.Stanza]) -> set[str]:
    """Paths as the package databases write them, without the leading slash."""
    owned: set[str] = set()
    for stanza in stanzas:
        for path in dpkg.list_path(stanza):
            raw = fs.read(path)
            if raw is not None:
                owned.update(dpkg.parse_list(raw))
                break
        else:
            raw = fs.read(f"{dpkg.STATUS_FOLDER}{stanza.name}.md5sums")
            if raw is not None:
                owned.update(dpkg.parse_md5sums(raw))
    for path in apk.INSTALLED:
        raw = fs.read(path)
        if raw is not None:
            owned.update(apk.parse_files(raw))
    return owned


def _names(path: str, fs: Filesystem) -> Iterable[str]:
    """The path, and how a package made before /lib became a link to /usr/lib may have written it."""
    yield path
    if path.startswith("usr/"):
        short = path.removeprefix("usr/")
        top = fs.entry(short.split("/")[0], follow=False) if short.split("/")[0] in _MERGED else None
        if top is not None and top.kind == "symlink":
            yield short
