"""LAY-NEEDLESS: nothing of the workshop is left: version control, editors, build files, dumps, logs, manuals."""

import re
from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject, whole_filesystem
from customhouse.certification.checks._files import UNREAD, at_file, grouped, named, number, texts
from customhouse.certification.findings import JSON, Severity
from customhouse.oci.image import FileEntry

_CORE = re.compile(r"core(?:\.\d{1,10})?")
_LOGS = re.compile(
    r"var/log/(?:dpkg|alternatives|bootstrap|yum|dnf[a-z.]*|hawkey|zypper|pacman|apt/(?:history|term)|fontconfig)\.log"
    r"|var/log/(?:zypp/history|apt/eipp\.log\.xz)|var/lib/dpkg/(?:status|available)-old"
)
# Copyright files are no manuals: licences ask that they stay.
_MANUALS = re.compile(r"usr/(?:local/)?share/(?:doc/(?!.*/copyright$)|man/|info/|gtk-doc/|help/)")
_TESTS = re.compile(
    r"(?:.*/)?(?:site-packages|dist-packages|node_modules)/(?:@[^/]+/)?[^/]+/(?:tests?|__tests__|spec)/"
)


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    folders, files = set(texts(params["folders"])), set(texts(params["files"]))
    needless: list[Failure] = []
    groups: dict[str, list[FileEntry]] = {"logs": [], "manuals": [], "tests": []}
    inside = ""
    for entry in whole_filesystem(subject).walk():
        if inside and entry.path.startswith(inside):
            continue
        if entry.kind == "dir":
            if entry.name in folders:
                inside = entry.path + "/"
                size = sum(one.size for one in subject.image.fs.walk(entry.path) if one.kind == "file")
                message = f"the folder /{entry.path} ({size} bytes) is of no use in a container"
                needless.append(Failure(message, at_file(subject, entry, bytes=size)))
        elif entry.name in files or (entry.name.startswith("core") and _is_dump(entry)):
            needless.append(Failure(f"/{entry.path} is of no use in a container", at_file(subject, entry)))
        else:
            _sort(entry, groups)
    yield from named(needless, "needless files and folders")
    for name, described in (("logs", "logs of package managers"), ("manuals", "manuals"), ("tests", "tests")):
        found = groups[name]
        total = sum(entry.size for entry in found)
        if total > number(params[f"most_{name}_bytes"]):
            message = f"{described} take {total} bytes in {len(found)} files, e.g. /{found[0].path}"
            yield Failure(message, grouped(subject, name, found))


def _sort(entry: FileEntry, groups: Mapping[str, list[FileEntry]]) -> None:
    path = entry.path
    if entry.kind != "file" or not entry.size:
        return
    if path.startswith("var/") and _LOGS.fullmatch(path):
        groups["logs"].append(entry)
    elif path.startswith("usr/") and _MANUALS.match(path):
        groups["manuals"].append(entry)
    elif ("-packages/" in path or "node_modules/" in path) and _TESTS.match(path):
        groups["tests"].append(entry)


def _is_dump(entry: FileEntry) -> bool:
    """An ELF core (e_type 4), or one whose beginning was not kept because nothing may start it."""
    if not entry.size or not _CORE.fullmatch(entry.name):
        return False
    return entry.head[16:18] in (b"\x04\x00", b"\x00\x04") or (not entry.head and entry.size > 100_000)


CHECK = Check(
    id="LAY-NEEDLESS",
    title="Nothing of the workshop is left",
    why="Version control holds what was removed from the source, dumps hold memory, and everyone pulls all of it.",
    remedy="List them in .dockerignore, and remove logs and manuals in the step that installs packages.",
    severity=Severity.LOW,
    evaluate=evaluate,
    params={
        "folders": [".git", ".svn", ".hg", ".bzr", ".vscode", ".idea", "__MACOSX", ".terraform", ".vagrant", ".tox"],
        "files": [
            *(".DS_Store", "Thumbs.db", "Dockerfile", "Containerfile", "docker-compose.yml", "docker-compose.yaml"),
            *("compose.yaml", "compose.yml", ".dockerignore", ".gitlab-ci.yml", "Jenkinsfile", "Vagrantfile", ".vimrc"),
            *(".bash_history", ".ash_history", ".python_history", ".viminfo", ".lesshst", ".wget-hsts"),
        ],
        "most_logs_bytes": 0,
        "most_manuals_bytes": 5_000_000,
        "most_tests_bytes": 5_000_000,
    },
    sources=("DKL-LI-0003",),
    not_evaluable=UNREAD,
)
