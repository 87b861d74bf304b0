"""What the checks of a run share: the record of a container that served, or why there is none."""

from customhouse.certification.check import NotEvaluable, Subject
from customhouse.sandbox.runner import RunRecord


def served(subject: Subject) -> RunRecord:
    """The record of a run in which the container started, stayed up and became healthy where it declares a probe.
    Raises NotEvaluable for every other."""
    run = subject.run
    if run is None:
        raise NotEvaluable("the image was not run")
    if run.outcome == "unavailable":
        raise NotEvaluable(run.reason)
    if run.outcome == "failed" or run.reason or run.rung is None:
        raise NotEvaluable(f"the container did not serve: {run.reason}")
    return run


def first_trouble(run: RunRecord) -> str:
    """Why the strictest walls were too narrow, in the words of the first attempt."""
    return run.attempts[0].trouble if run.attempts else ""
