"""Real images in a real engine. The times are short; what is waited for is not."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.oci.config import ImageConfig
from customhouse.oci.digest import Digest
from customhouse.sandbox.archive import docker_archive
from customhouse.sandbox.docker_engine import DockerEngine
from customhouse.sandbox.engine import Engine
from customhouse.sandbox.runner import InvalidProfile, MutationRecord, RunProfile
from customhouse.sandbox.runtime import MOST_OUTPUT, ContainerSpec, EngineFault, Marks
from customhouse.sandbox.setup import CommandTest, Companion, Setup
from customhouse.sandbox.trial import Deadline, Trial
from tests.peers.dockerd import DockerCLI, Dockerd
from tests.sandbox.boxes import APPLETS, ASK, GREEN, HONEST, SECOND, SERVE, Box, box, shell

pytestmark = pytest.mark.needs("dockerd")

PROFILE = RunProfile(
    stay_up_seconds=0.5, probe_interval_seconds=0.2, probe_timeout_seconds=1.0, stop_grace_seconds=1.0,
    start_allowance_seconds=5.0, budget_seconds=60.0, memory_mib=64, pids=32, other_uid=0,
)  # fmt: skip
STRICT = replace(PROFILE, rungs=("read_only",))


def utc() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def runner(dockerd: Dockerd) -> DockerEngine:
    return DockerEngine(utc, url=dockerd.url, hub="tests")


@pytest.fixture(autouse=True)
def cli(dockerd: Dockerd, tmp_path: Path) -> Iterator[DockerCLI]:
    """The docker client, to look with; every test leaves the engine as empty as it was."""
    client = dockerd.cli(tmp_path / "home")
    yield client
    assert client("ps", "-aq").stdout == ""
    assert client("images", "-aq").stdout == ""
    assert client("volume", "ls", "-q").stdout == ""
    assert client("network", "ls", "-q", "--filter", "type=custom").stdout == ""


def test_an_honest_health_check_is_proven_real(runner):
    record = runner.run(shell(SERVE, HONEST).source(), PROFILE)
    assert (record.outcome, record.reason, record.rung) == ("ran", "", "read_only")
    assert record.health.reached
    assert record.health.held
    mutation = record.health.mutation
    assert (mutation.reach, mutation.processes) == ("all", 2)
    assert (mutation.unhealthy, mutation.recovered, mutation.conclusive) == (True, True, True)
    assert record.stop.exit_code == 0
    assert record.stop.seconds < 1
    assert [process.state for process in record.surface.processes] == ["S", "S"]
    assert record.surface.processes[1].command == "httpd -f -p 8080 -h /www"
    assert (record.surface.ports, record.surface.written) == (("8080/tcp",), ())
    assert record == type(record).from_json(json.loads(json.dumps(record.to_json())))


def test_a_health_check_that_is_always_green_never_flips(runner):
    record = runner.run(shell(SERVE, GREEN).source(), PROFILE)
    assert record.health.held
    assert not record.health.mutation.unhealthy
    assert record.health.mutation.conclusive
    assert record.stop.exit_code == 0, "the processes went on after the proof"


def test_a_failing_health_check_is_never_reached_and_shows_its_output(runner):
    failing = {"Test": ["CMD-SHELL", "echo no luck; exit 4"], "Interval": SECOND // 2, "Retries": 1}
    record = runner.run(shell(SERVE, failing).source(), STRICT)
    assert record.outcome == "ran"
    assert not record.health.reached
    assert record.health.probes[-1].exit_code == 4
    assert record.health.probes[-1].output == "no luck"
    assert record.stop is None


def test_a_slow_probe_is_given_its_declared_timeout(runner):
    slow = {"Test": ["CMD", "sleep", "0.6"], "Interval": SECOND // 5, "Timeout": 2 * SECOND, "Retries": 1}
    profile = replace(STRICT, hold_probes=1, probe_timeout_seconds=0.3, start_allowance_seconds=2)
    record = runner.run(shell(SERVE, slow).source(), profile)
    assert record.health.reached
    assert len(record.attempts) == 2


def test_an_image_without_health_check_runs_and_has_no_health(runner):
    record = runner.run(shell(SERVE).source(), PROFILE)
    assert (record.outcome, record.health) == ("ran", None)
    assert record.stop.exit_code == 0


def test_an_image_that_exits_at_once_has_failed_with_its_log(runner):
    record = runner.run(shell("echo the database is missing >&2; exit 3").source(), PROFILE)
    assert record.outcome == "failed"
    assert "code 3" in record.reason
    assert record.log_tail == "the database is missing"
    assert [attempt.rung for attempt in record.attempts] == ["read_only", "network"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (box(["/bin/nothere"]), "/bin/nothere"),
        (box([]), "No command specified"),
        (shell(SERVE, User="nobody-here"), "unable to find user nobody-here"),
        (shell(SERVE, WorkingDir="/bin/busybox"), "not a directory"),
    ],
)
def test_an_image_that_cannot_start_has_failed_with_the_engines_words(runner, made, said):
    record = runner.run(made.source(), STRICT)
    assert record.outcome == "failed"
    assert said in record.reason


def test_an_image_that_ignores_its_stop_signal_is_killed_after_the_grace(runner):
    record = runner.run(shell("trap '' TERM; while :; do sleep 1; done").source(), STRICT)
    assert record.stop.exit_code == 137
    assert record.stop.seconds >= 1


def test_the_images_own_stop_signal_is_used(runner):
    script = "trap 'exit 7' QUIT; while :; do sleep 0.1; done"
    record = runner.run(shell(script, StopSignal="SIGQUIT").source(), STRICT)
    assert (record.stop.signal, record.stop.exit_code) == ("SIGQUIT", 7)


def test_a_fork_bomb_is_held_by_the_limit_of_processes(runner, cli):
    record = runner.run(shell("b() { b | b & }; b; sleep 30").source(), STRICT)
    assert record.outcome in ("ran", "failed")
    assert cli("version", "-f", "{{.Server.Version}}").stdout


def test_no_more_processes_than_the_limit_can_be_made(runner):
    script = "n=0; while [ $n -lt 100 ]; do sleep 30 & n=$((n+1)); echo $n; done; sleep 30"
    record = runner.run(shell(script).source(), STRICT)
    assert record.outcome == "failed"
    assert "can't fork" in record.log_tail
    assert 20 <= max(int(line) for line in record.log_tail.splitlines() if line.isdigit()) <= STRICT.pids


def test_a_memory_hog_is_killed_and_named(runner):
    record = runner.run(shell("head -c 300m /dev/zero | grep x; exit 9").source(), replace(STRICT, stay_up_seconds=5))
    assert record.outcome == "failed"
    assert record.attempts[0].oom_killed
    assert "64 MiB" in record.reason


def test_a_worker_that_was_killed_for_its_memory_is_known_at_the_end(runner):
    script = "trap 'exit 0' TERM; head -c 300m /dev/zero | grep x; while :; do sleep 0.1; done"
    record = runner.run(shell(script).source(), replace(STRICT, stay_up_seconds=3))
    assert record.attempts[-1].oom_killed


@pytest.mark.parametrize(
    ("script", "rung"),
    [
        ("touch /tmp/mine || exit 4", "tmpfs"),
        ("touch /var/mine || exit 4", "writable"),
        ("[ $(id -u) = 0 ] || exit 5; touch /var/mine && chown 7 /var/mine || exit 4", "capabilities"),
        ("ls /sys/class/net | grep -q eth0 || exit 4; touch /var/mine", "network"),
    ],
)
def test_the_strictest_rung_on_which_it_runs_is_recorded(runner, script, rung):
    files = {"bin/chown": "#!/bin/sh\nexec /bin/busybox chown $@\n"}
    user = {"User": "0"} if rung == "capabilities" else {}
    record = runner.run(shell(f"{script}; {SERVE}", files=files, **user).source(), PROFILE)
    assert (record.outcome, record.rung) == ("ran", rung)
    assert record.attempts[0].trouble
    assert record.attempts[-1].trouble == ""
    assert record.surface.written == (("/var/mine",) if rung not in ("read_only", "tmpfs") else ())


def test_a_good_image_is_started_again_under_another_user_and_with_its_declared_times(runner):
    health = {**HONEST, "Interval": SECOND // 2, "Timeout": 2 * SECOND}
    script = f"id -u; id -g; [ $(id -u) = 1000 ] || exit 6; {SERVE}"
    record = runner.run(shell(script, health).source(), replace(PROFILE, other_uid=123456789))
    assert record.outcome == "ran"
    assert record.log_tail == "1000\n1000"
    assert record.log_bytes == 10
    assert (record.other_user.exit_code, record.other_user.log_tail) == (6, "123456789\n0")
    assert record.health.declared.reached


def test_a_network_of_the_last_rung_leads_nowhere_not_even_to_the_machine(runner):
    # .1 of its own network is where a bridge has the machine's address.
    find = "a=$(busybox ip -4 -o addr show eth0 | grep -o 'inet [0-9.]*'); a=${a#inet }; echo ${a%.*}.1"
    script = (
        "ls /sys/class/net | grep -q eth0 || exit 4;"
        f"for to in 192.0.2.1 $({find}); do nc -w 1 $to 22 </dev/null; done; {SERVE}"
    )
    record = runner.run(shell(script).source(), replace(PROFILE, rungs=("read_only", "network"), stay_up_seconds=4))
    assert record.rung == "network"
    assert len(record.log_tail.splitlines()) == 2
    assert "refused" not in record.log_tail, "somebody was there to refuse"


def test_a_service_runs_as_its_publisher_sets_it_up_beside_a_companion(runner, cli):
    ask = ASK.replace("127.0.0.1", "db").replace("grep -q", "grep")
    beside = Companion("db", "acme/db", Digest.of(b"db"), command=("/bin/sh", "-c", SERVE))
    commands = (
        CommandTest("answers", ("/bin/sh", "-c", ask)),
        CommandTest("variable", ("/bin/sh", "-c", "echo $MODE $LEVEL >&2; exit 3"), environment={"LEVEL": "2"}),
        CommandTest("missing", ("/bin/nothere",)),
        CommandTest("unready", ("/bin/true",), before=(("/bin/false",),)),
        CommandTest("flood", ("/bin/sh", "-c", "head -c 5000000 /dev/zero; echo end")),
    )
    setup = Setup({"MODE": "demo"}, ("/data",), ("/bin/sh", "-c"), (f"touch /data/x && {SERVE}",), (beside,), commands)
    source = replace(box(["/bin/false"]).source(), beside={"db": box(["/bin/false"], files={"etc/db": ""}).source()})
    record = runner.run(source, STRICT, setup)
    assert (record.outcome, record.reason, record.rung) == ("ran", "", "read_only")
    assert record.companions == (beside.reference,)
    answers, variable, missing, unready, flood = record.commands
    assert (answers.exit_code, answers.stdout) == (0, "it works")
    assert (variable.exit_code, variable.stderr) == (3, "demo 2")
    assert "nothere" in missing.trouble + missing.stdout + missing.stderr
    assert missing.exit_code != 0 or missing.trouble
    assert "setup" in unready.trouble
    assert flood.exit_code == 0


def test_a_companion_that_does_not_run_or_is_not_here_fails_the_run(runner):
    beside = Companion("db", "acme/db", Digest.of(b"db"))
    source = shell(SERVE).source()
    assert "companion" in runner.run(source, STRICT, Setup(companions=(beside,))).reason
    broken = replace(source, beside={"db": shell("echo no disk; exit 4").source()})
    record = runner.run(broken, STRICT, Setup(companions=(beside,)))
    assert (record.outcome, record.reason) == ("failed", "its companion db exited with code 4: no disk")


def test_a_program_inside_that_does_not_end_is_killed(dockerd):
    engine = Engine(dockerd.url)
    marks = Marks("tests", "s11", utc())
    try:
        engine.load(shell(SERVE).source(), marks.image, 1 << 30)
        container = engine.create(marks, ContainerSpec("0", marks.image, "read_only", PROFILE))
        engine.start(container)
        done = engine.execute(container, ("/bin/sh", "-c", "echo a; sleep 50"), seconds=0.5)
        assert (done.exit_code, done.stdout) == (-1, "a")
        assert done.seconds < 5
        endless = engine.execute(container, ("/bin/sh", "-c", "while :; do echo x; done"), seconds=1)
        assert (endless.exit_code, len(endless.stdout) <= MOST_OUTPUT) == (-1, True)
        time.sleep(0.2)
        assert all("echo x" not in process.command for process in engine.processes(container))
    finally:
        engine.remove(marks.hub, marks.submission, lambda until: True)
        engine.close()


def test_inside_there_is_no_network_no_capability_and_no_way_to_more(runner):
    script = "ls /sys/class/net; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; exit 1"
    said = runner.run(shell(script, User="0").source(), STRICT).log_tail.split()
    assert said[0] == "lo"
    assert said[1:] == [
        "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2",
    ]  # fmt: skip


def test_the_engines_socket_is_not_inside(runner, dockerd):
    record = runner.run(shell(f"ls {dockerd.folder} /var/run; exit 1", User="0").source(), STRICT)
    assert "docker.sock" not in record.log_tail


def test_the_loaded_image_is_the_publishers_config_unchanged(dockerd, cli):
    made = shell(SERVE, HONEST)
    marks = Marks("tests", "s9", utc())
    engine = Engine(dockerd.url)
    try:
        engine.load(made.source(), marks.image, 1 << 30)
        found = json.loads(cli("image", "inspect", marks.image).stdout)[0]
        assert found["Id"] == Digest.of(made.config)
        assert found["Config"]["Healthcheck"]["Test"] == HONEST["Test"]
    finally:
        engine.remove(marks.hub, marks.submission, lambda until: True)
        engine.close()


def from_afar(dockerd: Dockerd, made: Box, *, plain: bool = True) -> MutationRecord:
    """The proof by a hub that sees none of the engine's processes, or whose runtime shows none to anybody."""
    marks = Marks("tests", "s10", utc())
    engine = Engine(dockerd.url)
    engine.local, engine.plain = False, plain
    try:
        engine.load(made.source(), marks.image, 1 << 30)
        spec = ContainerSpec("0", marks.image, "read_only", PROFILE)
        trial = Trial(engine, marks, spec, ImageConfig.parse(made.config), Deadline(time.monotonic() + 30))
        attempt = trial.run(prove=True)
    finally:
        engine.remove(marks.hub, marks.submission, lambda until: True)
        engine.close()
    assert attempt.trouble == ""
    assert trial.surface is not None
    assert trial.surface.ports == ("8080/tcp",)
    return trial.health.mutation


