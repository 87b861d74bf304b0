"""The orders of language packages' versions, each as a key that compares like the version.

1. Every text has a key, so the order is total. A text without a leading number stands below all others: an unreadable
   version counts as old rather than as safe.
2. A version may end where another goes on. What follows then decides on which side of the end the longer one stands;
   a zero that means nothing by itself takes the side of what comes after it.
3. semver: https://semver.org §11, read as loosely as npm does (`v`, `=`, missing or further numbers, `1.0.0rc1`).
   Build metadata has no order, except in Pub (pub_semver), and Bitnami's `-4` is a later revision of the package.
4. PyPI: PEP 440 through `packaging`; what it refuses is ordered as setuptools did before PEP 440, below all others.
5. RubyGems: Gem::Version. Maven: ComparableVersion of Maven 3.9 and its "Version Order Specification". Packagist:
   Composer's normal form, then PHP's version_compare. CRAN and Hackage: lists of numbers.
"""

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from packaging.version import InvalidVersion, Version

from customhouse.advisories.distro_orders import natural_key

Key = tuple[Any, ...]

_SEMVER = re.compile(r"[\sv=Vgo]*([0-9]+(?:\.[0-9]+)*)(.*)", re.DOTALL)
_LEGACY = re.compile(r"[0-9]+|[a-z]+|\.|-")
_LEGACY_WORDS = {"pre": "c", "preview": "c", "-": "final-", "rc": "c", "dev": "@"}
_GEM = re.compile(r"[0-9]+|[a-z]+")
_NUMBER = re.compile(r"[0-9]+")
_MAVEN = re.compile(r"([.-]?)([0-9]+|[^0-9.-]*)")
_MAVEN_WORDS = {"alpha": 0, "beta": 1, "milestone": 2, "rc": 3, "cr": 3, "snapshot": 4, "": 5, "sp": 6}
_MAVEN_NOTHING = frozenset({"", "ga", "final", "release"})
_MAVEN_SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}
_COMPOSER = re.compile(r"[0-9]+|[^0-9.+_-]+")
_COMPOSER_PLAIN = re.compile(r"[vV]?([0-9]{1,5}(?:\.[0-9]+){0,3})(?!\.?[0-9])([^+\s]*)")
_COMPOSER_WORDS = (("dev", 1), ("a", 2), ("b", 3), ("rc", 4), ("RC", 4), ("pl", 8), ("p", 8))


def semver_key(version: str) -> Key:
    """Semantic versions; rule 3."""
    numbers, before, _ = _semver(version)
    return (0, natural_key(version)) if numbers is None else (1, numbers, before)


def nuget_key(version: str) -> Key:
    """Semantic versions with a fourth number and without case."""
    return semver_key(version.lower())


def pub_key(version: str) -> Key:
    """Semantic versions whose build metadata counts, after the version without any."""
    numbers, before, build = _semver(version)
    if numbers is None:
        return 0, natural_key(version)
    return 1, numbers, before, _identifiers(build.split(".")) if build else ()


def bitnami_key(version: str) -> Key:
    """Semantic versions, where a number alone after the dash is the package's revision."""
    numbers, before, _ = _semver(version)
    if numbers is None:
        return 0, natural_key(version)
    if before and len(before) == 2 and before[0][0] == 0:
        return 1, numbers, _RELEASED, before[0][1]
    return 1, numbers, before, 0


def pypi_key(version: str) -> Key:
    """PEP 440; rule 4."""
    try:
        return 1, Version(version)
    except (InvalidVersion, ValueError):  # ValueError: a number of more digits than int() takes
        return 0, _legacy(version)


def rubygems_key(version: str) -> Key:
    """Gem::Version: letters are pre-releases, and a dash begins one."""
    parts = _GEM.findall(version.lower().replace("-", ".pre."))
    if not parts or not version[:1].isdigit():
        return 0, natural_key(version)
    return 1, _gem_parts([int(part) if part.isdigit() else part for part in parts])


def numbers_key(version: str) -> Key:
    """CRAN and Hackage: numbers alone, and the shorter is the older."""
    numbers = tuple(int(each) for each in _NUMBER.findall(version))
    return (1, numbers) if version[:1].isdigit() else (0, natural_key(version))


def maven_key(version: str) -> Key:
    """ComparableVersion: numbers and words, parted by dots, dashes and the change between the two."""
    if not _NUMBER.search(version):
        return 0, natural_key(version.lower())
    return 1, _maven_parts(_maven_trimmed(_maven_tokens(version.lower())))


