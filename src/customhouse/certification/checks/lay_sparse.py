"""LAY-SPARSE: no log whose size is a user's number.

`useradd` with a high uid writes /var/log/lastlog and faillog at the offset of that uid: a hole on a disk, gigabytes in
a layer.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.checks._files import UNREAD, at_file, number
from customhouse.certification.findings import JSON, Severity

_LOGS = frozenset({"var/log/lastlog", "var/log/faillog", "var/log/tallylog", "var/log/wtmp", "var/log/btmp"})


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    most = number(params["most_bytes"])
    largest = {}
    for scan in subject.image.layers:
        for entry in scan.entries:
            if entry.path in _LOGS and entry.size > most:
                largest[entry.path] = entry
    for entry in largest.values():
        yield Failure(f"/{entry.path} has {entry.size} bytes", at_file(subject, entry, bytes=entry.size))
    if not subject.image.complete:
        raise NotEvaluable(UNREAD)


CHECK = Check(
    id="LAY-SPARSE",
    title="No log of logins of great size",
    why="It is nearly all zeros, but a layer knows no holes: pulls and disks pay for gigabytes.",
    remedy="Call useradd with --no-log-init (-l), or give the user a lower number.",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"most_bytes": 1_000_000},
    sources=("DL3046",),
    not_evaluable=UNREAD,
)