def test_from_afar_the_rest_is_stopped_within_the_containers_own_processes(dockerd):
    mutation = from_afar(dockerd, shell(SERVE, HONEST))
    assert (mutation.reach, mutation.way) == ("all", "namespace")
    assert mutation.processes >= 2
    assert (mutation.unhealthy, mutation.recovered) == (True, True)


def test_a_runtime_that_hides_processes_gives_no_verdict_on_a_check_that_stays_green(dockerd):
    mutation = from_afar(dockerd, shell(SERVE, GREEN), plain=False)
    assert (mutation.reach, mutation.unhealthy, mutation.conclusive) == ("first", False, False)


def test_where_only_the_first_process_can_be_stopped_the_record_says_so(dockerd):
    inside = ["/bin/busybox", "sh", "-c"]
    applets = [name for name in APPLETS if name not in ("sh", "kill")]
    asked = {**HONEST, "Test": ["CMD", *inside, ASK]}
    mutation = from_afar(dockerd, box([*inside, SERVE], asked, applets=applets))
    # The shell stopped, the server behind it did not: nothing follows from a health that stays.
    assert (mutation.reach, mutation.way) == ("first", "engine")
    assert mutation.processes >= 2, "the server may be answering a probe in a process of its own"
    assert (mutation.unhealthy, mutation.conclusive) == (False, False)


