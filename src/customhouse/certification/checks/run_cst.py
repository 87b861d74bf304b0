"""RUN-CST: the commands of the publisher's structure tests, run inside the container while it serves."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, NotApplicable, NotEvaluable, Subject
from customhouse.certification.checks._run import served
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.structure_tests import CommandExpectation, InvalidStructureTests
from customhouse.sandbox.runner import CommandResult

SHOWN = 500


def commands(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    """One failure per command that answers otherwise, with its exit code and the end of its output."""
    tests = subject.tests
    if tests is None or isinstance(tests, InvalidStructureTests) or not tests.commands:
        raise NotApplicable("the publisher gave no command tests that could be run")
    run = served(subject)
    results = {result.name: result for result in run.commands}
    for expected in tests.commands:
        result = results.get(expected.test.name)
        if result is None:
            raise NotEvaluable(f"{expected.test.name} was not run")
        wrong = list(_differences(expected, result))
        if wrong:
            yield Failure(
                f"{expected.test.name}: {'; '.join(wrong)}",
                {
                    "key": f"command:{expected.test.name}", "command": list(expected.test.argv),
                    "exit_code": result.exit_code, "stdout": result.stdout[-SHOWN:], "stderr": result.stderr[-SHOWN:],
                },
            )  # fmt: skip


def _differences(expected: CommandExpectation, result: CommandResult) -> Iterator[str]:
    if result.trouble:
        yield f"it could not be run: {result.trouble}"
        return
    if result.exit_code != expected.exit_code:
        seen = "did not end in time" if result.exit_code == -1 else f"exited with {result.exit_code}"
        yield f"it {seen}, not with {expected.exit_code}"
    for wanted, text, where in ((expected.output, result.stdout, "output"), (expected.error, result.stderr, "error")):
        yield from (f"{item.text!r} is not in its {where}" for item in wanted if not item.found_in(text))
    for barred, text, where in (
        (expected.no_output, result.stdout, "output"), (expected.no_error, result.stderr, "error"),
    ):  # fmt: skip
        yield from (f"{item.text!r} is in its {where}" for item in barred if item.found_in(text))


CHECK = Check(
    id="RUN-CST",
    title="The publisher's command tests hold",
    why="A publisher says with tests what the image must do; an image that breaks them is not the one that was meant.",
    remedy="Mend the image, or the test: its commands are run without a shell, as the image's user, in the container "
    "that serves.",
    severity=Severity.HIGH,
    evaluate=commands,
    sources=("container-structure-test 2.0.0",),
    not_applicable="the publisher gave no command tests",
    not_evaluable="the image was not run, or did not serve",
)
