import os
import signal
import subprocess

from customhouse.sandbox.processes import family, signal_family


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
