"""What it means to run an image for certification: what goes in, what comes out, and who can do it.

1. A `Runner` never raises for what the image, or the engine, did: it answers with a `RunRecord`.
2. `outcome` is "ran" (it started and stayed up), "failed" (the image's own fault: it did not) or
   "unavailable" (nothing was learnt: no engine, a foreign platform, an engine at fault). The last is
   never a pass; the checks answer not_evaluable.
3. A record is a value: frozen, and the same after a way through JSON.

Values only; engines are in files of their own. Times are seconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, BinaryIO, Literal, Protocol, Self

import msgspec

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest
from customhouse.oci.image import Image
from customhouse.sandbox.setup import Setup

Rung = Literal["read_only", "tmpfs", "writable", "capabilities", "network"]
RUNGS: tuple[Rung, ...] = ("read_only", "tmpfs", "writable", "capabilities", "network")

MIB = 1024 * 1024


class InvalidProfile(Invalid):
    """A run profile with an unknown name or a value out of its range."""


@dataclass(frozen=True)
class ImageLayer:
    """One layer as the manifest names it (`digest`, `stored_size`) and decompressed (`diff_id`, `size`).

    `size` is the number of bytes decompressed, where an earlier pass has counted them; without it
    the layer is read twice, because a tar names each size before the bytes.
    """

    digest: Digest
    stored_size: int
    diff_id: Digest
    size: int | None = None


@dataclass(frozen=True)
class ImageSource:
    """One platform's image to be run: the publisher's own bytes, read by digest.

    `submission` names the run: containers and images are found, and removed, by it. `config` is the
    config blob unchanged, so that the engine's image id is its sha256. `content` opens a blob. `beside` are the images
    of a setup's companions by name.
    """

    submission: str
    config: bytes
    layers: tuple[ImageLayer, ...]
    content: Callable[[Digest], BinaryIO]
    beside: Mapping[str, "ImageSource"] = field(default_factory=dict)

    @classmethod
    def of(cls, submission: str, image: Image, content: Callable[[Digest], BinaryIO]) -> Self:
        """From an examined image. Raises Invalid when its config and manifest disagree about the layers."""
        if len(image.layers) != len(image.config.diff_ids):
            raise Invalid(
                f"the config names {len(image.config.diff_ids)} layers, the manifest {len(image.layers)}",
                hint="Build the image again with a current tool and push it.",
            )
        layers = tuple(
            ImageLayer(scan.digest, scan.descriptor.size, diff_id, scan.size if scan.complete else None)
            for scan, diff_id in zip(image.layers, image.config.diff_ids, strict=True)
        )
        return cls(submission, image.config_raw, layers, content)


@dataclass(frozen=True)
class RunProfile:
    """How long, and under which limits, an image is run. The fields are the parameters a policy may set.

    `other_uid` is a user that no image knows, under which it is started once more (with group 0, as OpenShift does);
    0: it is not.
    """

    stay_up_seconds: float = 3.0
    budget_seconds: float = 120.0
    load_seconds: float = 300.0
    stop_grace_seconds: float = 10.0
    probe_interval_seconds: float = 0.5
    probe_timeout_seconds: float = 2.0
    start_allowance_seconds: float = 20.0
    hold_probes: int = 3
    memory_mib: int = 512
    cpus: float = 1.0
    pids: int = 128
    open_files: int = 1024
    file_mib: int = 256
    tmpfs_mib: int = 64
    disk_mib: int = 1024
    image_mib: int = 16 * 1024
    other_uid: int = 1_000_650_000
    rungs: tuple[Rung, ...] = RUNGS

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and value <= 0 and (one.name != "other_uid" or value < 0):
                raise InvalidProfile(f"run profile: {one.name} must be more than 0, not {value}")
        if not self.rungs or list(self.rungs) != [rung for rung in RUNGS if rung in self.rungs]:
            raise InvalidProfile(f"run profile: rungs must be some of {', '.join(RUNGS)}, in this order")
        if self.budget_seconds < self.stay_up_seconds + self.start_allowance_seconds:
            raise InvalidProfile("run profile: budget_seconds must hold stay_up_seconds and start_allowance_seconds")
        if self.memory_mib < 6:
            raise InvalidProfile("run profile: memory_mib must be 6 or more, engines refuse less")

    def to_json(self) -> dict[str, Any]:
        """The parameters by name, as `parse` takes them."""
        parameters = msgspec.to_builtins(self)
        assert isinstance(parameters, dict)
        return parameters

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> Self:
        """A profile from a policy's table; what is not named keeps its default. Raises InvalidProfile."""
        unknown = sorted(set(parameters) - {one.name for one in fields(cls)})
        if unknown:
            raise InvalidProfile(f"run profile: unknown parameter {', '.join(unknown)}")
        try:
            return msgspec.convert(dict(parameters), cls)
        except msgspec.ValidationError as error:
            raise InvalidProfile(f"run profile: {error}") from error


@dataclass(frozen=True)
class Attempt:
    """One container: the rung it was given and how it went. `trouble` is empty when it served."""

    rung: Rung
    trouble: str
    seconds: float
    exit_code: int | None = None
    oom_killed: bool = False
    engine_error: str = ""
    log_tail: str = ""


