"""A vendor's real registry and trust server, and the hub's rooms beside them at the real time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.db import Database
from tests.conftest import Clock
from tests.peers.certificates import LoopbackCertificate, loopback_certificate
from tests.rooms import ADMIN, Rooms
from tests.sources.vendor import Vendor


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackCertificate:
    return loopback_certificate(tmp_path_factory.mktemp("vendor-tls"))


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory, tls: LoopbackCertificate) -> Iterator[Vendor]:
    made = Vendor(tmp_path_factory.mktemp("vendor"), tls)
    yield made
    made.close()


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


def register(hub: Rooms, vendor: Vendor, publisher: str = "acme") -> None:
    for url in (vendor.registry_url, vendor.trust_server):
        hub.sources.add(ADMIN, publisher, url, ca=vendor.ca)
