"""Installed Python distributions: METADATA of `*.dist-info`, PKG-INFO of `*.egg-info` and `*.egg`, zipped eggs.

1. Names are compared in their normal form (PEP 503): lower case, runs of `-_.` become one `-`.
2. Only the header is read (Core Metadata is in the form of a mail header); a description follows a blank line.
3. A file without Name and Version is a problem: something is installed there, and we cannot say what.
4. Copies that a package brings along count where they have metadata of their own (`setuptools/_vendor`); pip's have
   none. Lock files and wheels that lie about are not installed and do not count.
5. Licences are what License-Expression, else License and the classifiers say. direct_url.json (PEP 610) says that a
   distribution came from elsewhere than an index.
6. The programs that a distribution put into `bin` are its files: RECORD names them as outside of its own folder.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import msgspec

from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.language import Fact, LanguageReader, Unreadable, package, packages, stated
from customhouse.catalogue.package import LARGEST_MANIFEST, Package, plain
from customhouse.catalogue.zips import MIB, Allowance, BadZip, NoZip, Zip
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

_NAMES = ("METADATA", "PKG-INFO", "direct_url.json")
MOST_PROGRAMS = 200
_EVIDENCE = re.compile(
    r"(?:.*/)?[^/]+(?:\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg/EGG-INFO/PKG-INFO|\.egg-info|\.egg)"
)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_KEYS = frozenset(("name", "version", "license-expression", "license", "author", "author-email", "maintainer"))
_LINKS = (".dist-info", ".egg-info")
_NO_LICENSES = ("UNKNOWN", "LICENSE", "LICENSE.txt")


def normal_name(name: str) -> str:
    """The form of PEP 503, in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_evidence(path: str) -> bool:
    """Does a regular file at this path say that a distribution is installed?"""
    return _EVIDENCE.fullmatch(path) is not None


def _is_evidence(path: str) -> bool:
    # METADATA of any folder: a link called *.dist-info may lead there.
    return path.endswith((".egg-info", ".egg", ".dist-info/RECORD")) or path.rpartition("/")[2] in _NAMES


def parse_metadata(raw: bytes) -> Fact:
    """The distribution that a header names. Raises Unreadable."""
    said: dict[str, str] = {}
    classified = []
    for line in raw[:LARGEST_MANIFEST].decode("utf-8", "replace").split("\n"):
        line = line.rstrip("\r")
        if not line.strip():
            break
        key, _, value = line.partition(":")
        key, value = key.lower(), value.strip()
        if key in _KEYS:
            said.setdefault(key, value)
        elif key == "classifier" and value.startswith("License ::"):
            classified.append(value.rpartition("::")[2].strip())
    name = said.get("name", "")
    if not _NAME.fullmatch(name) or not said.get("version"):
        raise Unreadable("does not name a Python package with a version")
    licenses = [said.get("license-expression", "")]
    if not licenses[0]:
        licenses = [one for one in (said.get("license", ""), *classified) if one not in _NO_LICENSES]
    by = said.get("author") or said.get("maintainer") or said.get("author-email")
    fact = stated("pypi", normal_name(name), said["version"], licenses=licenses, supplier=by)
    if "problem" in fact:
        raise Unreadable("does not name a Python package with a version")
    return fact


