"""PKG-DB-MISSING: the packages of a distribution are there together with their list.

1. What says that a distribution is there: its os-release, and the files that its packages install anywhere
   (copyright files, apk's folders, rpm's macros). The list may be any form that distribution keeps.
2. A list from which packages were struck out is a list that was tampered with.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject, whole_filesystem
from customhouse.certification.checks._files import UNREAD, at_file
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.image import Filesystem

_DATABASES: Mapping[str, tuple[str, ...]] = {
    "dpkg": ("var/lib/dpkg/status", "var/lib/dpkg/status.d"),
    "apk": ("lib/apk/db/installed", "usr/lib/apk/db/installed"),
    "rpm": ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm", "var/lib/rpmmanifest/container-manifest-1"),
}
_TRACES: Mapping[str, tuple[str, ...]] = {
    "dpkg": ("var/lib/dpkg/info", "etc/dpkg", "usr/bin/dpkg"),
    "apk": ("etc/apk", "lib/apk", "sbin/apk"),
    "rpm": ("usr/lib/rpm", "etc/rpm", "usr/bin/rpm"),
}


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    fs = whole_filesystem(subject)
    for problem in subject.catalogue.problems:
        if problem.kind == "struck-out":
            evidence: dict[str, JSON] = {"path": problem.path, "value": problem.reason[:200]}
            yield Failure(f"/{problem.path} {problem.reason}", evidence)
    distro = subject.catalogue.distro
    family = distro.family if distro is not None else ""
    found = {name for name in _DATABASES if any(_holds(fs, path) for path in _DATABASES[name])}
    traces = {name: path for name in _TRACES for path in _TRACES[name] if name not in found and fs.exists(path)}
    if family and family not in found and distro is not None:
        entry = fs.entry(distro.path)
        message = f"the image is {distro}, and its {family} database is gone: nobody can say what is installed"
        yield Failure(message, at_file(subject, entry) if entry is not None else {"key": family})
    elif not found and traces:
        name, path = next(iter(traces.items()))
        entry = fs.entry(path)
        message = f"/{path} is of {name}, whose database is gone: nobody can say what is installed"
        yield Failure(message, at_file(subject, entry) if entry is not None else {"key": name})
    elif not found:
        raise NotApplicable("there is no distribution in the image")


def _holds(fs: Filesystem, path: str) -> bool:
    entry = fs.entry(path)
    if entry is None:
        return False
    return bool(fs.children(path)) if entry.kind == "dir" else entry.size > 0


CHECK = Check(
    id="PKG-DB-MISSING",
    title="The list of packages was not removed",
    why="Without it no scanner finds a flaw, so that an old image looks clean.",
    remedy="Keep var/lib/dpkg, lib/apk/db or the rpm database; in a minimal image keep one file a package in status.d.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    sources=("distroless",),
    not_applicable="there is no distribution in the image",
    not_evaluable=UNREAD,
)
