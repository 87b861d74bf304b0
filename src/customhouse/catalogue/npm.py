"""Installed Node packages: a `package.json` that stands at the root of a package under `node_modules`.

1. Only roots count: `node_modules/NAME/package.json` and `node_modules/@SCOPE/NAME/package.json`, at any depth of
   such roots (and pnpm's `.pnpm/NAME@VERSION/`). A test fixture or a template deeper inside a package does not.
2. The name is the file's own: an alias installs one package under the folder of another.
3. A root's file that is no JSON is a problem; one without a name or a version is no published package.
"""

import re
from collections.abc import Iterator

import msgspec

from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.package import LARGEST_MANIFEST, LONGEST_NAME, LONGEST_VERSION, Package, acceptable, purl

ECOSYSTEM = "npm"
WANTS = ("**/node_modules/**/package.json",)
_NAME = re.compile(r"(?:@[A-Za-z0-9~._-]+/)?[A-Za-z0-9~._-]+")


class BrokenPackage(Exception):
    """The package.json of an installed package cannot be read."""


def is_evidence(path: str) -> bool:
    """Is a file at this path the manifest of an installed package?"""
    parts = path.split("/")
    if parts[-1] != "package.json" or "node_modules" not in parts:
        return False
    rest = parts[parts.index("node_modules") : -1]
    while rest and rest[0] == "node_modules":
        if len(rest) < 2:
            return False
        taken = 3 if rest[1] == ".pnpm" or rest[1].startswith("@") else 2
        name = rest[taken - 1] if len(rest) >= taken else ""
        if not name or (name.startswith((".", "@")) and rest[1] != ".pnpm"):
            return False
        rest = rest[taken:]
    return not rest


def parse_manifest(raw: bytes) -> tuple[str, str] | None:
    """(name, version); None where the file names no published package. Raises BrokenPackage."""
    if len(raw) > LARGEST_MANIFEST:
        raise BrokenPackage(f"is larger than {LARGEST_MANIFEST} bytes")
    try:
        document = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BrokenPackage("is no JSON") from error
    if not isinstance(document, dict):
        raise BrokenPackage("is no JSON object")
    name, version = document.get("name"), document.get("version")
    if not (isinstance(name, str) and isinstance(version, str)):
        return None
    version = version.strip().removeprefix("=").removeprefix("v")
    if _NAME.fullmatch(name) and acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION):
        return name, version
    return None


def _packages(evidence: Evidence) -> Iterator[Package]:
    for entry in evidence.fs.walk():
        path = entry.path
        if entry.kind == "dir" or not path.endswith("/package.json") or not is_evidence(path):
            continue
        raw = evidence.read(path)
        if raw is None:
            continue
        try:
            said = parse_manifest(raw)
        except BrokenPackage as error:
            evidence.problem(path, str(error))
            continue
        if said is not None:
            name, version = said
            scope, _, short = name.rpartition("/")
            url = purl("npm", scope or None, short, version, {})
            yield Package(ECOSYSTEM, name, version, name, version, url, path, entry.layer)


CATALOGUER = Cataloguer("npm", _packages, WANTS)
