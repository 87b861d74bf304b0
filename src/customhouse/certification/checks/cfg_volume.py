"""CFG-VOLUME: no volume covers what belongs to the system."""

import posixpath
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject
from customhouse.certification.findings import JSON, Severity

_WHOLE = ("/proc", "/sys", "/dev")  # nor anything below
_FOLDERS = frozenset(
    {"/", "/etc", "/run", "/var", "/var/run", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/lib"}
)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    volumes = subject.image.config.volumes
    if not volumes:
        raise NotApplicable("no volume is declared")
    for volume in volumes:
        path = posixpath.normpath("/" + volume.lstrip("/"))
        evidence: dict[str, JSON] = {"key": f"volume:{path[:200]}", "value": volume[:200]}
        if path in _FOLDERS or any(path == top or path.startswith(top + "/") for top in _WHOLE):
            yield Failure(f"a volume covers {path[:200]}, which belongs to the system", evidence)
        elif not volume.startswith("/"):
            yield Failure(f"the volume {volume[:200]!r} is no absolute path", evidence, Severity.MEDIUM)


CHECK = Check(
    id="CFG-VOLUME",
    title="No volume covers a folder of the system",
    why="What lies in a volume outlives the image: a stale /etc or an emptied /usr breaks the next version, and /proc, "
    "/sys and /dev belong to the kernel.",
    remedy="Declare only the folder where the service keeps its own content, e.g. VOLUME /var/lib/app.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    sources=("DKL-DI-0002",),
    not_applicable="no volume is declared",
)
