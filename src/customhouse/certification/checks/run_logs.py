"""RUN-LOGS: the container writes its log to stdout or stderr."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._run import served
from customhouse.certification.findings import JSON, Severity


def logs(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails when nothing was written from the start to the stop."""
    run = served(subject)
    if run.log_bytes == 0:
        written = run.surface.written if run.surface is not None and run.surface.written is not None else ()
        files: list[JSON] = [path for path in written if "log" in path]
        yield Failure("it wrote nothing to stdout or stderr", {"key": "logs", "log_files": files[:20]})


CHECK = Check(
    id="RUN-LOGS",
    title="The container logs to stdout or stderr",
    why="Engines collect these two; a log in a file fills the container and is seen by nobody.",
    remedy="Let the service log to /dev/stdout and /dev/stderr.",
    severity=Severity.LOW,
    evaluate=logs,
    not_evaluable="the image was not run, or did not serve",
    sources=("Docker certification",),
)
