"""CFG-USER: the process does not run as root, judged as an engine judges it.

The part before the colon counts; digits are a uid even where a user has such a name, and a line of /etc/passwd whose
uid is no number means uid 0 (moby/sys user, which ignores such errors).
"""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject, content
from customhouse.certification.findings import JSON, Severity

_NUMBER = re.compile(r"[+-]?\d+")
HIGHEST_UID = 2**31 - 1


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    config = subject.image.config
    if config.os == "windows":
        raise NotApplicable("Windows has no root user")
    user = config.user.split(":", 1)[0]
    evidence: dict[str, JSON] = {"key": "user", "value": config.user}
    if not user:
        yield Failure("no USER is set, so the process runs as root", evidence)
    elif _NUMBER.fullmatch(user):
        uid = int(user)
        if uid == 0:
            yield Failure(f"USER {config.user} is root", {**evidence, "uid": uid})
        elif not 0 < uid <= HIGHEST_UID:
            message = f"USER {config.user} is no uid that an engine starts"
            yield Failure(message, {**evidence, "key": "range"}, Severity.HIGH)
    else:
        uid_found = _uid(content(subject, "etc/passwd"), user)
        if uid_found is None:
            message = f"USER {user} is not in the image's /etc/passwd, so engines refuse to start it"
            yield Failure(message, {**evidence, "key": "unknown"}, Severity.HIGH)
        elif uid_found == 0:
            yield Failure(f"USER {user} has uid 0 in the image's /etc/passwd, which is root", {**evidence, "uid": 0})


def _uid(passwd: bytes | None, name: str) -> int | None:
    for line in (passwd or b"").decode("utf-8", "backslashreplace").splitlines():
        fields = line.strip().split(":")
        if fields[0] == name:
            number = fields[2] if len(fields) > 2 else ""
            return int(number) if _NUMBER.fullmatch(number) and len(number) < 20 else 0
    return None


CHECK = Check(
    id="CFG-USER",
    title="The process does not run as root",
    why="A root process that escapes, or writes to a mounted folder, is root there too.",
    remedy="Add a user and set it by number: USER 10001.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    needs=("etc/passwd",),
)
