"""Installed Node packages: a `package.json` that stands at the root of a package under `node_modules`.

1. Only roots count: `node_modules/NAME/package.json` and `node_modules/@SCOPE/NAME/package.json`, at any depth of
   such roots (and pnpm's `.pnpm/NAME@VERSION/`). A test fixture or a template deeper inside a package does not.
   Bundled dependencies lie in such roots.
2. The name is the file's own: an alias installs one package under the folder of another.
3. A root's file that is no JSON is a problem; one without a name or a version is no published package.
4. An application's own package.json counts where `node_modules` stands beside it. One that is marked private is
   never in a registry and is not listed.
5. Yarn's Plug'n'Play keeps packages in `.yarn/cache/*.zip`; they count where a `.pnp` file stands beside `.yarn`. A
   `.pnp` file without that folder is a problem: the packages are elsewhere.
"""

import re
from collections.abc import Iterator

import msgspec

from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.language import Fact, LanguageReader, Unreadable, packages, problem, stated
from customhouse.catalogue.package import LARGEST_MANIFEST, Package
from customhouse.catalogue.zips import MIB, Allowance, BadZip, Zip
from customhouse.oci.entry import FileEntry

_NAME = re.compile(r"(?:@[A-Za-z0-9~._-]+/)?[A-Za-z0-9~._-]+")
_PNP = (".pnp.cjs", ".pnp.js")
_CACHED = re.compile(rb"node_modules/(?:@[^/]+/)?[^/@]+/package\.json")


def is_evidence(path: str) -> bool:
    """Is a file at this path the manifest of an installed package?"""
    if not path.endswith("/package.json"):
        return False
    parts = path.split("/")
    if "node_modules" not in parts:
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


def _is_evidence(path: str) -> bool:
    if path.endswith("package.json"):
        return is_evidence(path) or (
            "node_modules/" not in path and (path == "package.json" or path.endswith("/package.json"))
        )
    return path.endswith(_PNP) and path.rpartition("/")[2] in _PNP


def parse_manifest(raw: bytes) -> Fact | None:
    """The package; None where the file names no published package. Raises Unreadable."""
    if len(raw) > LARGEST_MANIFEST:
        raise Unreadable(f"is larger than {LARGEST_MANIFEST} bytes")
    try:
        document = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable("is no JSON") from error
    if not isinstance(document, dict):
        raise Unreadable("is no JSON object")
    name, version = document.get("name"), document.get("version")
    if not (isinstance(name, str) and isinstance(version, str)) or not _NAME.fullmatch(name):
        return None
    scope, _, short = name.rpartition("/")
    author = document.get("author")
    fact = stated(
        "npm",
        short,
        version.strip().removeprefix("=").removeprefix("v"),
        namespace=scope,
        licenses=_licenses(document),
        supplier=author.get("name") if isinstance(author, dict) else author,
        private="yes" if document.get("private") is True else "",
    )
    return None if "problem" in fact else fact


def _licenses(document: dict[str, object]) -> Iterator[object]:
    """`license` is a text; it once was an object, or `licenses` a list of them."""
    for value in (document.get("license"), document.get("licenses")):
        for one in value if isinstance(value, list) else [value]:
            yield one.get("type") if isinstance(one, dict) else one


def _parse(path: str, raw: bytes) -> Iterator[Fact]:
    if path.endswith(_PNP):
        yield {"pnp": True}
        return
    try:
        fact = parse_manifest(raw)
    except Unreadable as error:
        fact = problem(str(error))
    if fact is not None:
        yield fact if is_evidence(path) else fact | {"application": True}


def _parse_cached(path: str, raw: bytes) -> Iterator[Fact]:
    try:
        archive = Zip.open(raw, Allowance(entries=100_000, inflated=16 * MIB))
        for member in archive.members(lambda name: _CACHED.fullmatch(name) is not None):
            fact = parse_manifest(bytes(archive.read(member, LARGEST_MANIFEST)))
            if fact is not None:
                yield fact
    except BadZip as error:
        raise Unreadable(str(error)) from error


READER = LanguageReader("npm", 1, _is_evidence, _parse)
CACHE_READER = LanguageReader(
    "yarn-cache", 1, lambda path: path.endswith(".zip") and "/.yarn/cache/" in f"/{path}", _parse_cached, 64 * MIB
)


def _counts(evidence: Evidence, entry: FileEntry, fact: Fact) -> bool:
    if "pnp" in fact:
        folder = f"{entry.parent}/" if entry.parent else ""
        if not evidence.fs.exists(f"{folder}.yarn/cache"):
            evidence.problem(entry.path, "says that packages are in a cache of Yarn's that is not beside it")
        return False
    if "application" not in fact:
        return True
    properties = fact.get("properties")
    if "problem" in fact or (isinstance(properties, dict) and "private" in properties):
        return False
    return evidence.fs.exists(f"{entry.parent}/node_modules".lstrip("/"))


def _cache_counts(evidence: Evidence, entry: FileEntry, fact: Fact) -> bool:
    folder = f"/{entry.path}".partition("/.yarn/cache/")[0].lstrip("/")
    return any(evidence.fs.exists(f"{folder}/{name}".lstrip("/")) for name in _PNP)


def _packages(evidence: Evidence) -> Iterator[Package]:
    yield from packages(READER, _counts)(evidence)
    yield from packages(CACHE_READER, _cache_counts)(evidence)


CATALOGUER = Cataloguer("npm", _packages, readers=(READER, CACHE_READER))
