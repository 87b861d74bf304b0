"""The package database of dpkg: `var/lib/dpkg/status`, and distroless' `status.d/*`, one stanza a package.

1. A package counts if its files are there: any state but `not-installed` and `config-files`. A stanza without
   `Status` (distroless) is installed.
2. `Source: name (version)` gives the source package; absent, it is the binary's own name and version.
   Advisories name source packages. https://www.debian.org/doc/debian-policy/ch-controlfields.html
3. Files are owned by `info/*.list`, in distroless by the `.md5sums` beside the package's own stanza. Licences are told
   by the copyright file (copyright.py).
4. A stanza that makes no sense is a problem, never an exception, and the others are still read.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from customhouse.catalogue import copyright
from customhouse.catalogue.cataloguer import Cataloguer, Evidence, Key
from customhouse.catalogue.package import (
    LARGEST_DATABASE,
    LONGEST_NAME,
    LONGEST_VERSION,
    MOST_PACKAGES,
    Package,
    acceptable,
    plain,
    purl,
)
from customhouse.oci.filesystem import Filesystem

STATUS = "var/lib/dpkg/status"
STATUS_FOLDER = "var/lib/dpkg/status.d/"
INFO_FOLDER = "var/lib/dpkg/info/"
WANTS = (STATUS, STATUS_FOLDER + "*", INFO_FOLDER + "*.list")
_GONE = frozenset({"not-installed", "config-files"})
_SOURCE = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_KEPT = frozenset({"package", "version", "status", "source", "architecture", "maintainer"})


@dataclass(frozen=True)
class Stanza:
    """One installed binary package."""

    name: str
    version: str
    source_name: str
    source_version: str
    architecture: str
    maintainer: str = ""


def parse_status(raw: bytes) -> tuple[list[Stanza], list[str]]:
    """Installed packages of a status file, and what in it could not be read."""
    problems: list[str] = []
    if len(raw) > LARGEST_DATABASE:
        raw = raw[:LARGEST_DATABASE]
        problems.append(f"is larger than {LARGEST_DATABASE} bytes; the rest was not read")
    found: list[Stanza] = []
    for number, fields in enumerate(_stanzas(raw), start=1):
        if number > MOST_PACKAGES:
            problems.append(f"lists more than {MOST_PACKAGES} packages; the rest was not read")
            break
        if not fields:
            continue
        state = fields.get("status", "install ok installed").split()
        if state and state[-1] in _GONE:
            continue
        stanza = _stanza(fields)
        if stanza is None:
            problems.append(f"stanza {number} names no package with a version")
        else:
            found.append(stanza)
    if not found and raw.strip(b"\0 \t\r\n") and not problems:
        problems.append("holds no package")
    return found, _shortened(problems)


def struck_out(raw: bytes, info: Iterable[str]) -> list[str]:
    """Packages whose list of files lies in the info folder (`info`: its file names) while the status file does not
    name them in any state. dpkg removes both together; somebody else took the stanza out."""
    named = {fields.get("package", "") for fields in _stanzas(raw[:LARGEST_DATABASE])}
    listed = {name.removesuffix(".list").partition(":")[0] for name in info if name.endswith(".list")}
    return sorted(listed - named)


def list_path(stanza: Stanza) -> tuple[str, ...]:
    """Where dpkg may keep the list of files of a package; `Multi-Arch: same` ones carry the architecture."""
    return (f"{INFO_FOLDER}{stanza.name}.list", f"{INFO_FOLDER}{stanza.name}:{stanza.architecture}.list")


def parse_list(raw: bytes) -> Iterator[str]:
    """Paths of a `.list` file, without the leading slash."""
    for line in raw.decode("utf-8", "backslashreplace").splitlines():
        path = line.strip("/") if line.startswith("/") else ""
        if path and path != ".":
            yield path


def parse_md5sums(raw: bytes) -> Iterator[str]:
    """Paths of a `.md5sums` file, which is all that distroless keeps about files."""
    for line in raw.decode("utf-8", "backslashreplace").splitlines():
        _, _, path = line.partition("  ")
        if path:
            yield path.removeprefix("./").strip("/")


def _stanzas(raw: bytes) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    begun = False
    for line in raw.decode("utf-8", "replace").split("\n"):
        line = line.rstrip("\r")
        if not line.strip():
            if begun:
                yield fields
            fields, begun = {}, False
            continue
        begun = True
        name, colon, value = line.partition(":")
        if colon and line[0] not in " \t" and (key := name.strip().lower()) in _KEPT:
            fields.setdefault(key, value.strip())
    if begun:
        yield fields


def _stanza(fields: dict[str, str]) -> Stanza | None:
    name, version = fields.get("package", ""), fields.get("version", "")
    if not (_NAME.fullmatch(name) and acceptable(name, LONGEST_NAME) and acceptable(version, LONGEST_VERSION)):
        return None
    source = _SOURCE.fullmatch(fields.get("source", ""))
    source_name = source[1] if source else name
    source_version = source[2] if source and source[2] else version
    if not (acceptable(source_name, LONGEST_NAME) and acceptable(source_version, LONGEST_VERSION)):
        return None
    architecture = fields.get("architecture", "")
    architecture = architecture if acceptable(architecture, 32) else ""
    maintainer = plain(fields.get("maintainer", ""))
    return Stanza(name, version, source_name, source_version, architecture, maintainer)


def _shortened(problems: list[str], most: int = 5) -> list[str]:
    if len(problems) <= most:
        return problems
    return [*problems[:most], f"and {len(problems) - most} more problems"]


def _packages(evidence: Evidence) -> Iterator[Package]:
    stanzas: list[tuple[Stanza, str, int]] = []
    raw = evidence.read(STATUS)
    if raw:
        listed = evidence.parsed(STATUS, raw, parse_status)
        layers = evidence.first_layers(STATUS, lambda r: (_key(stanza) for stanza in parse_status(r)[0]))
        stanzas += [(stanza, STATUS, layers.get(_key(stanza), 0)) for stanza in listed]
        missing = struck_out(raw, evidence.fs.children(INFO_FOLDER))
        if missing:
            shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
            evidence.problem(STATUS, f"leaves out packages whose files are listed: {shown}", "struck-out")
    for name in evidence.fs.children(STATUS_FOLDER):
        path = STATUS_FOLDER + name
        entry = evidence.fs.entry(path)
        if name.endswith(".md5sums") or entry is None or entry.kind == "dir":
            continue
        raw = evidence.read(path)
        if raw:
            stanzas += [(stanza, path, entry.layer) for stanza in evidence.parsed(path, raw, parse_status)]
    release = evidence.release("dpkg", stanzas[0][1]) if stanzas else None
    said = {entry.path: facts for entry, facts in evidence.facts(copyright.READER)}
    for stanza, path, layer in stanzas:
        assert release is not None
        qualifiers = {"arch": stanza.architecture, "distro": release.tag}
        yield Package(
            ecosystem=release.ecosystem,
            name=stanza.name,
            version=stanza.version,
            source_name=stanza.source_name,
            source_version=stanza.source_version,
            purl=purl("deb", release.namespace, stanza.name, stanza.version, qualifiers),
            path=path,
            layer=layer,
            architecture=stanza.architecture,
            kind="os",
            licenses=tuple(str(fact) for fact in said.get(_copyright(stanza, evidence.fs), ())),
            supplier=stanza.maintainer,
            files=_files(stanza, path, evidence.fs),
        )


def _key(stanza: Stanza) -> Key:
    return stanza.name, stanza.version, stanza.architecture


def _copyright(stanza: Stanza, fs: Filesystem) -> str:
    return fs.resolve(f"{copyright.FOLDER}{stanza.name}/copyright") or ""


def _files(stanza: Stanza, path: str, fs: Filesystem) -> tuple[str, ...]:
    for name in list_path(stanza):
        raw = fs.read(name)
        if raw is not None:
            return tuple(parse_list(raw))
    for name in (f"{path}.md5sums", f"{STATUS_FOLDER}{stanza.name}.md5sums"):
        raw = fs.read(name) if path != STATUS else None
        if raw is not None:
            return tuple(parse_md5sums(raw))
    return ()


CATALOGUER = Cataloguer("dpkg", _packages, WANTS, (copyright.READER,))
