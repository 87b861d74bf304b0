"""Peers that serve a whole run."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.peers.rgw import Rgw


@pytest.fixture(scope="session")
def rgw() -> "Iterator[Rgw]":
    """An object store that speaks S3: Ceph's gateway."""
    from tests.peers.rgw import Rgw  # its client is an extra, which the other peers do without

    with tempfile.TemporaryDirectory(prefix="customhouse-rgw-", ignore_cleanup_errors=True) as folder:
        gateway = Rgw(Path(folder) / "ceph")
        yield gateway
        gateway.stop()
