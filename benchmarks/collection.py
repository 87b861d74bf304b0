"""Garbage collection of many unreachable blobs, alone and beside pushes, on SQLite and on PostgreSQL.

1. The floor is what the same files, in the same folders, take to unlink one by one, and nothing else.
2. The rate of pushes is measured before and during the collection, by a client of the service in another process, which
   stores a blob and a manifest each time.
3. Collected alone it goes as fast as it can; beside pushes at the pace of a hub that serves, for a while only.
"""

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from sqlalchemy import insert
from tests.peers.postgresql import PostgreSQL

import customhouse.hub  # noqa: F401  declares every table
from benchmarks.measure import seconds, table
from benchmarks.servers import Bench
from customhouse import migrations
from customhouse.audit import Audit
from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.hub import SWEEP_PACE
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.service import RegistryService
from customhouse.registry.store import RegistryStore, tables
from customhouse.registry.sweep import Swept
from customhouse.settings import system_clock

CONFIG = b'{"os":"linux","architecture":"amd64"}'


def service(url: str, root: Path) -> RegistryService:
    database = Database(url)
    return RegistryService(RegistryStore(database), FileBlobs(root), Audit(database), system_clock)


def fill(registry: RegistryService, root: Path, count: int, salt: str) -> None:
    """Unreachable blobs that are a week old: files, and rows as deletions left them."""
    old = datetime.now(UTC) - timedelta(days=7)
    digests = []
    for number in range(count):
        content = f"{salt} {number}".encode()
        digest = sha256(content).hexdigest()
        file = root / "sha256" / digest[:2] / digest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        digests.append(f"sha256:{digest}")
    row = {"size": 20, "stored_at": old, "loose_since": old}
    with registry.store.write() as tx:
        tx.execute(insert(tables.blob), [{"digest": digest, **row} for digest in digests])
    os.sync()


def unlinked(root: Path, count: int) -> float:
    """Seconds to unlink as many files of the same kind."""
    files = []
    for number in range(count):
        name = sha256(f"floor {number}".encode()).hexdigest()
        file = root / name[:2] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"floor")
        files.append(file)
    os.sync()
    began = time.monotonic()
    for file in files:
        file.unlink()
    return time.monotonic() - began


def push(url: str, root: Path) -> None:
    """Push for ever; a line for each push."""
    registry, number = service(url, root), 0
    while True:
        number += 1
        layer = f"{os.getpid()} {number}".encode()
        for content in (CONFIG, layer):
            name = registry.uploads.begin("staging/acme/bench")
            upload = registry.uploads.resume("staging/acme/bench", name)
            upload.write(content)
            registry.uploads.finish("staging/acme/bench", name, upload, Digest.of(content))
        document = {
            "schemaVersion": 2, "mediaType": m.OCI_MANIFEST, "config": _about(CONFIG, m.OCI_CONFIG),
            "layers": [_about(layer, m.OCI_LAYER)],
        }  # fmt: skip
        registry.push_manifest("staging/acme/bench", "1", json.dumps(document).encode(), None)
        os.write(1, b".")


def _about(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


class Pushes:
    """A client in a process of its own; `rate` counts since it was asked last."""

    def __init__(self, url: str, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.collection", url, str(root)], stdout=subprocess.PIPE
        )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._began = time.monotonic()

    def rate(self) -> float:
        assert self._process.stdout
        count = len(self._process.stdout.read() or b"")
        began, self._began = self._began, time.monotonic()
        return count / (self._began - began)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def collection(bench: Bench, options: Namespace) -> None:
    """Seconds to collect them, and pushes/s meanwhile."""
    server = PostgreSQL(bench.folder / "postgresql", durable=True)
    try:
        for name, url in (("SQLite", f"sqlite:///{bench.folder}/collected.db"), ("PostgreSQL", server.url())):
            _measure(name, url, bench.folder / f"collected-{name}", options.unreachable, options.beside)
    finally:
        server.stop()


def _measure(name: str, url: str, folder: Path, count: int, most: float) -> None:
    migrations.upgrade(Database(url))
    root = folder / "blobs"
    registry = service(url, root)
    floor = unlinked(folder / "floor", count)
    fill(registry, root, count, "alone")
    swept: list[Swept] = []
    alone = seconds(lambda: swept.append(registry.sweep(datetime.now(UTC))))
    assert swept[0].blobs == count, swept
    table(f"GC of {count:,} unreachable blobs, {name}", "s", {"customhouse": [alone], "unlink alone": [floor]})
    fill(registry, root, count, "beside")
    pushes = Pushes(url, root)
    try:
        time.sleep(3)
        pushes.rate()
        time.sleep(most / 2)
        before = pushes.rate()
        began, blobs = time.monotonic(), 0
        more = True
        while more and time.monotonic() - began < most:
            done = registry.sweep(datetime.now(UTC), shards=(0, 1), pace=SWEEP_PACE)
            more, blobs = done.more, blobs + done.blobs
        took, during = time.monotonic() - began, pushes.rate()
        time.sleep(most / 2)
        after = pushes.rate()
    finally:
        pushes.stop()
    rates = {"during GC": [during], "without": [before, after]}
    told = f"{during * 2 / (before + after):.2f} of the rate without; {blobs / took:.0f} blobs/s collected"
    table(f"pushes beside GC of {count:,} unreachable blobs, {name}", "pushes/s", rates, [("during GC", told)])


if __name__ == "__main__":
    push(sys.argv[1], Path(sys.argv[2]))
