"""Several processes behind one address: sockets, forks, and starting again whoever died.

1. The parent binds and keeps the sockets, forks, waits, and does nothing else: it has no thread and no connection that
   a fork could tear. Each process takes connections from a socket of its own (SO_REUSEPORT shares them out); what waits
   there outlives the process, and the next one in its place answers it.
2. The first process does what must be done once (`Place.first`); the others begin when it is ready.
3. Whoever dies is started again, after a pause that grows while it dies young. One that cannot start at all ends them
   all, with its exit code.
4. SIGTERM or SIGINT to the parent ends each in its own orderly way. When the parent is gone, the others end themselves.
5. Numbers are counted by each and told as sums (`Board`), so that it does not matter who is asked; what a dead one had
   counted stays in them.
"""

import json
import logging
import mmap
import os
import signal
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from customhouse.errors import CustomhouseError

YOUNG_SECONDS, LONGEST_PAUSE = 10.0, 10.0
PAGE = 64 * 1024
ENDING = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger("customhouse.processes")
Counts = dict[tuple[str, str, str], int]
"""What was counted, under three names."""


class Board:
    """A page of shared memory for each process: its id and its counts. Make it before the fork."""

    def __init__(self, places: int) -> None:
        self._pages = [mmap.mmap(-1, PAGE) for _ in range(places)]
        self._posting = threading.Lock()

    def post(self, place: int, counts: Counts) -> None:
        """Say what this place has counted by now."""
        said = json.dumps([os.getpid(), [[*names, number] for names, number in counts.items()]]).encode()
        if len(said) <= PAGE - 8:
            with self._posting:
                self._pages[place][: len(said) + 8] = b"%b%b%b" % (
                    zlib.crc32(said).to_bytes(4, "big"), len(said).to_bytes(4, "big"), said,
                )  # fmt: skip

    def read(self, place: int) -> tuple[int, Counts]:
        """The process and its counts; (0, {}) where nothing was posted."""
        for _ in range(100):
            page = self._pages[place]
            head = page[:8]
            said = page[8 : 8 + int.from_bytes(head[4:], "big")]
            if said and zlib.crc32(said) == int.from_bytes(head[:4], "big"):
                process, counts = json.loads(said)
                return process, {(a, b, c): number for a, b, c, number in counts}
            if not said:
                break
            time.sleep(0.001)  # it is being written
        return 0, {}

    def sum(self) -> tuple[list[int], Counts]:
        """Every process, and all their counts."""
        found: Counts = {}
        processes = []
        for place in range(len(self._pages)):
            process, counts = self.read(place)
            processes += [process] if process else []
            for names, number in counts.items():
                found[names] = found.get(names, 0) + number
        return processes, found


@dataclass(frozen=True)
class Place:
    """What one process is given."""

    number: int
    socket: socket.socket
    board: Board
    ready: Callable[[], None]
    wake: Callable[[], None]
    """Tell the first process that there is something to do."""
    on_wake: Callable[[Callable[[], None]], None]
    """Of the first process: what is to be called then."""

    @property
    def first(self) -> bool:
        """Does this one do what must be done once?"""
        return self.number == 0


@dataclass
class _Child:
    number: int
    pid: int
    started: float
    ready: int


@dataclass
class _Crew:
    address: tuple[str, int]
    count: int
    act: Callable[[Place], int]
    announce: Callable[[], None]
    children: dict[int, _Child] = field(default_factory=dict)
    stopping: bool = False
    code: int = 0

    def run(self) -> int:
        sockets = _sockets(*self.address, self.count)
        board, alive, wake = Board(self.count), os.pipe(), os.pipe()
        os.set_blocking(wake[1], False)
        for number in ENDING:
            signal.signal(number, self._stop)

        def start(number: int) -> None:
            heard, say = os.pipe()
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
            pid = os.fork()
            if pid == 0:
                os.close(alive[1])
                os.close(heard)
                place = Place(
                    number, sockets[number], board, lambda: _say(say), lambda: _say(wake[1]),
                    lambda act: _watch(wake[0], act),
                )
                _child(place, alive[0], self.act)
            os.close(say)
            self.children[pid] = _Child(number, pid, time.monotonic(), heard)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

        start(0)
        if not (self._is_ready(0) and self._rest(start)):
            self._stop()
        else:
            self.announce()
        self._tend(start)
        return self.code

    def _rest(self, start: Callable[[int], None]) -> bool:
        for number in range(1, self.count):
            start(number)
        return all(self._is_ready(number) for number in range(1, self.count))

    def _is_ready(self, number: int) -> bool:
        child = next(each for each in self.children.values() if each.number == number)
        return os.read(child.ready, 1) != b""

    def _tend(self, start: Callable[[int], None]) -> None:
        pauses = dict.fromkeys(range(self.count), 0.0)
        while self.children:
            pid, status = os.wait()
            child = self.children.pop(pid, None)
            if child is None:
                continue
            os.close(child.ready)
            code = os.waitstatus_to_exitcode(status)
            if self.stopping:
                self.code = self.code or max(code, 0)
                continue
            _log.error("process %d (%d) ended with %d; another takes its place", child.number, pid, code)
            young = time.monotonic() - child.started < YOUNG_SECONDS
            pauses[child.number] = min(LONGEST_PAUSE, pauses[child.number] * 2 or 0.5) if young else 0.0
            deadline = time.monotonic() + pauses[child.number]
            while not self.stopping and time.monotonic() < deadline:
                time.sleep(0.05)
            if not self.stopping:
                start(child.number)

    def _stop(self, *_: object) -> None:
        self.stopping = True
        for pid in list(self.children):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue


def run(
    address: tuple[str, int], count: int, act: Callable[[Place], int], announce: Callable[[], None]
) -> int:
    """`act` in `count` processes until SIGTERM or SIGINT; returns the exit code. `announce` is called when all are
    ready. Raises OSError where the address cannot be had."""
    return _Crew(address, count, act, announce).run()


def _sockets(host: str, port: int, count: int) -> list[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:  # shared ports are shared with anybody of the same user: not with another hub
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        port = probe.getsockname()[1]
    made = []
    for _ in range(count):
        each = socket.socket(family)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.bind((host, port))
        made.append(each)
    for each in made:
        each.listen(2048)
        each.setblocking(False)
    return made


def _child(place: Place, alive: int, act: Callable[[Place], int]) -> None:
    """Never returns."""
    code = 1
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        # A byte never comes; the end of the pipe is the end of the parent.
        _watch(alive, lambda: None, lambda: os.kill(os.getpid(), signal.SIGTERM))
        code = act(place)
    except CustomhouseError as error:
        print(f"error: {error.message}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
    except BaseException:
        _log.exception("process %d failed", place.number)
    finally:
        os._exit(code)


def _watch(pipe: int, act: Callable[[], None], at_end: Callable[[], None] = lambda: None) -> None:
    def watch() -> None:
        while os.read(pipe, 4096):
            act()
        at_end()

    threading.Thread(target=watch, name="pipe", daemon=True).start()


def _say(pipe: int) -> None:
    try:
        os.write(pipe, b".")
    except BlockingIOError:
        return  # it is full of calls that were not heard yet
