"""How a container is locked in: the same walls for every image, and the rungs that let a needy one have more.

1. Always: no network or the run's internal one, no new privileges, all capabilities dropped, limits on memory (swap
   included), cpu, processes, open files, file size and log, private ipc, the engine's default seccomp filter (Podman's:
   without the namespaces and mounts that it allows beyond Docker's).
2. Never: a mount from the host, a socket, a device, another's namespace, `privileged`.
3. The ladder gives one thing more on each rung: read-only root, + tmpfs, then a writable root, then the few
   capabilities that old servers use to drop to their own user, then a network with nobody on it and no way out.
   The rung reached is part of the record.
4. The search: the strictest rung first; if that fails the widest one says whether the walls are to blame at all; if
   they are, the rungs between are tried upwards. An image that is simply broken costs two starts.

Pure: a profile in, parameters for `docker.APIClient.create_host_config` out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from customhouse.sandbox.runner import MIB, Attempt, Rung, RunProfile

TMPFS = ("/tmp", "/run", "/var/tmp")
# What Podman's own filter allows beyond Docker's: namespaces of one's own, and with them mounts.
NARROWED = frozenset((
    "clone", "clone3", "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "open_tree", "move_mount",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "keyctl", "add_key", "request_key",
))  # fmt: skip
NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEW* of clone(2) but CLONE_NEWTIME, which clone cannot make
OLD_SERVERS = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")


def walls(
    profile: RunProfile, rung: Rung, more_tmpfs: Sequence[str] = (), network: str = "", seccomp: str = ""
) -> dict[str, Any]:
    """Parameters of the host config for one rung. `network` is the run's internal one, "" for none at all; `seccomp`
    names a filter in place of the engine's default."""
    memory = profile.memory_mib * MIB
    return {
        "network_mode": network or "none",
        "privileged": False,
        "read_only": rung in ("read_only", "tmpfs"),
        "cap_drop": ["ALL"],
        "cap_add": list(OLD_SERVERS) if rung in ("capabilities", "network") else [],
        "security_opt": ["no-new-privileges", *([f"seccomp={seccomp}"] if seccomp else ())],
        "pids_limit": profile.pids,
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": int(profile.cpus * 1_000_000_000),
        "tmpfs": tmpfs(profile, (*(TMPFS if rung == "tmpfs" else ()), *more_tmpfs)),
        "ipc_mode": "private",
        "restart_policy": {"Name": "no"},
    }


def narrowed(seccomp: Mapping[str, Any]) -> dict[str, Any]:
    """A seccomp profile without new namespaces, mounts and keys; `clone` is left for threads and processes.

    What is not allowed any more gets the profile's default: an error.
    """
    rules = []
    for rule in seccomp["syscalls"]:
        free = rule["action"] == "SCMP_ACT_ALLOW" and not (rule.get("includes") or {}).get("caps")
        names = [name for name in rule["names"] if not (free and name in NARROWED)]
        if names:
            rules.append({**rule, "names": names})
    flags = {"index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules.append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags]})
    return {**seccomp, "syscalls": rules}


def limits(profile: RunProfile) -> dict[str, int]:
    """Names and values for ulimits, soft and hard alike; file sizes in bytes."""
    return {"nofile": profile.open_files, "fsize": profile.file_mib * MIB, "core": 0}


def tmpfs(profile: RunProfile, paths: Sequence[str]) -> dict[str, str]:
    """Mount options by path."""
    return {path: f"rw,noexec,nosuid,nodev,size={profile.tmpfs_mib}m" for path in paths}


def mounted(inspection: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of a container that are not its root filesystem: its tmpfs and volumes, by the engine's inspection."""
    host = inspection.get("HostConfig") or {}
    return (*(host.get("Tmpfs") or {}), *(str(point.get("Destination")) for point in inspection.get("Mounts") or ()))


def next_rung(rungs: Sequence[Rung], attempts: Sequence[Attempt]) -> tuple[Rung, bool] | None:
    """The rung to try after these attempts, and whether a success there is the answer. None: there is nothing to try.

    `attempts` are failures, except the second, which only asked whether the widest rung would do.
    """
    tried = len(attempts)
    if tried == 0:
        return rungs[0], True
    if len(rungs) == tried == 1:
        return None
    if tried == 1:
        return rungs[-1], len(rungs) == 2
    if attempts[1].trouble or tried > len(rungs):
        return None
    return rungs[tried - 1], True
