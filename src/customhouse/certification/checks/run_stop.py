"""RUN-STOP: the container ends on its stop signal within the grace, without being killed."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.findings import JSON, Severity

KILLED = 137


def stops(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails with the signal, the seconds it took and the exit code."""
    run = subject.run
    if run is None:
        raise NotEvaluable("the image was not run")
    if run.outcome == "unavailable":
        raise NotEvaluable(run.reason)
    stop = run.stop
    if stop is None:
        raise NotEvaluable(f"there was nothing to stop: {run.reason or 'it had ended'}")
    if stop.exit_code == KILLED or stop.seconds > stop.grace_seconds:
        yield Failure(
            f"it did not end within {stop.grace_seconds:g} s of {stop.signal} and was killed",
            {
                "key": "stop",
                "signal": stop.signal,
                "grace_seconds": stop.grace_seconds,
                "seconds": stop.seconds,
                "exit_code": stop.exit_code,
            },
        )


CHECK = Check(
    id="RUN-STOP",
    title="The container ends on its stop signal",
    why="A process that ignores its stop signal is killed at every update: it loses requests and may lose content.",
    remedy="Start the service with `exec` in the exec form, handle SIGTERM (PID 1 has no default for it), or name the "
    "signal it understands with STOPSIGNAL.",
    severity=Severity.MEDIUM,
    evaluate=stops,
)
