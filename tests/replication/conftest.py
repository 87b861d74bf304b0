"""A real registry and a real trust server to mirror to, and the hub's rooms beside them at the real time."""

from collections.abc import Iterator

import pytest

from tests.peers.certificates import loopback_certificate
from tests.peers.vendor import Vendor, clock, hub

__all__ = ["clock", "hub"]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    made = Vendor(
        tmp_path_factory.mktemp("mirror"), loopback_certificate(tmp_path_factory.mktemp("mirror-tls")), login=True
    )
    yield made
    made.close()
