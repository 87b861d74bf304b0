from dataclasses import replace

import pytest

from customhouse.oci.config import Healthcheck
from customhouse.sandbox import health
from customhouse.sandbox.health import DONE, WAIT, Sight, Timing
from customhouse.sandbox.runner import ProbeResult, RunProfile

SECOND = health.NANOSECONDS
PROFILE = RunProfile()
DECLARED = Timing(interval=2, timeout=1, start_period=4, retries=2)
UP = Sight(running=True, exit_code=0, health="starting")
GONE = Sight(running=False, exit_code=3)


def probes(*codes: int, seconds: float = 0.1) -> tuple[ProbeResult, ...]:
    return tuple(ProbeResult(f"2026-01-01T00:00:{n:02d}Z", seconds, code) for n, code in enumerate(codes))


def test_what_is_not_declared_has_the_engines_defaults():
    assert Timing.declared(Healthcheck(("CMD", "x"))) == Timing(30, 30, 0, 3)
    assert Timing.declared(Healthcheck(("CMD", "x"), interval=-5, retries=-1)) == Timing(30, 30, 0, 3)


def test_declared_nanoseconds_become_seconds():
    check = Healthcheck(("CMD", "x"), 2 * SECOND, SECOND // 2, 4 * SECOND, 0, 2)
    assert Timing.declared(check) == Timing(2, 0.5, 4, 2)


def test_the_bound_of_a_verdict_counts_one_more_probe_than_the_retries():
    assert DECLARED.verdict_bound == 4 + 3 * (2 + 1)


def test_a_shortened_run_never_lengthens_interval_timeout_or_retries():
    quick = Timing(interval=0.1, timeout=0.2, start_period=0, retries=1)
    short = quick.shortened(PROFILE)
    assert (short.interval, short.timeout, short.retries) == (0.1, 0.2, 1)


def test_a_shortened_run_gives_a_start_all_the_time_that_its_declaration_gives():
    assert DECLARED.shortened(PROFILE).start_period == DECLARED.verdict_bound == DECLARED.allowed(PROFILE)


def test_a_long_start_period_is_honoured_up_to_half_the_budget():
    slow = Timing(interval=30, timeout=30, start_period=3600, retries=3)
    assert slow.allowed(PROFILE) == PROFILE.budget_seconds / 2


def test_patience_keeps_the_declared_timeout_and_counts_one_failure():
    slow = Timing(interval=30, timeout=30, start_period=0, retries=3)
    assert slow.shortened(PROFILE).timeout == PROFILE.probe_timeout_seconds
    patient = slow.shortened(PROFILE, patient=True)
    assert (patient.timeout, patient.retries) == (30, 1)


def test_the_override_names_times_in_nanoseconds_and_no_test():
    assert DECLARED.override() == {
        "interval": 2 * SECOND, "timeout": SECOND, "start_period": 4 * SECOND, "retries": 2,
    }  # fmt: skip


def test_a_look_reads_state_health_and_the_probes():
    seen = Sight.parse({
        "Running": True, "ExitCode": 0, "Pid": 7,
        "Health": {"Status": "healthy", "Log": [{
            "Start": "2026-11-23T05:28:01.112528956Z", "End": "2026-11-23T05:28:02.612528956+00:00",
            "ExitCode": -1, "Output": "bell\x07 and \x1b[31mred\n",
        }]},
    })  # fmt: skip
    assert (seen.running, seen.health, seen.pid) == (True, "healthy", 7)
    assert seen.probes[0] == ProbeResult("2026-11-23T05:28:01.112528956Z", 1.5, -1, "bell and [31mred")


def test_a_look_at_a_container_without_a_check_has_no_health():
    assert Sight.parse({"Running": False, "ExitCode": 137, "OOMKilled": True}) == Sight(False, 137, True)


def test_probes_are_collected_beyond_the_five_that_the_engine_keeps():
    seen = probes(0, 0, 0, 0, 0, 0, 0)
    known = health.collect((), seen[:5])
    assert health.collect(known, seen[2:]) == seen


def test_staying_up_waits_for_the_time_and_fails_at_an_exit():
    assert health.staying_up(UP, 2.9, PROFILE) == WAIT
    assert health.staying_up(UP, 3.0, PROFILE) == DONE
    assert "code 3" in health.staying_up(GONE, 0.2, PROFILE).trouble


def test_memory_that_ran_out_is_named_even_when_the_main_process_survives():
    assert "memory" in health.staying_up(replace(UP, oom_killed=True), 1, PROFILE).trouble
    assert "memory" in health.staying_up(Sight(False, 137, True), 1, PROFILE).trouble


def test_healthy_ends_the_wait():
    assert health.becoming_healthy(replace(UP, health="healthy"), (), 1, DECLARED, PROFILE) == DONE


def test_failing_probes_within_the_start_period_only_make_it_wait():
    assert health.becoming_healthy(UP, probes(1, 1, 1, 1), 3.9, DECLARED, PROFILE) == WAIT


def test_failing_probes_end_the_wait_once_the_declaration_itself_would_say_unhealthy():
    quick = Timing(interval=1, timeout=30, start_period=0, retries=2)
    assert health.becoming_healthy(UP, probes(1, 1), 3.9, quick, PROFILE) == WAIT
    assert "by its own declaration" in health.becoming_healthy(UP, probes(1, 1), 4.3, quick, PROFILE).trouble


def test_a_probe_that_never_ends_is_not_waited_for_beyond_the_time_allowed():
    assert health.becoming_healthy(UP, (), DECLARED.allowed(PROFILE) - 0.1, DECLARED, PROFILE) == WAIT
    decision = health.becoming_healthy(UP, (), DECLARED.allowed(PROFILE), DECLARED, PROFILE)
    assert "no probe has ended" in decision.trouble


def test_an_engine_that_runs_no_check_is_not_waited_for():
    assert health.becoming_healthy(replace(UP, health=""), (), 1, DECLARED, PROFILE).trouble


def test_holding_wants_the_first_success_and_three_more_in_a_row():
    up = replace(UP, health="healthy")
    assert health.holding(up, probes(0, 0, 0), 1, DECLARED, PROFILE) == WAIT
    assert health.holding(up, probes(0, 0, 0, 0), 1, DECLARED, PROFILE) == DONE
    assert health.holding(up, probes(0, 0, 1, 0, 0), 1, DECLARED, PROFILE) == WAIT


def test_holding_fails_when_it_turns_unhealthy_by_itself():
    assert "by itself" in health.holding(replace(UP, health="unhealthy"), probes(0, 1, 1), 1, DECLARED, PROFILE).trouble


def test_the_mutation_is_seen_when_the_health_flips():
    assert health.turning_unhealthy(replace(UP, health="unhealthy"), (), 1, DECLARED, PROFILE) == DONE


def test_a_check_that_goes_on_passing_is_found_out_by_count_or_by_time():
    up = replace(UP, health="healthy")
    assert health.turning_unhealthy(up, probes(0, 0, 0, 0), 1, DECLARED, PROFILE) == WAIT
    assert "went on passing" in health.turning_unhealthy(up, probes(0, 0, 0, 0, 0), 1, DECLARED, PROFILE).trouble
    assert health.turning_unhealthy(up, probes(0, 0, 0, 0, 1), 1, DECLARED, PROFILE) == WAIT
    assert health.turning_unhealthy(up, (), DECLARED.flip_bound, DECLARED, PROFILE).trouble


def test_recovery_is_bounded():
    assert health.recovering(replace(UP, health="unhealthy"), 1, DECLARED, PROFILE) == WAIT
    assert health.recovering(replace(UP, health="unhealthy"), DECLARED.recovery_bound, DECLARED, PROFILE).trouble


@pytest.mark.parametrize(("codes", "used", "deserved"), [((-1,), 2, True), ((1,), 2, False), ((-1,), 30, False)])
def test_patience_is_for_probes_that_only_our_timeout_ended(codes, used, deserved):
    declared = Timing(30, 30, 0, 3)
    assert health.deserves_patience(probes(*codes), declared, replace(declared, timeout=used)) is deserved
