"""A vendor's real registry and trust server, and the hub's rooms beside them at the real time."""

from collections.abc import Iterator

import pytest

from tests.peers.certificates import LoopbackCertificate, loopback_certificate
from tests.peers.vendor import Vendor, clock, hub
from tests.rooms import ADMIN, Rooms

__all__ = ["clock", "hub"]


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackCertificate:
    return loopback_certificate(tmp_path_factory.mktemp("vendor-tls"))


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory, tls: LoopbackCertificate) -> Iterator[Vendor]:
    made = Vendor(tmp_path_factory.mktemp("vendor"), tls)
    yield made
    made.close()


def register(hub: Rooms, vendor: Vendor, publisher: str = "acme") -> None:
    for url in (vendor.registry_url, vendor.trust_server):
        hub.sources.add(ADMIN, publisher, url, ca=vendor.ca)
