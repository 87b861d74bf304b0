"""The orders of distributions' versions: dpkg, apk and rpm, each as a key that compares like the version.

1. Every text has a key, so the order is total. What a grammar refuses keeps the place of the part it accepts, below
   the versions that begin with that part and are valid; a text without any number stands below all.
2. dpkg: Debian Policy §5.6.12. Epoch, upstream, revision; `~` before the end, letters before other signs.
3. apk: apk-tools doc/apk-package.5 and src/version.c. A number with a leading zero orders as a fraction; the hash of
   a commit says nothing about age.
4. rpm: rpm-version(7). `~` before the end, `^` after it, letters before numbers, separators only separate. A version
   without an epoch has epoch 0; one without a release stands before all of its releases.
"""

import re
from typing import Any

Key = tuple[Any, ...]

_RUNS = re.compile(r"([^0-9]*)([0-9]*)")
_APK = re.compile(r"([0-9]+(?:\.[0-9]+)*)([a-z]?)((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*)")
_APK_TAIL = re.compile(r"(~[0-9a-f]+)?(?:-r([0-9]*))?(.*)", re.DOTALL)
_APK_SUFFIX = re.compile(r"_([a-z]+)([0-9]*)")
_APK_RANK = {"alpha": -4, "beta": -3, "pre": -2, "rc": -1, "cvs": 1, "svn": 2, "git": 3, "hg": 4, "p": 5}
_RPM_PART = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
_RPM_END: Key = (1,)


def debian_key(version: str) -> Key:
    """dpkg; rule 2."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not (epoch.isascii() and epoch.isdigit()):
        epoch, rest = "0", version.strip()
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), _dpkg_runs(upstream), _dpkg_runs(revision)


def alpine_key(version: str) -> Key:
    """apk; rule 3."""
    found = _APK.match(version)
    if not found:
        return 0, natural_key(version)
    tail = _APK_TAIL.fullmatch(version, found.end())
    assert tail is not None  # its last group takes anything
    first, *more = found[1].split(".")
    numbers = ((1, int(first), ""), *((0, 0, n) if n[0] == "0" else (1, int(n), "") for n in more))
    suffixes = tuple((_APK_RANK[name], int(n or 0)) for name, n in _APK_SUFFIX.findall(found[3]))
    revision = -1 if tail[2] is None else int(tail[2] or 0)
    strange = tail[3] if tail[2] is None else ""
    return 1, numbers, found[2], (*suffixes, (0, 0)), revision, not tail[3], strange


def rpm_key(version: str) -> Key:
    """rpm; rule 4."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not (epoch.isascii() and epoch.isdigit()):
        epoch, rest = "0", version.strip()
    upstream, dash, release = rest.partition("-")
    return int(epoch), _rpm_parts(upstream), _rpm_parts(release) if dash else ()


def natural_key(text: str) -> Key:
    """An order for what no grammar accepts: texts as texts, numbers as numbers."""
    return tuple((sign, int(number or 0)) for sign, number in _RUNS.findall(text) if sign or number)


def _dpkg_runs(text: str) -> Key:
    parts: list[Key] = []
    for sign, number in _RUNS.findall(text):
        if sign or number:
            parts.append(((*(_weight(c) for c in sign), 0), int(number or 0)))
    return (*(parts or [((0,), 0)]), ((0,), 0))  # nothing equals "0"


def _weight(sign: str) -> int:
    if sign == "~":
        return -1
    return ord(sign) if sign.isascii() and sign.isalpha() else ord(sign) + 256


def _rpm_parts(text: str) -> Key:
    parts: list[Key] = []
    for part in _RPM_PART.findall(text):
        if part == "~":
            parts.append((0,))
        elif part == "^":
            parts.append((2,))
        else:
            parts.append((4, int(part)) if part[0] <= "9" else (3, part))
    return (*parts, _RPM_END)
