"""Packages of .NET: the `*.deps.json` that a published program, and the shared runtime, carry beside themselves.

1. The libraries of the runtime target count which are of type `package` or `runtimepack` and bring something to run
   (`runtime`, `native`, `runtimeTargets`); a project's own code is no package, and a lock file is no installation.
   https://github.com/dotnet/sdk/blob/main/documentation/specs/runtime-configuration-file.md
2. `runtimepack.NAME` is the package NAME: the runtime inside a program that brings its own.
3. Names are compared without case; they are kept as they are written.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from customhouse.catalogue.cataloguer import Cataloguer, Evidence
from customhouse.catalogue.package import LONGEST_NAME, LONGEST_VERSION, Package, acceptable, purl
from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON

ECOSYSTEM = "NuGet"
LARGEST = 16 << 20
MOST_LIBRARIES = 9_000
_BRINGS = ("runtime", "native", "runtimeTargets")


class BrokenDeps(Exception):
    """A deps.json that cannot be read."""


def libraries(raw: bytes) -> list[tuple[str, str]]:
    """(name, version) of each package. Raises BrokenDeps."""
    try:
        document = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BrokenDeps("is no JSON") from error
    if not isinstance(document, dict):
        raise BrokenDeps("is no JSON object")
    listed, targets, chosen = (document.get(key) for key in ("libraries", "targets", "runtimeTarget"))
    name = chosen.get("name") if isinstance(chosen, dict) else chosen
    target = targets.get(name) if isinstance(targets, dict) and isinstance(name, str) else None
    if not isinstance(listed, dict) or not isinstance(target, dict):
        raise BrokenDeps("names no runtime target with libraries")
    if len(target) > MOST_LIBRARIES:
        raise BrokenDeps(f"lists more than {MOST_LIBRARIES} libraries")
    found = []
    for key, brought in target.items():
        about = listed.get(key)
        kind = about.get("type") if isinstance(about, dict) else None
        if kind not in ("package", "runtimepack") or not isinstance(brought, dict):
            continue
        if kind == "package" and not any(brought.get(each) for each in _BRINGS):
            continue
        package, _, version = key.partition("/")
        package = package.removeprefix("runtimepack.")
        if not (acceptable(package, LONGEST_NAME) and acceptable(version, LONGEST_VERSION)):
            raise BrokenDeps("lists a library without a name or a version")
        found.append((package, version))
    return found


@dataclass(frozen=True)
class DotnetReader:
    """Facts: [name, version] a package, or `problem` with a sentence."""

    name: str = "dotnet"
    version: int = 1
    limit: int = LARGEST

    def wants(self, file: FileEntry) -> bool:
        return file.path.endswith(".deps.json")

    def read(self, path: str, body: bytes) -> Iterable[JSON]:
        try:
            for name, version in libraries(body):
                yield [name, version]
        except BrokenDeps as error:
            yield {"problem": str(error)}


READER = DotnetReader()


def _packages(evidence: Evidence) -> Iterator[Package]:
    for entry, facts in evidence.facts(READER):
        for fact in facts:
            if isinstance(fact, dict):
                evidence.problem(entry.path, str(fact.get("problem")))
            elif isinstance(fact, list) and len(fact) == 2:
                name, version = str(fact[0]), str(fact[1])
                url = purl("nuget", None, name, version, {})
                yield Package(ECOSYSTEM, name, version, name, version, url, entry.path, entry.layer)


CATALOGUER = Cataloguer("dotnet", _packages, (), (READER,))
