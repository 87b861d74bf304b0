"""Programs by name: what lies in the folders of PATH, links followed, with busybox' applets told apart."""

from collections.abc import Collection, Iterator

from customhouse.certification.check import Subject, whole_filesystem
from customhouse.certification.program import DEFAULT_PATH
from customhouse.oci.image import FileEntry

FOLDERS = tuple(dict.fromkeys(folder.strip("/") for folder in (*DEFAULT_PATH.split(":"), "/usr/libexec", "/opt/bin")))


def programs(subject: Subject, names: Collection[str], *, applets: bool = False) -> Iterator[tuple[str, FileEntry]]:
    """(name, the file it starts) for each that is there; `applets` also counts links to busybox and toybox."""
    fs = whole_filesystem(subject)
    told: set[tuple[str, str]] = set()
    for name in sorted(names):
        for folder in FOLDERS:
            entry = fs.entry(f"{folder}/{name}")
            if entry is None or not entry.executable or (name, entry.path) in told:
                continue
            if not applets and name != entry.name and entry.name in ("busybox", "toybox", "coreutils"):
                continue
            told.add((name, entry.path))
            yield name, entry
