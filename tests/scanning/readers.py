"""Readers that do what no reader should; each is a constant, so that a child finds it."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from customhouse.oci.entry import FileEntry
from customhouse.oci.reader import JSON


class Words:
    """What a good one does."""

    name, version, limit = "words", 1, 64 * 1024 * 1024

    def wants(self, file: FileEntry) -> bool:
        return file.path.endswith(".txt")

    def read(self, path: str, body: bytes) -> Iterator[JSON]:
        if body.startswith(b"fail"):
            raise ValueError("no text")
        yield from body[:100].decode().split()


class Hostile(Words):
    """Does what its files say."""

    name = "hostile"

    def read(self, path: str, body: bytes) -> Iterator[JSON]:
        if body == b"crash":
            os.abort()
        if body == b"hang":
            time.sleep(600)
        if body == b"spin":
            while True:
                pass
        if body == b"eat":
            held = []
            while True:
                held.append(bytes(16 * 1024 * 1024))
        if body == b"look":
            yield sorted(os.environ)
            yield sorted(os.listdir("/proc/self/fd"), key=int)
        if body == b"write":
            with open("/tmp/customhouse-escaped", "w") as out:
                out.write("bytes")
        if body == b"surrogate":
            yield "\udc80"
        yield body[:20].decode()


@dataclass(frozen=True)
class Counted:
    """One with a value that an operator gives."""

    letter: str
    name: str = "counted"
    version: int = 1
    limit: int = 1000

    def wants(self, file: FileEntry) -> bool:
        return True

    def read(self, path: str, body: bytes) -> Iterator[JSON]:
        yield body.count(self.letter.encode())


WORDS, HOSTILE = Words(), Hostile()


class Preparing:
    """Tells which process prepared it and which one reads."""

    name, version, limit = "preparing", 1, 1024

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared = os.getpid()

    def wants(self, file: FileEntry) -> bool:
        return True

    def read(self, path: str, body: bytes) -> Iterator[JSON]:
        yield from (self.prepared, os.getpid())


PREPARING = Preparing()
