"""Programs that come as Go modules, built once into the user's cache: crane, oras, and the OCI conformance suite."""

import fcntl
import os
import subprocess
from pathlib import Path

MODULES = {
    "crane": "github.com/google/go-containerregistry/cmd/crane@v0.20.2",
    "oras": "oras.land/oras/cmd/oras@v1.2.3",
    # The suite has no tags of its own: this is its newest state on the module proxy, of 2026-08-31.
    "conformance": "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111",
}
BUILD_SECONDS = 600


def go_tool(name: str) -> Path:
    """The program; a minute on two cores the first time. Modules are checked against Go's checksum database."""
    module, _, version = MODULES[name].rpartition("@")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "customhouse-tests" / f"{name}-{version}"
    base.mkdir(parents=True, exist_ok=True)
    program = base / name
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            environment = {**os.environ, "GOBIN": str(base), "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
            done = subprocess.run(
                ["go", "install", "-trimpath", f"{module}@{version}"], env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=BUILD_SECONDS,
            )  # fmt: skip
            assert done.returncode == 0, f"{name} was not built: {done.stderr[-2000:]}"
    return program
