"""Backups that are taken while a hub works, and moves that are cut: nothing is lost, and clients go on.

What an operator types is typed: `sqlite3 .backup`, `pg_dump`, `cp`, `customhouse storage`.
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from customhouse.testing.images import BuiltImage
from customhouse.transport import Tls, Transport
from customhouse.trust.client import Anchor, TrustClient
from customhouse.trust.names import Gun, RoleName
from customhouse.trust.verify import TrustedRepository, TrustError
from tests.hub_process import HubProcess
from tests.peers.postgresql import PostgreSQL
from tests.publisher import Publisher, filler, image

PROGRAM = str(Path(sys.executable).with_name("customhouse"))


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ch-backup-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


class World:
    """A hub with a publisher and a consumer, who remembers what he saw."""

    def __init__(self, folder: Path, database: str = "") -> None:
        self.folder = folder
        self.hub = HubProcess(folder / "data", settings={"database": database} if database else {})
        self.hub.start()
        self.publisher = Publisher(self.hub, folder / "keys")
        self.publisher.enrol()
        bundle = self.hub.api("GET", "/api/v1/trust/bundle")
        self.root = str(bundle["roots"][0]["key_id"])
        self.built: dict[str, BuiltImage] = {}
        self.seen: dict[RoleName, int] | None = None

    def release(self, tag: str) -> None:
        self.built[tag] = image(tag, more=(filler(200_000, tag),))
        self.publisher.release("web", tag, self.built[tag])

    def official(self, tag: str, *states: str) -> None:
        self.hub.wait_for(f"staging/acme/web:{tag}", *(states or ("published",)), seconds=60)

    def look(self) -> TrustedRepository:
        """As a consumer who pinned the hub's root, and never goes back behind what he saw."""
        transport = Transport(self.hub.url, tls=Tls(ca_file=self.hub.ca))
        try:
            anchor = Anchor(enrolled=frozenset({self.root}), seen=self.seen)
            found = TrustClient(transport).fetch(
                Gun.parse(f"{self.hub.host}/acme/web"), anchor, datetime.now(UTC)
            )
        finally:
            transport.close()
        self.seen = dict(found.versions)
        return found

    def settled(self) -> None:
        """Every submission that was under way is begun again, and ends."""
        deadline = time.monotonic() + 60
        states = {"received"}
        while states - {"published", "superseded"}:
            assert time.monotonic() < deadline, states
            listed = self.hub.api("GET", "/api/v1/submissions?limit=1000")["submissions"]
            states = {item["state"] for item in listed}
            time.sleep(0.2)

    def typed(self, *arguments: str, code: int | None = 0, database: str = "", **more: str) -> dict[str, Any]:
        environment = self.hub.environment(**({"database": database} if database else {}))
        done = subprocess.run(
            [PROGRAM, *arguments, "--json"], capture_output=True, text=True, timeout=90, env={**environment, **more}
        )
        assert code in (None, done.returncode), (arguments, done.stdout, done.stderr)
        return dict(json.loads(done.stdout)) if done.stdout else {}

    def pull_all(self, trusted: TrustedRepository) -> None:
        from customhouse.registry.client import RegistryClient

        transport = Transport(self.hub.url, tls=Tls(ca_file=self.hub.ca))
        try:
            for name, tag in trusted.tags.items():
                client = RegistryClient(transport)
                assert client.manifest("acme/web", name).digest == tag.digest
                for digest in self.built[name].blobs:
                    client.blob("acme/web", digest)
        finally:
            transport.close()

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Pushes, publications and deletions, without a pause."""
        over, failed = threading.Event(), list[BaseException]()

        def work() -> None:
            try:
                for number in range(1000):
                    if over.is_set():
                        return
                    self.release(f"t{number}")
                    self.publisher.push("scratch", f"s{number}", image(f"scratch {number}"))
                    if number:
                        self.publisher.delete_manifest("scratch", str(image(f"scratch {number - 1}").digest))
            except BaseException as error:
                failed.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield
        finally:
            over.set()
            worker.join()
        assert not failed, failed


def back_up(world: World, database: str, target: Path) -> None:
    """Rows first, bytes after: whatever comes between is in the bytes only."""
    target.mkdir()
    if database:
        dump = database.replace("postgresql+psycopg", "postgresql")
        subprocess.run(["pg_dump", "--format=custom", f"--file={target / 'hub.dump'}", dump], check=True)
    else:
        copy = f".backup '{target / 'hub.db'}'"
        subprocess.run(["sqlite3", str(world.hub.data / "hub.db"), copy], check=True)
    time.sleep(1)  # the copy of a large store takes long; here the hub's own work does
    for name in ("blobs", "keys", "tls", "master-key"):
        subprocess.run(["cp", "-a", str(world.hub.data / name), str(target / name)], check=True)


def bring_back(world: World, database: str, source: Path) -> None:
    shutil.rmtree(world.hub.data)
    shutil.copytree(source, world.hub.data)
    if database:
        restored = database.replace("postgresql+psycopg", "postgresql")
        subprocess.run(["pg_restore", f"--dbname={restored}", str(source / "hub.dump")], check=True)
        world.hub.settings["database"] = database
    world.hub.sessions.clear()


def notary(world: World) -> str:
    """What Debian's client says about the official repository, with its cache of earlier readings."""
    command = [
        "notary", "-s", world.hub.url, "-d", str(world.folder / "notary"), "--tlscacert", str(world.hub.ca),
        "list", f"{world.hub.host}/acme/web",
    ]
    home = {"HOME": str(world.folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=home, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
@pytest.mark.needs("sqlite3", "notary")
def test_a_backup_taken_at_work_is_restored_whole_and_clients_believe_it_again(
    engine: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    server: PostgreSQL | None = request.getfixturevalue("postgres") if engine == "postgresql" else None
    world = World(folder, server.url() if server else "")
    hub = world.hub
    try:
        world.release("1")
        world.official("1")
        with world.traffic():
            time.sleep(1)
            back_up(world, hub.settings.get("database", ""), folder / "backup")
            time.sleep(1)
        world.release("after")
        world.official("after")
        newest = world.look()
        assert "after" in notary(world), "a client of docker's, with a cache"
        assert hub.stop() == 0
        bring_back(world, server.url() if server else "", folder / "backup")
        database = hub.settings.get("database", "")
        # No tag without its bytes, no byte lost.
        assert world.typed("storage", "verify", "--data", str(hub.data), database=database)["sound"]
        assert world.typed("doctor", "--data", str(hub.data), "--rehash", database=database)["sound"]
        # It is behind what the consumer saw, and he says so; then it goes ahead.
        hub.start()
        with pytest.raises(TrustError, match="older"):
            world.look()
        assert "is lower than current version" in notary(world)
        assert hub.stop() == 0
        done = world.typed("storage", "restored", "--data", str(hub.data), database=database)
        assert f"{hub.host}/acme/web" in done["repositories"]
        hub.start()
        restored = world.look()
        assert "targets/customhouse" in notary(world) and "lower" not in notary(world)
        assert restored.versions[RoleName.parse("timestamp")] > newest.versions[RoleName.parse("timestamp")]
        assert "1" in restored.tags and "after" not in restored.tags
        world.pull_all(restored)
        # What was under way goes on, what was lost is pushed again, and nothing is broken.
        world.settled()
        world.release("after")
        world.official("after")
        world.pull_all(world.look())
        assert hub.doctor() == []
    finally:
        hub.close()


def test_a_move_that_is_cut_again_and_again_ends_whole(folder: Path) -> None:
    """The export while the hub works, the import into another place; each killed at several moments first."""
    world = World(folder)
    hub = world.hub
    try:
        world.release("1")
        world.official("1")
        made, key = str(folder / "export"), str(folder / "data" / "master-key")

        def cut(*arguments: str) -> None:
            for seconds in (0.5, 0.8, 1.1):
                process = subprocess.Popen(
                    [PROGRAM, *arguments], env=hub.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
                process.wait()

        with world.traffic():
            time.sleep(1)
            cut("storage", "export", made, "--data", str(hub.data))
            told = world.typed("storage", "export", made, "--data", str(hub.data))
        assert told["blobs"] > 0 and not told["damaged"]
        hub.stop()
        target = str(folder / "new" / "data")
        cut("storage", "import", made, "--data", target, "--master-key-file", key)
        arguments = ("storage", "import", made, "--data", target, "--master-key-file", key)
        told = world.typed(*arguments, code=None)
        assert told.get("breaks") == [] or "there is a hub already" in told["error"]["message"], told
        hub.data = Path(target)
        hub.sessions.clear()
        hub.start()
        trusted = world.look()
        assert "1" in trusted.tags
        world.pull_all(trusted)
        world.settled()
        world.release("goes-on")
        world.official("goes-on")
        # Of the running hub, by its API.
        hub.api("GET", "/api/v1/whoami")
        session = next(iter(hub.sessions.values()))
        told = world.typed(
            "storage", "verify", "--url", hub.url, CUSTOMHOUSE_TOKEN=session, CUSTOMHOUSE_CA_FILE=str(hub.ca)
        )
        assert told["sound"] and told["items"] > 0
        assert hub.doctor() == []
        # Altered bytes are named, thrown away when that is wanted, and come back as the remedy says.
        assert hub.stop() == 0
        config = world.built["1"].config_raw
        damaged = hub.data / "blobs" / "sha256" / sha256(config).hexdigest()[:2] / sha256(config).hexdigest()
        damaged.chmod(0o600)
        damaged.write_bytes(config[:-1] + b"!")
        stopped = ("storage", "verify", "--data", str(hub.data))
        assert "--discard" in world.typed(*stopped, "--rate", "100", code=1)["breaks"][0]["remedy"]
        assert world.typed(*stopped, "--after", "manifest:")["sound"], "it went on behind the blobs"
        remedy = world.typed(*stopped, "--discard", code=1)["breaks"][0]["remedy"]
        assert "push staging/acme/web:1 again" in remedy
        assert world.typed("storage", "verify", "--url", hub.url, "--insecure", code=3)["exit_code"] == 3
        hub.start()
        world.publisher.push("web", "1", world.built["1"])
        world.pull_all(world.look())
        assert hub.doctor() == []
    finally:
        hub.close()


