"""RUN-START: the container starts and stays up (certification by docker asked for the same).

The parameters are those of the run itself (`sandbox.runner.RunProfile`): who runs the image reads them from the
policy in force for this check; the check judges the record of that run.
"""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotEvaluable, Subject
from customhouse.certification.findings import JSON, Severity
from customhouse.sandbox.runner import RunProfile


def start(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """Fails with the engine's words, the exit code and the end of the log."""
    run = subject.run
    if run is None:
        raise NotEvaluable("the image was not run")
    if run.outcome == "unavailable":
        raise NotEvaluable(run.reason)
    if run.outcome == "failed":
        evidence: dict[str, JSON] = {"key": "start", "log_tail": run.log_tail}
        if run.attempts:
            last = run.attempts[-1]
            evidence |= {
                "exit_code": last.exit_code,
                "oom_killed": last.oom_killed,
                "engine_error": last.engine_error,
                "rungs": [attempt.rung for attempt in run.attempts],
            }
        yield Failure(run.reason, evidence)
    elif run.attempts and run.attempts[-1].oom_killed:
        # Some engines tell only at the end that a process which was not the first had been killed.
        yield Failure(
            "one of its processes was killed: the container wanted more than its limit of memory",
            {"key": "memory", "oom_killed": True, "log_tail": run.log_tail},
        )


CHECK = Check(
    id="RUN-START",
    title="The container starts and stays up",
    why="An image that does not run by its own defaults is of no use to those who pull it.",
    remedy="Run it with `docker run --rm --network none --memory 512m IMAGE`, read its log, and give the image a "
    "command, a user and defaults with which it serves without further settings.",
    severity=Severity.BLOCK,
    evaluate=start,
    params=RunProfile().to_json(),
)
