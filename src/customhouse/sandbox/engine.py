"""The Docker Engine API as a `Runtime` (runtime.py): values in, values out, the SDK's errors in our two kinds.

1. Everything a run makes carries its labels, or its name where an image cannot be labelled without changing its
   bytes: containers and networks `customhouse.submission`, images the repository customhouse-run/<hub>/<submission>.
2. No call here mounts anything or asks for privileges; the walls are in hardening.py.
3. A signal for all goes from this machine by pid where the engine is local and this process is root. Elsewhere it
   goes to PID 1 through the engine, and to the rest from within the container's own pid namespace, if the image has
   a `kill` or a shell; the engine's list of processes then says whether all have really stopped.
4. Podman speaks the same API (`podman system service`). Its health-checks need systemd, so they are driven from here;
   its internal networks keep an address of the machine, so none is used; its seccomp filter, which lets anybody make
   namespaces and mounts, is narrowed, and where that cannot be done (a remote Podman) nothing is run.

(Docker Engine API 1.41 and later, through the `docker` SDK's low-level client.)
"""

import json
import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig, Ulimit

from customhouse.sandbox.archive import docker_archive
from customhouse.sandbox.hardening import limits, mounted, narrowed, walls
from customhouse.sandbox.health import Sight, plain
from customhouse.sandbox.processes import (
    MOST_COMMAND,
    PORT_FILES,
    end_process,
    family,
    listening,
    members,
    read_ports,
    signal_family,
    written_paths,
)
from customhouse.sandbox.runner import ImageSource, Process, RunProfile
from customhouse.sandbox.runtime import (
    HUB,
    LOG_BYTES,
    LOG_LINES,
    MOST_OUTPUT,
    MOST_PROCESSES,
    SUBMISSION,
    UNTIL,
    ContainerSpec,
    EngineFacts,
    EngineFault,
    Executed,
    ImageRefused,
    Logs,
    Marks,
    Signalled,
    repository,
)

# "Internal" alone leaves the machine itself an address on the bridge, and with it every service that listens there.
NO_GATEWAY = {"com.docker.network.bridge.inhibit_ipv4": "true"}
PLAIN_RUNTIMES = frozenset({"runc", "crun", "youki", "io.containerd.runc.v2"})
MOST_MESSAGE = 2000
KILL_SECONDS = 5.0
RECEIVED = 64 * 1024
PODMAN_PROCESSES = 4096
PODMANS_FILTER = Path("/usr/share/containers/seccomp.json")
PODMANS_HOST = "localhost/"
PODMANS_PATHS = ("/etc/passwd", "/etc/group", "/run/.containerenv", "/run/secrets")

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i386": "386", "i686": "386"}
_ENGINES_OWN = re.compile(
    r"no space left on device|disk quota exceeded|cgroup|rlimit|containerd: |containerd is not|connection refused"
    r"|context deadline exceeded|context canceled|i/o timeout|shim|too many open files|cannot allocate memory"
    r"|resource temporarily unavailable|storage-driver|layer does not exist|input/output error|seccomp",
    re.IGNORECASE,
)


