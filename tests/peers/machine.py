"""A machine inside this one: a network with an address that is not loopback, and an /etc of its own, so that names,
certificate folders and docker's checks are as they are between real machines. It is gone with its last process.
"""

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

ADDRESS = "192.0.2.1"  # for documentation only (RFC 5737): nobody's
UP = 'ip link set lo up && ip addr add "$1/32" dev lo && mount --bind "$2" /etc && exec sleep infinity'


class Machine:
    """`prefix` puts a command on it. Needs root, as dockerd does."""

    def __init__(self, folder: Path, *names: str) -> None:
        """Each of these names is the machine itself."""
        self.etc = folder / "etc"
        shutil.copytree("/etc", self.etc, symlinks=True)
        with (self.etc / "hosts").open("a") as hosts:
            hosts.write(f"\n{ADDRESS} {' '.join(names)}\n")
        shutil.rmtree(self.etc / "docker", ignore_errors=True)
        end = ["setpriv", "--pdeathsig", "KILL"]
        start = [*end, "unshare", "--net", "--mount", "sh", "-ec", UP, "sh", ADDRESS, self.etc]
        self._process = subprocess.Popen(start, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.prefix: Sequence[str] = ("nsenter", "--target", str(self._process.pid), "--net", "--mount", "--")
        deadline = time.monotonic() + 20
        while Path(f"/proc/{self._process.pid}/comm").read_text() != "sleep\n":
            assert self._process.poll() is None and time.monotonic() < deadline, self._process.communicate()
            time.sleep(0.02)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)
