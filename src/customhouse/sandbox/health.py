"""The rules of a HEALTHCHECK: its times, what one look at a container means, and when the waiting ends.

1. The engine's rules (moby daemon/health.go): the first probe comes one interval after the start; exit 0 is healthy
   at once; failures count only after the start period, or once healthy; `retries` of them in a row are unhealthy.
2. A run shortens Interval, Timeout and Retries, and lengthens StartPeriod, so that a start which its declaration
   allows is never counted against it. The probe itself is never changed.
3. Nothing waits for ever: every question has a bound that follows from the times.

Pure: looks and elapsed seconds in, a decision out. (docker-image-spec v1, HealthcheckConfig.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from customhouse.oci.config import Healthcheck
from customhouse.sandbox.runner import ProbeResult, RunProfile

NANOSECONDS = 1_000_000_000
ENGINE_INTERVAL = 30.0
ENGINE_TIMEOUT = 30.0
ENGINE_RETRIES = 3
SLACK = 2.0
MOST_OUTPUT = 512
TIMED_OUT = -1


@dataclass(frozen=True)
class Timing:
    """The four times of a health-check, in seconds (retries is a count), with the engine's defaults filled in."""

    interval: float
    timeout: float
    start_period: float
    retries: int

    @classmethod
    def declared(cls, check: Healthcheck) -> Self:
        """What the image asks for. Values of 0 and below stand for the engine's default."""
        return cls(
            interval=check.interval / NANOSECONDS if check.interval > 0 else ENGINE_INTERVAL,
            timeout=check.timeout / NANOSECONDS if check.timeout > 0 else ENGINE_TIMEOUT,
            start_period=max(check.start_period, 0) / NANOSECONDS,
            retries=check.retries if check.retries > 0 else ENGINE_RETRIES,
        )

    @property
    def verdict_bound(self) -> float:
        """No engine needs longer than this from the start to healthy or unhealthy."""
        return self.start_period + (self.retries + 1) * (self.interval + self.timeout)

    @property
    def flip_bound(self) -> float:
        """From the moment a service stops answering to unhealthy: a probe under way may still pass."""
        return (self.retries + 1) * (self.interval + self.timeout) + SLACK

    @property
    def recovery_bound(self) -> float:
        """From the moment a service goes on to healthy: one probe may hang in its timeout, the next must pass."""
        return 2 * (self.interval + self.timeout) + 2 * SLACK

    def hold_bound(self, probes: int) -> float:
        """Time enough for this many further probes, however slow."""
        return (probes + self.retries) * (self.interval + self.timeout) + SLACK

    def allowed(self, profile: RunProfile) -> float:
        """How long a run waits for healthy: what the image declares, within what the policy allows.

        A long declared start period is honoured up to half the budget: the rest is for the proof.
        """
        start = max(profile.start_allowance_seconds, min(self.start_period, profile.budget_seconds / 2))
        return min(self.verdict_bound, start)

    def shortened(self, profile: RunProfile, *, patient: bool = False) -> "Timing":
        """The times a run uses. `patient` keeps the declared timeout, for a probe that is slow by itself."""
        timeout = self.timeout if patient else min(self.timeout, profile.probe_timeout_seconds)
        # Two failures in a row, so that one probe lost to a busy machine proves nothing.
        most = 2 if timeout <= 10 else 1
        return Timing(
            interval=min(self.interval, profile.probe_interval_seconds),
            timeout=timeout,
            start_period=self.allowed(profile),
            retries=min(self.retries, most),
        )

    def override(self) -> dict[str, int]:
        """The fields for `containers/create`, which merges them over the image's own one by one."""
        return {
            "interval": max(int(self.interval * NANOSECONDS), 1_000_000),
            "timeout": max(int(self.timeout * NANOSECONDS), 1_000_000),
            "start_period": max(int(self.start_period * NANOSECONDS), 1_000_000),
            "retries": self.retries,
        }


@dataclass(frozen=True)
class Sight:
    """One look at a container, from the `State` of an inspection."""

    running: bool
    exit_code: int
    oom_killed: bool = False
    error: str = ""
    pid: int = 0
    health: str = ""
    probes: tuple[ProbeResult, ...] = ()

    @classmethod
    def parse(cls, state: Mapping[str, Any]) -> Self:
        """`State` as the Engine API gives it; Health is absent when there is no check."""
        health = state.get("Health") or {}
        return cls(
            running=bool(state.get("Running")) and not state.get("Restarting"),
            exit_code=int(state.get("ExitCode") or 0),
            oom_killed=bool(state.get("OOMKilled")),
            error=plain(str(state.get("Error") or "")),
            pid=int(state.get("Pid") or 0),
            health=str(health.get("Status") or ""),
            probes=tuple(_probe(line) for line in health.get("Log") or ()),
        )


def _probe(line: Mapping[str, Any]) -> ProbeResult:
    began, ended = str(line.get("Start") or ""), str(line.get("End") or "")
    try:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    except (ValueError, TypeError):
        seconds = 0.0
    return ProbeResult(
        started=began,
        seconds=round(max(seconds, 0.0), 3),
        exit_code=int(line.get("ExitCode") or 0),
        output=plain(str(line.get("Output") or ""))[:MOST_OUTPUT],
    )


