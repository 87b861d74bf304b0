"""What a hostile image tries in the sandbox, on a real engine, and that nothing of it reaches beyond its container."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest

from customhouse.sandbox.docker_engine import DockerEngine
from customhouse.sandbox.runner import Rung, RunProfile, RunRecord
from tests.peers.dockerd import dockerd
from tests.peers.podman import podman
from tests.sandbox.boxes import GREEN, HONEST, SERVE, Box, shell

__all__ = ["dockerd", "podman"]

pytestmark = pytest.mark.needs("dockerd", "podman", "runc")

PROFILE = RunProfile(
    stay_up_seconds=3, stop_grace_seconds=1, start_allowance_seconds=5, budget_seconds=60, memory_mib=64, pids=32,
    disk_mib=20, other_uid=0, rungs=("read_only",),
)  # fmt: skip
WIDEST: tuple[Rung, ...] = ("capabilities", "network")
MIB = 1024 * 1024


@pytest.fixture(params=["docker", "podman"])
def runner(request: pytest.FixtureRequest) -> Iterator[DockerEngine]:
    engine = request.getfixturevalue("podman" if request.param == "podman" else "dockerd")
    made = DockerEngine(lambda: datetime.now(UTC), url=engine.url, hub="hostile")
    yield made
    assert made.cleanup() == 0, "the run left something behind"
    listed = docker.APIClient(base_url=engine.url)
    assert (listed.containers(all=True), listed.images(), listed.volumes()["Volumes"] or []) == ([], [], [])
    listed.close()


def tried(runner: DockerEngine, script: str, **profile: object) -> RunRecord:
    """A run as root in a container with all that a rung can give."""
    made: Box = shell(script, User="0")
    return runner.run(made.source(), replace(PROFILE, **{"rungs": WIDEST, **profile}))  # type: ignore[arg-type]


def processes() -> int:
    return sum(path.name.isdigit() for path in Path("/proc").iterdir())


ATTEMPTS = {
    "mount": "mkdir -p /m; busybox mount -t tmpfs none /m",
    "disk of the machine": "busybox mknod /disk b 8 0 && busybox dd if=/disk of=/dev/null bs=1 count=1",
    "bind": "mkdir -p /m; busybox mount -o bind / /m",
    "namespace": "busybox unshare -m true",
    "user namespace": "busybox unshare -U true",
    "kernel log": "busybox dmesg",
    "kernel log file": "busybox timeout 1 cat /dev/kmsg",
    "kernel memory": "head -c 1 /proc/kcore",
    "kernel settings": "echo 1 > /proc/sys/kernel/panic",
    "system requests": "echo h > /proc/sysrq-trigger",
    "control groups": "mkdir /sys/fs/cgroup/memory/x || echo 1 > /sys/fs/cgroup/memory/memory.limit_in_bytes",
    "module": "busybox insmod /bin/busybox",
    "clock": "busybox date -s 2020-01-01; [ $(busybox date +%Y) = 2020 ]",
    "name": "busybox hostname other",
    "root": "busybox pivot_root / /tmp",
    "engine": "ls /var/run/docker.sock /run/docker.sock",
    "interface": "busybox ip link add dummy0 type dummy",
    "raw": "busybox ping -c 1 -W 1 127.0.0.1",
}


def test_nothing_that_reaches_beyond_the_container_is_allowed_even_to_root_on_the_widest_rung(runner: DockerEngine):
    lines = "".join(f"({attempt}) >/dev/null 2>&1 && echo 'done {name}'\n" for name, attempt in ATTEMPTS.items())
    record = tried(runner, f"{lines}echo end; exit 7", stay_up_seconds=8)
    assert record.log_tail == "end", record.log_tail


def test_the_attempts_themselves_are_well_made(runner: DockerEngine):
    """Outside of the walls most of them would do: the busybox of the image knows these programs."""
    names = {name for attempt in ATTEMPTS.values() for name in re.findall(r"busybox ([a-z_]+)", attempt)}
    record = tried(runner, "busybox --list; exit 7")
    ask = f"for n in {' '.join(sorted(names))}; do busybox --list | grep -qx $n || echo no $n; done; exit 7"
    known = tried(runner, ask)
    assert record.log_bytes > 500
    assert known.log_tail == ""


def test_a_network_attempt_finds_nobody(runner: DockerEngine):
    script = "cat /proc/net/route; nc -w 1 192.0.2.1 80 </dev/null && echo out; nc -w 1 127.0.0.1 22 </dev/null; exit 7"
    record = runner.run(shell(script).source(), PROFILE)
    assert "out" not in record.log_tail.split()
    assert "refused" in record.log_tail, "its own loopback answers, and has nobody"


def test_a_fork_bomb_stays_within_its_limit_and_is_removed_to_the_last(runner: DockerEngine):
    before = processes()
    record = runner.run(shell("b() { b | b & }; b; while :; do sleep 1; done").source(), PROFILE)
    assert record.outcome in ("ran", "failed")
    seen = record.surface.processes if record.surface else ()
    assert len(seen or ()) <= PROFILE.pids
    assert processes() < before + 20


def test_a_memory_hog_is_killed_within_its_limit(runner: DockerEngine):
    record = runner.run(shell("head -c 400m /dev/zero | grep x; exit 9").source(), replace(PROFILE, stay_up_seconds=8))
    assert record.outcome == "failed"
    assert record.attempts[0].oom_killed or "Killed" in record.log_tail


def test_the_health_proof_tells_a_real_check_from_a_green_one_on_each_runtime(runner: DockerEngine):
    quick = replace(PROFILE, stay_up_seconds=0.5, probe_interval_seconds=0.3, hold_probes=2)
    real = runner.run(shell(SERVE, HONEST).source(), quick)
    assert (real.outcome, real.rung, real.reason) == ("ran", "read_only", "")
    assert real.health is not None and real.health.mutation is not None
    mutation = real.health.mutation
    assert (mutation.reach, mutation.unhealthy, mutation.recovered) == ("all", True, True)
    assert mutation.processes >= 2
    assert real.stop is not None and real.stop.exit_code == 0
    assert real.surface is not None and (real.surface.ports, real.surface.written) == (("8080/tcp",), ())
    green = runner.run(shell(SERVE, GREEN).source(), quick)
    assert green.health is not None and green.health.mutation is not None
    assert (green.health.mutation.unhealthy, green.health.mutation.conclusive) == (False, True)


def test_a_flood_of_output_is_kept_small(runner: DockerEngine):
    record = runner.run(shell("while :; do cat /bin/busybox; done").source(), PROFILE)
    assert len(record.log_tail) <= 8 * 1024
    assert record.log_bytes < 3 * MIB
    assert len(str(record.to_json())) < 64 * 1024


def test_a_disk_is_not_filled(runner: DockerEngine):
    fill = "n=0; while :; do head -c 5000000 /dev/zero > /var/f$n || exit 9; n=$((n+1)); sleep 0.1; done"
    record = tried(runner, fill, rungs=("writable",), stay_up_seconds=20)
    assert record.reason == "it wrote more than 20 MiB to its root filesystem"
    tmpfs = tried(runner, f"{fill.replace('/var/', '/tmp/')}", rungs=("tmpfs",), tmpfs_mib=16, stay_up_seconds=8)
    assert tmpfs.attempts[0].exit_code == 9


def test_a_file_that_grows_without_end_is_cut(runner: DockerEngine):
    grow = "cat /dev/zero > /var/f; ls -s /var/f; exit 9"
    record = tried(runner, grow, rungs=("writable",), file_mib=5, disk_mib=500)
    assert record.attempts[0].exit_code == 9
    assert int(record.log_tail.splitlines()[-1].split()[0]) <= 5 * 1024
