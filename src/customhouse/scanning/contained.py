"""Layers read in other processes and kept by their digest: the Scanner of the hub and of `customhouse check`.

1. A child that crashes, hangs, or goes beyond its limits is damage of the layer it read: checks cannot evaluate it, and
   nothing passes because of it. The hub goes on.
2. Several layers are read at once, a few ahead of the one that is admitted; what is admitted is the same as when they
   are read one after the other.
3. A child gets the blob's descriptor when the blob is a plain file, else a pipe that this process fills.
4. A scan from the cache stands for the bytes of the digest. With `rehash` the stored bytes are hashed all the same,
   for content that nobody hashed as it came; without, the store behind `content` answers for them (ADR 0016).
"""

import functools
import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from customhouse.errors import CustomhouseError
from customhouse.oci.layer import LayerScan
from customhouse.oci.manifest import Descriptor
from customhouse.oci.reader import ContentReader
from customhouse.oci.scanner import Account, Content, Layers
from customhouse.oci.wants import Budget, Wants
from customhouse.scanning.cache import ScanCache
from customhouse.scanning.child import Job, Limits, Named
from customhouse.scanning.wire import LARGEST, Torn, unpack

MOST_AT_ONCE = 4
GRACE = 10.0  # seconds after which a child that outlives its own alarm is killed with all the others
_PIECE = 1024 * 1024
_TICK = 0.1
_CODE = "from customhouse.scanning.child import main; main()"


class UnknownReader(CustomhouseError):
    """A reader that a child process cannot find."""


@dataclass(frozen=True)
class Progress:
    """How far the reading of one image is: bytes as stored, layers that are read."""

    done: int
    total: int
    layers: int
    of_layers: int


Report = Callable[[Progress], None]


class ContainedScanner:
    """Reads layers apart. Safe for several threads; processes begin with the first layer that is in no cache."""

    def __init__(
        self, cache: ScanCache | None = None, *, rehash: bool = True, limits: Limits | None = None, at_once: int = 0,
        report: Report | None = None,
    ) -> None:
        self._cache, self._rehash, self._limits, self._report = cache, rehash, limits or Limits(), report
        self._at_once = at_once or min(os.cpu_count() or 1, MOST_AT_ONCE)
        self._children = _Children()

    def __call__(self, content: Content, layers: Layers, wants: Wants, account: Account) -> Iterator[LayerScan]:
        """See oci.scanner.Scanner. Raises UnknownReader."""
        names = tuple(reference(reader) for reader in wants.readers)
        counter = _Counter(self._report, [descriptor.size for _, descriptor in layers])
        waiting = deque(enumerate(layers))
        running: deque[Future[LayerScan]] = deque()
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="layer") as pool:
            try:
                while waiting or running:
                    while waiting and len(running) <= self._at_once:
                        number, (position, descriptor) = waiting.popleft()
                        tell = functools.partial(counter.tell, number)
                        work = (content, descriptor, position, wants, names, account.allowance(), tell)
                        running.append(pool.submit(self._layer, *work))
                    yield account.admit(running.popleft().result())
            finally:
                for future in running:
                    future.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; another layer would start them again."""
        self._children.end()

    def _layer(
        self, content: Content, descriptor: Descriptor, position: int, wants: Wants, names: tuple[Named, ...],
        budget: Budget, tell: Callable[[int], None],
    ) -> LayerScan:
        found = self._cache.find(descriptor, wants, budget, position) if self._cache else None
        if found is not None and self._stands(content, descriptor, tell):
            tell(descriptor.size)
            return found
        limits = self._limits.of(descriptor.size)
        patterns = tuple(sorted(wants.patterns))
        job = Job(str(descriptor.digest), descriptor.size, descriptor.media_type, patterns, names, budget, limits)
        with content(descriptor.digest) as stream:
            raw = self._children.read(stream, job, tell)
        tell(descriptor.size)
        try:
            scan = unpack(raw, descriptor, position)
        except Torn:
            why = "reading it ended the process that read it: it took too much memory or time, or broke a reader"
            return LayerScan(descriptor, None, None, 0, 0, damage=why, complete=False)
        if self._cache:
            self._cache.keep(scan, wants, budget, bytes(raw))
        return scan

    def _stands(self, content: Content, descriptor: Descriptor, tell: Callable[[int], None]) -> bool:
        """Are the stored bytes those that the scan was made of?"""
        with content(descriptor.digest) as stream:
            if not self._rehash:
                file = _plain_file(stream)
                return file is None or os.fstat(file).st_size == descriptor.size
            hasher, done = descriptor.digest.hasher(), 0
            buffer = bytearray(_PIECE)
            while count := stream.readinto(buffer):  # type: ignore[attr-defined]  # every binary stream has it
                hasher.update(memoryview(buffer)[:count])
                done += count
                tell(done)
            return done == descriptor.size and hasher.hexdigest() == descriptor.digest.hex


def kept_in(folder: Path, gigabytes: int) -> ContainedScanner:
    """The hub's scanner: its blobs were hashed as they came."""
    return ContainedScanner(ScanCache(folder, gigabytes * 10**9) if gigabytes else None, rehash=False)


