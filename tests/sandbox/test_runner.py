import io
import json

import pytest

from customhouse.errors import Invalid
from customhouse.sandbox.runner import (
    AbsentEngine,
    Attempt,
    HealthRecord,
    ImageSource,
    InvalidProfile,
    MutationRecord,
    ProbeResult,
    RunProfile,
    RunRecord,
    StopRecord,
)

FULL = RunRecord(
    outcome="ran",
    engine="docker 20.10",
    platform="linux/amd64",
    rung="tmpfs",
    seconds=9.5,
    attempts=(Attempt("read_only", "it exited", 0.2, 1, True, "engine", "log"), Attempt("tmpfs", "", 8)),
    health=HealthRecord(
        ("CMD", "x"), 20, 93, True, 1.5, True, False, "",
        (ProbeResult("2026-11-23T05:28:01Z", 0.1, -1, "out"),),
        MutationRecord("all", 2, True, 2.0, True, 0.5),
    ),
    stop=StopRecord("SIGTERM", 10, 0.1, 0),
    log_tail="ü\n",
)  # fmt: skip


@pytest.mark.parametrize("record", [FULL, RunRecord("unavailable", "no engine"), RunRecord("failed", "x")])
def test_a_record_is_the_same_after_a_way_through_json(record):
    assert RunRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize("broken", [{}, {"outcome": "passed"}, {"outcome": "ran", "attempts": 1}])
def test_what_is_no_record_is_refused(broken):
    with pytest.raises(Invalid):
        RunRecord.from_json(broken)


def test_a_profile_keeps_its_defaults_for_what_a_policy_does_not_name():
    assert RunProfile.parse({"stay_up_seconds": 30}) == RunProfile(stay_up_seconds=30.0)
    assert RunProfile.parse(json.loads(json.dumps(RunProfile().to_json()))) == RunProfile()


@pytest.mark.parametrize(
    "parameters",
    [
        {"stay_up": 1}, {"pids": 0}, {"memory_mib": "many"}, {"rungs": []}, {"rungs": ["tmpfs", "read_only"]},
        {"rungs": ["privileged"]}, {"budget_seconds": 10}, {"memory_mib": 4},
    ],
)  # fmt: skip
def test_a_profile_that_makes_no_sense_is_refused(parameters):
    with pytest.raises(InvalidProfile):
        RunProfile.parse(parameters)


def test_without_an_engine_every_run_is_unavailable():
    record = AbsentEngine().run(ImageSource("s", b"", (), lambda digest: io.BytesIO()), RunProfile())
    assert record.outcome == "unavailable"
    assert record.reason