def packagist_key(version: str) -> Key:
    """Composer: up to four numbers, then words of which `dev`, `a`, `b` and `rc` come before the release."""
    plain = _COMPOSER_PLAIN.match(version.strip())
    if plain is None:
        return 0, _composer_parts(version)
    numbers = [int(each) for each in plain[1].split(".")]
    rest = plain[2]
    if rest.lstrip(".-_").lower() == "stable":
        rest = ""
    if rest.lower() in (".x", ".x-dev", ".*"):
        return 1, (*numbers, *[9999999] * (4 - len(numbers))), _composer_parts("dev")
    return 1, (*numbers, *[0] * (4 - len(numbers))), _composer_parts(rest)


_RELEASED: Key = ((2,),)


def _semver(version: str) -> tuple[Key | None, Key, str]:
    """(numbers without zeros at the end, the pre-release, the build metadata)."""
    found = _SEMVER.match(version)
    if not found:
        return None, (), ""
    numbers = [int(each) for each in found[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    before, _, build = found[2].strip().partition("+")
    before = before.lstrip("-.")
    return tuple(numbers), _identifiers(before.split(".")) if before else _RELEASED, build


def _identifiers(parts: Iterable[str]) -> Key:
    return (*((0, int(p), "") if p.isascii() and p.isdigit() else (1, 0, p) for p in parts), (-1,))


def _legacy(version: str) -> Key:
    parts: list[str] = []
    for found in (*_LEGACY.findall(version.lower()), "final"):
        part = _LEGACY_WORDS.get(found, found)
        if part == ".":
            continue
        if part[0].isdigit():
            parts.append(part.zfill(8))
            continue
        part = "*" + part
        if part < "*final":
            while parts and parts[-1] == "*final-":
                parts.pop()
        while parts and parts[-1] == "00000000":
            parts.pop()
        parts.append(part)
    return tuple(parts)


def _gem_parts(parts: list[int | str]) -> Key:
    while parts and parts[-1] == 0:
        parts.pop()
    leading = list(takewhile(lambda part: isinstance(part, int), parts))
    rest = parts[len(leading) :]
    while leading and not leading[-1]:
        leading.pop()
    parts = [*leading, *rest]
    key: list[Key] = [(2,)]  # the end: above letters, below numbers
    before_letters = False
    for part in reversed(parts):
        if isinstance(part, str):
            before_letters = True
            key.append((0, part))
        elif part == 0 and before_letters:
            key.append((1,))
        else:
            before_letters = False
            key.append((3, part))
    return tuple(reversed(key))


_Token = tuple[str, str]


def _maven_tokens(version: str) -> list[_Token]:
    """(separator, number or word): "." or "-", and "-" where digits meet letters."""
    tokens: list[_Token] = []
    glued = False  # does this token follow the one before without a separator?
    for separator, word in _MAVEN.findall(version):
        if not separator and not word:
            continue
        glued = not separator and bool(tokens)
        if glued and word[0].isdigit() and tokens[-1][1] in _MAVEN_SHORT:
            tokens[-1] = tokens[-1][0], _MAVEN_SHORT[tokens[-1][1]]
        if not word and separator:
            word = "0"
        tokens.append(("-" if glued else separator or ".", word))
    return tokens


def _maven_trimmed(tokens: list[_Token]) -> list[_Token]:
    """Without what means nothing (0, "", final, ga, release) at the end and before each dash."""
    kept: list[_Token] = []
    for token in tokens:
        if token[0] == "-":
            while len(kept) > 1 and _maven_nothing(kept[-1][1]):
                kept.pop()
        kept.append(token)
    while len(kept) > 1 and _maven_nothing(kept[-1][1]):
        kept.pop()
    return kept


def _maven_nothing(word: str) -> bool:
    return word in _MAVEN_NOTHING or not word.strip("0")


def _maven_parts(tokens: list[_Token]) -> Key:
    key: list[Key] = [(2,)]  # the end: above alpha to snapshot, below all else
    before_release = False
    for separator, word in reversed(tokens):
        if word.isascii() and word.isdigit():
            number = int(word)
            if separator == "." and number == 0 and before_release:
                key.append((1,))
            else:
                before_release = False
                key.append((4 if separator == "-" else 5, number))
            continue
        rank = _MAVEN_WORDS.get("" if word in _MAVEN_NOTHING else word, 7)
        before_release = rank < 5
        side = 0 if rank < 5 else 2 if rank == 5 else 3
        key.append((side, separator == "-", rank, word if rank == 7 else ""))
    return tuple(reversed(key))


def _composer_parts(text: str) -> Key:
    parts: list[Key] = []
    for part in _COMPOSER.findall(text):
        if part.isascii() and part.isdigit():
            parts.append((7, int(part)))
        else:
            parts.append((next((rank for word, rank in _COMPOSER_WORDS if part.startswith(word)), 0), 0))
    return (*parts, (6, 0))  # the end: above dev to rc, below numbers and patches
