"""CFG-WORKDIR: the working directory is absolute, exists, and is the application's."""

import posixpath
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject, whole_filesystem
from customhouse.certification.findings import JSON, Severity

_SYSTEM = (
    *("/proc", "/sys", "/dev", "/boot", "/etc"),
    *("/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib"),
)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    config = subject.image.config
    if config.os == "windows":
        raise NotApplicable("paths of Windows images are not read")
    if not config.workdir:
        raise NotApplicable("no working directory is set, so it is the root")
    path = posixpath.normpath("/" + config.workdir.lstrip("/"))
    evidence: dict[str, JSON] = {"key": "workdir", "value": config.workdir[:200]}
    if not config.workdir.startswith("/"):
        yield Failure(f"the working directory {config.workdir[:200]!r} is not absolute", evidence)
    if any(path == folder or path.startswith(folder + "/") for folder in _SYSTEM):
        yield Failure(f"the working directory {path[:200]} belongs to the system", {**evidence, "key": "system"})
        return
    entry = whole_filesystem(subject).entry(path)
    if entry is None:
        yield Failure(f"the working directory {path[:200]} is not in the image", {**evidence, "key": "missing"})
    elif entry.kind != "dir":
        yield Failure(f"the working directory {path[:200]} is no folder", {**evidence, "key": "no-folder"})


CHECK = Check(
    id="CFG-WORKDIR",
    title="The working directory is absolute, exists, and is the application's",
    why="Engines make a missing one as root, so that the service cannot write there; a relative one is up to the base.",
    remedy="Set WORKDIR /app (which makes the folder), and give it to the user that needs to write there.",
    severity=Severity.LOW,
    evaluate=evaluate,
    sources=("DS-0009", "DS-0030", "DL3000"),
    not_applicable="no working directory is set, or the image is one of Windows",
    not_evaluable="a layer could not be read",
)
