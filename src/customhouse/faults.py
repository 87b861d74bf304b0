"""Named places between two steps of a write, where a test can make the process die or stand still.

1. `point(name)` does nothing unless `arm` was called; the hub arms it from its settings, tests only.
2. An armed point kills the process with SIGKILL: no handler runs, no buffer is flushed, as in a power cut.
3. `name:N` dies at the N-th passage, so that a loop can be cut in its middle.
4. `@FILE` takes the orders from a file that may change while the hub runs, one a line: `kill NAME[:N]`, or
   `hold NAME[:N]` to stand there until the line is gone. Each passage is written to FILE.passed, so that a test knows
   which points a scenario goes through.
"""

import os
import signal
import threading
import time
from pathlib import Path

_armed: dict[str, int] = {}


class _Orders:
    """The orders of a file, and how often each was met since it was written."""

    def __init__(self, file: Path) -> None:
        self._file, self._passed = file, file.with_name(file.name + ".passed")
        self._lock = threading.Lock()
        self._met: dict[str, int] = {}

    def follow(self, name: str) -> None:
        with self._lock:
            descriptor = os.open(self._passed, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(descriptor, f"{name}\n".encode())
            os.close(descriptor)
            lines = self._lines()
            self._met = {line: count for line, count in self._met.items() if line in lines}
            due = ""
            for line in lines:
                action, place, *_ = line.split()
                wanted, _, count = place.partition(":")
                if wanted == name:
                    self._met[line] = self._met.get(line, 0) + 1
                    if self._met[line] == int(count or "1"):
                        due = line
                        if action == "kill":
                            os.kill(os.getpid(), signal.SIGKILL)
        while due and due in self._lines():
            time.sleep(0.01)

    def _lines(self) -> list[str]:
        try:
            return [line for line in self._file.read_text().splitlines() if line.strip()]
        except FileNotFoundError:
            return []


_orders: list[_Orders] = []


def arm(spec: str) -> None:
    """Arm a point, given as "name", "name:N" or "@FILE"; an empty text disarms all of them."""
    _armed.clear()
    _orders.clear()
    if spec.startswith("@"):
        _orders.append(_Orders(Path(spec[1:])))
    elif spec:
        name, _, count = spec.partition(":")
        _armed[name] = int(count or "1")


def point(name: str) -> None:
    """Die here if this point is armed and its count is used up."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
    for orders in _orders:
        orders.follow(name)
