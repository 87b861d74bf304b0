"""HIS-SUDO: sudo is neither used in the build nor left in the image."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, at_layer, whole_filesystem
from customhouse.certification.checks._history import NOT_EVALUABLE, evidence, history, require_whole, runs
from customhouse.certification.findings import JSON, Severity

_NAMES = ("sudo", "doas")
_FOLDERS = ("usr/bin", "usr/local/bin", "bin", "usr/sbin")


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    read = history(subject)
    for step, calls in runs(read):
        used = next((call.name for call in calls if call.name in _NAMES), None)
        if used is not None:
            yield Failure(f"a build step calls {used}", evidence(subject, step, f"used:{used}"))
    fs = whole_filesystem(subject)
    told: set[str] = set()
    for name in _NAMES:
        for folder in _FOLDERS:
            entry = fs.entry(f"{folder}/{name}")
            if entry is not None and entry.executable and entry.path not in told:
                told.add(entry.path)
                yield Failure(f"{name} is installed", {"path": entry.path, **at_layer(subject, entry.layer)})
    require_whole(read)


CHECK = Check(
    id="HIS-SUDO",
    title="sudo is neither used nor installed",
    why="A container has one user with the rights it needs; sudo is a setuid program and a way back to root.",
    remedy="Do what needs root before the USER line, remove sudo, and use gosu or su-exec if a start script must "
    "change the user.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    sources=("DKL-DI-0001", "DS-0010", "DL3004"),
    not_evaluable=f"{NOT_EVALUABLE}; or a layer could not be read",
)