@dataclass(frozen=True)
class ProbeResult:
    """One run of the health-check, as the engine recorded it. Exit code -1 is a timeout."""

    started: str
    seconds: float
    exit_code: int
    output: str = ""


@dataclass(frozen=True)
class MutationRecord:
    """The service was stopped (SIGSTOP) and must turn unhealthy, then continued and must turn healthy.

    `reach` is "all" when every process of the container was stopped, "first" when only PID 1 was; `way` tells from
    where: this machine ("host"), the container's pid namespace ("namespace"), the engine's `kill` ("engine").
    `conclusive` is false when nothing follows from a health that did not flip, because only one of
    several processes could be stopped; `cut_short` is true when the budget was over before an answer.
    """

    reach: Literal["all", "first"]
    processes: int
    unhealthy: bool
    unhealthy_seconds: float
    recovered: bool = False
    recovery_seconds: float = 0.0
    conclusive: bool = True
    cut_short: bool = False
    trouble: str = ""
    way: Literal["host", "namespace", "engine"] = "host"


@dataclass(frozen=True)
class DeclaredRecord:
    """The start once more with the declared times unchanged, where their bound fits into the budget."""

    reached: bool
    seconds: float
    trouble: str = ""


@dataclass(frozen=True)
class HealthRecord:
    """What became of the declared health-check. None in a record when none is declared.

    `allowed_seconds` is what the image was given to become healthy, `declared_seconds` the longest
    its own declaration would take. `cut_short`: healthy was reached, and the budget was over before
    the health had been seen to hold.
    """

    test: tuple[str, ...]
    allowed_seconds: float
    declared_seconds: float
    reached: bool
    seconds: float
    held: bool = False
    cut_short: bool = False
    trouble: str = ""
    probes: tuple[ProbeResult, ...] = ()
    mutation: MutationRecord | None = None
    declared: DeclaredRecord | None = None


@dataclass(frozen=True)
class Process:
    """One process of a container: pid and parent as the runtime's machine counts, the letter of proc(5), argv."""

    pid: int
    parent: int
    state: str
    command: str


@dataclass(frozen=True)
class Surface:
    """What a container was seen to do while it served. None: that could not be seen.

    `ports` listen beyond loopback ("8080/tcp"); `written` are paths in the root filesystem, without tmpfs and volumes.
    """

    processes: tuple[Process, ...] | None = None
    ports: tuple[str, ...] | None = None
    written: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CommandResult:
    """A publisher's command test as it went: exit code -1 is a timeout. With `trouble` it could not be run."""

    name: str
    exit_code: int = 0
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    trouble: str = ""


@dataclass(frozen=True)
class StopRecord:
    """The way out: which signal, how long it took, and the exit code (137 = killed after the grace)."""

    signal: str
    grace_seconds: float
    seconds: float
    exit_code: int
    oom_killed: bool = False


@dataclass(frozen=True)
class RunRecord:
    """All that was learnt from running one platform's image. `reason` is empty when it ran and served.

    `rung` is the strictest one on which it ran; `log_tail` and `log_bytes` are of the container that gave the answer;
    `other_user` is the start under a user that the image does not know, None where there was none. `commands` are the
    publisher's tests inside, `companions` the images that stood beside it.
    """

    outcome: Literal["ran", "failed", "unavailable"]
    reason: str = ""
    engine: str = ""
    platform: str = ""
    rung: Rung | None = None
    seconds: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    health: HealthRecord | None = None
    stop: StopRecord | None = None
    log_tail: str = ""
    log_bytes: int = 0
    load_seconds: float = 0.0
    surface: Surface | None = None
    other_user: Attempt | None = None
    commands: tuple[CommandResult, ...] = ()
    companions: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Names, numbers and lists only, fit for `json.dumps`."""
        record = msgspec.to_builtins(self)
        assert isinstance(record, dict)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises Invalid for anything else."""
        try:
            return msgspec.convert(dict(record), cls)
        except msgspec.ValidationError as error:
            raise Invalid(f"not a run record: {error}") from error


class Runner(Protocol):
    """Something that can run an image away from everything else."""

    def run(self, image: ImageSource, profile: RunProfile, setup: Setup | None = None) -> RunRecord:
        """Run, prove and remove, with a publisher's `setup` if there is one. May be repeated for one submission;
        leaves nothing behind."""

    def cleanup(self, now: datetime | None = None) -> int:
        """Remove what killed runs left; returns how many containers and images went.

        With `now` only those whose time has passed, so that a neighbour's run goes on.
        """


@dataclass(frozen=True)
class AbsentEngine:
    """The runner of a hub that has no container engine: it says so, for every image."""

    reason: str = "no container engine is configured"

    def run(self, image: ImageSource, profile: RunProfile, setup: Setup | None = None) -> RunRecord:
        """Nothing is learnt."""
        return RunRecord(outcome="unavailable", reason=self.reason)

    def cleanup(self, now: datetime | None = None) -> int:
        """Nothing to remove."""
        return 0