def parse_direct_url(raw: bytes) -> str:
    """Where a distribution came from: `vcs+url@commit`, or a URL; "" where the file says nothing. Raises Unreadable."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable("is no JSON") from error
    url = document.get("url") if isinstance(document, dict) else None
    if not isinstance(url, str):
        return ""
    scheme, parted, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    url = f"{scheme}{parted}{host.rpartition('@')[2]}{slash}{path}"  # a password may stand before the host
    vcs = document.get("vcs_info")
    if isinstance(vcs, dict) and isinstance(vcs.get("vcs"), str):
        return plain(f"{vcs['vcs']}+{url}@{vcs.get('commit_id', '')}", 300)
    return plain(url, 300)


def parse_record(path: str, raw: bytes) -> list[str]:
    """The programs that a RECORD (of the binary distribution format) lists, as paths of the image: those of the prefix
    of the folder that the distribution lies in, `PREFIX/bin/NAME` beside `PREFIX/lib/pythonX/site-packages`."""
    base = posixpath.dirname(posixpath.dirname(path))
    programs = posixpath.join(posixpath.dirname(posixpath.dirname(posixpath.dirname(base))), "bin")
    found = []
    for line in raw.decode("utf-8", "replace").split("\n"):
        name = line.partition(",")[0].strip('"')
        if name.startswith("../") and "/bin/" in name and len(name) < 500:
            program = posixpath.normpath(posixpath.join("/", base, name)).lstrip("/")
            if posixpath.dirname(program) == programs:
                found.append(program)
    return found[:MOST_PROGRAMS]


def _parse(path: str, raw: bytes) -> Iterator[Fact]:
    if path.endswith("/RECORD"):
        if programs := parse_record(path, raw):
            yield {"programs": cast(list[JSON], programs)}
    elif path.endswith("direct_url.json"):
        yield {"url": parse_direct_url(raw)}
    elif path.endswith(".egg"):
        yield from _zipped(raw)
    else:
        yield parse_metadata(raw)


def _zipped(raw: bytes) -> Iterator[Fact]:
    try:
        archive = Zip.open(raw, Allowance(inflated=16 * MIB))
        for member in archive.members(lambda name: name == b"EGG-INFO/PKG-INFO"):
            yield parse_metadata(bytes(archive.read(member, LARGEST_MANIFEST)))
    except NoZip:
        return
    except BadZip as error:
        raise Unreadable(str(error)) from error


READER = LanguageReader("python", 2, _is_evidence, _parse, 64 * MIB)


def _packages(evidence: Evidence) -> Iterator[Package]:
    beside: dict[str, Fact] = {}
    for entry, facts in evidence.facts(READER):
        for fact in cast(tuple[Fact, ...], facts):
            if "url" in fact or "programs" in fact:
                beside.setdefault(entry.parent, {}).update(fact)
    for found in packages(READER, lambda _, entry, fact: "type" in fact or is_evidence(entry.path))(evidence):
        if is_evidence(found.path):
            yield _with(found, beside.get(found.path.rpartition("/")[0], {}))
    yield from _linked(evidence)


def _with(found: Package, more: Fact) -> Package:
    """The distribution with what lies beside its METADATA."""
    if url := str(more.get("url", "")):
        fact = stated(
            "pypi", found.name, found.version, licenses=found.licenses, supplier=found.supplier,
            **{"vcs_url" if "+" in url.partition("://")[0] else "download_url": url},
        )  # fmt: skip
        found = package(fact, found.path, found.layer)
    programs = cast(list[JSON], more.get("programs", []))
    return replace(found, files=tuple(str(each) for each in programs)) if programs else found


def _linked(evidence: Evidence) -> Iterator[Package]:
    """Distributions behind a link of the right name to a folder or a file of another."""
    links = [
        entry
        for entry in evidence.fs.walk()
        if entry.kind == "symlink" and entry.path.endswith((".dist-info", ".egg-info"))
    ]
    if not links:
        return
    known = {entry.path: facts for entry, facts in evidence.facts(READER)}
    unread = {entry.path for entry, _ in evidence.image.unread(READER.name)}
    for entry in links:
        target = evidence.fs.entry(entry.path)
        if target is None:
            continue
        for name in ("",) if target.kind != "dir" else ("/METADATA", "/PKG-INFO"):
            real = evidence.fs.resolve(entry.path + name)
            if real is None or is_evidence(real) or real in unread:  # under its own name it is met anyway
                continue
            yield from _behind(evidence, entry, name, known.get(real, ()))


def _behind(evidence: Evidence, entry: FileEntry, name: str, facts: tuple[object, ...]) -> Iterator[Package]:
    told = [fact for fact in facts if isinstance(fact, dict) and "type" in fact]
    for fact in told:
        yield package(fact, entry.path + name, entry.layer)
    if not told and evidence.fs.exists(entry.path + name):
        evidence.problem(entry.path + name, "does not name a Python package with a version")


CATALOGUER = Cataloguer("python", _packages, readers=(READER,))
