"""RUN-START, RUN-HEALTH, RUN-HEALTH-REAL and RUN-STOP, from records alone."""

import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from customhouse.certification.check import Failure, NotApplicable, NotEvaluable, Subject
from customhouse.certification.checks import (
    run_health,
    run_health_real,
    run_logs,
    run_nocaps,
    run_nonet,
    run_proc,
    run_readonly,
    run_start,
    run_stop,
    run_uid,
)
from customhouse.oci.image import load_image
from customhouse.oci.layer import Wants
from customhouse.oci.manifest import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST
from customhouse.sandbox.runner import (
    Attempt,
    DeclaredRecord,
    HealthRecord,
    ImageSource,
    MutationRecord,
    ProbeResult,
    Process,
    RunProfile,
    RunRecord,
    StopRecord,
    Surface,
)
from tests.sandbox.boxes import HONEST, box

BEHAVIOUR = (run_logs, run_nocaps, run_nonet, run_proc, run_readonly, run_uid)
ALL = (run_start, run_health, run_health_real, run_stop, *BEHAVIOUR)
QUIET = Surface((Process(10, 1, "S", "/app serve"),), (), ())
MUTATED = MutationRecord("all", 2, unhealthy=True, unhealthy_seconds=2, recovered=True, recovery_seconds=1)
HEALTHY = HealthRecord(("CMD", "x"), 20, 93, True, 1.5, held=True, mutation=MUTATED)
GOOD = RunRecord(
    "ran", health=HEALTHY, stop=StopRecord("SIGTERM", 10, 0.1, 0), rung="read_only", log_bytes=9,
    surface=QUIET, other_user=Attempt("read_only", "", 3.0),
)  # fmt: skip
FAILED = RunRecord(
    "failed", "it exited with code 3", attempts=(Attempt("read_only", "it exited", 0.1, 3),), log_tail="no database"
)


def subject(run: RunRecord | None, health=HONEST, **more) -> Subject:
    made = box(["sh"], health, busybox=False, **more)
    layer = made.layer
    config = {"mediaType": OCI_CONFIG, "digest": f"sha256:{hashlib.sha256(made.config).hexdigest()}"}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {**config, "size": len(made.config)},
        "layers": [{"mediaType": OCI_LAYER_GZIP, "digest": layer.digest, "size": layer.stored_size}],
    }).encode()  # fmt: skip
    blobs = {**made.blobs, config["digest"]: made.config}
    image = load_image(lambda digest: io.BytesIO(blobs[digest]), manifest, Wants())
    return Subject(image, "1", None, None, None, run, datetime(2026, 11, 23, tzinfo=UTC))  # type: ignore[arg-type]


def judge(check, run: RunRecord | None, health=HONEST, **more) -> list[Failure]:
    return list(check.CHECK.evaluate(subject(run, health, **more), check.CHECK.params))


def keys(check, run: RunRecord, **more) -> list[str]:
    return [failure.evidence["key"] for failure in judge(check, run, **more)]


@pytest.mark.parametrize("check", ALL)
def test_a_good_run_passes(check):
    assert judge(check, GOOD) == []


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize("run", [None, RunRecord("unavailable", "no engine")])
def test_without_a_run_nothing_is_judged(check, run):
    with pytest.raises(NotEvaluable):
        judge(check, run)


def test_an_image_that_did_not_start_fails_with_its_log():
    (failure,) = judge(run_start, FAILED)
    assert failure.message == "it exited with code 3"
    assert failure.evidence["log_tail"] == "no database"
    assert failure.evidence["exit_code"] == 3


def test_a_process_killed_for_its_memory_fails_even_when_the_container_went_on():
    run = replace(GOOD, attempts=(Attempt("read_only", "", 5, 0, oom_killed=True),))
    assert judge(run_start, run)[0].evidence["key"] == "memory"


@pytest.mark.parametrize("check", [run_health, run_health_real, run_stop, *BEHAVIOUR])
def test_what_comes_after_the_start_is_not_judged_without_one(check):
    with pytest.raises(NotEvaluable):
        judge(check, FAILED)


@pytest.mark.parametrize("check", [run_health, run_health_real])
@pytest.mark.parametrize("health", [None, {"Test": ["NONE"]}, {"Test": []}])
def test_without_a_declared_check_health_is_not_asked(check, health):
    with pytest.raises(NotApplicable):
        judge(check, replace(GOOD, health=None), health)


def test_a_health_that_is_not_reached_fails_with_the_last_probes():
    probes = tuple(ProbeResult(str(n), 0.1, n, f"said {n}") for n in range(1, 6))
    record = replace(HEALTHY, reached=False, held=False, mutation=None, trouble="not healthy", probes=probes)
    run = replace(GOOD, health=record, stop=None, reason="not healthy")
    (failure,) = judge(run_health, run)
    assert [probe["exit_code"] for probe in failure.evidence["probes"]] == [3, 4, 5]
    with pytest.raises(NotEvaluable):
        judge(run_health_real, run)


def test_a_health_that_does_not_hold_fails():
    run = replace(GOOD, health=replace(HEALTHY, held=False, mutation=None, trouble="it turned unhealthy"))
    assert judge(run_health, run)[0].message == "it turned unhealthy"


