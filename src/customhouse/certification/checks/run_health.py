"""RUN-HEALTH: a declared health-check becomes healthy in the time it declares, and goes on passing: with shortened
times, and with the declared ones where these fit into the budget."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject
from customhouse.certification.findings import JSON, Severity
from customhouse.sandbox.runner import ProbeResult

LAST_PROBES = 3


def healthy(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails with the last probes' exit codes and outputs."""
    declared = subject.image.config.healthcheck
    if declared is None or not declared.declared:
        raise NotApplicable("the image declares no health-check")
    run = subject.run
    if run is None:
        raise NotEvaluable("the image was not run")
    if run.outcome == "unavailable":
        raise NotEvaluable(run.reason)
    if run.health is None:
        raise NotEvaluable(f"the container did not stay up: {run.reason}")
    if run.health.cut_short:
        raise NotEvaluable(run.health.trouble)
    if not run.health.reached or not run.health.held:
        yield Failure(
            run.health.trouble or run.reason,
            {
                "key": "health",
                "test": list(run.health.test),
                "waited_seconds": run.health.seconds,
                "allowed_seconds": run.health.allowed_seconds,
                "declared_seconds": run.health.declared_seconds,
                "probes": [_shown(probe) for probe in run.health.probes[-LAST_PROBES:]],
                "log_tail": run.log_tail,
            },
        )
    elif run.health.declared is not None and not run.health.declared.reached:
        declared_run = run.health.declared
        yield Failure(
            f"with its declared times: {declared_run.trouble}",
            {"key": "health-declared", "test": list(run.health.test), "waited_seconds": declared_run.seconds},
        )


def _shown(probe: ProbeResult) -> dict[str, JSON]:
    return {"exit_code": probe.exit_code, "seconds": probe.seconds, "output": probe.output}


CHECK = Check(
    id="RUN-HEALTH",
    title="The declared health-check becomes healthy",
    why="Orchestrators restart, or never route to, a container whose health-check fails.",
    remedy="Run the image with `--network none`, watch `docker inspect -f '{{json .State.Health}}'`, and mend the "
    "probe, or give a slow start its --start-period.",
    severity=Severity.BLOCK,
    evaluate=healthy,
)
