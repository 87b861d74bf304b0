"""HIS-DISTUPGRADE: a build does not move the base image to another release."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._history import APT, DNF, NOT_EVALUABLE, evidence, history, require_whole, runs
from customhouse.certification.findings import JSON, Severity

_VERBS = {
    **dict.fromkeys(APT, frozenset({"dist-upgrade", "full-upgrade"})),
    **dict.fromkeys(DNF, frozenset({"distro-sync", "distribution-synchronization", "system-upgrade"})),
    "zypper": frozenset({"dup", "dist-upgrade"}),
}


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    read = history(subject)
    for step, calls in runs(read, base=False):
        for call in calls:
            verb = call.verb()[0]
            if call.name == "do-release-upgrade" or verb in _VERBS.get(call.name, ()):
                said = f"{call.name} {verb}".strip()
                yield Failure(f"a build step runs {said}", evidence(subject, step, f"upgrade:{call.name}", said))
                break
    require_whole(read)


CHECK = Check(
    id="HIS-DISTUPGRADE",
    title="The distribution is not upgraded in the build",
    why="The image is then no longer the release that its base promises, and two builds give two systems.",
    remedy="Start from a newer base image, and install the updates of single packages where one is needed at once.",
    severity=Severity.LOW,
    evaluate=evaluate,
    sources=("DKL-DI-0003", "DS-0024", "DL3005", "DL3035"),
    not_evaluable=NOT_EVALUABLE,
)
