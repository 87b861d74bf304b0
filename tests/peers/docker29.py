"""Docker 29, built from the Go module proxy: the first line whose client knows nothing of content trust, and whose
engine keeps images in containerd's store.

1. Debian has no Docker 29. `client()` and `engine()` build it once into the user's cache: six minutes on two cores,
   nothing at all the next time. Modules are checked against Go's checksum database.
2. The engine runs on Debian's containerd and runc, with a store that copies instead of overlaying: it works wherever
   the tests do.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.peers.dockerd import Dockerd, find

GO = "1.26"
CLIENT = "29.8.2"
ENGINE, ENGINE_MODULE = "29.8.1", "v2.0.0-beta.24"  # the module of that line; it says of itself only that it is one
BUILD_SECONDS = 1500
# A first build may fall to any test that uses the fixture.
patient = pytest.mark.timeout(2 * BUILD_SECONDS + 300)


def client() -> Path:
    """The docker client. Its module has its requirements in vendor.mod, so it is built as a module of its own."""
    target = _cache() / f"docker-{CLIENT}"
    with _building(target) as folder:
        if folder is None:
            return target
        named = _go(folder, "mod", "download", "-json", f"github.com/docker/cli@v{CLIENT}+incompatible")
        source = folder / "cli"
        shutil.copytree(json.loads(named)["Dir"], source, ignore=shutil.ignore_patterns("vendor"))
        for path in (source, *source.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        for name in ("mod", "sum"):
            (source / f"vendor.{name}").rename(source / f"go.{name}")
        stamp = f"-X github.com/docker/cli/cli/version.Version={CLIENT}"
        _go(source, "build", "-trimpath", "-ldflags", f"-w {stamp}", "-o", str(folder / target.name), "./cmd/docker")
        (folder / target.name).replace(target)
    return target


def engine() -> Path:
    """dockerd."""
    target = _cache() / f"dockerd-{ENGINE_MODULE}"
    with _building(target) as folder:
        if folder is None:
            return target
        stamp = f"-X github.com/moby/moby/v2/dockerversion.Version={ENGINE}"
        package = f"github.com/moby/moby/v2/cmd/dockerd@{ENGINE_MODULE}"
        _go(folder, "install", "-trimpath", "-ldflags", f"-w {stamp}", package, GOBIN=str(folder))
        (folder / "dockerd").replace(target)
    return target


class _building:
    """A folder to build in, or None if it is built; of several that want it one builds."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> Path | None:
        self._lock = self._target.with_name(f"{self._target.name}.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if self._target.exists():
            return None
        self._folder = Path(tempfile.mkdtemp(prefix="build-", dir=self._target.parent))
        return self._folder

    def __exit__(self, *raised: object) -> None:
        if folder := getattr(self, "_folder", None):
            shutil.rmtree(folder, ignore_errors=True)
        self._lock.close()


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "customhouse-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _go(folder: Path, *words: str, **settings: str) -> str:
    environment: Mapping[str, str] = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", **settings}
    done = subprocess.run(
        ["go", *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=BUILD_SECONDS,
    )  # fmt: skip
    said = f"go {' '.join(words)} (Go {GO} or newer is needed) -> {done.returncode}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, said
    return done.stdout


@pytest.fixture(scope="session")
def dockerd29() -> Iterator[Dockerd]:
    """A Docker 29 engine for the whole session. Mark what uses it with `needs("go", "dockerd")` and `patient`."""
    program = engine()
    folder = Path(tempfile.mkdtemp(prefix="ch-dockerd29-", dir="/tmp"))
    running = Dockerd(folder, program=str(program), storage="native", client=str(client()))
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    print(client(), engine(), find("containerd"), sep="\n")
