"""The store on files keeps every promise of a store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from customhouse.blobs.files import FileBlobs
from customhouse.oci.digest import Digest
from tests.blob_contract import Make, StoreContract


class TestFiles(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda: FileBlobs(tmp_path / "blobs")

    @pytest.fixture
    def alter(self, tmp_path: Path) -> Callable[[Digest, bytes], None]:
        def change(digest: Digest, content: bytes) -> None:
            FileBlobs(tmp_path / "blobs").path(digest).write_bytes(content)

        return change
