"""CFG-PORTS: exposed ports exist, are no ports of administration, and can be opened by the user that runs."""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject
from customhouse.certification.checks._user import PASSWD, runtime_uid
from customhouse.certification.findings import JSON, Severity

_PORT = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
HIGHEST, FIRST_UNPRIVILEGED = 65535, 1024


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    exposed = subject.image.config.exposed_ports
    if not exposed:
        raise NotApplicable("no port is exposed")
    refused = params["refused"]
    numbers = {int(text) for text in map(str, refused) if text.isdigit()} if isinstance(refused, list) else set()
    low: list[str] = []
    for text in exposed:
        evidence: dict[str, JSON] = {"key": f"port:{text[:40]}", "value": text[:40]}
        found = _PORT.fullmatch(text)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 0 < first <= last <= HIGHEST:
            yield Failure(f"{text[:40]!r} is no port that can be opened", evidence, Severity.HIGH)
            continue
        for number in sorted(numbers):
            if first <= number <= last:
                yield Failure(f"port {number} is one of remote administration", evidence)
        if first < FIRST_UNPRIVILEGED:
            low.append(text)
    if low and runtime_uid(subject) != 0:
        message = f"{', '.join(low[:5])} cannot be opened by a user that is not root on every engine"
        yield Failure(message, {"key": "privileged", "value": [*low[:20]]})


CHECK = Check(
    id="CFG-PORTS",
    title="Exposed ports are valid, usable by the user, and none of administration",
    why="A port of ssh or of an engine's API is a door beside the service; one below 1024 needs rights that the user "
    "should not have.",
    remedy="Expose the port of the service, 1024 or higher, and let the engine map it; do not run sshd in a container.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    needs=(PASSWD,),
    params={"refused": ["22", "23", "2375", "2376", "3389", "5900"]},
    sources=("DS-0004", "DS-0008", "DL3011"),
    not_applicable="no port is exposed",
    not_evaluable="a low port is exposed and the user database could not be read",
)
