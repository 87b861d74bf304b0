"""Peers that serve a whole run."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.rgw import Rgw


@pytest.fixture(scope="session")
def rgw() -> Iterator[Rgw]:
    """An object store that speaks S3: Ceph's gateway."""
    gateway = Rgw(Path(tempfile.mkdtemp(prefix="customhouse-rgw-")))
    yield gateway
    gateway.stop()
