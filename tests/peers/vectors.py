"""Comparisons of versions made with the native tools of each ecosystem: the test data of osv-scalibr (Apache-2.0),
taken from Go's module proxy into the user's cache and checked against Go's checksum database."""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

MODULE = "github.com/google/osv-scalibr@v0.4.2"
SECONDS = 300
SIGNS = {"<": -1, "=": 0, ">": 1}


def vectors(name: str) -> Iterator[tuple[str, int, str]]:
    """(version, -1 | 0 | 1, version) of every file about these, such as "maven"."""
    for path in sorted((_module() / "semantic" / "testdata").glob(f"{name}-versions*.txt")):
        for line in path.read_text().splitlines():
            parts = line.split()
            if len(parts) == 3 and parts[1] in SIGNS and not line.startswith(("#", "//")):
                yield parts[0], SIGNS[parts[1]], parts[2]


def _module() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "customhouse-tests" / "go-modules"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["go", "mod", "download", "-json", MODULE], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={**os.environ, "GOMODCACHE": str(base), "GOFLAGS": "", "GOWORK": "off"}, timeout=SECONDS, cwd=base,
        )  # fmt: skip
    assert done.returncode == 0, f"{MODULE} did not come: {done.stdout[-1000:]} {done.stderr[-1000:]}"
    return Path(json.loads(done.stdout)["Dir"])
