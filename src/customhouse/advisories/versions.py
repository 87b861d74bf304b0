"""Which of two versions is older, in each ecosystem's own order.

1. Every text has a place: what an ecosystem's grammar refuses stands below all that it accepts, so an unreadable
   version counts as old rather than as safe.
2. dpkg (Debian Policy §5.6.12) and apk (apk-tools version.c) orders are total and written here; the others are
   univers'. Its apk order refuses `_git` and other suffixes that Alpine uses.
3. A key is compared only with keys of the same ecosystem family.
"""

import re
from collections.abc import Callable
from typing import Any

from univers import versions as univers

LONGEST = 512
Key = tuple[Any, ...]

_DEBIAN = frozenset({"Debian", "Ubuntu", "Echo", "MinimOS"})
_ALPINE = frozenset({"Alpine", "Wolfi", "Chainguard"})
_OTHERS: dict[str, type[Any]] = {
    "PyPI": univers.PypiVersion,
    "npm": univers.SemverVersion,
    "Go": univers.GolangVersion,
    "Hex": univers.SemverVersion,
    "Pub": univers.SemverVersion,
    "Maven": univers.MavenVersion,
    "NuGet": univers.NugetVersion,
    "RubyGems": univers.RubygemsVersion,
    "AlmaLinux": univers.RpmVersion,
    "Rocky Linux": univers.RpmVersion,
    "Red Hat": univers.RpmVersion,
    "SUSE": univers.RpmVersion,
    "openSUSE": univers.RpmVersion,
}
_APK = re.compile(
    r"([0-9]+(?:\.[0-9]+)*)([a-z]?)((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*)(~[0-9a-f]+)?(?:-r([0-9]+))?"
)
_APK_SUFFIX = re.compile(r"_([a-z]+)([0-9]*)")
_APK_RANK = {"alpha": -4, "beta": -3, "pre": -2, "rc": -1, "cvs": 1, "svn": 2, "git": 3, "hg": 4, "p": 5}
_DIGIT = re.compile("[0-9]")
_RUNS = re.compile(r"([^0-9]*)([0-9]*)")


class VersionOrder:
    """The order of one ecosystem (its name may carry a release: `Debian:12`). Keys are kept: use one per evaluation."""

    def __init__(self, ecosystem: str) -> None:
        family = ecosystem.split(":")[0]
        self._build: Callable[[str], Key]
        if family in _DEBIAN:
            self._build = debian_key
        elif family in _ALPINE:
            self._build = alpine_key
        else:
            scheme = _OTHERS.get(family, univers.SemverVersion)
            self._build = lambda version: _univers_key(scheme, version)
        self._keys: dict[str, Key] = {}

    def key(self, version: str) -> Key:
        """A value that orders as the version does."""
        found = self._keys.get(version)
        if found is None:
            found = self._keys[version] = self._build(version[:LONGEST])
        return found

    def compare(self, one: str, other: str) -> int:
        """Negative, zero or positive as `one` is older than, the same as, or newer than `other`."""
        first, second = self.key(one), self.key(other)
        return (first > second) - (first < second)


def debian_key(version: str) -> Key:
    """dpkg: epoch, upstream version, revision; `~` sorts before the end, letters before other signs."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not re.fullmatch("[0-9]+", epoch):
        epoch, rest = "0", version.strip()
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), _runs(upstream), _runs(revision)


def alpine_key(version: str) -> Key:
    """apk: numbers, a letter, suffixes, a commit, a revision; a number with a leading zero orders as a fraction."""
    found = _APK.fullmatch(version)
    if not found:
        return 0, _natural(version)
    first, *more = found[1].split(".")
    numbers = ((1, int(first), ""), *((0, 0, n) if n[0] == "0" else (1, int(n), "") for n in more))
    suffixes = tuple((_APK_RANK[name], int(n or 0)) for name, n in _APK_SUFFIX.findall(found[3]))
    revision = int(found[5]) if found[5] else -1
    return 1, numbers, found[2], (*suffixes, (0, 0)), found[4] or "", revision


def _univers_key(scheme: type[Any], version: str) -> Key:
    if not _DIGIT.search(version):
        return 0, _natural(version)
    try:
        parsed = scheme(version)
        if not parsed < parsed:  # some texts are accepted by the constructor and cannot be compared
            return 1, parsed
    except Exception:  # univers raises its own errors, and ValueError, TypeError, AttributeError by scheme
        pass
    return 0, _natural(version)


def _runs(text: str) -> Key:
    parts: list[Key] = []
    for sign, number in _RUNS.findall(text):
        if sign or number:
            parts.append(((*(_weight(c) for c in sign), 0), int(number or 0)))
    return (*(parts or [((0,), 0)]), ((0,), 0))  # nothing equals "0"


def _weight(sign: str) -> int:
    if sign == "~":
        return -1
    return ord(sign) if sign.isascii() and sign.isalpha() else ord(sign) + 256


def _natural(text: str) -> Key:
    return tuple((sign, int(number or 0)) for sign, number in _RUNS.findall(text) if sign or number)
