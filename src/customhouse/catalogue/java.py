"""Java packages: archives (jar, war, ear, plugins), the archives in them, and what shaded ones took in.

1. An archive is named by its own pom.properties; else by its pom.xml's folder, its place in a Maven or Gradle cache,
   its manifest, its file's name, in this order. A pom.properties of another artifact is a package that was shaded in:
   it is listed with the archive as its `parent`.
2. `group` says how the group is known: "pom", "path", "manifest" (written there), "name" (mavengroups.py), "guess" (it
   is like the name of a bundle or module) or "none". Without a group a name is not unique, and the package URL has no
   namespace.
3. The version is the pom's; else the one in the file's name that the manifest confirms; else the manifest's; else what
   follows the name. An archive without any is listed as nothing: a plain archive of classes has no version to judge.
4. Archives in archives are read in memory, within one Allowance for the whole file.
5. What no Java runtime opens (no directory at the end) is no archive. A directory that is there and cannot be read,
   an encrypted or overlapping entry, is a problem.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from customhouse.catalogue.cataloguer import Cataloguer
from customhouse.catalogue.language import Fact, LanguageReader, packages, problem, stated
from customhouse.catalogue.manifests import pom_licenses, pom_parent_version, properties, sections
from customhouse.catalogue.mavengroups import known_group, of_tomcat
from customhouse.catalogue.zips import MIB, Allowance, BadZip, Member, NoZip, Zip

SUFFIXES = (".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".kar", ".lpkg", ".rar")
LARGEST_ARCHIVE = 192 * MIB
LARGEST_INNER = 64 * MIB
LARGEST_TEXT = MIB
MOST_POMS = 5000
_MANIFEST = b"META-INF/MANIFEST.MF"
_INNER = tuple(suffix.encode() for suffix in SUFFIXES)
_POM = re.compile(r"META-INF/maven/([^/]{1,200})/([^/]{1,200})/pom\.(properties|xml)")
_GROUP = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*")
_NUMBERED = re.compile(r"-(?=\d)")
_JOINED = re.compile(r"(.{0,300}[A-Za-z_])(\d{1,9}(?:\.\d{1,9}){2,6})")
_QUALIFIER = re.compile(
    r"(?:\d.*|v\d.*|alpha|beta|rc|cr|m|ga|final|release|snapshot|sp|jre|android|incubating|redhat|sec|pre|preview|ea|"
    r"build|patch|hotfix|b|jdk|java|java\d+|jre\d+|jdk\d+\w*|(?:alpha|beta|rc|cr|m|sp|b|sec|redhat|pre)[.\d]*\d|jboss|fuse|"
    r"spark|hadoop\d*|stable|dev|nightly|public)(?:[._].*)?",
    re.IGNORECASE,
)
_CLASSIFIER = re.compile(
    r"-(?:linux|osx|windows|sources|javadoc|tests?|all|shaded|uber|fat|exec|jar-with-dependencies|standalone|bundle|"
    r"native|classes|plain|boot|runner|x86_64|aarch_?64|amd64|nodeps?|no_aop)(?:-[A-Za-z0-9_]+)*$"
)


@dataclass
class _Archive:
    """What one archive says of itself and of what it holds; `path` is its place, `inside` that within a file."""

    path: str
    inside: str
    manifest: dict[str, str] = field(default_factory=dict)
    poms: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    licenses: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def _parse(path: str, raw: bytes) -> Iterator[Fact]:
    yield from _archive(path, "", memoryview(raw), Allowance(), "")


def _archive(path: str, inside: str, body: memoryview, allowance: Allowance, parent: str) -> Iterator[Fact]:
    """The packages of one archive and of those in it. `parent` is the package URL of the one around it."""
    inner: list[Member] = []
    at = _Archive(path, inside)
    try:
        archive = Zip.open(body, allowance)
        poms = 0
        for member in archive.members(_wanted):
            if member.name.endswith(SUFFIXES):
                inner.append(member)
                continue
            poms += 1
            if poms > MOST_POMS:
                raise BadZip("names more packages than are read")
            _text(archive, member, at)
    except NoZip:
        return
    except BadZip as error:
        yield problem(str(error), inside)
        return
    mine = None
    for fact in _named(at, parent):
        mine = mine or fact
        yield fact
    around = _url(mine) if mine is not None else parent
    for member in inner:
        yield from _inner(archive, member, f"{inside}!/{member.name}" if inside else member.name, at, around)


def _inner(archive: Zip, member: Member, inside: str, at: _Archive, parent: str) -> Iterator[Fact]:
    allowance = archive.allowance
    if allowance.depth == 0:
        yield problem("holds archives too deep within archives", inside)
        return
    try:
        body = archive.read(member, LARGEST_INNER)
    except BadZip as error:
        yield problem(str(error), inside)
        return
    held = 0 if member.method == 0 else member.size
    allowance.depth -= 1
    allowance.held -= held
    yield from _archive(member.name, inside, body, allowance, parent)
    allowance.depth += 1
    allowance.held += held


def _wanted(name: bytes) -> bool:
    return name.endswith(_INNER) or (
        name.startswith(b"META-INF/")
        and (name == _MANIFEST or name.endswith((b"/pom.properties", b"/pom.xml")) or name.upper() == _MANIFEST)
    )


def _text(archive: Zip, member: Member, into: _Archive) -> None:
    pom = _POM.fullmatch(member.name)
    if pom is None and member.name.upper() != "META-INF/MANIFEST.MF":
        return
    raw = bytes(archive.read(member, LARGEST_TEXT))
    archive.allowance.texts -= len(raw)
    if archive.allowance.texts < 0:
        raise BadZip("holds more texts than are read")
    if pom is None:
        into.manifest = into.manifest or sections(raw)
        return
    key = (pom[1], pom[2])
    if pom[3] == "properties":
        into.poms.setdefault(key, {}).update(properties(raw))
    else:
        into.licenses[key] = pom_licenses(raw)
        version = pom_parent_version(raw)
        known = into.poms.setdefault(key, {})
        if version and "version" not in known:
            known["version"] = version


def _named(at: _Archive, parent: str) -> Iterator[Fact]:
    """The archive's own package first, if it has one, then those that were shaded in."""
    name, version = file_name(at.path, at.manifest)
    poms = {key: said for key, said in at.poms.items() if "${" not in said.get("version", "")}
    own = _own(list(poms), name, version)
    mine = None
    if own is not None:
        said = poms.pop(own)
        mine = _package(at, own[0], own[1], said.get("version") or version, "pom", at.licenses.get(own, []), parent)
    else:
        mine = _guessed(at, name, version, parent)
    if mine is not None:
        yield mine
    around = _url(mine) if mine is not None else parent
    for (group, artifact), said in sorted(poms.items()):
        if said.get("version"):
            shaded = _package(
                at, group, artifact, said["version"], "pom", at.licenses.get((group, artifact), []), around, shaded=True
            )
            if shaded is not None:
                yield shaded


