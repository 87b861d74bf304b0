"""Which of two versions is older, in each ecosystem's own order. docs/reference/versions.md says how right it is.

1. An ecosystem is named as OSV does, with or without a release (`Debian:12`, `Ubuntu:Pro:22.04:LTS`).
2. Every two texts can be compared and the order is total: see distro_orders.py and library_orders.py. An ecosystem
   without an order of its own has that of semantic versions, read loosely.
3. Conan's order is univers'; what it refuses stands below all that it accepts.
4. Keys are kept for the life of the process, as many as `KEPT`: records name the same versions again and again.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from univers.versions import ConanVersion

from customhouse.advisories.distro_orders import alpine_key, debian_key, natural_key, rpm_key
from customhouse.advisories.library_orders import (
    bitnami_key,
    maven_key,
    nuget_key,
    numbers_key,
    packagist_key,
    pub_key,
    pypi_key,
    rubygems_key,
    semver_key,
)

LONGEST = 512
KEPT = 1 << 16
Key = tuple[Any, ...]

DPKG = frozenset({"Debian", "Ubuntu", "Echo", "opam"})
APK = frozenset({"Alpine", "Wolfi", "Chainguard", "MinimOS", "Alpaquita", "BellSoft Hardened Containers"})
RPM = frozenset(
    {"AlmaLinux", "Rocky Linux", "Red Hat", "SUSE", "openSUSE", "Mageia", "openEuler", "Photon OS", "Azure Linux"}
    | {"Amazon Linux", "Oracle Linux", "Fedora", "CentOS"}
)
DISTRIBUTIONS = DPKG | APK | RPM
REBUILDERS = frozenset({"Root", "Echo", "Seal", "RapidFort"})


def _conan_key(version: str) -> Key:
    try:
        parsed = ConanVersion(version)
        if not parsed < parsed:  # some texts are accepted by the constructor and cannot be compared
            return 1, parsed
    except Exception:  # univers raises its own errors, and ValueError, TypeError, AttributeError by text
        pass
    return 0, natural_key(version)


_ORDERS: dict[str, Callable[[str], Key]] = {
    **dict.fromkeys(DPKG, debian_key),
    **dict.fromkeys(APK, alpine_key),
    **dict.fromkeys(RPM, rpm_key),
    "PyPI": pypi_key,
    "Maven": maven_key,
    "NuGet": nuget_key,
    "RubyGems": rubygems_key,
    "Packagist": packagist_key,
    "Pub": pub_key,
    "Bitnami": bitnami_key,
    "CRAN": numbers_key,
    "Bioconductor": numbers_key,
    "Hackage": numbers_key,
    "ConanCenter": _conan_key,
}


class VersionOrder:
    """The order of one ecosystem. `spelt_once`: all versions are spelt as in the archive, so equal is identical."""

    def __init__(self, ecosystem: str) -> None:
        self._build = _kept(_ORDERS.get(family(ecosystem), semver_key))
        self.spelt_once = family(ecosystem) in DISTRIBUTIONS

    def key(self, version: str) -> Key:
        """A value that orders as the version does, among those of the same ecosystem family."""
        return self._build(version[:LONGEST])

    def compare(self, one: str, other: str) -> int:
        """Negative, zero or positive as `one` is older than, the same as, or newer than `other`."""
        if one == other:
            return 0
        first, second = self.key(one), self.key(other)
        return (first > second) - (first < second)


def family(ecosystem: str) -> str:
    """The ecosystem without its release, and without the vendor who rebuilds its packages (`Root:Debian:12`)."""
    name, _, rest = ecosystem.partition(":")
    return rest.partition(":")[0] if name in REBUILDERS and rest else name


@lru_cache
def _kept(build: Callable[[str], Key]) -> Callable[[str], Key]:
    return lru_cache(KEPT)(build)
