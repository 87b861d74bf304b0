"""The workflow of a submission: the order of its steps and nothing else.

Each step is a service's method, idempotent, from submission id to the state it left; a step that is not for the
present state does nothing. A new round (after a decision, or after a breakdown) runs the same body again and so
goes on where the submission stands.
"""

import logging
from collections.abc import Callable

from customhouse.certification.service import CertificationService
from customhouse.certification.steps import Steps
from customhouse.certification.submission import State
from customhouse.errors import CustomhouseError
from customhouse.publication.service import PublicationService
from customhouse.workflows import Step, Workflows

NAME = "submission"
_log = logging.getLogger("customhouse.pipeline")


def define(workflows: Workflows, steps: Steps, publication: PublicationService) -> None:
    """Give the workflow to the engine."""

    def body(step: Step, submission: str) -> str:
        try:
            return _certify(step, steps, publication, submission)
        except Exception as error:  # a step that gave up: the submission must not be left without an end
            _log.exception("submission %s could not go on", submission)
            why = error.message if isinstance(error, CustomhouseError) else f"{type(error).__name__}: see the hub's log"
            said = f"the hub could not go on: {why}; `customhouse submission retry {submission}` tries again"
            fail: Callable[[str], str] = lambda name: steps.fail(name, said)  # noqa: E731
            return step("fail", fail, submission)

    workflows.define(NAME, body)


def _certify(step: Step, steps: Steps, publication: PublicationService, submission: str) -> str:
    state = step("verify", steps.verify, submission)
    if state == State.EXAMINING:
        step("examine", steps.examine, submission)
        step("run", steps.run, submission)
        state = step("judge", steps.judge, submission)
    if state == State.PUBLISHING:
        state = step("publish", publication.publish, submission)
    return state


def start_waiting(workflows: Workflows, certification: CertificationService) -> None:
    """Give every active submission its live workflow (invariants S1, S2); called at start, on events and by time."""
    for row in certification.active():
        state = workflows.state(row.workflow)
        if state is None:
            workflows.start(NAME, row.workflow, row.id)
        elif state != "live":
            certification.another_round(row)