def is_engines_own(status: int, message: str, untrusted: Iterable[str] = ()) -> bool:
    """Is a refusal the engine's own trouble? In doubt it is the image's: an image must not be able to choose, so its
    own words (`untrusted`) are not read."""
    for word in sorted(set(untrusted), key=len, reverse=True):
        message = message.replace(word, " ") if len(word) > 3 else message
    return status >= 500 and bool(_ENGINES_OWN.search(message))


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
            parts = [str(part.get("Name")) for part in self._api.version().get("Components") or ()]
            used = runtime or str(self._api.info().get("DefaultRuntime", ""))
        self.podman = "Podman Engine" in parts
        # gVisor keeps all processes behind one of the machine's: to stop that one stops the probes too, and every check
        # would look real.
        self.plain = used in PLAIN_RUNTIMES
        self.local = url.startswith(("unix://", "/"))
        self._seccomp = _podmans_filter() if self.podman and self.local else None

    def close(self) -> None:
        self._api.close()
        if self._seccomp is not None:
            self._seccomp.unlink(missing_ok=True)

    def facts(self) -> EngineFacts:
        with _spoken():
            info = self._api.info()
        machine = str(info.get("Architecture", ""))
        options = [str(option) for option in info.get("SecurityOptions") or ()]
        kind = "podman" if self.podman else "docker"
        return EngineFacts(
            name=f"{kind} {info.get('ServerVersion', '?')} {self._runtime or info.get('DefaultRuntime', '?')}",
            os=str(info.get("OSType", "")),
            architecture=ARCHITECTURES.get(machine, machine),
            seccomp=any("seccomp" in option and "unconfined" not in option for option in options)
            and (not self.podman or self._seccomp is not None),
            networks=not self.podman and "bridge" in ((info.get("Plugins") or {}).get("Network") or ()),
            monitors=not self.podman,
        )

    def load(self, image: ImageSource, name: str, most_bytes: int) -> None:
        """`images/load` of a streamed archive; errors of the stream pass through."""
        with _spoken():
            sender = docker.APIClient(base_url=self._url, version=self._api.api_version, timeout=self._load_seconds)
            try:
                for line in sender.load_image(docker_archive(image, name, most_bytes)):
                    if "error" in line:
                        message = plain(str(line["error"]))[:MOST_MESSAGE]
                        if is_engines_own(500, message):
                            raise EngineFault(f"the container engine failed: {message}")
                        raise ImageRefused(f"the engine could not load the image: {message}")
            finally:
                sender.close()

    def network(self, marks: Marks) -> str:
        with _spoken():
            self._api.create_network(
                marks.network, driver="bridge", internal=True, options=NO_GATEWAY, labels=marks.labels
            )
        return marks.network

    def create(self, marks: Marks, spec: ContainerSpec) -> str:
        profile = spec.profile
        with _spoken(self._untrusted):
            host = self._api.create_host_config(
                **walls(profile, spec.rung, spec.tmpfs, spec.network, str(self._seccomp or "")),
                ulimits=[Ulimit(name=name, soft=most, hard=most) for name, most in self._limits(profile).items()],
                log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
                runtime=self._runtime or None,
            )
            wires = None
            if spec.network:
                alias = self._api.create_endpoint_config(aliases=[spec.alias or spec.name])
                wires = self._api.create_networking_config({spec.network: alias})
            made = self._api.create_container(
                image=spec.image,
                name=f"customhouse-{marks.hub}-{marks.submission}-{spec.name}",
                labels=marks.labels,
                host_config=host,
                networking_config=wires,
                network_disabled=not spec.network,
                healthcheck=spec.health.override() if spec.health else {"test": ["NONE"]},
                user=spec.user,
                entrypoint=None if spec.entrypoint is None else list(spec.entrypoint),
                command=None if spec.command is None else list(spec.command),
                environment=dict(spec.environment) or None,
            )
        return str(made["Id"])

    def _limits(self, profile: RunProfile) -> dict[str, int]:
        """Podman would raise the number of processes of a user, which not every machine lets it; pids_limit counts."""
        return {**limits(profile), **({"nproc": PODMAN_PROCESSES} if self.podman else {})}

    def start(self, container: str) -> None:
        with _spoken(self._untrusted):
            self._api.start(container)

    def look(self, container: str) -> Sight:
        with _spoken():
            return Sight.parse(self._api.inspect_container(container)["State"])

    def execute(
        self, container: str, argv: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None
    ) -> Executed:
        began = time.monotonic()
        kept = {1: bytearray(), 2: bytearray()}
        with _spoken((*self._untrusted, *argv)):
            made = self._api.exec_create(container, list(argv), environment=dict(environment or {}) or None)["Id"]
            in_time = True
            stream = self._api.exec_start(made, socket=True)
            try:
                for number, piece in _frames(getattr(stream, "_sock", stream), began + seconds):
                    if number in kept:
                        kept[number] += piece[: MOST_OUTPUT - len(kept[number])]
            except TimeoutError:
                in_time = False
            finally:
                stream.close()
            state = self._api.exec_inspect(made)
            if state.get("Running"):
                in_time = False
                if self.local and state.get("Pid"):
                    end_process(container, int(state["Pid"]))
        code = state.get("ExitCode")
        return Executed(
            exit_code=int(code) if in_time and code is not None else -1,
            stdout=plain(kept[1].decode("utf-8", "replace")),
            stderr=plain(kept[2].decode("utf-8", "replace")),
            seconds=round(time.monotonic() - began, 3),
        )

    def processes(self, container: str) -> tuple[Process, ...]:
        if not self.plain:
            raise EngineFault("this runtime does not show the processes of its containers")
        if self.podman and self.local:  # its `top` counts as the container does, and takes no columns of ps
            found = members(container, MOST_PROCESSES)
            return tuple(Process(pid, parent, state, plain(command)) for pid, parent, state, command in found)
        with _spoken():
            top = self._api.top(container, ps_args="-eo pid,ppid,stat,args")
        return tuple(
            Process(int(line[0]), int(line[1]), line[2][:1], plain(line[3])[:MOST_COMMAND])
            for line in (top.get("Processes") or ())[:MOST_PROCESSES]
        )

    def signal_all(self, container: str, number: signal.Signals) -> Signalled:
        first = self.look(container).pid
        if self.local and self.plain and os.geteuid() == 0 and first:
            with suppress(ImageRefused, EngineFault):
                reached = signal_family(container, first, lambda: self._parents(container), number)
                if reached is not None:
                    return Signalled("all", reached, "host")
        with suppress(ImageRefused), _spoken():  # refused: it has just ended; the next look says so
            self._api.kill(container, number.name)
        try:
            before = family(first, self._parents(container))
            if len(before) == 1:
                return Signalled("all", 1, "engine")
            self._signal_within(container, number)
            states = {process.pid: process.state for process in self.processes(container)}
        except (ImageRefused, EngineFault):
            return Signalled("first", 0, "engine")  # an engine without `ps`: nobody can say how many there are
        stopped = all(states.get(pid, "Z") in "TZ" for pid in family(first, self._parents(container)))
        if number is signal.SIGSTOP and not stopped:
            return Signalled("first", len(before), "engine")
        return Signalled("all", len(before), "namespace")

    def _parents(self, container: str) -> list[tuple[int, int]]:
        return [(process.pid, process.parent) for process in self.processes(container)]

    def _signal_within(self, container: str, number: signal.Signals) -> None:
        """`kill` of all pids but PID 1, which a namespace shields from its own members."""
        word = f"-{number.name.removeprefix('SIG')}"
        for argv in (("kill", word, "-1"), ("/bin/sh", "-c", f"kill {word} -1")):
            with suppress(ImageRefused):
                if self.execute(container, argv, seconds=KILL_SECONDS).exit_code == 0:
                    return

    def ports(self, container: str) -> tuple[str, ...] | None:
        first = self.look(container).pid
        seen = listening(container, first) if self.local and self.plain and first else None
        if seen is None:
            with suppress(ImageRefused):
                done = self.execute(container, ("cat", *PORT_FILES), seconds=KILL_SECONDS)
                seen = read_ports(done.stdout) if done.exit_code == 0 else None
        return seen

    def changes(self, container: str) -> tuple[str, ...] | None:
        with _spoken():
            written = [str(change["Path"]) for change in self._api.diff(container) or ()]
            state = self._api.inspect_container(container)
        own = PODMANS_PATHS if self.podman else ()
        return written_paths(written, (*mounted(state), *own))

    def disk(self, container: str) -> int | None:
        with _spoken():
            for found in self._api.containers(all=True, size=True, filters={"id": container}):
                return int(found.get("SizeRw") or 0)
        return None

    def stop(self, container: str, grace: float) -> None:
        with _spoken():
            self._api.stop(container, timeout=max(round(grace), 1))

    def logs(self, container: str) -> Logs:
        try:
            with _spoken():
                # The engine keeps one megabyte of it (log_config above).
                raw: bytes = self._api.logs(container, stdout=True, stderr=True)
        except ImageRefused:
            return Logs(0, "")
        lines = raw[-LOG_BYTES:].splitlines()[-LOG_LINES:]
        return Logs(len(raw), plain(b"\n".join(lines).decode("utf-8", "replace")))

    def remove(self, hub: str, submission: str | None, over: Callable[[int], bool]) -> int:
        labels = [f"{HUB}={hub}"] + ([] if submission is None else [f"{SUBMISSION}={submission}"])
        prefix = repository(hub) if submission is None else repository(hub, submission)
        removed = 0
        with _spoken():
            for found in self._api.containers(all=True, filters={"label": labels}):
                if over(_number((found.get("Labels") or {}).get(UNTIL))):
                    removed += _gone(partial(self._api.remove_container, found["Id"], v=True, force=True))
            for found in self._api.networks(filters={"label": labels}):
                if over(_number((found.get("Labels") or {}).get(UNTIL))):
                    removed += _gone(partial(self._api.remove_network, found["Id"]))
            for found in self._api.images():
                for name in found.get("RepoTags") or ():
                    path, _, tag = name.removeprefix(PODMANS_HOST).rpartition(":")
                    ours = path.startswith(prefix) if submission is None else f"{path}/".startswith(f"{prefix}/")
                    if ours and over(_number(tag)):
                        removed += _gone(partial(self._api.remove_image, name))
        return removed


def _podmans_filter() -> Path | None:
    """Podman's seccomp profile of this machine, narrowed, as a file that it can read. None: there is none."""
    try:
        profile = narrowed(json.loads(PODMANS_FILTER.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    handle, name = tempfile.mkstemp(prefix="customhouse-seccomp-", suffix=".json")
    with os.fdopen(handle, "w") as file:
        json.dump(profile, file)
    return Path(name)


def _frames(connection: socket.socket, until: float) -> Iterator[tuple[int, bytes]]:
    """(stream, bytes) of what an attached program writes. Raises TimeoutError at `until`, however much is written.

    (Engine API, "Attach to a container": a header of eight bytes, the first the stream, the last four the length.)
    """
    head, number, left = b"", 0, 0
    while True:
        time_left = until - time.monotonic()
        if time_left <= 0:
            raise TimeoutError
        connection.settimeout(time_left)
        data = connection.recv(RECEIVED)
        if not data:
            return
        while data:
            if left:
                yield number, data[:left]
                data, left = data[left:], max(left - len(data), 0)
            else:
                missing = 8 - len(head)
                head, data = head + data[:missing], data[missing:]
                if len(head) == 8:
                    number, left, head = head[0], int.from_bytes(head[4:], "big"), b""


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
