"""A folder with packages of many languages, installed by pip, npm and from Debian's packages, kept in the user's cache.

1. What is installed is fixed by version; Debian's are those of the machine's release, unpacked without dpkg's database,
   so that they count as packages of their languages.
2. It is made once; a folder that was not made to its end is made anew.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = 2
PYTHON = ("requests==2.31.0", "setuptools==70.0.0", "Django==4.2.1", "py4j==0.10.9.7", "tabula-py==2.9.0")
NODE = ("express@4.17.1", "aliased@npm:lodash@4.17.20", "npm@9.6.0")
DEBIAN = (
    "ruby-rack", "rake", "libspring-core-java", "liblog4j2-java", "libnetty-java", "libjackson2-databind-java",
    "libguava-java", "libcommons-lang3-java", "libbcprov-java", "r-cran-jsonlite", "elixir",
)  # fmt: skip


def installed() -> Path:
    """The root folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "customhouse-tests"
    folder = base / f"ecosystems-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            root = folder / "root"
            shutil.rmtree(root, ignore_errors=True)
            _python(root / "usr/local/lib/python3/site-packages")
            _node(root / "srv/shop")
            _debian(root, folder)
            (folder / "done").touch()
    return folder / "root"


def _python(target: Path) -> None:
    target.mkdir(parents=True)
    _run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", str(target), *PYTHON)


def _node(target: Path) -> None:
    target.mkdir(parents=True)
    (target / "package.json").write_text('{"name": "shop", "version": "1.2.3"}')
    _run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", *NODE, cwd=target)


def _debian(root: Path, folder: Path) -> None:
    got = folder / "debs"
    shutil.rmtree(got, ignore_errors=True)
    got.mkdir()
    _run("apt-get", "download", "-q", *DEBIAN, cwd=got)
    for package in sorted(got.glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(root))
    shutil.rmtree(got)


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command[:4]}: {done.stderr[-1000:]}"
