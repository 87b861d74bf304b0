import os
import signal
import subprocess
from pathlib import Path

from customhouse.sandbox.processes import (
    end_process,
    family,
    listening,
    members,
    read_ports,
    signal_family,
    written_paths,
)

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
TABLES = (
    HEAD
    + "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n"  # 0.0.0.0:8080
    + "   1: 0100007F:0CEA 00000000:0000 0A 00000000:00000000\n"  # 127.0.0.1
    + "   2: 0200000A:A1B2 0300000A:01BB 01 00000000:00000000\n"  # a connection
    + HEAD
    + "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0\n"
    + "   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0\n"
    + "   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 0\n"
    + HEAD
    + "   0: 00000000:0035 00000000:0000 07 0\n"
    + HEAD
)


def test_a_family_is_the_first_process_and_all_that_descend_from_it():
    assert family(10, [(10, 1), (11, 10), (12, 11), (20, 1), (21, 20)]) == {10, 11, 12}


def test_a_process_placed_beside_the_service_is_no_member():
    assert 30 not in family(10, [(10, 5), (30, 5), (11, 10)])


def test_a_list_that_goes_in_circles_ends():
    assert family(1, [(1, 2), (2, 1)]) == {1, 2}


def test_a_process_outside_the_containers_control_group_is_never_signalled():
    with subprocess.Popen(["sleep", "30"]) as stranger:
        reached = signal_family("f" * 64, stranger.pid, lambda: [(stranger.pid, os.getpid())], signal.SIGKILL)
        alive = stranger.poll() is None
        stranger.terminate()
    assert reached is None
    assert alive


def test_a_first_process_that_is_gone_is_not_reached():
    done = subprocess.Popen(["true"])
    done.wait()
    assert signal_family("f" * 64, done.pid, lambda: [], signal.SIGSTOP) is None


def test_listening_ports_are_read_from_the_kernels_tables_without_loopback():
    assert read_ports(TABLES) == ("53/udp", "80/tcp", "8080/tcp")


def test_a_table_that_makes_no_sense_names_no_ports():
    assert read_ports("") == ()
    assert read_ports("  0: x y 0A\n" + HEAD * 9 + "  0: 00000000:ZZZZ 0:0 0A\n" + HEAD + "\0 \n") == ()


def test_the_ports_of_a_stranger_are_not_told():
    assert listening("f" * 64, os.getpid()) is None
    assert listening("f" * 64, 2**30) is None
    assert not end_process("f" * 64, os.getpid())


def test_written_paths_are_the_deepest_ones_outside_of_mounts():
    changed = ["/var", "/var/lib", "/var/lib/x", "/data", "/data/y", "/etc", "/etc/hosts", "/dev/shm", "/tmp"]
    assert written_paths(changed, ["/data/", "/tmp"]) == ("/var/lib/x",)
    assert written_paths(["/database"], ["/data"]) == ("/database",)


def test_the_members_of_a_control_group_are_found_on_this_machine():
    groups = Path("/proc/self/cgroup").read_text()
    found = {pid: (parent, state) for pid, parent, state, _ in members(groups.splitlines()[0], 10_000)}
    assert found[os.getpid()] == (os.getppid(), "R")
    assert members("f" * 64, 100) == ()
