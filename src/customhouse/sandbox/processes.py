"""Stopping every process of a container, and letting it go on: the mutation that tells a real health-check.

1. From the host, by pid, so that workers and wrapped services stop too; the engine's own `kill` reaches PID 1 only.
2. Never a stranger: each pid is pinned by a pidfd and must lie in the container's control group *after* it was
   pinned. A hub that may not signal, or that sees other pids than the engine (remote, its own pid namespace),
   stops PID 1 through the engine instead and says so.
3. Processes that the engine placed beside the service (a probe under way) are not stopped: only PID 1 of the
   container and its descendants are, as the parent column of `top` shows.
"""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

PROC = Path("/proc")
ROUNDS = 3


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
