"""FS-WORLDW: nothing that every user may change, folders with the sticky bit excepted."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, whole_filesystem
from customhouse.certification.checks._files import UNREAD, at_file, named, texts
from customhouse.certification.findings import JSON, Severity

WRITABLE, STICKY = 0o002, 0o1000


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    yield from named(_writable(subject, set(texts(params["accepted"]))), "files and folders that everyone may change")


def _writable(subject: Subject, accepted: set[str]) -> Iterator[Failure]:
    for entry in whole_filesystem(subject).walk():
        if not entry.mode & WRITABLE or entry.kind == "symlink" or entry.path in accepted:
            continue
        if entry.kind == "dir" and entry.mode & STICKY:
            continue
        what = "folder" if entry.kind == "dir" else "file"
        evidence = at_file(subject, entry, mode=f"{entry.mode:04o}", uid=entry.uid)
        runs = entry.kind != "dir" and entry.executable
        yield Failure(f"everyone may change the {what} /{entry.path}", evidence, Severity.HIGH if runs else None)


CHECK = Check(
    id="FS-WORLDW",
    title="No file or folder that every user may change",
    why="Whoever gets any foothold in the container can replace what others run or read.",
    remedy="Take the bit off in the step that makes the file (chmod o-w, COPY --chmod=…); give folders for temporary "
    "files the sticky bit (1777).",
    severity=Severity.MEDIUM,
    evaluate=evaluate,
    params={"accepted": []},
    sources=("Anchore", "CIS-DI-0008"),
    not_evaluable=UNREAD,
)
