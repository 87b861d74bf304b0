"""Under which name and version advisories know a package, and which of them are not about it though they bear its name.

1. Distributions file flaws under source packages, by source version; AlmaLinux and Red Hat under binary ones. A source
   package that another one signs or renames is looked up under the name that has the flaws.
2. What cannot be looked up is told apart: `OwnCode` is nothing that advisories know (a Go program's own module),
   `Unidentified` is something they may know under a name that the image does not say (a jar without its group).
3. A build by a vendor who patches packages of others (`+root.io.1`) is looked up in that vendor's advisories: the
   version says nothing about which fixes it has.
4. Kernel headers and documentation hold no kernel, so the kernel's flaws do not reach them.
5. A stream of an rpm module is fixed by builds of the same stream only, and a package outside modules by none of them.
6. A record about other systems than Linux, a notice that a project is no longer cared for, and a distribution's update
   that mends or adds something without a flaw behind it, are no flaw of an image.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from customhouse.advisories.osv import Advisory, Affected, normal_package
from customhouse.advisories.versions import DISTRIBUTIONS, RPM, family

BY_BINARY = frozenset({"AlmaLinux", "Red Hat"})
_VENDORS = {"root.io": "Root", "rootio": "Root", "echo": "Echo", "seal": "Seal", "rapidfort": "RapidFort"}
_VENDOR = re.compile(r"[.+~_-](root\.io|rootio|echo|seal|rapidfort)(?![a-z])")
_KERNEL = re.compile(r"(linux|kernel)(-.*)?")
_HEADERS = re.compile(
    r"linux-(libc-dev(-.*)?|headers(-.*)?|.*-headers-.*|kbuild-.*|doc.*|source.*|perf.*)"
    r"|kernel(-.*)?-(headers|devel|doc|devel-matched)|kernel-(cross-headers|srpm-macros|abi-stablelists)"
)
_SIGNED = re.compile(r"linux-signed(-[a-z0-9]+)?")
_PLACEHOLDER = re.compile(r"\(devel\)|unknown|v?0\.0\.0-00010101000000-0{12}(\+dirty)?", re.IGNORECASE)
_UNTAGGED = re.compile(r"v?0\.0\.0-.*")
_NO_FLAW = re.compile("(AL|RL|EL|RH)[BE]A-")
_MODULAR = re.compile(r"\.module[_+]")
_STREAM = re.compile(r"\b([a-zA-Z][\w.+-]{0,60}):([\w.+-]{1,40})")


class Package(Protocol):
    """What is asked of an installed package; the catalogue's fits. Distributions file flaws under `source_*`."""

    @property
    def ecosystem(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def source_name(self) -> str: ...
    @property
    def source_version(self) -> str: ...
    @property
    def purl(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def layer(self) -> int: ...
    @property
    def properties(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Lookup:
    """The ecosystem (with release), name and version by which advisories know a package."""

    ecosystem: str
    name: str
    version: str


@dataclass(frozen=True)
class OwnCode:
    """No advisory can be about this."""


@dataclass(frozen=True)
class Unidentified:
    """An advisory may be about this, and it is not known under which name; the reason says why."""

    reason: str


def identify(package: Package) -> Lookup | OwnCode | Unidentified:
    """By what the package is looked up; rules 1 to 4."""
    kind = family(package.ecosystem)
    if not package.ecosystem or is_kernel_header(package):
        return OwnCode()
    name, version = normal_package(package.ecosystem, package.name), package.version
    if kind in DISTRIBUTIONS and kind not in BY_BINARY:
        name, version = _source(package)
    elif kind == "Go" and (
        _PLACEHOLDER.fullmatch(version) or (package.properties.get("main") and _UNTAGGED.fullmatch(version))
    ):
        return OwnCode()
    elif kind == "Maven" and ":" not in name:
        return Unidentified("the jar does not say which group it belongs to")
    vendor = _VENDOR.search(version.lower())
    ecosystem = f"{_VENDORS[vendor[1]]}:{package.ecosystem}" if vendor else package.ecosystem
    return Lookup(ecosystem, name, version)


def concerns(package: Package, advisory: Advisory, affected: Affected) -> bool:
    """Is this record, which bears the package's name, about this package? Rules 5 and 6."""
    specifics = affected.specifics
    if _NO_FLAW.match(advisory.id) and not (advisory.cves or advisory.related):
        return False
    if specifics.informational and not (specifics.informational == "unsound" and advisory.cves):
        return False
    if specifics.platforms and "linux" not in specifics.platforms:
        return False
    return family(package.ecosystem) not in RPM or _same_stream(package, advisory, affected)


def is_kernel_header(package: Package) -> bool:
    """Rule 4."""
    return _KERNEL.fullmatch(package.source_name) is not None and _HEADERS.fullmatch(package.name) is not None


def _source(package: Package) -> tuple[str, str]:
    name, version = package.source_name, package.source_version
    if _SIGNED.fullmatch(name):  # Debian: linux-signed-amd64 6.1.135+1 is made of linux 6.1.135-1
        return "linux", re.sub(r"\+([0-9]+)$", r"-\1", version)
    return name, version


def _same_stream(package: Package, advisory: Advisory, affected: Affected) -> bool:
    fixes = [version for each in affected.ranges for kind, version in each.events if kind == "fixed"]
    if not fixes:
        return True
    modular = bool(_MODULAR.search(package.version))
    if modular != any(_MODULAR.search(version) for version in fixes):
        return False
    module = package.properties.get("module", "").split(":")
    if not modular or len(module) < 2:
        return True
    named = {stream for name, stream in _STREAM.findall(advisory.summary) if name == module[0]}
    return not named or module[1] in named
