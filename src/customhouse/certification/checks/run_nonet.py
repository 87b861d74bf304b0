"""RUN-NONET: the container serves without a network: nothing has to be fetched or reached for it to start."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._run import first_trouble, served
from customhouse.certification.findings import JSON, Severity


def no_network(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails when only an internal network, or others on it, made it serve."""
    run = served(subject)
    if run.companions:
        yield Failure("it serves only beside others", {"key": "network", "companions": list(run.companions)})
    elif run.rung == "network":
        yield Failure(
            "it serves only with a network interface, even one that leads nowhere",
            {"key": "network", "rung": run.rung, "strictest_attempt": first_trouble(run)},
        )


CHECK = Check(
    id="RUN-NONET",
    title="The container starts without a network",
    why="What is fetched at the start was never examined, and a start that needs others fails when they do.",
    remedy="Put everything the service needs into the image, and let it start, and answer its probe, before others do.",
    severity=Severity.INFO,
    evaluate=no_network,
    not_evaluable="the image was not run, or did not serve",
)
