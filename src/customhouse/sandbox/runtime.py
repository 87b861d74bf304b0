"""What a container runtime must give so that images can be examined in it: the seam between proof and engines.

1. A `Runtime` is one connection for one run: values in, values out. The order of a run, the ladder and every
   conclusion are elsewhere (container_runner.py, trial.py, health.py); a new runtime writes this protocol and nothing
   else, and a `ContainerRunner` that opens it.
2. Two kinds of trouble. `EngineFault`: nothing is known about the image (no engine, broken connection, engine out of
   room). `ImageRefused`: the engine works and says that this image cannot be loaded, created or started; its words
   are evidence. In doubt it is the image's: an image must not be able to choose.
3. The walls are hardening.py's: a runtime puts every one of them up, or raises EngineFault. It never mounts anything
   of the host, and never asks for privileges.
4. All that a run makes can be found again by its `Marks`, also by another process after this one was killed.
5. A runtime whose facts say `monitors=False` runs no health-checks by itself; monitor.py then drives the declared
   probe through `execute`, by the engine's rules.
6. Everything that comes from inside a container is bounded here (output, lists) and made safe to print.

Values and the protocol only. Times are seconds.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from customhouse.errors import CustomhouseError
from customhouse.sandbox.health import Sight, Timing
from customhouse.sandbox.runner import ImageSource, Process, Rung, RunProfile

SUBMISSION = "customhouse.submission"
HUB = "customhouse.hub"
UNTIL = "customhouse.until"
REPOSITORY = "customhouse-run"
MOST_PROCESSES = 200
MOST_CHANGES = 200
MOST_OUTPUT = 64 * 1024
LOG_LINES = 50
LOG_BYTES = 8 * 1024


class EngineFault(CustomhouseError):
    """The engine could not do its part; nothing follows for the image."""


class ImageRefused(CustomhouseError):
    """The engine works and says that this image does not."""


@dataclass(frozen=True)
class EngineFacts:
    """What a runtime says of itself. `networks`: can it make a network without a way out? `monitors`: does it run
    health-checks by itself?"""

    name: str
    os: str
    architecture: str
    seccomp: bool
    networks: bool = False
    monitors: bool = True

    def runs(self, os: str, architecture: str) -> bool:
        """Is this platform the engine's own? Emulated platforms are not counted: they prove little."""
        return (os, architecture) == (self.os, self.architecture)


@dataclass(frozen=True)
class Marks:
    """The names and labels of one run."""

    hub: str
    submission: str
    until: datetime

    @property
    def image(self) -> str:
        """repository:tag of the loaded image; the tag is the time after which it is a leftover."""
        return f"{repository(self.hub, self.submission)}:{int(self.until.timestamp())}"

    def companion(self, name: str) -> str:
        """The same for a companion's image."""
        return f"{repository(self.hub, self.submission)}/{name}:{int(self.until.timestamp())}"

    @property
    def network(self) -> str:
        """The name of the run's internal network."""
        return f"customhouse-{self.hub}-{self.submission}"

    @property
    def labels(self) -> dict[str, str]:
        return {SUBMISSION: self.submission, HUB: self.hub, UNTIL: str(int(self.until.timestamp()))}


def repository(hub: str, submission: str = "") -> str:
    """Where images of a hub, or of one of its submissions, are listed in the engine."""
    return f"{REPOSITORY}/{hub}/{submission}"


@dataclass(frozen=True)
class ContainerSpec:
    """One container to be made. `name` is its part of the container's name, `image` the name it was loaded under.

    `health` are the times for the declared probe, None: nothing is probed. `user`, `entrypoint` and `command` replace
    the image's where they are not None; `environment` is added to the image's. `tmpfs` comes on top of the rung's.
    `network` is the run's internal network or "" for none; `alias` is how others on it call this container.
    """

    name: str
    image: str
    rung: Rung
    profile: RunProfile
    health: Timing | None = None
    user: str | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ()
    network: str = ""
    alias: str = ""


@dataclass(frozen=True)
class Executed:
    """One program run inside a container. Exit code -1: it did not end in time and was killed, or let go."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Logs:
    """What the container wrote to stdout and stderr: how many bytes (of those kept), and the end, safe to print."""

    size: int
    tail: str


@dataclass(frozen=True)
class Signalled:
    """Who got a signal: every process of the container, or its first only. `way` tells how: from the machine, from
    within the container's own pid namespace, or by the engine's `kill`."""

    reach: Literal["all", "first"]
    processes: int
    way: Literal["host", "namespace", "engine"]


class Runtime(Protocol):
    """One connection to a container runtime. Any method may raise EngineFault."""

    def facts(self) -> EngineFacts:
        """What it is and can do."""

    def load(self, image: ImageSource, name: str, most_bytes: int) -> None:
        """Take an image in under this name. Raises DamagedImage, UnreadableImage, ImageRefused."""

    def network(self, marks: Marks) -> str:
        """Make the run's internal network, from which nothing outside can be reached; its name."""

    def create(self, marks: Marks, spec: ContainerSpec) -> str:
        """A container behind its walls, not started; its id. Raises ImageRefused."""

    def start(self, container: str) -> None:
        """Raises ImageRefused."""

    def look(self, container: str) -> Sight:
        """The state now: running, exit code, killed for memory, health where the runtime monitors it."""

    def execute(
        self, container: str, argv: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None
    ) -> Executed:
        """Run a program inside, as the container's user in its folder. Raises ImageRefused if it cannot start."""

    def processes(self, container: str) -> tuple[Process, ...]:
        """Every process, as the runtime's machine counts them."""

    def signal_all(self, container: str, number: signal.Signals) -> Signalled:
        """A signal to the first process and all that descend from it; not to what `execute` placed beside them."""

    def ports(self, container: str) -> tuple[str, ...] | None:
        """Where it listens beyond loopback: "8080/tcp". None: cannot be seen."""

    def changes(self, container: str) -> tuple[str, ...] | None:
        """Paths written in the root filesystem since the start, without tmpfs and volumes. None: cannot be seen."""

    def disk(self, container: str) -> int | None:
        """Bytes written to the root filesystem. None: cannot be seen."""

    def stop(self, container: str, grace: float) -> None:
        """The image's StopSignal, and after the grace SIGKILL; returns when it has ended."""

    def logs(self, container: str) -> Logs:
        """What it wrote."""

    def remove(self, hub: str, submission: str | None, over: Callable[[int], bool]) -> int:
        """Kill and remove the containers, volumes, networks and images of this hub (of one submission), whose time is
        `over`; how many went."""

    def close(self) -> None:
        """Let the connection go."""


def in_time(now: datetime | None) -> Callable[[int], bool]:
    """Which leftovers are over: all of them, or those whose time has passed at `now`."""
    if now is None:
        return lambda until: True
    at = now.astimezone(UTC).timestamp()
    return lambda until: until < at