def test_a_declared_volume_goes_with_its_container(runner):
    record = runner.run(shell(SERVE, Volumes={"/var/lib/stuff": {}}).source(), STRICT)
    assert record.outcome == "ran"


def test_an_image_of_another_platform_is_unavailable(runner):
    record = runner.run(box(["sh"], architecture="s390x").source(), PROFILE)
    assert record.outcome == "unavailable"
    assert "linux/s390x" in record.reason


def test_an_engine_that_is_not_there_is_unavailable(tmp_path):
    absent = DockerEngine(utc, url=f"unix://{tmp_path / 'none.sock'}")
    record = absent.run(shell(SERVE).source(), PROFILE)
    assert record.outcome == "unavailable"
    assert "does not answer" in record.reason
    with pytest.raises(EngineFault):
        absent.cleanup()


def test_bytes_that_are_not_the_images_are_never_run(runner):
    made = shell(SERVE)
    other = next(iter(shell(SERVE, files={"etc/other": "x"}).blobs.values()))
    source = replace(made.source(), content=lambda digest: io.BytesIO(other))
    record = runner.run(source, PROFILE)
    assert record.outcome == "failed"
    assert record.attempts == ()


def test_a_store_that_fails_makes_the_run_unavailable(runner):
    def broken(digest):
        raise OSError("the disk is gone")

    record = runner.run(replace(shell(SERVE).source(), content=broken), PROFILE)
    assert record.outcome == "unavailable"
    assert "the disk is gone" in record.reason


