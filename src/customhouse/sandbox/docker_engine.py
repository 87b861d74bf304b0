"""The runner that uses a Docker engine: load, climb the ladder, write the record, leave nothing behind.

1. What an earlier, killed run of the same submission left is removed before the start; all of this run's afterwards,
   whatever happened. So a step that runs twice is as good as one that ran once.
2. Only the engine's own platform is run; another is "unavailable", never a pass.
3. Trouble of the engine is "unavailable", trouble of the image "failed"; both say why.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from customhouse.oci.config import ImageConfig, InvalidConfig
from customhouse.sandbox.archive import DamagedImage, UnreadableImage, docker_archive
from customhouse.sandbox.engine import (
    HUB,
    SUBMISSION,
    Engine,
    EngineFault,
    ImageRefused,
    Marks,
    in_time,
    repository,
    words_of,
)
from customhouse.sandbox.hardening import next_rung
from customhouse.sandbox.runner import MIB, Attempt, ImageSource, InvalidProfile, RunProfile, RunRecord
from customhouse.sandbox.trial import Deadline, OutOfTime, Trial

_COMPONENT = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MOST_NAME = 64


@dataclass(frozen=True)
class DockerEngine:
    """A runner on the engine at `url` (unix:///var/run/docker.sock, tcp://…). `hub` tells hubs apart that share an
    engine; `runtime` names another OCI runtime of the engine (such as runsc); `clock` gives aware UTC times."""

    url: str
    clock: Callable[[], datetime]
    hub: str = "customhouse"
    runtime: str = ""

    def __post_init__(self) -> None:
        if not _COMPONENT.fullmatch(self.hub) or len(self.hub) > MOST_NAME:
            raise InvalidProfile(f"{self.hub!r} cannot name a hub in an engine: use a-z, 0-9 and single dashes")

    def run(self, image: ImageSource, profile: RunProfile) -> RunRecord:
        """Run one platform's image. Takes at most the load's and the run's budget, and the removal."""
        began = time.monotonic()
        try:
            config = ImageConfig.parse(image.config)
        except InvalidConfig as error:
            return RunRecord("failed", f"the engine was not asked: {error}")
        platform = str(config.platform)
        try:
            record = self._run(image, config, profile)
        except (EngineFault, UnreadableImage) as error:
            return RunRecord("unavailable", str(error), platform=platform, seconds=_since(began))
        except (ImageRefused, DamagedImage) as error:
            return RunRecord("failed", str(error), platform=platform, seconds=_since(began))
        return record

    def cleanup(self, now: datetime | None = None) -> int:
        """Remove the leftovers of this hub's killed runs. Raises EngineFault when the engine does not answer."""
        with self._engine() as engine:
            over = in_time(now)
            gone = engine.remove_containers({HUB: self.hub}, over)
            return gone + engine.remove_images(repository(self.hub), over)

    @contextmanager
    def _engine(self, load_seconds: float = 300.0, words: frozenset[str] = frozenset()) -> Iterator[Engine]:
        engine = Engine(self.url, runtime=self.runtime, load_seconds=load_seconds, untrusted=words)
        try:
            yield engine
        finally:
            engine.close()

    def _run(self, image: ImageSource, config: ImageConfig, profile: RunProfile) -> RunRecord:
        began = time.monotonic()
        with self._engine(profile.load_seconds, words_of(config)) as engine:
            facts = engine.facts()
            if not facts.runs(config.os, config.architecture):
                raise EngineFault(
                    f"this engine runs {facts.os}/{facts.architecture}, the image is for {config.platform}"
                )
            if not facts.seccomp:
                raise EngineFault("this engine has no seccomp filter; images are not run without one")
            marks = self._marks(image.submission, profile)
            self._remove(engine, marks)
            try:
                engine.load(docker_archive(image, marks.image, profile.image_mib * MIB))
                attempts, attempt, trial = _climb(engine, marks, config, profile)
            finally:
                self._remove(engine, marks)
        return RunRecord(
            outcome="ran" if trial.stayed_up else "failed",
            reason=attempt.trouble,
            engine=facts.name,
            platform=str(config.platform),
            rung=trial.rung if trial.stayed_up else None,
            seconds=_since(began),
            attempts=attempts,
            health=trial.health,
            stop=trial.stop,
            log_tail=trial.log_tail,
        )

    def _marks(self, submission: str, profile: RunProfile) -> Marks:
        name = submission.lower()
        if not _COMPONENT.fullmatch(name) or len(name) > MOST_NAME:
            name = hashlib.sha256(submission.encode()).hexdigest()[:32]
        # Twice the budgets: a leftover is one that no live run can still be using.
        life = timedelta(seconds=2 * (profile.load_seconds + profile.budget_seconds))
        return Marks(self.hub, name, self.clock().astimezone(UTC) + life)

    def _remove(self, engine: Engine, marks: Marks) -> None:
        engine.remove_containers({HUB: self.hub, SUBMISSION: marks.submission}, in_time(None))
        engine.remove_images(repository(self.hub, marks.submission) + ":", in_time(None))


def _climb(
    engine: Engine, marks: Marks, config: ImageConfig, profile: RunProfile
) -> tuple[tuple[Attempt, ...], Attempt, Trial]:
    """Attempts until one is proven or none is left to try: all of them, and the one that is the answer.

    When the time is over, the answer is the first failure: it had its full time, and the search for a wider rung is a
    favour. An image must not become "unavailable" by being slow to fail.
    """
    deadline = Deadline(time.monotonic() + profile.budget_seconds)
    attempts: list[Attempt] = []
    ladder: list[Attempt] = []
    failures: list[tuple[Attempt, Trial]] = []
    patient = False
    while (step := next_rung(profile.rungs, ladder)) is not None:
        rung, prove = step
        trial = Trial(engine, marks, len(attempts), rung, config, profile, deadline, patient)
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


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
