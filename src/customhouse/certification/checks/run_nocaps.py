"""RUN-NOCAPS: the container serves without any Linux capability."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._run import first_trouble, served
from customhouse.certification.findings import JSON, Severity
from customhouse.sandbox.hardening import OLD_SERVERS


def no_capabilities(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails with the capabilities with which it served, and the words of the strictest attempt."""
    run = served(subject)
    if run.rung in ("capabilities", "network"):
        yield Failure(
            "it serves only with capabilities",
            {
                "key": "capabilities", "rung": run.rung, "given": list(OLD_SERVERS),
                "strictest_attempt": first_trouble(run),
            },
        )  # fmt: skip


CHECK = Check(
    id="RUN-NOCAPS",
    title="The container runs without capabilities",
    why="A process without capabilities gains little from being root, and clusters that drop them all can run it.",
    remedy="Start as the final user instead of dropping to it, listen on a port above 1023, and set owners of files "
    "when the image is built, not at its start.",
    severity=Severity.INFO,
    evaluate=no_capabilities,
    not_evaluable="the image was not run, or did not serve",
)
