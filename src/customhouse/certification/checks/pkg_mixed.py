"""PKG-MIXED: repositories are those of the distribution and the release that is installed.

Read are apt's one-line and deb822 files, and apk's repositories. Others' repositories beside (a vendor's) are
FS-TRUST's matter; here only another release or another distribution counts.
"""

import re
from collections.abc import Iterator, Mapping

from customhouse.catalogue.distro import Distro, parse_os_release
from customhouse.certification.check import (
    Check,
    Failure,
    NotApplicable,
    NotEvaluable,
    Subject,
    content,
    whole_filesystem,
)
from customhouse.certification.checks._files import UNREAD, at_file
from customhouse.certification.findings import JSON, Severity

_DEBIAN = {
    **{"8": "jessie", "9": "stretch", "10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie"},
    **{"14": "forky", "": "sid"},
}
_UBUNTU = {
    **{"16.04": "xenial", "18.04": "bionic", "20.04": "focal", "22.04": "jammy", "24.04": "noble", "24.10": "oracular"},
    **{"25.04": "plucky", "25.10": "questing", "26.04": "resolute"},
}
_CODENAMES = {"debian": _DEBIAN, "ubuntu": _UBUNTU}
_MOVING = frozenset({"stable", "testing", "unstable", "oldstable", "experimental", "devel"})
_LINE = re.compile(r"deb(?:-src)?\s+(?:\[[^\]\n]{0,500}\]\s+)?(\S{1,500})\s+(\S{1,100})")
_SUITES = re.compile(r"^Suites:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)
_APK = re.compile(r"^[ \t]*(?:@\S+[ \t]+)?\S{0,500}/(v\d+\.\d+|edge)/", re.MULTILINE)
_LISTS = ("etc/apt/sources.list", "etc/apt/sources.list.d/*", "etc/apk/repositories")
_NEEDS = (*_LISTS, "etc/os-release", "usr/lib/os-release")
LARGEST = 1 << 20


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    distro = subject.catalogue.distro
    fs = whole_filesystem(subject)
    if distro is None or distro.family not in ("dpkg", "apk"):
        raise NotApplicable("there is no distribution whose repositories are known")
    listed = False
    for pattern in _LISTS:
        for entry in list(fs.glob(pattern)) if "*" in pattern else [fs.entry(pattern)]:
            if entry is None or entry.kind == "dir":
                continue
            raw = content(subject, entry.path)
            text = (raw or b"")[:LARGEST].decode("utf-8", "replace")
            listed = True
            for other in sorted(_foreign(text, distro, _codename(subject, distro))):
                message = f"/{entry.path} installs from {other}, the image is {distro}"
                yield Failure(message, at_file(subject, entry, value=other))
    if not listed:
        raise NotApplicable("no repository is set up")
    if distro.family == "dpkg" and not _codename(subject, distro):
        raise NotEvaluable(f"the name of the release {distro} is not known")


def _codename(subject: Subject, distro: Distro) -> str:
    for path in ("etc/os-release", "usr/lib/os-release"):
        raw = content(subject, path)
        said = parse_os_release(raw).get("VERSION_CODENAME", "") if raw else ""
        if said:
            return said.lower()
    return _CODENAMES.get(distro.id, {}).get(distro.version_id, "")


def _foreign(text: str, distro: Distro, codename: str) -> set[str]:
    if distro.family == "apk":
        found = re.match(r"(\d+\.\d+)", distro.version_id)
        mine = f"v{found[1]}" if found and "_" not in distro.version_id else "edge"
        lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        return {branch for branch in _APK.findall(lines) if branch != mine}
    suites: set[str] = set()
    for line in text.splitlines():
        one = _LINE.match(line.strip())
        if one is not None:
            suites.add(one[2])
    for words in _SUITES.findall(text):
        suites.update(words.split()[:20])
    names = {name for known in _CODENAMES.values() for name in known.values()} | _MOVING
    bases = {suite: re.split(r"[-/]", suite, maxsplit=1)[0] for suite in suites}
    return {suite for suite, base in bases.items() if codename and base in names and base != codename}


CHECK = Check(
    id="PKG-MIXED",
    title="Repositories are those of the release that is installed",
    why="Packages of two releases are tested together by nobody, and advisories of one do not fit those of the other.",
    remedy="Use one release: take the line of the other out, or start from a base of the newer release.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    needs=_NEEDS,
    sources=("Trivy",),
    not_applicable="there is no distribution with apt or apk, or no repository is set up",
    not_evaluable=f"{UNREAD}, a file of repositories was not kept, or the name of the release is not known",
)
