"""Installed gems: `specifications/NAME-VERSION[-PLATFORM].gemspec`, default gems, gems that Bundler took from git.

1. A gemspec is a program. It is never run: name and version are taken from the `# stub:` line that RubyGems writes, or
   from assignments of literal texts, or else from the file's name.
2. A gem from git is a folder `bundler/gems/NAME-REVISION`; where its gemspec computes its version, that is a problem.
3. Gemfile.lock says what is asked for, not what is installed, and does not count.
"""

import re
from collections.abc import Iterator

from customhouse.catalogue.cataloguer import Cataloguer
from customhouse.catalogue.language import Fact, LanguageReader, Unreadable, packages, stated

MOST_LINES = 2000
LONGEST_LINE = 2000
_INSTALLED = re.compile(r"(?:.*/)?specifications/(?:default/)?[^/]+\.gemspec")
_FROM_GIT = re.compile(r"(?:.*/)?bundler/gems/([^/]+)-([0-9a-f]{7,40})/([^/]+)\.gemspec")
_STUB = re.compile(r"# stub: ([A-Za-z0-9._-]{1,200}) ([0-9][0-9A-Za-z.]{0,100}) ([A-Za-z0-9._-]{1,100}) ")
_NAMED = re.compile(r"([A-Za-z0-9._-]{1,200}?)-([0-9][0-9A-Za-z.]{0,100})(?:-([A-Za-z][A-Za-z0-9._-]{0,100}))?")
_LITERAL = r"""(?:"([^"\\#]{1,200})"|'([^'\\]{1,200})')(?:\.freeze)?"""
_ASSIGNED = re.compile(r"\s{0,40}\w{1,40}\.(name|version|licenses?|author)\s{0,20}=\s{0,20}(.{1,1500})")
_VALUE = re.compile(rf"(?:Gem::Version\.new\()?{_LITERAL}\)?\s{{0,20}}(?:#.*)?")
_LIST = re.compile(_LITERAL)


def is_evidence(path: str) -> bool:
    """Does a file at this path say that a gem is installed?"""
    return path.endswith(".gemspec") and (
        _INSTALLED.fullmatch(path) is not None or ((git := _FROM_GIT.fullmatch(path)) is not None and git[1] == git[3])
    )


def parse_gemspec(path: str, raw: bytes) -> Fact:
    """The gem; what only running the file would tell is taken from its name. Raises Unreadable."""
    said: dict[str, str] = {}
    licenses: list[str] = []
    stub = None
    for line in raw.decode("utf-8", "replace").split("\n", MOST_LINES)[:MOST_LINES]:
        line = line.rstrip("\r")[:LONGEST_LINE]
        stub = stub or _STUB.match(line)
        assigned = _ASSIGNED.match(line)
        if assigned is None:
            continue
        if assigned[1].startswith("license"):
            licenses += [double or single for double, single in _LIST.findall(assigned[2])]
        elif (value := _VALUE.fullmatch(assigned[2].strip())) is not None:
            said.setdefault(assigned[1], value[1] or value[2])
    if stub is not None:
        name, version, platform = stub[1], stub[2], stub[3]
    else:
        name, version, platform = _by_name(path, said)
    return stated(
        "gem", name, version,
        licenses=licenses, supplier=said.get("author"), platform="" if platform == "ruby" else platform,
        default="yes" if "/specifications/default/" in f"/{path}" else "",
    )  # fmt: skip


def _by_name(path: str, said: dict[str, str]) -> tuple[str, str, str]:
    git = _FROM_GIT.fullmatch(path)
    if git is not None:
        if "version" not in said:
            raise Unreadable("computes the version of a gem from git")
        return said.get("name", git[3]), said["version"], ""
    named = _NAMED.fullmatch(path.rpartition("/")[2].removesuffix(".gemspec"))
    name = said.get("name") or (named[1] if named else "")
    version = said.get("version") or (named[2] if named else "")
    if not (name and version):
        raise Unreadable("does not name a gem with a version")
    return name, version, (named[3] or "") if named else ""


def _parse(path: str, raw: bytes) -> Iterator[Fact]:
    yield parse_gemspec(path, raw)


READER = LanguageReader("ruby", 1, is_evidence, _parse)
CATALOGUER = Cataloguer("ruby", packages(READER), readers=(READER,))
