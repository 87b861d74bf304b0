"""FS-SHELL: no shell, for policies that ask for hardened images."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._files import UNREAD, at_file, texts
from customhouse.certification.checks._programs import programs
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    told: set[str] = set()
    for name, entry in programs(subject, texts(params["shells"]), applets=True):
        if entry.path not in told:
            told.add(entry.path)
            yield Failure(f"there is a shell: /{entry.path} ({name})", at_file(subject, entry))


CHECK = Check(
    id="FS-SHELL",
    title="There is no shell",
    why="Most exploits end in a shell; an image without one gives them nothing to start.",
    remedy="Copy the application into a distroless or empty base; debug with a second container beside it.",
    severity=Severity.INFO,
    evaluate=evaluate,
    params={"shells": ["sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox", "toybox", "rbash", "tcsh"]},
    sources=("Chainguard", "distroless"),
    not_evaluable=UNREAD,
)