def _own(keys: list[tuple[str, str]], name: str, version: str) -> tuple[str, str] | None:
    """Which of the poms is the archive's: the one of its name, or the only one unless the name is another's."""
    same = [key for key in keys if key[1] == name]
    if same:
        return same[0]
    if len(keys) == 1 and (not version or name in keys[0][1] or keys[0][1] in name):
        return keys[0]
    begun = [key for key in keys if name.startswith(key[1])]
    return max(begun, key=lambda key: len(key[1])) if begun else None


def _package(
    at: _Archive,
    group: str,
    artifact: str,
    version: str,
    known: str,
    licenses: list[str],
    parent: str,
    *,
    shaded: bool = False,
) -> Fact | None:
    if not (artifact and version):
        return None
    said = at.manifest
    own = [] if shaded else [said.get("bundle-license", "").split(";")[0]]
    return stated(
        "maven",
        artifact,
        version,
        namespace=group,
        licenses=licenses or [text for text in own if text != "<<EXTERNAL>>"],
        supplier="" if shaded else said.get("implementation-vendor") or said.get("bundle-vendor"),
        inside=at.inside,
        group=known,
        parent=parent,
        shaded="yes" if shaded else "",
    )


def _guessed(at: _Archive, name: str, version: str, parent: str) -> Fact | None:
    """The package of an archive without a pom of its own."""
    said = at.manifest
    placed = _placed(at.path)
    if placed is not None:
        return _package(at, *placed, "path", [], parent)
    if said.get("short-name") and said.get("plugin-version"):  # a plugin of Jenkins
        group = said.get("group-id", "")
        version = said["plugin-version"].split(" ")[0]
        return _package(at, group, said["short-name"], version, "manifest" if group else "none", [], parent)
    version = version or _manifest_version(said)
    if not version or not name:
        return None
    if said.get("implementation-title") == "Apache Tomcat" and of_tomcat(name):
        return _package(at, "org.apache.tomcat", of_tomcat(name), version, "name", [], parent)
    group, known = _group(said, name, version)
    return _package(at, group, name, version, known, [], parent)


