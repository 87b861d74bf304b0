"""Installed Python distributions: `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`, and `*.egg-info` as a file.

1. Names are compared in their normal form (PEP 503): lower case, runs of `-_.` become one `-`.
2. Only the header is read (Core Metadata is in the form of a mail header); a description follows a blank line.
3. A file without Name and Version is a problem: something is installed there, and we cannot say what.
"""

import re
from collections.abc import Iterator

from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.package import LARGEST_MANIFEST, LONGEST_NAME, LONGEST_VERSION, Package, acceptable, purl
from customhouse.oci.entry import FileEntry

ECOSYSTEM = "PyPI"
WANTS = ("**/*.dist-info/METADATA", "**/*.egg-info/PKG-INFO", "**/*.egg-info")
_EVIDENCE = re.compile(r"(?:.*/)?[^/]+(?:\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg-info)")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def normal_name(name: str) -> str:
    """The form of PEP 503, in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_evidence(path: str) -> bool:
    """Does a regular file at this path say that a distribution is installed?"""
    return _EVIDENCE.fullmatch(path) is not None


def parse_metadata(raw: bytes) -> tuple[str, str] | None:
    """(name as written, version), or None if the header does not say."""
    name = version = ""
    for line in raw[:LARGEST_MANIFEST].decode("utf-8", "replace").split("\n"):
        line = line.rstrip("\r")
        if not line.strip():
            break
        key, _, value = line.partition(":")
        if key.lower() == "name":
            name = name or value.strip()
        elif key.lower() == "version":
            version = version or value.strip()
    if _NAME.fullmatch(name) and acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION):
        return name, version
    return None


def _packages(evidence: Evidence) -> Iterator[Package]:
    for entry in evidence.fs.walk():
        path = entry.path
        if entry.kind == "symlink" and path.endswith((".dist-info", ".egg-info")):
            yield from _linked(evidence, entry)
        elif entry.kind != "dir" and path.endswith(("METADATA", "PKG-INFO", ".egg-info")) and is_evidence(path):
            yield from _package(evidence, entry, path)


def _linked(evidence: Evidence, entry: FileEntry) -> Iterator[Package]:
    target = evidence.fs.entry(entry.path)
    if target is None:
        return
    names = ("",) if target.kind != "dir" else ("/METADATA", "/PKG-INFO")
    for name in names:
        real = evidence.fs.resolve(entry.path + name)
        if real is not None and not is_evidence(real):  # under its own name it is met anyway
            yield from _package(evidence, entry, entry.path + name)


def _package(evidence: Evidence, entry: FileEntry, path: str) -> Iterator[Package]:
    raw = evidence.read(path)
    if raw is None:
        return
    said = parse_metadata(raw)
    if said is None:
        evidence.problem(path, "does not name a Python package with a version")
        return
    name, version = normal_name(said[0]), said[1]
    yield Package(ECOSYSTEM, name, version, name, version, purl("pypi", None, name, version, {}), path, entry.layer)


CATALOGUER = Cataloguer("python", _packages, WANTS)
