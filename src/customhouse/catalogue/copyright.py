"""The licences of a Debian package: `usr/share/doc/PACKAGE/copyright`.

1. In the machine-readable form (DEP-5) the short names of the `License` fields count, of every part of the package.
   https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
2. In free text, the common licences it refers to: `/usr/share/common-licenses/NAME`.
3. Names are Debian's and stay as they are written. A file without any says nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from customhouse.catalogue.package import MOST_LICENSES, plain
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

LARGEST = 2 << 20
FOLDER = "usr/share/doc/"
_FIELD = re.compile(rb"^License:[ \t]*([^\r\n]{1,200})", re.MULTILINE)
_COMMON = re.compile(rb"/usr/share/common-licenses/([A-Za-z0-9][A-Za-z0-9.+-]{0,40})")


def licenses(raw: bytes) -> list[str]:
    """Names as written, each once, in the order of the file; forty at most."""
    found: dict[str, None] = {}
    machine = b"copyright-format" in raw[:1000] or b"Format:" in raw[:1000]
    for match in (_FIELD if machine else _COMMON).finditer(raw[:LARGEST]):
        name = plain(match[1].decode("utf-8", "replace")).rstrip(".,;")
        if name and len(found) < MOST_LICENSES:
            found.setdefault(name)
    return list(found)


@dataclass(frozen=True)
class CopyrightReader:
    """Facts: the name of a licence each."""

    name: str = "debian-copyright"
    version: int = 1
    limit: int = LARGEST

    def wants(self, file: FileEntry) -> bool:
        path = file.path
        return path.endswith("/copyright") and path.startswith(FOLDER) and 0 < file.size <= LARGEST

    def read(self, path: str, body: bytes) -> Iterable[JSON]:
        yield from licenses(body)


READER = CopyrightReader()
