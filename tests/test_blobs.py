"""The blob store: whole bytes under their digest or nothing, whatever happens on the way."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.blobs import BlobMissing, DigestMismatch, UploadBusy
from customhouse.blobs.files import FileBlobs
from customhouse.errors import Invalid, StorageFull
from customhouse.oci.digest import Digest

CONTENT = os.urandom(300_000)
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel's own refusal to write more, as a full disk gives it (EFBIG in place of ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_added_is_read_back_and_counted(blobs: FileBlobs) -> None:
    assert blobs.add(CONTENT) == DIGEST
    with blobs.open(DIGEST) as stream:
        assert stream.read() == CONTENT
    assert blobs.stat(DIGEST) == len(CONTENT)
    assert list(blobs.digests()) == [DIGEST]
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_adding_again_heals_bytes_that_were_altered_on_disk(blobs: FileBlobs) -> None:
    blobs.add(CONTENT)
    blobs.path(DIGEST).write_bytes(b"altered")
    blobs.add(CONTENT)
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_an_absent_blob_is_said_to_be_absent(blobs: FileBlobs) -> None:
    assert blobs.stat(DIGEST) is None
    with pytest.raises(BlobMissing):
        blobs.open(DIGEST)
    blobs.delete(DIGEST)


def test_an_upload_goes_on_after_the_process_forgot_it(tmp_path: Path) -> None:
    first = FileBlobs(tmp_path).upload("u1")
    first.write(CONTENT[:1000])
    first.close()
    second = FileBlobs(tmp_path).upload("u1")
    assert second.offset == 1000
    second.write(CONTENT[1000:])
    assert second.commit(DIGEST) == len(CONTENT)
    assert FileBlobs(tmp_path).open(DIGEST).read() == CONTENT


def test_an_upload_goes_on_in_the_same_process_without_hashing_again(blobs: FileBlobs) -> None:
    for start in range(0, len(CONTENT), 100_000):
        upload = blobs.upload("u1")
        assert upload.offset == start
        upload.write(CONTENT[start : start + 100_000])
        upload.close()
    assert blobs.upload("u1").commit(DIGEST) == len(CONTENT)


def test_a_hash_kept_in_memory_is_not_trusted_when_the_file_changed_behind_it(tmp_path: Path) -> None:
    ours, other = FileBlobs(tmp_path), FileBlobs(tmp_path)
    upload = ours.upload("u1")
    upload.write(CONTENT[:1000])
    upload.close()
    theirs = other.upload("u1")
    theirs.write(CONTENT[1000:])
    theirs.close()
    assert ours.upload("u1").commit(DIGEST) == len(CONTENT)


def test_a_sha512_blob_is_stored_under_its_own_digest(blobs: FileBlobs) -> None:
    digest = Digest.of(CONTENT, "sha512")
    upload = blobs.upload("u1")
    upload.write(CONTENT)
    upload.commit(digest)
    assert list(blobs.digests()) == [digest]


def test_wrong_bytes_never_appear_under_a_digest(blobs: FileBlobs) -> None:
    upload = blobs.upload("u1")
    upload.write(CONTENT[:-1])
    with pytest.raises(DigestMismatch) as refused:
        upload.commit(DIGEST)
    assert refused.value.found == Digest.of(CONTENT[:-1])
    assert blobs.stat(DIGEST) is None
    upload.cancel()
    assert blobs.upload("u1").offset == 0


def test_a_second_writer_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first = FileBlobs(tmp_path).upload("u1")
    with pytest.raises(UploadBusy):
        FileBlobs(tmp_path).upload("u1")
    first.close()
    FileBlobs(tmp_path).upload("u1").close()


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a" * 65, "a\x00"])
def test_an_upload_cannot_leave_its_folder(blobs: FileBlobs, name: str) -> None:
    with pytest.raises(Invalid):
        blobs.upload(name)


def test_a_full_disk_leaves_the_upload_as_it_was_before_the_write(blobs: FileBlobs) -> None:
    upload = blobs.upload("u1")
    upload.write(CONTENT[:1000])
    with files_of_at_most(50_000), pytest.raises(StorageFull):
        upload.write(CONTENT[1000:])
    assert upload.offset == 1000
    upload.write(CONTENT[1000:])
    assert upload.commit(DIGEST) == len(CONTENT)


def test_a_full_disk_leaves_nothing_of_what_was_added(blobs: FileBlobs, tmp_path: Path) -> None:
    with files_of_at_most(50_000), pytest.raises(StorageFull):
        blobs.add(CONTENT)
    assert list(blobs.digests()) == []
    assert list((tmp_path / "blobs" / "uploads").iterdir()) == []


@pytest.mark.parametrize("point", ["hashed", "synced", "renamed", "done"])
def test_a_kill_in_a_commit_leaves_a_whole_blob_or_none(tmp_path: Path, point: str) -> None:
    program = f"""
from pathlib import Path
from customhouse import faults
from customhouse.blobs.files import FileBlobs
from customhouse.oci.digest import Digest
faults.arm("blobs.commit.{point}")
upload = FileBlobs(Path({str(tmp_path)!r})).upload("u1")
upload.write(b"web" * 1000)
upload.commit(Digest.of(b"web" * 1000))
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    blobs, digest = FileBlobs(tmp_path), Digest.of(b"web" * 1000)
    if blobs.stat(digest) is None:
        assert blobs.upload("u1").commit(digest) == 3000
    assert blobs.open(digest).read() == b"web" * 1000


def test_only_what_is_older_than_a_moment_is_listed(blobs: FileBlobs) -> None:
    blobs.add(CONTENT)
    upload = blobs.upload("u1")
    upload.close()
    hour = timedelta(hours=1)
    arrived = datetime.fromtimestamp(blobs.path(DIGEST).stat().st_mtime, UTC)
    assert list(blobs.digests(before=arrived - hour)) == []
    assert list(blobs.digests(before=arrived + hour)) == [DIGEST]
    assert list(blobs.unfinished(arrived - hour)) == []
    assert list(blobs.unfinished(arrived + hour)) == ["u1"]
