"""HIS-UPDATE: no step that only renews the package index.

The index of such a step is kept in its layer; the install that follows in another step is then made from an index as
old as the builder's cache.
"""

from collections.abc import Iterator, Mapping, Sequence

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._history import (
    APT,
    DNF,
    INSTALL,
    NOT_EVALUABLE,
    Ran,
    evidence,
    history,
    require_whole,
    runs,
)
from customhouse.certification.findings import JSON, Severity

_UPDATES = {
    **dict.fromkeys(APT, frozenset({"update"})),
    **dict.fromkeys(DNF, frozenset({"makecache", "check-update"})),
    "apk": frozenset({"update"}),
    "zypper": frozenset({"refresh", "ref"}),
}
_USES = INSTALL | {"upgrade", "dist-upgrade", "full-upgrade", "build-dep", "download", "source", "update", "up", "dup"}


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    read = history(subject)
    for step, calls in runs(read, base=False):
        for manager in _alone(calls):
            message = f"a step renews the index of {manager} and installs nothing from it"
            yield Failure(message, evidence(subject, step, f"update:{manager}"))
    require_whole(read)


def _alone(calls: Sequence[Ran]) -> Iterator[str]:
    families: dict[str, list[tuple[str, str]]] = {}
    for call in calls:
        if call.name in _UPDATES:
            family = "apt" if call.name in APT else "dnf" if call.name in DNF else call.name
            families.setdefault(family, []).append((call.name, call.verb()[0]))
    for verbs in families.values():
        updates = [name for name, verb in verbs if verb in _UPDATES[name]]
        if updates and not any(verb in _USES and verb not in _UPDATES[name] for name, verb in verbs):
            yield updates[0]


CHECK = Check(
    id="HIS-UPDATE",
    title="The package index is renewed only where something is installed",
    why="A cached `apt-get update` makes later steps install versions that were replaced long ago.",
    remedy="Write both in one step: RUN apt-get update && apt-get install -y … && rm -rf /var/lib/apt/lists/*.",
    severity=Severity.LOW,
    evaluate=evaluate,
    sources=("CIS 4.7", "CIS-DI-0007", "DS-0017"),
    not_evaluable=NOT_EVALUABLE,
)
