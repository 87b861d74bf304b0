"""The Docker Engine API in the sandbox's own words: values in, values out, two kinds of trouble.

1. `EngineFault`: nothing is known about the image (no engine, broken connection, engine out of room or at fault).
   `ImageRefused`: the engine says that this image cannot be loaded, created or started; its words are evidence.
2. Everything a run makes carries its labels, or its name where an image cannot be labelled without changing its
   bytes: containers `customhouse.submission`, images the repository customhouse-run/<hub>/<submission>.
3. No call here mounts anything or asks for privileges; the walls are in hardening.py.

(Docker Engine API 1.41 and later, through the `docker` SDK's low-level client.)
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig, Ulimit

from customhouse.errors import CustomhouseError
from customhouse.oci.config import ImageConfig
from customhouse.sandbox.hardening import limits, walls
from customhouse.sandbox.health import Sight, Timing, plain
from customhouse.sandbox.runner import Rung, RunProfile

SUBMISSION = "customhouse.submission"
HUB = "customhouse.hub"
UNTIL = "customhouse.until"
REPOSITORY = "customhouse-run"
LOG_LINES = 50
LOG_BYTES = 8 * 1024
MOST_MESSAGE = 2000

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i386": "386", "i686": "386"}
_ENGINES_OWN = re.compile(
    r"no space left on device|disk quota exceeded|cgroup|rlimit|containerd: |containerd is not|connection refused"
    r"|context deadline exceeded|context canceled|i/o timeout|shim|too many open files|cannot allocate memory"
    r"|resource temporarily unavailable|storage-driver|layer does not exist|input/output error|seccomp",
    re.IGNORECASE,
)


class EngineFault(CustomhouseError):
    """The engine could not do its part; nothing follows for the image."""


class ImageRefused(CustomhouseError):
    """The engine works and says that this image does not."""


@dataclass(frozen=True)
class EngineFacts:
    """What an engine says of itself."""

    name: str
    os: str
    architecture: str
    seccomp: bool

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

    @property
    def labels(self) -> dict[str, str]:
        return {SUBMISSION: self.submission, HUB: self.hub, UNTIL: str(int(self.until.timestamp()))}


def repository(hub: str, submission: str = "") -> str:
    """Where images of a hub, or of one of its submissions, are listed in the engine."""
    return f"{REPOSITORY}/{hub}/{submission}"


def is_engines_own(status: int, message: str, untrusted: Iterable[str] = ()) -> bool:
    """Is a refusal the engine's own trouble? In doubt it is the image's: an image must not be able to choose, so its
    own words (`untrusted`) are not read."""
    for word in sorted(set(untrusted), key=len, reverse=True):
        message = message.replace(word, " ") if len(word) > 3 else message
    return status >= 500 and bool(_ENGINES_OWN.search(message))


def words_of(config: ImageConfig) -> frozenset[str]:
    """What of a config an engine may quote in its errors."""
    return frozenset((*config.argv, *config.env, *config.volumes, config.user, config.workdir, config.stop_signal))


@contextmanager
def _spoken(untrusted: Iterable[str] = ()) -> Iterator[None]:
    """The SDK's errors in our two kinds."""
    try:
        yield
    except NotFound as error:
        raise EngineFault(f"what the run had made went away under it: {plain(str(error.explanation))}") from error
    except APIError as error:
        message = plain(str(error.explanation or error))[:MOST_MESSAGE]
        status = error.response.status_code if error.response is not None else 500
        if is_engines_own(status, message, untrusted):
            raise EngineFault(f"the container engine failed: {message}") from error
        raise ImageRefused(message) from error
    except (DockerException, requests.RequestException) as error:
        raise EngineFault(f"the container engine does not answer: {plain(str(error))[:300]}") from error


