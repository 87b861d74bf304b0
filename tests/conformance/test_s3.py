"""Blobs on a real S3: every promise of a store, and what a kill, a sleeper and a size beyond a copy's may do to it."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import obstore
import pytest

from customhouse.blobs import UploadBusy, leases
from customhouse.blobs.bucket import Place
from customhouse.blobs.s3 import S3Blobs
from customhouse.db import Database
from customhouse.oci.digest import Digest
from tests.blob_contract import CONTENT, DIGEST, SMALL, Make, StoreContract
from tests.conformance.test_collection import stress
from tests.peers.rgw import KEY, SECRET, Bucket, Rgw

pytestmark = [pytest.mark.needs("radosgw", "ceph", "ceph-mon", "ceph-osd"), pytest.mark.timeout(300)]


@pytest.fixture
def bucket(rgw: Rgw) -> Bucket:
    return rgw.bucket()


def place(bucket: Bucket, endpoint: str = "") -> Place:
    return Place(f"s3://{bucket.name}/hub", endpoint or bucket.endpoint, "", KEY, SECRET)


@pytest.fixture
def make(bucket: Bucket) -> Iterator[Make]:
    made: list[S3Blobs] = []

    def new() -> S3Blobs:
        made.append(S3Blobs(place(bucket)))
        return made[-1]

    yield new
    for store in made:
        store.close()


class TestS3(StoreContract):
    @pytest.fixture
    def make(self, make: Make) -> Make:
        return make

    @pytest.fixture
    def alter(self, bucket: Bucket) -> Callable[[Digest, bytes], None]:
        def change(digest: Digest, content: bytes) -> None:
            obstore.put(bucket.store("hub"), f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}", content)

        return change


def test_a_commit_leaves_the_blob_alone_in_the_bucket(make: Make, bucket: Bucket, rgw: Rgw) -> None:
    upload = make().upload("u1")
    upload.write(CONTENT)
    upload.close()
    make().upload("u1").commit(DIGEST)
    upload = make().upload("u2")
    upload.write(CONTENT)
    upload.cancel()
    assert re.findall(r'"name": "([^"]+)"', rgw.admin("bucket", "list", f"--bucket={bucket.name}")) == [
        f"hub/sha256/{DIGEST.hex[:2]}/{DIGEST.hex}"
    ]  # an unfinished multipart upload would be listed here too


def test_the_lease_of_a_dead_process_is_taken_over(make: Make, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"""
import os, signal
from customhouse.blobs.s3 import S3Blobs
from customhouse.blobs.bucket import Place
store = S3Blobs(Place("s3://{bucket.name}/hub", "{bucket.endpoint}", "", "{KEY}", "{SECRET}"))
upload = store.upload("u1"); upload.write(b"first"); upload.close()
upload = store.upload("u1"); upload.write(b"lost")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -9
    with pytest.raises(UploadBusy):
        make().upload("u1")
    monkeypatch.setattr(leases, "STALE", leases.STALE * 0)
    upload = make().upload("u1")
    assert upload.offset == len(b"first")
    upload.write(b" and second")
    upload.commit(Digest.of(b"first and second"))
    assert [key for key in bucket.objects() if "uploads" in key] == []


def test_who_lost_the_lease_writes_nothing_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = make().upload("u1")
    asleep.write(SMALL)
    with monkeypatch.context() as changed:
        changed.setattr(leases, "STALE", leases.STALE * 0)
        other = make().upload("u1")
    asleep._lease.renew()  # type: ignore[attr-defined]  # what its thread does every few seconds
    with pytest.raises(UploadBusy):
        asleep.commit(Digest.of(SMALL))
    with pytest.raises(UploadBusy):
        asleep.close()
    other.write(b"theirs")
    assert other.commit(Digest.of(b"theirs")) == 6


def test_segments_that_are_too_large_to_be_copied_are_joined(bucket: Bucket) -> None:
    store = S3Blobs(place(bucket), largest_segment=3_000_000)
    upload = store.upload("u1")
    for start in range(0, len(CONTENT), 1_000_000):
        upload.write(CONTENT[start : start + 1_000_000])
    upload.close()
    assert len([key for key in bucket.objects() if "/at-" in key]) == 4
    assert store.upload("u1").commit(DIGEST) == len(CONTENT)
    assert store.open(DIGEST).read() == CONTENT
    store.close()


@pytest.mark.parametrize("pieces", [0, 2])
@pytest.mark.parametrize("point", ["hashed", "synced", "renamed", "done"])
def test_a_kill_in_a_commit_leaves_a_whole_blob_or_none(
    make: Make, bucket: Bucket, point: str, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"""
from customhouse import faults
from customhouse.blobs.s3 import S3Blobs
from customhouse.blobs.bucket import Place
from customhouse.oci.digest import Digest
store = S3Blobs(Place("s3://{bucket.name}/hub", "{bucket.endpoint}", "", "{KEY}", "{SECRET}"))
for piece in range({pieces}):
    upload = store.upload("u1"); upload.write(b"piece"); upload.close()
upload = store.upload("u1"); upload.write(b"end")
faults.arm("blobs.commit.{point}")
upload.commit(Digest.of(b"piece" * {pieces} + b"end"))
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -9
    content = b"piece" * pieces + b"end"
    digest = Digest.of(content)
    if make().stat(digest) is not None:
        assert make().open(digest).read() == content
    else:
        assert point == "hashed"
    monkeypatch.setattr(leases, "STALE", leases.STALE * 0)
    upload = make().upload("u1")
    upload.write(content[upload.offset :])
    upload.commit(digest)
    assert make().open(digest).read() == content
    assert [key for key in bucket.objects() if "uploads" in key] == []


@pytest.mark.slow
def test_nothing_is_lost_while_everything_is_pushed_deleted_and_collected(
    database: Database, database_url: str, bucket: Bucket
) -> None:
    stress(database_url, f"s3://{bucket.name}/hub@{bucket.endpoint}", 12)
