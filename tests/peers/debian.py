"""Files of an image made of Debian packages: those of this machine, as dpkg installed them, with its own records."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from customhouse.testing.images import File, Node, Symlink

INFO = Path("/var/lib/dpkg/info")
ALWAYS = ("etc/os-release", "usr/lib/os-release", "etc/debian_version")
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
MOST_BYTES = 64 << 20


def installed(*wanted: str) -> dict[str, str]:
    """Version by name of those packages that are installed here; of all required ones if none is named."""
    fields = "${binary:Package}\t${Version}\t${db:Status-Abbrev}\t${Priority}\n"
    listed = subprocess.run(["dpkg-query", "-W", "-f", fields], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in listed.splitlines():
        name, version, state, priority = line.split("\t")
        if state.strip() == "ii" and (name.split(":")[0] in wanted if wanted else priority == "required"):
            found[name] = version
    return found


def packages(names: Iterable[str]) -> dict[str, Node]:
    """Their files, their lists of files, and the stanzas of their own in the status file."""
    files: dict[str, Node] = {name: Symlink(os.readlink(f"/{name}")) for name in MERGED if Path("/", name).is_symlink()}
    status = b""
    for name in names:
        shown = subprocess.run(["dpkg-query", "-s", name], capture_output=True, check=True)
        status += shown.stdout + b"\n"
        record = next(path for path in (INFO / f"{name}.list", INFO / f"{name.split(':')[0]}.list") if path.exists())
        files[str(record).lstrip("/")] = record.read_bytes()
        for line in record.read_text().splitlines():
            _add(line, files)
    for path in ALWAYS:
        _add(f"/{path}", files)
    files["var/lib/dpkg/status"] = status
    return files


def _add(path: str, files: dict[str, Node]) -> None:
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)).lstrip("/")
    if not real or real in files:
        return
    if os.path.islink(path):
        files[real] = Symlink(os.readlink(path))
    elif os.path.isfile(path) and os.path.getsize(path) < MOST_BYTES:
        files[real] = File(Path(path).read_bytes(), os.stat(path).st_mode & 0o7777)
