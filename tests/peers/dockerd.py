"""A private Docker engine for the tests: its own folders and socket, no bridge, stopped by process id.

`dockerd` is the fixture; a test package takes it with `from tests.peers.dockerd import dockerd`. `Dockerd.cli(home)`
gives the real docker client as one person: with a home, a configuration and credentials of its own.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

READY_SECONDS = 60


def find(program: str) -> str:
    """The path of a program; Debian keeps dockerd in /usr/sbin, which is not in everybody's PATH."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
    assert found, f"{program} is not installed: apt-get install docker.io"
    return found


@dataclass(frozen=True)
class DockerCLI:
    """The docker client of one person, at one engine. `settings` are further environment variables."""

    url: str
    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    program: str = "docker"
    prefix: Sequence[str] = ()

    def environment(self, **settings: str) -> dict[str, str]:
        """What the client sees: nothing of the caller's environment but PATH."""
        self.home.mkdir(parents=True, exist_ok=True)
        fixed = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.home),
            "DOCKER_CONFIG": str(self.home / ".docker"),
            "DOCKER_HOST": self.url,
        }
        return {**fixed, **self.settings, **settings}

    def __call__(
        self,
        *arguments: str | Path,
        stdin: str | None = None,
        check: bool = True,
        timeout: float = 120,
        **settings: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker ARGUMENTS`; with `check` a failure shows what the client said."""
        done = subprocess.run(
            [*self.prefix, find(self.program), *map(str, arguments)],
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True, text=True, timeout=timeout, env=self.environment(**settings),
        )  # fmt: skip
        said = f"docker {' '.join(map(str, arguments))} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert not check or done.returncode == 0, said
        return done


class Dockerd:
    """One running engine. `url` is for DOCKER_HOST and SDKs alike; `client` is the docker that belongs to it,
    `prefix` the machine that both are on."""

    def __init__(
        self, folder: Path, arguments: Sequence[str] = (), *,
        program: str = "dockerd", storage: str = "vfs", client: str = "docker", prefix: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.folder, self.client, self.prefix = folder, client, prefix
        self.url = f"unix://{folder / 'docker.sock'}"
        self.log = folder / "dockerd.log"
        command = [
            *prefix, find(program), "--iptables=false", "--ip6tables=false", "--bridge=none",
            "--storage-driver", storage, "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "dockerd.pid"), "-H", self.url, *arguments,
        ]  # fmt: skip
        if setpriv := shutil.which("setpriv"):
            # The engine ends with the tests, also when they are killed.
            command = [setpriv, "--pdeathsig", "TERM", *command]
        settings = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "HOME": str(folder)}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=settings, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def cli(self, home: Path, **settings: str) -> DockerCLI:
        """The docker client for the person who lives in `home`."""
        return DockerCLI(self.url, home, settings, self.client, self.prefix)

    def stop(self) -> None:
        """SIGTERM, and after a while SIGKILL; then unmount what it left under its folder."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=10)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            point = line.split()[1]
            if point.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", point], capture_output=True)

    def _wait(self) -> None:
        cli = self.cli(self.folder / "home")
        deadline = time.monotonic() + READY_SECONDS
        while cli("version", check=False).returncode != 0:
            assert self._process.poll() is None and time.monotonic() < deadline, (
                f"dockerd did not become ready:\n{self.log.read_text(errors='replace')[-4000:]}"
            )
            time.sleep(0.1)


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """An engine for the whole session. Mark what uses it with `needs("dockerd")`."""
    # A short path: the engine's sockets must fit into 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ch-dockerd-", dir="/tmp"))
    engine = Dockerd(folder)
    yield engine
    engine.stop()
    shutil.rmtree(folder, ignore_errors=True)
