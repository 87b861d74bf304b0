import pytest

from customhouse.sandbox.hardening import limits, narrowed, next_rung, walls
from customhouse.sandbox.runner import RUNGS, Attempt, RunProfile

PROFILE = RunProfile(memory_mib=128, pids=64, cpus=0.5)


@pytest.mark.parametrize("rung", RUNGS)
def test_every_rung_keeps_the_walls(rung):
    host = walls(PROFILE, rung)
    assert host["network_mode"] == "none"
    assert host["privileged"] is False
    assert host["cap_drop"] == ["ALL"]
    # Nothing here names a seccomp profile: the engine's own stays in force.
    assert host["security_opt"] == ["no-new-privileges"]
    assert host["mem_limit"] == host["memswap_limit"] == 128 * 1024 * 1024
    assert host["pids_limit"] == 64
    assert host["nano_cpus"] == 500_000_000
    assert host["ipc_mode"] == "private"
    assert not {"binds", "mounts", "devices", "pid_mode", "userns_mode", "volumes_from"} & set(host)


def test_each_rung_gives_one_thing_more():
    assert [walls(PROFILE, rung)["read_only"] for rung in RUNGS] == [True, True, False, False, False]
    assert [bool(walls(PROFILE, rung)["tmpfs"]) for rung in RUNGS] == [False, True, False, False, False]
    assert [bool(walls(PROFILE, rung)["cap_add"]) for rung in RUNGS] == [False, False, False, True, True]


def test_a_network_is_the_runs_own_or_none():
    assert walls(PROFILE, "network", network="customhouse-a-b")["network_mode"] == "customhouse-a-b"
    assert walls(PROFILE, "network")["network_mode"] == "none"


def test_no_rung_gives_a_capability_that_reaches_beyond_the_container():
    assert not {"SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "MKNOD", "NET_RAW", "SYS_MODULE"} & set(
        walls(PROFILE, "capabilities")["cap_add"]
    )


def test_temporary_folders_are_bounded_and_run_nothing():
    assert all("noexec" in option and "size=64m" in option for option in walls(PROFILE, "tmpfs")["tmpfs"].values())


def test_files_are_bounded_and_no_core_is_written():
    assert limits(PROFILE) == {"nofile": 1024, "fsize": 256 * 1024 * 1024, "core": 0}


def climb(serving: set[str], rungs=RUNGS) -> list[tuple[str, bool]]:
    """The whole search for an image that serves on these rungs."""
    attempts: list[Attempt] = []
    steps = []
    while (step := next_rung(rungs, attempts)) is not None:
        steps.append(step)
        attempts.append(Attempt(step[0], "" if step[0] in serving else "broken", 1.0))
        if step[0] in serving and step[1]:
            break
    return steps


def test_an_image_that_needs_nothing_is_tried_once():
    assert climb(set(RUNGS)) == [("read_only", True)]


def test_a_broken_image_costs_two_starts():
    assert climb(set()) == [("read_only", True), ("network", False)]


def test_the_strictest_rung_that_serves_is_found():
    asked = [("read_only", True), ("network", False)]
    assert climb({"tmpfs", "writable", "capabilities", "network"}) == [*asked, ("tmpfs", True)]
    assert climb({"writable", "capabilities", "network"}) == [*asked, ("tmpfs", True), ("writable", True)]
    most = [*asked, ("tmpfs", True), ("writable", True), ("capabilities", True)]
    assert climb({"capabilities", "network"}) == most
    assert climb({"network"}) == [*most, ("network", True)]


def test_a_policy_may_shorten_the_ladder():
    assert climb(set(), ("read_only",)) == [("read_only", True)]
    assert climb({"tmpfs"}, ("read_only", "tmpfs")) == [("read_only", True), ("tmpfs", True)]


def test_the_search_ends_for_an_image_that_serves_only_sometimes():
    attempts = [Attempt("read_only", "x", 1), Attempt("network", "", 1)]
    attempts += [Attempt(rung, "x", 1) for rung in RUNGS[1:]]
    assert next_rung(RUNGS, attempts) is None


def test_a_narrowed_filter_leaves_clone_for_threads_and_drops_namespaces_and_mounts():
    given = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["read", "clone", "unshare", "mount"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["setns"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO"},
        ],
    }
    free, by_right, refused, clone = narrowed(given)["syscalls"]
    assert free["names"] == ["read"]
    assert by_right["includes"] == {"caps": ["CAP_SYS_ADMIN"]}
    assert refused["action"] == "SCMP_ACT_ERRNO"
    assert clone["args"][0]["value"] == 2114060288, "moby's own mask"
