"""Garbage collection of many unreachable blobs, beside pushes: `python -m benchmarks.collection [BLOBS] [postgresql]`.

1. The floor is what the same files take to unlink one by one, and nothing else.
2. The rate of pushes is measured before and during the collection, by a client of the service in another process, which
   stores a blob and a manifest each time.
3. Collected alone it goes as fast as it can; beside pushes at the pace of a hub that serves.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from sqlalchemy import insert

import customhouse.hub  # noqa: F401  declares every table
from customhouse import migrations
from customhouse.audit import Audit
from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.hub import SWEEP_PACE
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.collector import Pace
from customhouse.registry.service import RegistryService
from customhouse.registry.store import RegistryStore, tables
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
            [sys.executable, "-m", "benchmarks.collection", "push", url, str(root)], stdout=subprocess.PIPE
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


def measure(url: str, folder: Path, count: int, pace: Pace = SWEEP_PACE) -> dict[str, float]:
    migrations.upgrade(Database(url))
    root = folder / "blobs"
    registry = service(url, root)
    floor = unlinked(folder / "floor", count)
    fill(registry, root, count, "alone")
    began = time.monotonic()
    swept = registry.sweep(datetime.now(UTC))
    alone = time.monotonic() - began
    assert swept.blobs == count, swept
    fill(registry, root, count, "beside")
    pushes = Pushes(url, root)
    time.sleep(3)
    pushes.rate()
    time.sleep(5)
    before = pushes.rate()
    began = time.monotonic()
    while registry.sweep(datetime.now(UTC), shards=(0, 1), pace=pace).more:
        pass
    beside = time.monotonic() - began
    during = pushes.rate()
    pushes.stop()
    return {
        "blobs": count, "unlink_s": floor, "alone_s": alone, "beside_pushes_s": beside, "pushes_before": before,
        "pushes_during": during, "pushes_kept": during / before,
    }  # fmt: skip


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["push"]:
        push(arguments[1], Path(arguments[2]))
        return
    count = int(arguments[0]) if arguments else 100_000
    with tempfile.TemporaryDirectory() as folder:
        if "postgresql" in arguments:
            from tests.peers.postgresql import PostgreSQL

            server = PostgreSQL(Path(folder) / "pg")
            try:
                print(json.dumps(measure(server.url(), Path(folder), count), indent=1))
            finally:
                server.stop()
        else:
            print(json.dumps(measure(f"sqlite:///{folder}/hub.db", Path(folder), count), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
