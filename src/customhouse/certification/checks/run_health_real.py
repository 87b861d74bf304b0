"""RUN-HEALTH-REAL: the health-check notices when the service stops, and when it goes on.

`HEALTHCHECK CMD true` is always green. So the processes of the service are stopped (SIGSTOP) and the check must turn
unhealthy; they are continued and it must turn healthy. A proof that the image makes too slow for the budget counts
against the image: not to be proven is what a check of no worth would choose.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject
from customhouse.certification.findings import JSON, Severity
from customhouse.sandbox.runner import HealthRecord


def real(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails when the check did not follow the service, with what was seen."""
    declared = subject.image.config.healthcheck
    if declared is None or not declared.declared:
        raise NotApplicable("the image declares no health-check")
    run = subject.run
    if run is None:
        raise NotEvaluable("the image was not run")
    if run.outcome == "unavailable":
        raise NotEvaluable(run.reason)
    health = run.health
    if health is None:
        raise NotEvaluable(f"the container did not stay up: {run.reason}")
    if health.cut_short:
        yield Failure(f"it cannot be proven in the time a run has: {health.trouble}", _seen(health))
        return
    mutation = health.mutation
    if mutation is None:
        raise NotEvaluable(f"it was never steadily healthy: {health.trouble}")
    if mutation.unhealthy and mutation.recovered:
        return
    if not mutation.conclusive:
        raise NotEvaluable("this hub could stop only the first of the container's processes, which proves nothing")
    yield Failure(mutation.trouble, _seen(health))


def _seen(health: HealthRecord) -> dict[str, JSON]:
    seen: dict[str, JSON] = {"key": "health", "test": list(health.test)}
    if health.mutation is not None:
        seen |= {
            "processes_stopped": health.mutation.processes,
            "turned_unhealthy": health.mutation.unhealthy,
            "unhealthy_seconds": health.mutation.unhealthy_seconds,
            "turned_healthy_again": health.mutation.recovered,
        }
    return seen


CHECK = Check(
    id="RUN-HEALTH-REAL",
    title="The health-check follows the service",
    why="A probe that passes while the service is stopped hides every outage from those who rely on it.",
    remedy="Let the probe ask the service itself, over its socket or port, with a time limit: for instance "
    "`HEALTHCHECK CMD wget -q -T 2 -O /dev/null http://127.0.0.1:8080/`.",
    severity=Severity.HIGH,
    evaluate=real,
)
