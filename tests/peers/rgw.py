"""A private S3 for the tests: Ceph's own gateway over one monitor and one disk, on free loopback ports.

It starts in some 16 s, so one serves a whole run; `bucket()` makes an empty bucket, of which each test takes its own.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
import urllib3
from obstore.store import S3Store

KEY, SECRET = "testkey", "testsecret123"
START_SECONDS = 60
_CONFIG = """
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{ports[1]}]
auth cluster required = none
auth service required = none
auth client required = none
public network = 127.0.0.0/8
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd memory target = 939524096
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
ms bind port min = {ports[2]}
ms bind port max = {last}
run dir = {folder}/run
log file = {folder}/$name.log
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd0
osd objectstore = bluestore
osd class update on start = false
osd crush update on start = false
bluestore block size = 10737418240
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{ports[0]}
rgw data = {folder}/rgw
"""


@dataclass(frozen=True)
class Bucket:
    """One bucket and how to reach it."""

    endpoint: str
    name: str

    def store(self, prefix: str | None = None) -> S3Store:
        """A client of the test's own, beside that of the hub."""
        return S3Store(
            self.name, prefix=prefix, endpoint=self.endpoint, access_key_id=KEY, secret_access_key=SECRET,
            region="us-east-1", client_options={"allow_http": True}, virtual_hosted_style_request=False,
        )

    def objects(self) -> list[str]:
        """The names of all objects in it."""
        return sorted(meta["path"] for part in obstore.list(self.store()) for meta in part)

    def settings(self, prefix: str = "hub") -> dict[str, str]:
        """What a hub is told, as its settings have it."""
        return {
            "blobs": f"s3://{self.name}/{prefix}", "s3_endpoint": self.endpoint, "s3_access_key": KEY,
            "s3_secret_key": SECRET,
        }  # fmt: skip


class Rgw:
    """One running gateway; `endpoint` is where it listens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("run", "mon", "osd0", "rgw"):
            (folder / name).mkdir(parents=True)
        ports = _free_ports(10)
        self.endpoint = f"http://127.0.0.1:{ports[0]}"
        fsid, disk = str(uuid.uuid4()), str(uuid.uuid4())
        self._config = folder / "ceph.conf"
        self._config.write_text(_CONFIG.format(fsid=fsid, ports=ports, last=ports[-1], folder=folder))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._do("monmaptool", "--create", "--clobber", "--addv", "a", f"[v1:127.0.0.1:{ports[1]}]",
                     "--fsid", fsid, str(folder / "monmap"), configured=False)
            self._do("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(folder / "monmap"))
            self._start("ceph-mon", "-i", "a", "-f")
            self._ask("osd", "new", disk)
            # The disk would say so itself, and gives up where it does before it knows the monitor.
            self._ask("osd", "crush", "add", "osd.0", "1", "host=here", "root=default")
            self._do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
            self._start("ceph-osd", "-i", "0", "-f")
            self._do("radosgw-admin", "user", "create", "--uid=test", "--display-name=test",
                     f"--access-key={KEY}", f"--secret-key={SECRET}")
            self.start_gateway()
        except BaseException as error:
            error.add_note("".join(f"{name}: {self._log(name)}\n" for name in self._running))
            self.stop()
            raise

    def start_gateway(self) -> None:
        """Start (again) what speaks S3, and wait until it answers."""
        self._start("radosgw", "-n", "client.rgw", "-f")
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib3.request("GET", self.endpoint, retries=False, timeout=2)
                return
            except urllib3.exceptions.HTTPError:
                assert self._running["radosgw"].poll() is None, self._log("radosgw")
                assert time.monotonic() < deadline, self._log("radosgw")
                time.sleep(0.1)

    def kill_gateway(self) -> None:
        """As a power cut does; what was stored stays."""
        self._running["radosgw"].kill()
        self._running.pop("radosgw").wait(timeout=20)

    def bucket(self) -> Bucket:
        """A new, empty bucket."""
        made = Bucket(self.endpoint, f"b{uuid.uuid4().hex[:16]}")
        address = obstore.sign(made.store(), "PUT", "", timedelta(minutes=1))
        answer = urllib3.request("PUT", address, retries=False, timeout=90)  # it waits for a gateway that was killed
        assert answer.status == 200, answer.data
        return made

    def admin(self, *arguments: str) -> str:
        """radosgw-admin's answer."""
        return self._do("radosgw-admin", *arguments)

    def stop(self) -> None:
        for name in ("radosgw", "ceph-osd", "ceph-mon"):
            process = self._running.pop(name, None)
            if process is not None:
                process.send_signal(signal.SIGKILL)  # nothing of it is kept
                process.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as out:
            self._running[program] = subprocess.Popen(
                [_find(program), "-c", str(self._config), *arguments], stdout=out, stderr=out, start_new_session=True
            )

    def _do(self, program: str, *arguments: str, configured: bool = True) -> str:
        conf = ["-c", str(self._config)] if configured else []
        done = subprocess.run(
            [_find(program), *conf, *arguments], capture_output=True, text=True, timeout=START_SECONDS
        )
        assert done.returncode == 0, f"{program}: {done.stderr[-2000:]}"
        return done.stdout

    def _ask(self, *words: str) -> None:
        """Of the monitor, once it answers: at first it refuses whoever asks."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._do("ceph", *words)
                return
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _log(self, program: str) -> str:
        return (self.folder / f"{program}.out").read_text()[-2000:]


def _find(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, f"{program} is not installed: apt-get install ceph-mon ceph-osd radosgw"
    return found


def _free_ports(count: int) -> list[int]:
    """That many loopback ports in a row that nothing listens on at this moment: the disk wants a range."""
    for first in range(20_000 + os.getpid() * count % 12_000, 60_000, count):  # each process its own
        held: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
    raise AssertionError("no free ports")
