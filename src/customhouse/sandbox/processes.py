"""The processes of a container, seen and signalled from this machine: the mutation that tells a real health-check.

1. From the host, by pid, so that workers and wrapped services stop too; the engine's own `kill` reaches PID 1 only.
2. Never a stranger: each pid is pinned by a pidfd and must lie in the container's control group *after* it was
   pinned. A hub that may not signal, or that sees other pids than the engine (remote, its own pid namespace),
   stops PID 1 through the engine instead and says so.
3. Processes that the engine placed beside the service (a probe under way) are not stopped: only PID 1 of the
   container and its descendants are, as the parent column of `top` shows.
4. Listening ports come from the kernel's tables (/proc/PID/net, proc_net_tcp(5)): what a service says of itself is
   not asked. Loopback is left out: nobody outside can reach it.
"""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

PROC = Path("/proc")
ROUNDS = 3
KINDS = ("tcp", "tcp6", "udp", "udp6")
PORT_FILES = tuple(f"/proc/net/{kind}" for kind in KINDS)
MOST_TABLE = 1024 * 1024
MOST_PORTS = 100
MOST_WRITTEN = 200
MOST_COMMAND = 200
_TCP_LISTEN, _UDP_OPEN = "0A", "07"
_OWN_PATHS = ("/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/.dockerenv")


def family(first: int, parents: Iterable[tuple[int, int]]) -> frozenset[int]:
    """The pids that descend from `first`, itself included, given (pid, parent) pairs."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents:
        children.setdefault(parent, []).append(pid)
    found, waiting = {first}, [first]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return frozenset(found)


def signal_family(
    container: str, first: int, listing: Callable[[], Iterable[tuple[int, int]]], number: signal.Signals
) -> int | None:
    """Signal every process of the container; how many got it, or None when this hub cannot.

    The list is read again until a round finds nobody new: a service may fork while it is being stopped.
    """
    reached: set[int] = set()
    for _ in range(ROUNDS):
        new = family(first, listing()) - reached
        for pid in new:
            answer = _signal(container, pid, number)
            if answer is None:
                return None
            if answer:
                reached.add(pid)
        if not new:
            break
    return len(reached) if first in reached else None


def _signal(container: str, pid: int, number: signal.Signals) -> bool | None:
    """True: it got the signal. False: it is gone. None: it is not ours to signal."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):
        return None
    try:
        groups = (PROC / str(pid) / "cgroup").read_text()
        if container not in groups:
            return None
        signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, FileNotFoundError):
        return False
    except OSError:
        return None
    finally:
        os.close(handle)
    return True


def end_process(container: str, pid: int) -> bool:
    """SIGKILL to one process of this container, such as a probe that does not end; was it one?"""
    return bool(_signal(container, pid, signal.SIGKILL))


def members(container: str, most: int) -> tuple[tuple[int, int, str, str], ...]:
    """(pid, parent, state, command) of every process in a container's control group, read from this machine."""
    found: list[tuple[int, int, str, str]] = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit() or len(found) >= most:
            continue
        try:
            if container not in (folder / "cgroup").read_text():
                continue
            # The name stands in brackets and may hold anything: what counts comes after the last one.
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            with (folder / "cmdline").open("rb") as line:
                command = line.read(MOST_COMMAND).replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except (OSError, ValueError):
            continue
        found.append((int(folder.name), int(parent), state, command))
    return tuple(sorted(found))


def listening(container: str, first: int) -> tuple[str, ...] | None:
    """Where a container listens, read from this machine by the pid of its first process. None: cannot be seen."""
    try:
        if container not in (PROC / str(first) / "cgroup").read_text():
            return None
        tables = []
        for kind in KINDS:
            with (PROC / str(first) / "net" / kind).open() as table:
                tables.append(table.read(MOST_TABLE))
    except OSError:
        return None
    return read_ports("\n".join(tables))


def read_ports(tables: str) -> tuple[str, ...]:
    """The ports in the kernel's tables tcp, tcp6, udp, udp6, one after the other, each with its headline."""
    found: set[tuple[int, str]] = set()
    number = -1
    for line in tables.splitlines():
        words = line.split()
        if words[:1] == ["sl"]:
            number += 1
            continue
        if len(words) < 4 or not 0 <= number < len(KINDS):
            continue
        kind = KINDS[number][:3]
        address, _, port = words[1].partition(":")
        if words[3] == (_TCP_LISTEN if kind == "tcp" else _UDP_OPEN) and not _loopback(address):
            try:
                found.add((int(port, 16), kind))
            except ValueError:
                continue
    return tuple(f"{port}/{kind}" for port, kind in sorted(found)[:MOST_PORTS])


def _loopback(address: str) -> bool:
    """Is an address of the table 127.0.0.0/8, ::1 or the first mapped into IPv6? (Words in the machine's order.)"""
    if len(address) == 8:
        return address.endswith("7F")
    return address == "0" * 24 + "01000000" or (address.startswith("0" * 16 + "FFFF0000") and address.endswith("7F"))


def written_paths(changed: Iterable[str], mounts: Iterable[str]) -> tuple[str, ...]:
    """Of the changed paths those that a container wrote into its root: no parents, no mounts, nothing of the engine."""
    apart = (*_OWN_PATHS, *(mount.rstrip("/") for mount in mounts))
    paths = sorted(path for path in changed if not any(path == one or path.startswith(f"{one}/") for one in apart))
    parents = {str(parent) for path in (*paths, *apart) for parent in PurePosixPath(path).parents}
    return tuple(path for path in paths if path not in parents)[:MOST_WRITTEN]
