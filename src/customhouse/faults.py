"""Named places between two steps of a write, where a test can make the process die.

1. `point(name)` does nothing unless `arm(name)` was called; the hub arms it from its settings, tests only.
2. An armed point kills the process with SIGKILL: no handler runs, no buffer is flushed, as in a power cut.
3. `name:N` dies at the N-th passage, so that a loop can be cut in its middle.
"""

import os
import signal

_armed: dict[str, int] = {}


def arm(spec: str) -> None:
    """Arm a point, given as "name" or "name:N"; an empty text disarms all of them."""
    _armed.clear()
    if spec:
        name, _, count = spec.partition(":")
        _armed[name] = int(count or "1")


def point(name: str) -> None:
    """Die here if this point is armed and its count is used up."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
