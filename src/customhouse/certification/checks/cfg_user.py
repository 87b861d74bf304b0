"""CFG-USER: the process does not run as root, judged as an engine judges it (_user.py)."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, Subject, content
from customhouse.certification.checks._user import PASSWD, is_number, uid_of
from customhouse.certification.findings import JSON, Severity

HIGHEST_UID = 2**31 - 1


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    config = subject.image.config
    if config.os == "windows":
        raise NotApplicable("Windows has no root user")
    user = config.user.split(":", 1)[0]
    evidence: dict[str, JSON] = {"key": "user", "value": config.user}
    if not user:
        yield Failure("no USER is set, so the process runs as root", evidence)
    elif is_number(user):
        uid = int(user)
        if uid == 0:
            yield Failure(f"USER {config.user} is root", {**evidence, "uid": uid})
        elif not 0 < uid <= HIGHEST_UID:
            message = f"USER {config.user} is no uid that an engine starts"
            yield Failure(message, {**evidence, "key": "range"}, Severity.HIGH)
    else:
        uid_found = uid_of(content(subject, PASSWD), user)
        if uid_found is None:
            message = f"USER {user} is not in the image's /etc/passwd, so engines refuse to start it"
            yield Failure(message, {**evidence, "key": "unknown"}, Severity.HIGH)
        elif uid_found == 0:
            yield Failure(f"USER {user} has uid 0 in the image's /etc/passwd, which is root", {**evidence, "uid": 0})


CHECK = Check(
    id="CFG-USER",
    title="The process does not run as root",
    why="A root process that escapes, or writes to a mounted folder, is root there too.",
    remedy="Add a user and set it by number: USER 10001.",
    severity=Severity.BLOCK,
    evaluate=evaluate,
    needs=(PASSWD,),
    sources=(
        *("CIS 4.1", "CIS-DI-0001", "preflight RunAsNonRoot", "DS-0002", "DL3002", "DL3066"),
        *("Docker Scout", "Iron Bank"),
    ),
    not_applicable="the image is one of Windows",
    not_evaluable="the user is named and the user database could not be read",
)
