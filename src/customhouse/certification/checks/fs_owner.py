"""FS-OWNER: files belong to users that exist, and the service cannot change what it runs."""

import posixpath
from collections.abc import Iterator, Mapping

from customhouse.certification.check import (
    Check,
    Failure,
    NotApplicable,
    NotEvaluable,
    Subject,
    content,
    whole_filesystem,
)
from customhouse.certification.checks._files import UNREAD, grouped
from customhouse.certification.checks._user import PASSWD, runtime_uid
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.program import find
from customhouse.oci.image import FileEntry

MOST_OWNERS = 50


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    fs = whole_filesystem(subject)
    uid = runtime_uid(subject)
    passwd = content(subject, PASSWD)
    known = _uids(passwd) | {0} | ({uid} if uid is not None else set())
    strange: dict[int, list[FileEntry]] = {}
    own: list[FileEntry] = []
    for entry in fs.walk():
        if passwd is not None and entry.uid not in known:
            strange.setdefault(entry.uid, []).append(entry)
        if uid and entry.uid == uid and entry.mode & 0o200 and entry.executable:
            own.append(entry)
    for number, (owner, entries) in enumerate(sorted(strange.items())):
        if number == MOST_OWNERS:
            yield Failure(f"{len(strange) - MOST_OWNERS} more uids own files", {"key": "more"})
            break
        message = f"uid {owner}, which no line of /{PASSWD} names, owns {len(entries)} files, e.g. /{entries[0].path}"
        yield Failure(message, grouped(subject, f"uid:{owner}", entries))
    started = _started(subject)
    if started is not None and uid:
        folder = fs.entry(posixpath.dirname(started.path))
        if started in own or (folder is not None and _writes(folder, uid)):
            message = f"the user that runs may replace /{started.path}, the program it starts"
            yield Failure(message, {"path": started.path, **grouped(subject, "program", [started])}, Severity.MEDIUM)
    others = [entry for entry in own if entry != started]
    if others:
        message = f"the user that runs may change {len(others)} programs, e.g. /{others[0].path}"
        yield Failure(message, grouped(subject, "programs", others))
    if uid is None:
        raise NotEvaluable(f"/{PASSWD} does not name the user that runs")
    if passwd is None and not uid:
        raise NotApplicable("the image has no user database and runs as root")


def _started(subject: Subject) -> FileEntry | None:
    config = subject.image.config
    path = find(config.argv[0], config, subject.image.fs) if config.argv and config.argv[0] else None
    return subject.image.fs.entry(path) if path else None


def _writes(folder: FileEntry, uid: int) -> bool:
    return bool(folder.mode & 0o002) or (folder.uid == uid and bool(folder.mode & 0o200))


def _uids(passwd: bytes | None) -> set[int]:
    found = set()
    for line in (passwd or b"").decode("utf-8", "backslashreplace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isascii() and fields[2].isdigit() and len(fields[2]) < 20:
            found.add(int(fields[2]))
    return found


CHECK = Check(
    id="FS-OWNER",
    title="Files belong to users that exist, and the service cannot change its own program",
    why="A uid without a name is one that another image or host may give to somebody else; a service that may write "
    "its program keeps whatever an attacker puts there.",
    remedy="COPY the application as root and without --chown, and give the user only the folders where it writes.",
    severity=Severity.LOW,
    evaluate=evaluate,
    needs=(PASSWD,),
    sources=("container-structure-test uid/gid",),
    not_applicable="the image has no user database and runs as root",
    not_evaluable=f"{UNREAD}, or the user that runs is not known",
)
