"""A health-check driven from outside, for runtimes that run none by themselves, by the rules of the Docker engine.

1. The first probe comes one interval after the start, the next one interval after the one before has ended.
2. Exit 0 is healthy at once; other codes, and a timeout (-1), count only after the start period or once it has been
   healthy; `retries` in a row are unhealthy.
3. Driven by looks: a probe that is due is run while one looks, so a look takes at most the probe's timeout.

(moby daemon/health.go.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from customhouse.oci.config import ImageConfig
from customhouse.sandbox.health import MOST_OUTPUT, Sight, Timing, plain
from customhouse.sandbox.runner import ProbeResult
from customhouse.sandbox.runtime import Executed, ImageRefused

DEFAULT_SHELL = ("/bin/sh", "-c")
KEPT = 5


def probe_argv(test: Sequence[str], shell: Sequence[str]) -> tuple[str, ...]:
    """The program of a declared test: CMD is exec form, CMD-SHELL goes to the image's shell or /bin/sh."""
    if test[0] == "CMD-SHELL":
        return (*(shell or DEFAULT_SHELL), *test[1:])
    return tuple(test[1:])


@dataclass
class Monitor:
    """The health of one container since `started` (on `clock`). `execute` runs argv with a time limit in it."""

    config: ImageConfig
    timing: Timing
    execute: Callable[[Sequence[str], float], Executed]
    clock: Callable[[], float]
    started: float
    status: str = "starting"
    probes: tuple[ProbeResult, ...] = ()
    _streak: int = 0
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._last = self.started

    def seen(self, sight: Sight) -> Sight:
        """The same sight with health in it; runs the probe when it is due."""
        if not sight.running:
            return sight
        if self.clock() - self._last >= self.timing.interval:
            self._probe()
        return replace(sight, health=self.status, probes=self.probes)

    def _probe(self) -> None:
        check = self.config.healthcheck
        assert check is not None
        began = self.clock()
        try:
            done = self.execute(probe_argv(check.test, self.config.shell), self.timing.timeout)
            code, output = done.exit_code, done.stdout + done.stderr
        except ImageRefused as error:
            code, output = -1, str(error)
        self._last = self.clock()
        # No clock on the wall is asked: the number of seconds since the start tells probes apart.
        result = ProbeResult(
            f"{began - self.started:.6f}", round(self._last - began, 3), code, plain(output)[:MOST_OUTPUT]
        )
        self.probes = (*self.probes, result)[-KEPT:]
        if code == 0:
            self._streak, self.status = 0, "healthy"
        elif self.status != "starting" or began - self.started > self.timing.start_period:
            self._streak += 1
            if self._streak >= self.timing.retries:
                self.status = "unhealthy"
