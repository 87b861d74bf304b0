"""RUN-READONLY: the container serves with a read-only root filesystem, at most with tmpfs at the usual places."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._run import first_trouble, served
from customhouse.certification.findings import JSON, Severity


def read_only(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails with the rung it needed, the words of the strictest attempt and the paths that it wrote."""
    run = served(subject)
    if run.rung not in ("read_only", "tmpfs"):
        written = run.surface.written if run.surface is not None else None
        yield Failure(
            "it serves only when it may write to its root filesystem",
            {
                "key": "root", "rung": run.rung, "read_only_attempt": first_trouble(run),
                "written": None if written is None else list(written[:20]),
            },
        )  # fmt: skip


CHECK = Check(
    id="RUN-READONLY",
    title="The container runs with a read-only root filesystem",
    why="What cannot be written cannot be altered by an intruder, and no state is lost with the container.",
    remedy="Write to /tmp, /run or a declared VOLUME only, and make those folders usable by the image's user.",
    severity=Severity.INFO,
    evaluate=read_only,
    not_evaluable="the image was not run, or did not serve",
    sources=("OpenShift", "Chainguard"),
)
