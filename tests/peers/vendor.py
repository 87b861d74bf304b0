"""A vendor's site: Debian's docker-registry and notary-server, and a vendor who pushes and signs there.

`clock` and `hub` are fixtures: the hub's rooms beside it, at the real time. A test package takes them with
`from tests.peers.vendor import clock, hub`.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.db import Database
from customhouse.registry.client import RegistryClient
from customhouse.testing.images import BuiltImage
from customhouse.transport import Credentials, Tls, Transport
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.names import Gun
from customhouse.trust.publish import TrustPublisher
from tests.conftest import Clock
from tests.peers.certificates import LoopbackCertificate
from tests.peers.servers import Peer, docker_registry, notary_server
from tests.rooms import Rooms

USER, SECRET = "hub-at-vendor", "vendor-password"
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuu0WDT5E/iTCwIyfg1DrCPcl7FodYsILW"
PASSPHRASE = "a passphrase"


@dataclass
class Vendor:
    """`folder` survives a restart of the registry; the trust server keeps all in memory."""

    folder: Path
    tls: LoopbackCertificate
    login: bool = False
    delete: bool = True
    registry: Peer = field(init=False)
    notary: Peer = field(init=False)

    def __post_init__(self) -> None:
        self.start_registry()
        self.start_notary()
        self.keys = KeyDirectory(self.folder / "trust", lambda role, key, new: PASSPHRASE.encode())

    def start_registry(self, port: int = 0) -> None:
        extra = f"  tls: {{certificate: {self.tls.certificate}, key: {self.tls.key}}}\n"
        if self.login:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "htpasswd").write_text(HTPASSWD + "\n")
            extra += f"auth:\n  htpasswd: {{realm: vendor, path: {self.folder / 'htpasswd'}}}\n"
        self.registry = docker_registry(self.folder, extra, port=port, delete=self.delete)

    def start_notary(self, port: int = 0) -> None:
        self.notary = notary_server(self.folder, self.tls, port=port)

    def restart_notary(self) -> None:
        self.notary.stop()
        self.start_notary(self.notary.port)

    def close(self) -> None:
        self.registry.stop()
        self.notary.stop()

    @property
    def ca(self) -> str:
        return self.tls.ca.read_text()

    @property
    def registry_url(self) -> str:
        return f"https://{self.registry.host}"

    @property
    def trust_server(self) -> str:
        return f"https://{self.notary.host}"

    def gun(self, name: str) -> Gun:
        return Gun.parse(f"{self.registry.host}/{name}")

    def transport(self, url: str) -> Transport:
        return Transport(url, tls=Tls(ca_file=self.tls.ca), credentials=Credentials(USER, SECRET))

    # ---- what the vendor does

    def push(self, name: str, tag: str, built: BuiltImage) -> None:
        transport = self.transport(self.registry_url)
        client = RegistryClient(transport)
        for member in built.members or (built,):
            for digest, raw in member.blobs.items():
                client.push_blob(name, digest, len(raw), lambda d=digest, m=member: m.content(d))
            if built.members:
                client.put_manifest(name, member.digest, member.manifest_raw, member.media_type)
        client.put_manifest(name, tag, built.manifest_raw, built.media_type)
        transport.close()

    def sign(self, name: str, tag: str, built: BuiltImage) -> None:
        self.publisher(lambda at: at.sign_tag(self.gun(name), tag, built.digest, len(built.manifest_raw)))

    def unsign(self, name: str, tag: str) -> None:
        self.publisher(lambda at: at.remove_tag(self.gun(name), tag))

    def publisher(self, act: Callable[[TrustPublisher], object]) -> None:
        transport = self.transport(self.trust_server)
        try:
            act(TrustPublisher(transport, self.keys, lambda: datetime.now(UTC)))
        finally:
            transport.close()

    def release(self, name: str, tag: str, built: BuiltImage) -> str:
        """Push and sign; returns REGISTRY/NAME:TAG."""
        self.push(name, tag, built)
        self.sign(name, tag, built)
        return f"{self.gun(name)}:{tag}"

    def root_key(self) -> str:
        return self.keys.root_key().public.canonical_id

    def notary_does(self, *words: str) -> str:
        """Debian's notary client, with the vendor's own keys."""
        roles = ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")
        environment = os.environ | {f"NOTARY_{role}_PASSPHRASE": PASSPHRASE for role in roles}
        client = ["notary", "-s", self.trust_server, "--tlscacert", str(self.tls.ca), "-d", str(self.keys.directory)]
        done = subprocess.run(
            [*client, *words],
            capture_output=True, text=True, env=environment, timeout=60, input="yes\n",
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


@pytest.fixture
def clock() -> Clock:
    """Real servers know no other time."""
    return Clock(datetime.now(UTC))


@pytest.fixture
def hub(tmp_path: Path, clock: Clock) -> Iterator[Rooms]:
    """On SQLite: what differs by database is tested with the `rooms` fixture."""
    database = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    database.create()
    yield Rooms(database, tmp_path / "data", clock)
    database.close()