def test_a_submission_with_any_name_can_be_run(runner):
    assert runner.run(shell("exit 1").source("Quarantine/§ 7:x"), STRICT).outcome == "failed"


def test_a_hub_whose_name_the_engine_cannot_hold_is_refused():
    with pytest.raises(InvalidProfile):
        DockerEngine(utc, url="unix:///x", hub="My Hub")


def killed_midway(dockerd: Dockerd, cli: DockerCLI, submission: str) -> None:
    """A run in a process of its own, killed when its container is up."""
    program = (
        "from tests.sandbox.test_docker_engine import *\n"
        f"profile = replace(PROFILE, stay_up_seconds=30)\n"
        f"DockerEngine(utc, url={dockerd.url!r}, hub='tests').run(shell(SERVE).source({submission!r}), profile)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root) as running:
        deadline = time.monotonic() + 30
        while not cli("ps", "-q", "--filter", f"label=customhouse.submission={submission}").stdout:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.kill()
    assert cli("ps", "-q").stdout


def test_what_a_killed_run_left_is_removed_at_the_next_start(dockerd, runner, cli):
    killed_midway(dockerd, cli, "s20")
    assert runner.cleanup(utc()) == 0, "its time has not passed: it could be a neighbour's"
    assert runner.cleanup(utc() + timedelta(days=1)) == 2
    assert runner.cleanup() == 0


def test_a_killed_run_can_be_run_again(dockerd, runner, cli):
    killed_midway(dockerd, cli, "s21")
    assert runner.run(shell(SERVE).source("s21"), PROFILE).outcome == "ran"


def test_another_hubs_runs_are_left_alone(dockerd, runner, cli):
    killed_midway(dockerd, cli, "s22")
    assert DockerEngine(utc, url=dockerd.url, hub="other").cleanup() == 0
    assert runner.cleanup() == 2


def test_an_image_that_the_engine_already_has_under_another_name_stays(runner, cli, tmp_path):
    made = shell("exit 1")
    (tmp_path / "mine.tar").write_bytes(b"".join(docker_archive(made.source(), "mine:1", 1 << 30)))
    cli("load", "-i", tmp_path / "mine.tar")
    runner.run(made.source(), STRICT)
    assert cli("images", "-q", "mine:1").stdout
    cli("rmi", "mine:1")
