"""The runner of every container runtime: load, climb the ladder, prove, write the record, leave nothing behind.

1. What an earlier, killed run of the same submission left is removed before the start; all of this run's afterwards,
   whatever happened. So a step that runs twice is as good as one that ran once.
2. Only the runtime's own platform is run; another is "unavailable", never a pass. So is a runtime without seccomp.
3. Trouble of the engine is "unavailable", trouble of the image "failed"; both say why.
4. What follows the proof (another user, the declared times) is asked with what is left of the budget, and is unknown
   where that does not suffice.
"""

import hashlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from customhouse.oci.config import ImageConfig, InvalidConfig
from customhouse.sandbox.archive import DamagedImage, UnreadableImage
from customhouse.sandbox.hardening import next_rung
from customhouse.sandbox.runner import (
    MIB,
    Attempt,
    DeclaredRecord,
    ImageSource,
    InvalidProfile,
    Rung,
    RunProfile,
    RunRecord,
)
from customhouse.sandbox.runtime import ContainerSpec, EngineFacts, EngineFault, ImageRefused, Marks, Runtime, in_time
from customhouse.sandbox.setup import Setup
from customhouse.sandbox.trial import Deadline, OutOfTime, Trial

_COMPONENT = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MOST_NAME = 64
COMPANION_SECONDS = 1.0


@dataclass(frozen=True)
class ContainerRunner(ABC):
    """A `Runner` on whatever `open` connects to. `hub` tells hubs apart that share an engine; `clock` gives aware UTC
    times."""

    clock: Callable[[], datetime]
    hub: str = "customhouse"

    def __post_init__(self) -> None:
        if not _COMPONENT.fullmatch(self.hub) or len(self.hub) > MOST_NAME:
            raise InvalidProfile(f"{self.hub!r} cannot name a hub in an engine: use a-z, 0-9 and single dashes")

    @abstractmethod
    def open(self, load_seconds: float, words: frozenset[str]) -> Runtime:
        """A connection. `words` are the image's own, not to be taken for the engine's. Raises EngineFault."""

    def run(self, image: ImageSource, profile: RunProfile, setup: Setup | None = None) -> RunRecord:
        """Run one platform's image. Takes at most the loads' and the run's budget, and the removal."""
        began = time.monotonic()
        try:
            config = ImageConfig.parse(image.config)
        except InvalidConfig as error:
            return RunRecord("failed", f"the engine was not asked: {error}")
        platform = str(config.platform)
        try:
            record = self._run(image, config, profile, setup or Setup())
        except (EngineFault, UnreadableImage) as error:
            return RunRecord("unavailable", str(error), platform=platform, seconds=_since(began))
        except (ImageRefused, DamagedImage) as error:
            return RunRecord("failed", str(error), platform=platform, seconds=_since(began))
        return replace(record, platform=platform, seconds=_since(began))

    def cleanup(self, now: datetime | None = None) -> int:
        """Remove the leftovers of this hub's killed runs. Raises EngineFault when the engine does not answer."""
        with self._opened() as runtime:
            return runtime.remove(self.hub, None, in_time(now))

    @contextmanager
    def _opened(self, load_seconds: float = 300.0, words: frozenset[str] = frozenset()) -> Iterator[Runtime]:
        runtime = self.open(load_seconds, words)
        try:
            yield runtime
        finally:
            runtime.close()

    def _run(self, image: ImageSource, config: ImageConfig, profile: RunProfile, setup: Setup) -> RunRecord:
        missing = [one.reference for one in setup.companions if one.name not in image.beside]
        if missing:
            raise ImageRefused(f"its companions are not here: {', '.join(missing)}")
        words = words_of(config) | setup.words
        with self._opened(profile.load_seconds, words) as runtime:
            facts = runtime.facts()
            if not facts.runs(config.os, config.architecture):
                raise EngineFault(
                    f"this engine runs {facts.os}/{facts.architecture}, the image is for {config.platform}"
                )
            if not facts.seccomp:
                raise EngineFault("this engine has no seccomp filter; images are not run without one")
            marks = self._marks(image.submission, profile)
            runtime.remove(self.hub, marks.submission, in_time(None))
            try:
                began = time.monotonic()
                runtime.load(image, marks.image, profile.image_mib * MIB)
                loaded = _since(began)
                for one in setup.companions:
                    runtime.load(image.beside[one.name], marks.companion(one.name), profile.image_mib * MIB)
                record = _Climb(runtime, facts, marks, config, profile, setup).record()
            finally:
                runtime.remove(self.hub, marks.submission, in_time(None))
        return replace(record, engine=facts.name, load_seconds=loaded)

    def _marks(self, submission: str, profile: RunProfile) -> Marks:
        name = submission.lower()
        if not _COMPONENT.fullmatch(name) or len(name) > MOST_NAME:
            name = hashlib.sha256(submission.encode()).hexdigest()[:32]
        # Twice the budgets: a leftover is one that no live run can still be using.
        life = timedelta(seconds=2 * (profile.load_seconds + profile.budget_seconds))
        return Marks(self.hub, name, self.clock().astimezone(UTC) + life)


