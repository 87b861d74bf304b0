"""A private Podman with its own folders, speaking Docker's API on a socket of its own; stopped by process id."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_SECONDS = 30


@dataclass(frozen=True)
class Podman:
    """One running service."""

    folder: Path

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 'podman.sock'}"


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """A service for the whole session. Mark what uses it with `needs("podman", "runc")`."""
    made = Podman(Path(tempfile.mkdtemp(prefix="ch-podman-", dir="/tmp")))
    command = [
        "podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
        "--storage-driver", "vfs", "--root", f"{made.folder}/root", "--runroot", f"{made.folder}/run",
        "--tmpdir", f"{made.folder}/tmp", "system", "service", "--time", "0", made.url,
    ]  # fmt: skip
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "TERM", *command]
    with (made.folder / "log").open("wb") as log:
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not (made.folder / "podman.sock").exists():
            assert running.poll() is None and time.monotonic() < deadline, (made.folder / "log").read_text()
            time.sleep(0.1)
        yield made
    finally:
        running.terminate()
        running.wait(timeout=20)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (point := line.split()[1]).startswith(f"{made.folder}/"):
                subprocess.run(["umount", "-l", point], capture_output=True)
        shutil.rmtree(made.folder, ignore_errors=True)
