"""CFG-STOPSIGNAL: the stop signal exists and can be handled. (signal(7); moby/sys signal.)"""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject
from customhouse.certification.findings import JSON, Severity

_NAMES = frozenset(
    """
    HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP TSTP TTIN TTOU
    URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS UNUSED RTMIN RTMAX
    """.split()  # noqa: SIM905
)
_REAL_TIME = re.compile(r"RTM(?:IN\+|AX-)(\d{1,2})")
_DEAF = frozenset({"KILL", "STOP", "9", "19"})
HIGHEST = 64


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    said = subject.image.config.stop_signal
    if not said:
        raise NotApplicable("no stop signal is set, so it is SIGTERM")
    evidence: dict[str, JSON] = {"key": "signal", "value": said[:40]}
    name = said.upper().removeprefix("SIG")
    real_time = _REAL_TIME.fullmatch(name)
    number = int(name) if name.isascii() and name.isdigit() and len(name) < 4 else 0
    if not (name in _NAMES or 0 < number <= HIGHEST or (real_time is not None and int(real_time[1]) <= 30)):
        yield Failure(f"{said[:40]!r} is no signal, so engines cannot stop the container", evidence, Severity.MEDIUM)
    elif name in _DEAF:
        yield Failure(f"{said[:40]} cannot be handled: every stop is a kill", evidence)


CHECK = Check(
    id="CFG-STOPSIGNAL",
    title="The stop signal exists and can be handled",
    why="With a signal that does not exist an engine cannot stop the container in order; with SIGKILL it loses work.",
    remedy="Leave STOPSIGNAL out (SIGTERM), or name the one that ends the service in order, e.g. SIGQUIT for nginx.",
    severity=Severity.INFO,
    evaluate=evaluate,
    not_applicable="no stop signal is set",
)
