"""The health-check driven from outside, by the engine's rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from customhouse.oci.config import Healthcheck, ImageConfig
from customhouse.sandbox.health import Sight, Timing
from customhouse.sandbox.monitor import KEPT, Monitor, probe_argv
from customhouse.sandbox.runtime import Executed, ImageRefused

UP = Sight(running=True, exit_code=0)


@dataclass
class Container:
    """Answers probes as it is told; time passes only when it is said so."""

    codes: list[int]
    now: float = 0.0
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def execute(self, argv: Sequence[str], seconds: float) -> Executed:
        self.asked.append(tuple(argv))
        code = self.codes.pop(0)
        if code == 126:
            raise ImageRefused("no such file")
        return Executed(code, f"said {code}\x1b", "", 0.1)

    def monitor(self, timing: Timing, test: tuple[str, ...] = ("CMD", "probe", "x")) -> Monitor:
        config = ImageConfig(os="linux", architecture="amd64", healthcheck=Healthcheck(test))
        return Monitor(config, timing, self.execute, lambda: self.now, 0.0)


def statuses(codes: list[int], timing: Timing) -> list[str]:
    """The health after each interval."""
    container = Container(list(codes))
    monitor = container.monitor(timing)
    seen = []
    for _ in codes:
        container.now += timing.interval
        seen.append(monitor.seen(UP).health)
    return seen


TIMING = Timing(interval=1.0, timeout=1.0, start_period=0.0, retries=2)


@pytest.mark.parametrize(
    ("codes", "healths"),
    [
        ([0], ["healthy"]),
        ([1, 1], ["starting", "unhealthy"]),
        ([0, 1, 0, 1, 1, 0], ["healthy", "healthy", "healthy", "healthy", "unhealthy", "healthy"]),
        ([-1, 126], ["starting", "unhealthy"]),
    ],
)
def test_health_follows_the_probes(codes, healths):
    assert statuses(codes, TIMING) == healths


def test_failures_in_the_start_period_do_not_count_and_a_success_ends_it():
    slow = Timing(interval=1.0, timeout=1.0, start_period=3.0, retries=1)
    assert statuses([1, 1, 1, 1], slow) == ["starting", "starting", "starting", "unhealthy"]
    assert statuses([1, 0, 1], slow) == ["starting", "healthy", "unhealthy"]


def test_the_first_probe_comes_after_one_interval_and_none_when_it_has_ended():
    container = Container([0])
    monitor = container.monitor(TIMING)
    container.now = 0.9
    assert monitor.seen(UP).health == "starting"
    container.now = 5.0
    assert monitor.seen(Sight(running=False, exit_code=1)).health == ""
    assert container.asked == []


def test_the_last_probes_are_kept_apart_and_printable():
    container = Container([0] * 9)
    monitor = container.monitor(TIMING)
    for _ in range(9):
        container.now += 1
        seen = monitor.seen(UP)
    assert len({probe.started for probe in seen.probes}) == len(seen.probes) == KEPT
    assert seen.probes[0].output == "said 0"


def test_a_test_is_run_as_it_is_declared():
    assert probe_argv(("CMD", "a", "b c"), ()) == ("a", "b c")
    assert probe_argv(("CMD-SHELL", "a | b"), ()) == ("/bin/sh", "-c", "a | b")
    assert probe_argv(("CMD-SHELL", "a"), ("/bin/bash", "-ec")) == ("/bin/bash", "-ec", "a")