class _Counter:
    """Progress of several layers at once."""

    def __init__(self, report: Report | None, sizes: Sequence[int]) -> None:
        self._report, self._sizes, self._done, self._lock = report, sizes, [0] * len(sizes), threading.Lock()

    def tell(self, number: int, done: int) -> None:
        """So many bytes of this layer are read."""
        if self._report is None:
            return
        with self._lock:
            self._done[number] = max(self._done[number], min(done, self._sizes[number]))
            whole = sum(done == size for done, size in zip(self._done, self._sizes, strict=True))
            self._report(Progress(sum(self._done), sum(self._sizes), whole, len(self._sizes)))


class _Children:
    """The process that forks for each layer (child.py), started when it is needed and again when it is lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def read(self, stream: BinaryIO, job: Job, tell: Callable[[int], None]) -> bytearray:
        """What a child says of this content; cut off, or nothing, when it was lost. Raises OSError from `stream`."""
        result, out = os.pipe()
        with _Supply(stream) as supply:
            try:
                process = self._send(job, supply.descriptor, out)
            finally:
                os.close(out)
            supply.begin()
            try:
                said = self._hear(process, result, job, supply, tell)
            finally:
                os.close(result)
        if supply.failed is not None:
            raise supply.failed
        return said

    def end(self) -> None:
        with self._lock:
            self._stop()

    def _hear(
        self, process: subprocess.Popen[bytes], result: int, job: Job, supply: "_Supply", tell: Callable[[int], None]
    ) -> bytearray:
        said = bytearray()
        last = time.monotonic() + job.limits.clock + GRACE
        while len(said) <= LARGEST:
            if select.select([result], [], [], _TICK)[0]:
                piece = os.read(result, _PIECE)
                if not piece:
                    return said
                said += piece
            elif time.monotonic() > last:
                break
            tell(supply.position())
        with self._lock:
            if self._process is process:
                self._stop()
        return bytearray()

    def _send(self, job: Job, source: int, out: int) -> subprocess.Popen[bytes]:
        message = msgspec.json.encode(job)
        with self._lock:
            for again in (False, True):
                process, channel = self._started()
                try:
                    socket.send_fds(channel, [len(message).to_bytes(4, "big")], [source, out])
                    channel.sendall(message)
                    return process
                except OSError:
                    self._stop()
                    if again:
                        raise
        raise AssertionError("unreachable")

    def _started(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if self._process is None or self._channel is None or self._process.poll() is not None:
            self._stop()
            ours, theirs = socket.socketpair()
            path = os.pathsep.join(str(Path(folder).resolve()) for folder in sys.path)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _CODE], stdin=theirs.fileno(), stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, env={"PYTHONPATH": path, "LC_ALL": "C.UTF-8"}, cwd="/",
                    start_new_session=True,
                )  # fmt: skip
            self._channel = ours
        return self._process, self._channel

    def _stop(self) -> None:
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if process is not None:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # with every fork: it leads a group of its own
            except (ProcessLookupError, PermissionError):
                pass
            process.wait()


class _Supply:
    """How the bytes of a stream come to a child: its own descriptor, or a pipe that a thread fills."""

    def __init__(self, stream: BinaryIO) -> None:
        self.failed: Exception | None = None
        self._stream, self._done = stream, 0
        self._thread: threading.Thread | None = None
        file = _plain_file(stream)
        self._file = file
        if file is not None:
            self.descriptor, self._filling = file, -1
        else:
            self.descriptor, self._filling = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is None:
            if self._thread is None:
                os.close(self._filling)
                self._close_reading()
            else:
                self._thread.join()

    def begin(self) -> None:
        """The child has its end."""
        if self._file is None:
            self._close_reading()
            self._thread = threading.Thread(target=self._fill, name="layer content")
            self._thread.start()

    def position(self) -> int:
        """Bytes that the child took."""
        return self._done if self._file is None else os.lseek(self._file, 0, os.SEEK_CUR)

    def _close_reading(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _fill(self) -> None:
        with io.FileIO(self._filling, "wb") as pipe:
            while True:
                try:
                    piece = self._stream.read(_PIECE)
                except Exception as error:  # the store's failure, told to who reads the layer
                    self.failed = error
                    return
                if not piece:
                    return
                view = memoryview(piece)
                try:
                    while view:
                        count = pipe.write(view)
                        self._done += count
                        view = view[count:]
                except OSError:  # the child is gone
                    return


def _plain_file(stream: BinaryIO) -> int | None:
    """The descriptor of a stream that is a whole file at its begin, and nothing else."""
    raw = stream.raw if isinstance(stream, io.BufferedReader) else stream
    if isinstance(raw, io.FileIO) and stream.tell() == 0:
        return raw.fileno()
    return None


def reference(reader: ContentReader) -> Named:
    """How a child finds a reader: a constant of a module, perhaps a tuple of them, or a dataclass and its
    plain values. Raises UnknownReader for any other."""
    own, kind = type(reader).__module__, type(reader).__qualname__
    if is_dataclass(reader) and kind.isidentifier():
        given = {field.name: getattr(reader, field.name) for field in fields(reader)}
        if all(isinstance(value, str | int | float | bool | None) for value in given.values()):
            return Named(own, kind, given)
    for name in (own, *sorted(name for name in sys.modules if name != own and name != "__main__")):
        found = vars(sys.modules[name]) if name in sys.modules else {}
        for constant, value in tuple(found.items()):
            if value is reader:
                return Named(name, constant)
            if isinstance(value, tuple):
                for place, one in enumerate(value):
                    if one is reader:
                        return Named(name, constant, place=place)
    raise UnknownReader(f"the reader {reader.name} is no constant of a module", hint="Name it where it is defined.")