class Engine:
    """One connection. Close it; it is cheap to make."""

    def __init__(
        self, url: str, *, runtime: str = "", load_seconds: float = 300.0, untrusted: frozenset[str] = frozenset()
    ) -> None:
        """`untrusted` are the image's own words, which are not taken for the engine's."""
        self._url = url
        self._untrusted = untrusted
        self._runtime = runtime
        self._load_seconds = load_seconds
        with _spoken():
            self._api: Any = docker.APIClient(base_url=url, version="auto", timeout=60)
        self.local = url.startswith(("unix://", "/"))

    def close(self) -> None:
        self._api.close()

    def facts(self) -> EngineFacts:
        with _spoken():
            info = self._api.info()
        machine = str(info.get("Architecture", ""))
        options = [str(option) for option in info.get("SecurityOptions") or ()]
        return EngineFacts(
            name=f"docker {info.get('ServerVersion', '?')} {self._runtime or info.get('DefaultRuntime', '?')}",
            os=str(info.get("OSType", "")),
            architecture=ARCHITECTURES.get(machine, machine),
            seccomp=any("seccomp" in option and "unconfined" not in option for option in options),
        )

    def load(self, archive: Iterable[bytes]) -> None:
        """`images/load` of a streamed archive; errors of the stream pass through."""
        with _spoken():
            sender = docker.APIClient(base_url=self._url, version=self._api.api_version, timeout=self._load_seconds)
            try:
                for line in sender.load_image(archive):
                    if "error" in line:
                        message = plain(str(line["error"]))[:MOST_MESSAGE]
                        if is_engines_own(500, message):
                            raise EngineFault(f"the container engine failed: {message}")
                        raise ImageRefused(f"the engine could not load the image: {message}")
            finally:
                sender.close()

    def create(
        self, marks: Marks, number: int, rung: Rung, profile: RunProfile, health: Timing | None
    ) -> str:
        """A container of the loaded image behind its walls, not started; its id."""
        with _spoken(self._untrusted):
            host = self._api.create_host_config(
                **walls(profile, rung),
                ulimits=[Ulimit(name=name, soft=most, hard=most) for name, most in limits(profile).items()],
                log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
                runtime=self._runtime or None,
            )
            made = self._api.create_container(
                image=marks.image,
                name=f"customhouse-{marks.hub}-{marks.submission}-{number}",
                labels=marks.labels,
                host_config=host,
                network_disabled=True,
                healthcheck=health.override() if health else None,
            )
        return str(made["Id"])

    def start(self, container: str) -> None:
        with _spoken(self._untrusted):
            self._api.start(container)

    def look(self, container: str) -> Sight:
        """The state now."""
        with _spoken():
            return Sight.parse(self._api.inspect_container(container)["State"])

    def processes(self, container: str) -> list[tuple[int, int]]:
        """(pid, parent) of every process, as the engine's machine counts them."""
        with _spoken():
            top = self._api.top(container, ps_args="-eo pid,ppid")
        return [(int(line[0]), int(line[1])) for line in top.get("Processes") or ()]

    def signal(self, container: str, name: str) -> None:
        """A signal to PID 1."""
        with _spoken():
            self._api.kill(container, name)

    def stop(self, container: str, grace: float) -> None:
        """The image's StopSignal, and after the grace SIGKILL; returns when it has ended."""
        with _spoken():
            self._api.stop(container, timeout=max(round(grace), 1))

    def log_tail(self, container: str) -> str:
        """The last lines of stdout and stderr, made safe to print."""
        try:
            with _spoken():
                raw: bytes = self._api.logs(container, stdout=True, stderr=True, tail=LOG_LINES)
        except ImageRefused:
            return ""
        return plain(raw[-LOG_BYTES:].decode("utf-8", "replace"))

    def remove_containers(self, wanted: Mapping[str, str], over: Callable[[int], bool]) -> int:
        """Kill and remove the containers with these labels whose time is `over`, their volumes too."""
        removed = 0
        with _spoken():
            labels = [f"{name}={value}" for name, value in wanted.items()]
            for found in self._api.containers(all=True, filters={"label": labels}):
                if over(_number((found.get("Labels") or {}).get(UNTIL))):
                    removed += _gone(partial(self._api.remove_container, found["Id"], v=True, force=True))
        return removed

    def remove_images(self, prefix: str, over: Callable[[int], bool]) -> int:
        """Remove the names under `prefix`; the engine drops an image with its last name."""
        removed = 0
        with _spoken():
            for found in self._api.images():
                for name in found.get("RepoTags") or ():
                    if name.startswith(prefix) and over(_number(name.rpartition(":")[2])):
                        removed += _gone(partial(self._api.remove_image, name))
        return removed


def _gone(remove: Callable[[], object]) -> int:
    """1 when it was ours to remove, 0 when somebody else was faster."""
    try:
        remove()
    except NotFound:
        return 0
    except APIError as error:
        if "already in progress" in str(error):
            return 0
        raise
    return 1


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isdigit() else 0


def in_time(now: datetime | None) -> Callable[[int], bool]:
    """Which leftovers are over: all of them, or those whose time has passed at `now`."""
    if now is None:
        return lambda until: True
    at = now.astimezone(UTC).timestamp()
    return lambda until: until < at