def _placed(path: str) -> tuple[str, str, str] | None:
    """Group, artifact and version where the path is one of a Maven repository or of Gradle's cache."""
    parts = path.split("/")
    if len(parts) >= 5 and "files-2.1" in parts[:-4]:
        artifact, version = parts[-4], parts[-3]
        if parts[-6:-5] == ["files-2.1"] and parts[-1].startswith(f"{artifact}-{version}"):
            return parts[-5], artifact, version
    if len(parts) >= 4 and parts[-1].startswith(f"{parts[-3]}-{parts[-2]}"):
        for root in ("repository", "maven-repo", "maven2", "repo", "m2"):
            if root in parts[:-3]:
                group = parts[len(parts) - parts[::-1].index(root) : -3]
                if group and _GROUP.fullmatch(".".join(group)):
                    return ".".join(group), parts[-3], parts[-2]
    return None


def _group(said: dict[str, str], name: str, version: str) -> tuple[str, str]:
    """The group of an archive, and how it is known."""
    vendor = said.get("implementation-vendor-id", "")
    if "." in vendor and _GROUP.fullmatch(vendor):
        return vendor, "manifest"
    if group := known_group(name, version):
        return group, "name"
    for key in ("bundle-symbolicname", "automatic-module-name", "implementation-title", "specification-title"):
        bundle = said.get(key, "").split(";")[0].strip()
        if "." in bundle and _GROUP.fullmatch(bundle):
            before, _, last = bundle.rpartition(".")
            apart = "." in before and (last == name or last.lower() in name.lower().split("-"))
            return before if apart else bundle, "guess"
    return "", "none"


def _manifest_version(said: dict[str, str]) -> str:
    for key in ("implementation-version", "bundle-version", "specification-version", "plugin-version"):
        version = said.get(key, "").split(" ")[0].strip()
        if version and version[0].isdigit() and "${" not in version:
            return version
    return ""


def file_name(path: str, manifest: dict[str, str]) -> tuple[str, str]:
    """(artifact, version) as an archive is called; the version is "" where none is seen."""
    stem = path.rpartition("/")[2].rpartition(".")[0][:400].replace(" ", "_")
    for key in ("implementation-version", "bundle-version", "specification-version"):
        version = manifest.get(key, "").strip()
        if version and version[0].isdigit() and stem.endswith(f"-{version}"):
            return stem.removesuffix(f"-{version}"), version
    stem = _CLASSIFIER.sub("", stem)
    starts = [match.end() for match in _NUMBERED.finditer(stem)]
    joined = None if starts else _JOINED.fullmatch(stem)
    if joined is not None:  # py4j0.10.9.7
        return joined[1], joined[2]
    for start in starts:
        if all(_QUALIFIER.fullmatch(part) for part in stem[start:].split("-")[1:]):
            return stem[: start - 1], stem[start:]
    if starts:
        return stem[: starts[0] - 1], stem[starts[0] :]
    return stem, ""


def _url(fact: Fact) -> str:
    return f"pkg:maven/{fact.get('namespace', '')}/{fact.get('name')}@{fact.get('version')}".replace("//", "/")


def _is_archive(path: str) -> bool:
    return path.endswith(SUFFIXES)


READER = LanguageReader("java", 3, _is_archive, _parse, LARGEST_ARCHIVE)
CATALOGUER = Cataloguer("java", packages(READER), readers=(READER,))
