"""RUN-UID: the container serves under a user that the image does not know, with group 0 (as OpenShift runs it)."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.checks._run import served
from customhouse.certification.findings import JSON, Severity


def any_user(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails with the exit code and the log of that start."""
    other = served(subject).other_user
    if other is None:
        raise NotEvaluable("it was not started under another user")
    if other.trouble:
        yield Failure(
            f"under an unknown user with group 0: {other.trouble}",
            {"key": "user", "rung": other.rung, "exit_code": other.exit_code, "log_tail": other.log_tail},
        )


CHECK = Check(
    id="RUN-UID",
    title="The container runs under an arbitrary user",
    why="Clusters that give each project its own user ids start every image as a user that no passwd file names.",
    remedy="Give folders that are written to group 0 with the owner's rights (`chgrp -R 0 DIR && chmod -R g=u DIR`), "
    "and do not look the user up.",
    severity=Severity.INFO,
    evaluate=any_user,
    not_evaluable="the image was not run, or did not serve, or no time was left for a second start",
    sources=("OpenShift",),
)