def plain(text: str) -> str:
    """Text from inside a container, safe to print: no control characters but line ends and tabs."""
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable()).strip()


def collect(known: Sequence[ProbeResult], seen: Sequence[ProbeResult]) -> tuple[ProbeResult, ...]:
    """All probes so far: the engine keeps the last five only."""
    starts = {probe.started for probe in known}
    return (*known, *(probe for probe in seen if probe.started not in starts))


@dataclass(frozen=True)
class Decision:
    """Wait on, or the question is answered: well when `trouble` is empty."""

    done: bool
    trouble: str = ""


WAIT = Decision(False)
DONE = Decision(True)


def _trouble(text: str) -> Decision:
    return Decision(True, text)


def ended(sight: Sight, profile: RunProfile) -> str:
    """Why a container is no longer running, in words for its publisher."""
    if sight.oom_killed:
        return f"the container was killed: it wanted more than its {profile.memory_mib} MiB of memory"
    if sight.error:
        return f"the container did not start: {sight.error}"
    return f"the container exited by itself with code {sight.exit_code}"


def staying_up(sight: Sight, elapsed: float, profile: RunProfile) -> Decision:
    """Does it keep running for the time that the policy asks?"""
    if not sight.running:
        return _trouble(f"{ended(sight, profile)} after {elapsed:.1f} s")
    if sight.oom_killed:
        return _trouble(f"a process was killed: the container wanted more than {profile.memory_mib} MiB of memory")
    return DONE if elapsed >= profile.stay_up_seconds else WAIT


def becoming_healthy(
    sight: Sight, probes: Sequence[ProbeResult], elapsed: float, declared: Timing, profile: RunProfile
) -> Decision:
    """Does it become healthy in the time allowed? Ends early when its own declaration would say unhealthy by now."""
    if not sight.running:
        return _trouble(f"{ended(sight, profile)} before it was healthy")
    if sight.health == "healthy":
        return DONE
    if not sight.health:
        return _trouble("the engine runs no health-check for this container")
    failed = [probe for probe in probes if probe.exit_code != 0]
    last = f"; the last probe exited with {_exit(failed[-1])}" if failed else "; no probe has ended"
    allowed = declared.allowed(profile)
    if elapsed >= allowed:
        return _trouble(f"not healthy within the {allowed:.1f} s allowed{last}")
    if failed:
        slowest = max(probe.seconds for probe in failed)
        bound = declared.start_period + declared.retries * (declared.interval + slowest)
        if elapsed >= bound + SLACK:
            return _trouble(f"unhealthy by its own declaration after {bound:.1f} s{last}")
    return WAIT


def _exit(probe: ProbeResult) -> str:
    text = "a timeout" if probe.exit_code == TIMED_OUT else f"code {probe.exit_code}"
    return f"{text}: {probe.output[:200]}" if probe.output else text


def holding(
    sight: Sight, probes: Sequence[ProbeResult], elapsed: float, timing: Timing, profile: RunProfile
) -> Decision:
    """Do further probes after the first success pass too? `probes` are those from the first success on."""
    if not sight.running:
        return _trouble(f"{ended(sight, profile)} after it had been healthy")
    streak = 0
    for probe in probes:
        streak = streak + 1 if probe.exit_code == 0 else 0
    if streak > profile.hold_probes:
        return DONE
    if sight.health == "unhealthy":
        return _trouble(f"it turned unhealthy again by itself: a probe exited with {_exit(probes[-1])}")
    if elapsed >= timing.hold_bound(profile.hold_probes):
        return _trouble(f"no {profile.hold_probes} further probes passed in a row within {elapsed:.1f} s")
    return WAIT


def turning_unhealthy(
    sight: Sight, probes: Sequence[ProbeResult], elapsed: float, timing: Timing, profile: RunProfile
) -> Decision:
    """Does the health-check see that the service has stopped? `probes` are those that ended since.

    The first of them may have begun before; after a few more that pass there is nothing to wait for.
    """
    if not sight.running:
        return _trouble(f"{ended(sight, profile)} while it was stopped")
    if sight.health == "unhealthy":
        return DONE
    passed = len(probes) > timing.retries + 2 and all(probe.exit_code == 0 for probe in probes)
    if passed or elapsed >= timing.flip_bound:
        return _trouble(f"the health-check went on passing for {elapsed:.1f} s while the service was stopped")
    return WAIT


def recovering(sight: Sight, elapsed: float, timing: Timing, profile: RunProfile) -> Decision:
    """Does the health-check see that the service goes on?"""
    if not sight.running:
        return _trouble(f"{ended(sight, profile)} when it was continued")
    if sight.health == "healthy":
        return DONE
    if elapsed >= timing.recovery_bound:
        return _trouble(f"not healthy again within {elapsed:.1f} s after the service went on")
    return WAIT


def deserves_patience(probes: Sequence[ProbeResult], declared: Timing, used: Timing) -> bool:
    """Did probes fail only by our shorter timeout, where the declared one might have let them pass?"""
    return used.timeout < declared.timeout and any(probe.exit_code == TIMED_OUT for probe in probes)
