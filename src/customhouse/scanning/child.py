"""The processes that read hostile content: one that knows the readers, and a fork of it for each layer.

1. The first process is started clean: no database, no secrets, no environment but the path of modules. It waits for
   jobs on its standard input, a socket, and ends with it.
2. A job is a message of JSON and two descriptors: the bytes of the layer, and where the scan goes. A fork reads the
   one, writes the other and ends; nothing of one layer is left for the next.
3. A fork has limits that the kernel holds it to: memory, processor, time, no core, no file written.
4. Readers are named by the parent: constants of modules, or dataclasses with their values. Content names nothing.
(Framing: 4 bytes of length, big-endian, with the descriptors as SCM_RIGHTS, then the message.)
"""

import contextlib
import fcntl
import gc
import importlib
import io
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

import msgspec

from customhouse.oci.digest import Digest
from customhouse.oci.layer import scan_layer
from customhouse.oci.manifest import Descriptor
from customhouse.oci.reader import ContentReader, Prepared
from customhouse.oci.wants import Budget, Wants
from customhouse.scanning.wire import pack

LARGEST_JOB = 4 * 1024 * 1024
MOST_KNOWN = 16


class Limits(msgspec.Struct, frozen=True):
    """What one layer may cost: bytes of writable memory, seconds of processor, seconds on the clock. The latter two
    grow with the layer: `rate` is the stored bytes that are worth another second."""

    memory: int = 768 * 1024 * 1024
    processor: float = 60.0
    clock: float = 300.0
    rate: int = 1_000_000

    def of(self, size: int) -> "Limits":
        """For a layer of this size."""
        more = size / self.rate
        return Limits(self.memory, self.processor + more, self.clock + 2 * more, self.rate)


class Named(msgspec.Struct, frozen=True):
    """A reader: a constant of a module, or what stands at a place of it; with values, a dataclass there."""

    module: str
    name: str
    values: dict[str, str | int | float | bool | None] | None = None
    place: int | None = None


class Job(msgspec.Struct, frozen=True):
    """One layer to read."""

    digest: str
    size: int
    media_type: str
    patterns: tuple[str, ...]
    readers: tuple[Named, ...]
    budget: Budget
    limits: Limits


def main() -> None:
    """Wait for jobs and fork for each, until the parent is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the forks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=os.dup(0))
    turns = tempfile.TemporaryFile()  # noqa: SIM115  (held as long as the process)
    while True:
        head, descriptors, _, _ = socket.recv_fds(channel, 4, 2)
        length = int.from_bytes(head, "big")
        if len(head) < 4 or not 0 < length <= LARGEST_JOB or len(descriptors) != 2:
            return
        message = _receive(channel, length)
        if message is None:
            return
        job = msgspec.json.decode(message, type=Job)
        with contextlib.suppress(Exception):  # what cannot be found here fails in the fork, which says nothing then
            for reader in _wants(job.patterns, job.readers).readers:
                if isinstance(reader, Prepared):
                    reader.prepare()
            gc.freeze()
        if os.fork() == 0:
            channel.close()
            code = 1
            with contextlib.suppress(BaseException):
                _work(job, descriptors[0], descriptors[1], turns)
                code = 0
            os._exit(code)
        for descriptor in descriptors:
            os.close(descriptor)


def _receive(channel: socket.socket, length: int) -> bytes | None:
    parts = []
    while length:
        part = channel.recv(min(length, 65536))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _wants(patterns: tuple[str, ...], readers: tuple[Named, ...]) -> Wants:
    key = msgspec.json.encode((patterns, readers))
    if key not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = Wants(frozenset(patterns), tuple(_reader(reader) for reader in readers))
    return _known[key]


_known: dict[bytes, Wants] = {}


def _reader(named: Named) -> ContentReader:
    found = getattr(importlib.import_module(named.module), named.name)
    if named.values is not None:
        found = found(**named.values)
    elif named.place is not None:
        found = found[named.place]
    return cast(ContentReader, found)


def _work(job: Job, source: int, target: int, turns: IO[bytes]) -> None:
    _limit(job.limits)
    wants = _wants(job.patterns, job.readers)
    descriptor = Descriptor(job.media_type, Digest(job.digest), job.size)
    with io.FileIO(source) as stream:
        scan = scan_layer(cast(BinaryIO, stream), descriptor, wants, job.budget, turn=lambda: _turn(turns))
    raw = pack(scan)
    with io.FileIO(target, "wb") as out:
        view = memoryview(raw)
        while view:
            view = view[out.write(view) :]


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    processor = int(limits.processor) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    if sys.platform == "linux":  # private writable memory; elsewhere nothing counts it
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.clock)


@contextlib.contextmanager
def _turn(turns: IO[bytes]) -> Iterator[None]:
    """Large files are held by one fork at a time. The lock is the process's: it goes with it."""
    fcntl.lockf(turns, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(turns, fcntl.LOCK_UN)
