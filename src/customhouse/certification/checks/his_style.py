"""HIS-STYLE: build steps as current tools advise; each rule is its own fact.

These are hadolint's and Trivy's rules that can still be judged on a built image and that no other check here asks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._history import (
    DNF,
    NOT_EVALUABLE,
    Ran,
    evidence,
    history,
    require_whole,
    runs,
)
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.history import Step

_YES = frozenset({"-y", "--yes", "--assume-yes", "-qq", "--assumeyes", "--force-yes", "-n", "--non-interactive"})


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    read = history(subject)
    told: set[str] = set()
    for step, calls in runs(read, base=False):
        for key, message in _rules(step, calls):
            if key not in told:
                told.add(key)
                yield Failure(message, evidence(subject, step, key))
    require_whole(read)


def _rules(step: Step, calls: Sequence[Ran]) -> Iterator[tuple[str, str]]:
    real = [call for call in calls if call.name not in ("set", ":", "true")]
    if real and all(call.name == "cd" for call in real):
        yield "cd", "a step only changes the folder, which the next one forgets; WORKDIR keeps it (DL3003, DS-0013)"
    for call in calls:
        verb = call.verb()[0]
        if call.name == "apt":
            yield "apt", "apt is made for people, its options may change; apt-get is made for scripts (DL3027)"
        if call.name in ("apt-get", "apt") and verb == "install":
            if not _answered(call):
                yield "apt-yes", f"{call.name} install asks and nobody answers; add -y (DL3014, DS-0021)"
            if "--no-install-recommends" not in call.options and "Install-Recommends" not in step.text:
                yield "recommends", "apt takes recommended packages too; add --no-install-recommends (DL3015, DS-0029)"
        if call.name in (*DNF, "zypper") and verb in ("install", "in") and not _answered(call):
            yield f"{call.name}-yes", f"{call.name} asks and nobody answers; add -y (DL3030, DL3034, DL3038)"
        if call.name == "ln" and call.words[-1] in ("/bin/sh", "/usr/bin/sh"):
            yield "ln-sh", "/bin/sh is replaced by a link; SHELL says which shell the build uses (DL4005)"
        if call.name in ("ssh", "vim", "shutdown", "service", "ps", "free", "top", "kill", "mount", "systemctl"):
            yield f"useless:{call.name}", f"{call.name} does nothing useful in a build (DL3001)"


def _answered(call: Ran) -> bool:
    return any(
        word in _YES or (re.fullmatch(r"-[a-zA-Z]+", word) is not None and "y" in word) or "Assume-Yes" in word
        for word in call.words[1:]
    )


CHECK = Check(
    id="HIS-STYLE",
    title="Build steps are written as current tools advise",
    why="Each of these makes builds fail, grow or differ some day; none of them harms who runs the image.",
    remedy="Follow what the message says; hadolint finds the same in the Dockerfile, before the build.",
    severity=Severity.INFO,
    evaluate=evaluate,
    sources=(
        *("DL3001", "DL3003", "DL3014", "DL3015", "DL3027", "DL3030", "DL3034", "DL3038", "DL4005"),
        *("DS-0013", "DS-0021", "DS-0029"),
    ),
    not_evaluable=NOT_EVALUABLE,
)
