"""One container's life under examination: start, stay up, become healthy, hold, be looked at, stopped and continued,
end.

1. The order of certification: each part only when the one before it went well.
2. What to conclude from a look is said by health.py; this file looks, waits, and writes the record down.
3. The run's deadline ends every wait; what it cut short is recorded as such.
4. A container that may write its root is asked every two seconds how much it wrote: it must not fill the engine's disk.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from customhouse.oci.config import ImageConfig
from customhouse.sandbox import health
from customhouse.sandbox.health import Decision, Sight, Timing
from customhouse.sandbox.monitor import Monitor
from customhouse.sandbox.runner import (
    MIB,
    Attempt,
    CommandResult,
    DeclaredRecord,
    HealthRecord,
    MutationRecord,
    ProbeResult,
    RunProfile,
    StopRecord,
    Surface,
)
from customhouse.sandbox.runtime import ContainerSpec, EngineFault, ImageRefused, Logs, Marks, Runtime
from customhouse.sandbox.setup import CommandTest

LOOK_SECONDS = 0.1
DISK_SECONDS = 2.0
COMMAND_SECONDS = 30.0
MOST_SHOWN = 8 * 1024


class OutOfTime(Exception):
    """The deadline of the whole run came before an answer."""


@dataclass(frozen=True)
class Deadline:
    """When the whole run must be over, on the monotonic clock."""

    at: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @property
    def left(self) -> float:
        return self.at - self.clock()


@dataclass
class Trial:
    """One attempt with one container, made by `spec` (whose times of health are set here: shortened, `patient` with
    the declared timeout, or `unchanged`). `health`, `stop`, `surface` and `logs` are its answers after `run`."""

    runtime: Runtime
    marks: Marks
    spec: ContainerSpec
    config: ImageConfig
    deadline: Deadline
    monitors: bool = True
    patient: bool = False
    unchanged: bool = False
    tests: tuple[CommandTest, ...] = ()
    stayed_up: bool = False
    health: HealthRecord | None = None
    stop: StopRecord | None = None
    surface: Surface | None = None
    commands: tuple[CommandResult, ...] = ()
    logs: Logs = Logs(0, "")
    timing: Timing | None = None
    declared: Timing | None = None
    _probes: tuple[ProbeResult, ...] = ()
    _container: str = ""
    _started: float = 0.0
    _measured: float = 0.0
    _monitor: Monitor | None = None
    _last: Sight = field(default_factory=lambda: Sight(running=False, exit_code=0))

    def __post_init__(self) -> None:
        check = self.config.healthcheck
        if check is not None and check.declared:
            self.declared = Timing.declared(check)
            short = self.declared.shortened(self.profile, patient=self.patient)
            self.timing = self.declared if self.unchanged else short
            if self.monitors:
                self.spec = replace(self.spec, health=self.timing)

    @property
    def profile(self) -> RunProfile:
        return self.spec.profile

    @property
    def deserves_patience(self) -> bool:
        """Should the same be tried with the declared probe timeout?"""
        return (
            self.declared is not None
            and self.timing is not None
            and health.deserves_patience(self._probes, self.declared, self.timing)
        )

    def run(self, *, prove: bool) -> Attempt:
        """Start, and see it up and healthy; with `prove` go on to the proof and the stop.

        Raises EngineFault, and OutOfTime when the deadline came before the container was up and healthy.
        """
        began = self.deadline.clock()
        trouble = ""
        try:
            self._container = self.runtime.create(self.marks, self.spec)
            self._started = self.deadline.clock()
            self.runtime.start(self._container)
            self._watch()
        except ImageRefused as error:
            trouble = f"the container did not start: {error}"
        if not trouble:
            trouble = self._up() or self._healthy()
            if not trouble and prove:
                self._prove()
                self._stop()
        if self._container:
            self.logs = self.runtime.logs(self._container)
            self._last = self.runtime.look(self._container)
        return Attempt(
            rung=self.spec.rung,
            trouble=trouble,
            seconds=round(self.deadline.clock() - began, 1),
            exit_code=None if self._last.running or not self._container else self._last.exit_code,
            oom_killed=self._last.oom_killed,
            engine_error=self._last.error,
            log_tail=self.logs.tail if trouble else "",
        )

    def as_declared(self) -> DeclaredRecord:
        """The start with nothing shortened. Raises as `run` does."""
        self.run(prove=False)
        if self.health is None:
            return DeclaredRecord(False, 0.0, "with the declared times the container did not stay up")
        return DeclaredRecord(self.health.reached, self.health.seconds, self.health.trouble)

    def _watch(self) -> None:
        """Where the runtime runs no health-checks, they are driven from here."""
        if self.timing is None or self.monitors:
            return
        self._monitor = Monitor(
            self.config,
            self.timing,
            lambda argv, seconds: self.runtime.execute(self._container, argv, seconds=seconds),
            self.deadline.clock,
            self._started,
        )

    def _look(self) -> Sight:
        sight = self.runtime.look(self._container)
        return sight if self._monitor is None else self._monitor.seen(sight)

    def _wait(self, since: float, question: Callable[[Sight, float], Decision]) -> tuple[str, float]:
        """Ask at every look until there is an answer: (trouble, seconds). Raises OutOfTime."""
        while True:
            self._last = self._look()
            self._probes = health.collect(self._probes, self._last.probes)
            elapsed = self.deadline.clock() - since
            if self._floods():
                return f"it wrote more than {self.profile.disk_mib} MiB to its root filesystem", round(elapsed, 2)
            decision = question(self._last, elapsed)
            if decision.done:
                return decision.trouble, round(elapsed, 2)
            if self.deadline.left <= 0:
                raise OutOfTime
            self.deadline.sleep(LOOK_SECONDS)

    def _floods(self) -> bool:
        now = self.deadline.clock()
        if self.spec.rung in ("read_only", "tmpfs") or now - self._measured < DISK_SECONDS:
            return False
        self._measured = now
        return (self.runtime.disk(self._container) or 0) > self.profile.disk_mib * MIB

    def _up(self) -> str:
        trouble, _ = self._wait(self._started, lambda sight, at: health.staying_up(sight, at, self.profile))
        self.stayed_up = not trouble
        return trouble

    def _healthy(self) -> str:
        if self.declared is None or self.config.healthcheck is None:
            return ""
        declared = self.declared
        record = HealthRecord(
            test=self.config.healthcheck.test,
            allowed_seconds=round(declared.allowed(self.profile), 1),
            declared_seconds=round(declared.verdict_bound, 1),
            reached=False,
            seconds=0.0,
        )
        trouble, seconds = self._wait(
            self._started,
            lambda sight, at: health.becoming_healthy(sight, self._probes, at, declared, self.profile),
        )
        self.health = replace(record, reached=not trouble, seconds=seconds, trouble=trouble, probes=self._probes)
        return trouble

    def _prove(self) -> None:
        """Hold, look, then mutate. The answers go to the records; they are no reason to try another rung."""
        if self.health is None or self.timing is None:
            self._survey()
            return
        timing = self.timing
        try:
            trouble, _ = self._wait(
                self.deadline.clock(),
                lambda sight, elapsed: health.holding(sight, self._since_success(), elapsed, timing, self.profile),
            )
            self.health = replace(self.health, held=not trouble, trouble=trouble, probes=self._probes)
            self._survey()
            if not trouble:
                self.health = replace(self.health, mutation=self._mutate(timing), probes=self._probes)
        except OutOfTime:
            trouble = "the run's time was over before the health-check had been seen to hold"
            self.health = replace(self.health, cut_short=True, trouble=trouble, probes=self._probes)

    def _since_success(self) -> tuple[ProbeResult, ...]:
        first = next((n for n, probe in enumerate(self._probes) if probe.exit_code == 0), len(self._probes))
        return self._probes[first:]

    def _survey(self) -> None:
        """What it does while it serves; what cannot be seen stays None."""
        surface = Surface()
        with suppress(ImageRefused, EngineFault):
            surface = replace(surface, processes=self.runtime.processes(self._container))
        with suppress(ImageRefused, EngineFault):
            surface = replace(surface, ports=self.runtime.ports(self._container))
        with suppress(ImageRefused, EngineFault):
            surface = replace(surface, written=self.runtime.changes(self._container))
        self.surface = surface
        self.commands = tuple(self._command(test) for test in self.tests)

    def _command(self, test: CommandTest) -> CommandResult:
        """One of the publisher's tests. What comes before it must end well; what comes after is done in any case."""
        try:
            for argv in test.before:
                self._inside(test, argv, must=True)
            return self._inside(test, test.argv)
        except (ImageRefused, EngineFault) as error:
            return CommandResult(test.name, trouble=error.message)
        finally:
            for argv in test.after:
                with suppress(ImageRefused, EngineFault):
                    self._inside(test, argv)

    def _inside(self, test: CommandTest, argv: tuple[str, ...], *, must: bool = False) -> CommandResult:
        seconds = min(COMMAND_SECONDS, self.deadline.left)
        if seconds <= 0:
            raise EngineFault("the run's time was over")
        done = self.runtime.execute(self._container, argv, seconds=seconds, environment=test.environment)
        if must and done.exit_code != 0:
            raise ImageRefused(f"its setup `{' '.join(argv)[:200]}` exited with {done.exit_code}: {done.stderr[:200]}")
        return CommandResult(
            test.name, done.exit_code, done.stdout[:MOST_SHOWN], done.stderr[:MOST_SHOWN], round(done.seconds, 2)
        )

    def _mutate(self, timing: Timing) -> MutationRecord:
        seen = self.surface.processes if self.surface is not None else None
        got = self.runtime.signal_all(self._container, signal.SIGSTOP)
        known = len(self._probes)
        record = MutationRecord(
            reach=got.reach,
            processes=got.processes,
            unhealthy=False,
            unhealthy_seconds=0.0,
            conclusive=got.reach == "all" or (seen is not None and len(seen) == 1),
            way=got.way,
        )
        try:
            try:
                trouble, seconds = self._wait(
                    self.deadline.clock(),
                    lambda sight, at: health.turning_unhealthy(sight, self._probes[known:], at, timing, self.profile),
                )
            finally:
                self._continue()
            record = replace(record, unhealthy=not trouble, unhealthy_seconds=seconds, trouble=trouble)
            if trouble:
                return record
            trouble, seconds = self._wait(
                self.deadline.clock(),
                lambda sight, elapsed: health.recovering(sight, elapsed, timing, self.profile),
            )
            return replace(record, recovered=not trouble, recovery_seconds=seconds, trouble=trouble, conclusive=True)
        except OutOfTime:
            return replace(record, cut_short=True, trouble="the run's time was over during the proof")

    def _continue(self) -> None:
        """A stopped process must not be left behind."""
        with suppress(ImageRefused):
            self.runtime.signal_all(self._container, signal.SIGCONT)

    def _stop(self) -> None:
        """The way out. Only a container that still runs can show it."""
        if not self.runtime.look(self._container).running:
            return
        began = self.deadline.clock()
        self.runtime.stop(self._container, self.profile.stop_grace_seconds)
        seconds = self.deadline.clock() - began
        sight = self.runtime.look(self._container)
        self.stop = StopRecord(
            signal=self.config.stop_signal or "SIGTERM",
            grace_seconds=self.profile.stop_grace_seconds,
            seconds=round(seconds, 2),
            exit_code=sight.exit_code,
            oom_killed=sight.oom_killed,
        )
