"""A hub's mark on its blobs: whoever finds another's, or none where it left one, does not start."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.hub_files import HubFiles, OtherBlobs, clear_spool, host_id


def files(database: Database, folder: Path) -> HubFiles:
    return HubFiles(database, folder, lambda: datetime.now(UTC))


def test_a_store_is_marked_once_and_known_again(database: Database, tmp_path: Path) -> None:
    for _ in range(2):
        files(database, tmp_path).same_blobs(FileBlobs(tmp_path / "blobs"), "one")
    assert FileBlobs(tmp_path / "blobs").owner() == "one"


def test_a_mark_whose_row_was_cut_is_taken(database: Database, tmp_path: Path) -> None:
    FileBlobs(tmp_path / "blobs").claim("one")
    for _ in range(2):
        files(database, tmp_path).same_blobs(FileBlobs(tmp_path / "blobs"), "one")


def test_another_hubs_blobs_are_refused(database: Database, tmp_path: Path) -> None:
    FileBlobs(tmp_path / "blobs").claim("another")
    with pytest.raises(OtherBlobs, match="another hub's"):
        files(database, tmp_path).same_blobs(FileBlobs(tmp_path / "blobs"), "one")


def test_blobs_that_are_not_there_are_refused_and_not_marked(database: Database, tmp_path: Path) -> None:
    files(database, tmp_path).same_blobs(FileBlobs(tmp_path / "blobs"), "one")
    (tmp_path / "unmounted").mkdir()
    with pytest.raises(OtherBlobs, match="not here"):
        files(database, tmp_path).same_blobs(FileBlobs(tmp_path / "unmounted"), "one")
    assert FileBlobs(tmp_path / "unmounted").owner() == ""


def test_a_host_has_one_name_and_its_spool_loses_what_is_old(tmp_path: Path) -> None:
    assert host_id(tmp_path) == host_id(tmp_path)
    spool = tmp_path / "spool"
    for name, at in (("old", 1000), ("new", 3000)):
        (spool / name).mkdir(parents=True)
        (spool / name / "upload").write_bytes(b"x")
        os.utime(spool / name, (at, at))
    clear_spool(spool, 2000.0)
    assert [left.name for left in spool.iterdir()] == ["new"]
    clear_spool(tmp_path / "absent", 2000.0)