def test_a_check_that_does_not_follow_the_service_fails():
    green = replace(MUTATED, unhealthy=False, recovered=False, trouble="it went on passing")
    (failure,) = judge(run_health_real, replace(GOOD, health=replace(HEALTHY, mutation=green)))
    assert failure.message == "it went on passing"
    assert failure.evidence["turned_unhealthy"] is False


def test_a_service_that_does_not_come_back_fails():
    stuck = replace(MUTATED, recovered=False, trouble="not healthy again")
    assert judge(run_health_real, replace(GOOD, health=replace(HEALTHY, mutation=stuck)))


def test_where_only_one_of_several_processes_was_stopped_nothing_is_concluded():
    partial = replace(MUTATED, reach="first", unhealthy=False, recovered=False, conclusive=False)
    with pytest.raises(NotEvaluable):
        judge(run_health_real, replace(GOOD, health=replace(HEALTHY, mutation=partial)))


def test_an_image_cannot_escape_the_proof_by_being_slow():
    held = replace(HEALTHY, held=False, mutation=None, cut_short=True, trouble="time was over")
    assert judge(run_health_real, replace(GOOD, health=held))
    late = replace(MUTATED, unhealthy=False, recovered=False, cut_short=True, trouble="time was over")
    assert judge(run_health_real, replace(GOOD, health=replace(HEALTHY, mutation=late)))


@pytest.mark.parametrize("stop", [StopRecord("SIGTERM", 10, 10.1, 137), StopRecord("SIGTERM", 10, 2, 137)])
def test_a_container_that_had_to_be_killed_fails(stop):
    (failure,) = judge(run_stop, replace(GOOD, stop=stop))
    assert "SIGTERM" in failure.message


def test_ending_by_the_signal_or_with_any_other_code_is_fine():
    assert judge(run_stop, replace(GOOD, stop=StopRecord("SIGTERM", 10, 0.2, 143))) == []


def test_a_health_that_needs_longer_by_its_own_times_than_by_ours_fails():
    slow = replace(HEALTHY, declared=DeclaredRecord(False, 40.0, "not healthy within 40 s"))
    assert keys(run_health, replace(GOOD, health=slow)) == ["health-declared"]
    assert judge(run_health, replace(GOOD, health=replace(HEALTHY, declared=DeclaredRecord(True, 2.0)))) == []


@pytest.mark.parametrize(
    ("rung", "failing"),
    [
        ("read_only", []),
        ("tmpfs", []),
        ("writable", [run_readonly]),
        ("capabilities", [run_readonly, run_nocaps]),
        ("network", [run_readonly, run_nocaps, run_nonet]),
    ],
)
def test_each_rung_of_the_ladder_is_judged(rung, failing):
    run = replace(GOOD, rung=rung, attempts=(Attempt("read_only", "it exited", 1.0), Attempt(rung, "", 4.0)))
    assert [check for check in (run_readonly, run_nocaps, run_nonet) if judge(check, run)] == failing


def test_a_start_under_another_user_is_judged_where_there_was_one():
    (failure,) = judge(run_uid, replace(GOOD, other_user=Attempt("read_only", "it exited", 0.1, 13, log_tail="who?")))
    assert (failure.evidence["exit_code"], failure.evidence["log_tail"]) == (13, "who?")
    with pytest.raises(NotEvaluable):
        judge(run_uid, replace(GOOD, other_user=None))


def test_a_silent_container_fails_and_its_log_files_are_named():
    run = replace(GOOD, log_bytes=0, surface=replace(QUIET, written=("/srv/data", "/var/log/app.log")))
    (failure,) = judge(run_logs, run)
    assert failure.evidence["log_files"] == ["/var/log/app.log"]


def test_ports_are_compared_both_ways():
    run = replace(GOOD, surface=replace(QUIET, ports=("22/tcp", "53/udp", "8080/tcp", "40000/udp")))
    exposed = {"8080/tcp": {}, "53/udp": {}, "9000-9001": {}, "http": {}}
    assert keys(run_proc, run, ExposedPorts=exposed) == ["listens:22/tcp", "exposes:9000/tcp", "exposes:9001/tcp"]


def test_supervisors_remote_logins_and_zombies_are_named():
    processes = (
        Process(10, 1, "S", "/usr/bin/python3 /usr/bin/supervisord -n"),
        Process(11, 10, "S", "sshd: /usr/sbin/sshd -D"),
        Process(12, 10, "Z", "[worker] <defunct>"),
        Process(13, 10, "S", "/app/serve --with supervisord"),
    )
    run = replace(GOOD, surface=replace(QUIET, processes=processes))
    assert keys(run_proc, run) == ["process:sshd", "process:supervisord", "zombies"]


def test_what_was_written_is_told_and_what_could_not_be_seen_is_no_pass():
    run = replace(GOOD, surface=Surface(processes=(), ports=None, written=("/srv/state",)))
    seen = run_proc.CHECK.evaluate(subject(run), run_proc.CHECK.params)
    assert next(seen).evidence["paths"] == ["/srv/state"]
    with pytest.raises(NotEvaluable, match="ports"):
        next(seen)


def test_the_parameters_of_the_start_are_those_of_a_run():
    assert RunProfile.parse(run_start.CHECK.params) == RunProfile()


def test_a_source_is_made_from_an_examined_image():
    made = box(["sh"], busybox=False)
    examined = subject(None, None).image
    source = ImageSource.of("s1", examined, made.open)
    assert source.layers == (made.layer,)
    assert source.config == examined.config_raw