class _Climb:
    """The ladder of one run."""

    def __init__(
        self, runtime: Runtime, facts: EngineFacts, marks: Marks, config: ImageConfig, profile: RunProfile, setup: Setup
    ) -> None:
        if setup.companions and not facts.networks:
            # The image's failure: to ask for what is not to be had must not be a way around the run.
            raise ImageRefused("it wants companions, and this engine makes no internal network for them")
        self._runtime, self._facts, self._marks = runtime, facts, marks
        self._config, self._profile, self._setup = config, profile, setup
        self._deadline = Deadline(time.monotonic() + profile.budget_seconds)
        self._rungs = tuple(rung for rung in profile.rungs if rung != "network" or facts.networks)
        self._network = ""
        self._containers = 0

    def record(self) -> RunRecord:
        """All that the trials told."""
        trouble = self._companions()
        if trouble:
            return RunRecord("failed", trouble, companions=tuple(one.reference for one in self._setup.companions))
        attempts, attempt, trial = self._attempts()
        served = not attempt.trouble
        health = trial.health
        other = self._other_user(trial) if served and self._profile.other_uid else None
        if served and health is not None:
            health = replace(health, declared=self._as_declared(trial))
        return RunRecord(
            outcome="ran" if trial.stayed_up else "failed",
            reason=attempt.trouble,
            rung=trial.spec.rung if trial.stayed_up else None,
            attempts=attempts,
            health=health,
            stop=trial.stop,
            log_tail=trial.logs.tail,
            log_bytes=trial.logs.size,
            surface=trial.surface,
            other_user=other,
            commands=trial.commands,
            companions=tuple(one.reference for one in self._setup.companions),
        )

    def _companions(self) -> str:
        """Start those that stand beside the image and see them up; trouble, or ""."""
        for one in self._setup.companions:
            self._network = self._network or self._runtime.network(self._marks)
            spec = ContainerSpec(
                name=f"with-{one.name}", image=self._marks.companion(one.name), rung="network", profile=self._profile,
                entrypoint=one.entrypoint, command=one.command, environment=one.environment, tmpfs=one.tmpfs,
                network=self._network, alias=one.name,
            )  # fmt: skip
            try:
                container = self._runtime.create(self._marks, spec)
                self._runtime.start(container)
            except ImageRefused as error:
                return f"its companion {one.name} did not start: {error}"
            self._deadline.sleep(COMPANION_SECONDS)
            sight = self._runtime.look(container)
            if not sight.running:
                tail = self._runtime.logs(container).tail
                return f"its companion {one.name} exited with code {sight.exit_code}: {tail}"
        return ""

    def _attempts(self) -> tuple[tuple[Attempt, ...], Attempt, Trial]:
        """Attempts until one is proven or none is left to try: all of them, and the one that is the answer.

        When the time is over, the answer is the first failure: it had its full time, and the search for a wider rung
        is a favour. An image must not become "unavailable" by being slow to fail.
        """
        attempts: list[Attempt] = []
        ladder: list[Attempt] = []
        failures: list[tuple[Attempt, Trial]] = []
        patient = False
        while (step := next_rung(self._rungs, ladder)) is not None:
            rung, prove = step
            trial = self._trial(self._spec(rung), patient=patient, tests=self._setup.commands)
            try:
                attempt = trial.run(prove=prove)
            except OutOfTime:
                if not failures:
                    raise EngineFault("the run's time was over before the container was up and healthy") from None
                return tuple(attempts), *failures[0]
            attempts.append(attempt)
            if attempt.trouble:
                failures.append((attempt, trial))
            elif prove:
                return tuple(attempts), attempt, trial
            if attempt.trouble and trial.deserves_patience and not patient:
                patient = True
            else:
                ladder.append(attempt)
        return tuple(attempts), *failures[-1]

    def _trial(self, spec: ContainerSpec, **more: Any) -> Trial:
        """`more` are fields of the trial by name."""
        return Trial(
            self._runtime, self._marks, spec, self._config, self._deadline, monitors=self._facts.monitors, **more
        )

    def _spec(self, rung: Rung) -> ContainerSpec:
        if rung == "network" and not self._network:
            self._network = self._runtime.network(self._marks)
        self._containers += 1
        return ContainerSpec(
            name=str(self._containers),
            image=self._marks.image,
            rung=rung,
            profile=self._profile,
            entrypoint=self._setup.entrypoint,
            command=self._setup.command,
            environment=self._setup.environment,
            tmpfs=self._setup.tmpfs,
            network=self._network if rung == "network" or self._setup.companions else "",
        )

    def _again(self, trial: Trial) -> ContainerSpec:
        """The container that served, once more."""
        self._containers += 1
        return replace(trial.spec, name=str(self._containers), health=None)

    def _other_user(self, trial: Trial) -> Attempt | None:
        spec = replace(self._again(trial), user=f"{self._profile.other_uid}:0")
        try:
            return self._trial(spec, patient=trial.patient).run(prove=False)
        except (OutOfTime, EngineFault):
            return None

    def _as_declared(self, trial: Trial) -> DeclaredRecord | None:
        if trial.declared is None or trial.declared == trial.timing:
            return None
        if trial.declared.verdict_bound > self._deadline.left:
            return None
        try:
            return self._trial(self._again(trial), unchanged=True).as_declared()
        except (OutOfTime, EngineFault):
            return None


def words_of(config: ImageConfig) -> frozenset[str]:
    """What of a config an engine may quote in its errors."""
    return frozenset((*config.argv, *config.env, *config.volumes, config.user, config.workdir, config.stop_signal))


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
