"""Blobs on a real S3: every promise of a store, a hub on it, and what happens when it fails."""

import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import obstore
import pytest
import urllib3

from customhouse.blobs import UploadBusy, leases
from customhouse.blobs.bucket import Place
from customhouse.blobs.s3 import S3Blobs
from customhouse.oci.digest import Digest
from tests.blob_contract import CONTENT, DIGEST, HALF, SMALL, Make, StoreContract
from tests.conformance.test_oci import check_conformance
from tests.hub_process import PASSWORD, HubProcess
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


@pytest.mark.parametrize("pieces", [0, 1, 2])
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


# A hub on it


@pytest.fixture
def start(tmp_path: Path, bucket: Bucket) -> Iterator[Callable[..., HubProcess]]:
    """Starts a hub whose blobs are in the bucket; no file of any blob is in its data directory at the end."""
    started: list[HubProcess] = []

    def new(endpoint: str = "", **settings: str) -> HubProcess:
        chosen = {**bucket.settings(), **({"s3_endpoint": endpoint} if endpoint else {}), **settings}
        hub = HubProcess(tmp_path / f"hub{len(started)}" / "data", settings=chosen)
        started.append(hub)
        hub.start().add_publisher("acme", "paula")
        return hub

    yield new
    for hub in started:
        hub.close()
        assert not (hub.data / "blobs").exists()


class Pusher:
    """Plain HTTP with paula's token for one repository."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub, self.pool = hub, urllib3.PoolManager(ca_certs=str(hub.ca), retries=False, timeout=60, maxsize=8)
        scope = "repository:staging/acme/web:pull,push,delete"
        basic = urllib3.make_headers(basic_auth=f"paula:{PASSWORD}")
        answer = self.pool.request("GET", f"{hub.url}/token?service={hub.host}&scope={scope}", headers=basic)
        self.headers = {"authorization": f"Bearer {answer.json()['token']}"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("http") else self.hub.url + path
        return self.pool.request(method, url, body=body, headers={**self.headers, **headers}, redirect=False)

    def begin(self) -> str:
        answer = self("POST", "/v2/staging/acme/web/blobs/uploads/")
        assert answer.status == 202, answer.data
        return answer.headers["location"]

    def push(self, content: bytes) -> Digest:
        """As docker does: one PATCH, then PUT without a body."""
        digest = Digest.of(content)
        location = self.begin()
        answer = self("PATCH", location, content)
        assert answer.status == 202, answer.data
        answer = self("PUT", f"{location}?digest={digest}")
        assert answer.status == 201, answer.data
        return digest

    def get(self, digest: Digest, **headers: str) -> urllib3.BaseHTTPResponse:
        return self("GET", f"/v2/staging/acme/web/blobs/{digest}", **headers)


def codes(answer: urllib3.BaseHTTPResponse) -> list[str]:
    return [each["code"] for each in answer.json()["errors"]]


def test_a_get_is_redirected_and_a_head_is_answered(start: Callable[..., HubProcess], bucket: Bucket) -> None:
    hub = start()
    paula = Pusher(hub)
    digest = paula.push(CONTENT)
    answer = paula.get(digest)
    assert answer.status == 307 and answer.headers["location"].startswith(bucket.endpoint)
    assert SECRET not in answer.headers["location"]
    part = urllib3.request("GET", answer.headers["location"], headers={"Range": "bytes=-5"}, retries=False)
    assert (part.status, part.data) == (206, CONTENT[-5:])
    assert urllib3.request("GET", answer.headers["location"], retries=False).data == CONTENT
    head = paula("HEAD", f"/v2/staging/acme/web/blobs/{digest}")
    assert (head.status, head.headers["content-length"]) == (200, str(len(CONTENT)))
    assert paula("GET", f"/v2/staging/acme/other/blobs/{digest}").status == 401
    assert hub.doctor() == []
    assert hub.stop() == 0
    assert SECRET not in hub.log.read_text()


def test_without_redirect_blobs_come_through_the_hub(start: Callable[..., HubProcess]) -> None:
    paula = Pusher(start(blob_redirect="false"))
    digest = paula.push(CONTENT)
    assert paula.get(digest).data == CONTENT
    part = paula.get(digest, Range="bytes=8000000-9999999")
    assert (part.status, part.data) == (206, CONTENT[8_000_000:10_000_000])
    assert paula.hub.stop() == 0


@pytest.mark.needs("go")
def test_the_suite_of_the_specification_passes_on_s3(start: Callable[..., HubProcess], tmp_path: Path) -> None:
    hub = start()
    check_conformance(hub, tmp_path)
    assert hub.doctor() == []
    assert hub.stop() == 0


def test_an_upload_whose_connection_breaks_goes_on(start: Callable[..., HubProcess]) -> None:
    paula = Pusher(start())
    location = paula.begin()
    raw = ssl.create_default_context(cafile=str(paula.hub.ca)).wrap_socket(
        socket.create_connection(("127.0.0.1", paula.hub.port)), server_hostname="localhost"
    )
    head = f"PATCH {location} HTTP/1.1\r\nhost: {paula.hub.host}\r\ncontent-length: {len(CONTENT)}\r\n"
    raw.sendall(f"{head}authorization: {paula.headers['authorization']}\r\n\r\n".encode() + CONTENT[:HALF])
    time.sleep(1)
    raw.close()
    deadline = time.monotonic() + 20
    while (answer := paula("GET", location)).status == 409 and time.monotonic() < deadline:
        time.sleep(0.1)
    arrived = int(answer.headers["range"].partition("-")[2]) + 1
    assert 0 < arrived <= HALF
    answer = paula("PATCH", location, CONTENT[arrived:], **{"content-range": f"{arrived}-{len(CONTENT) - 1}"})
    assert answer.status == 202, answer.data
    assert paula("PUT", f"{location}?digest={DIGEST}").status == 201
    assert paula.hub.doctor() == []


def test_a_store_that_fails_is_told_and_nothing_is_half_there(
    start: Callable[..., HubProcess], bucket: Bucket
) -> None:
    proxy = Meddler(bucket.endpoint)
    hub = start(proxy.url, blob_redirect="false")
    paula = Pusher(hub)
    digest = paula.push(SMALL)
    for how in ("refuse", "error", "cut", "silence"):
        location = paula.begin()
        proxy.how = how
        began = time.monotonic()
        answers = [paula.get(digest), paula("PATCH", location, CONTENT), paula("PUT", f"{location}?digest={DIGEST}")]
        assert time.monotonic() - began < 150, how
        for answer in answers:
            assert (answer.status, codes(answer)) == (503, ["UNAVAILABLE"]), (how, answer.data)
            assert int(answer.headers["retry-after"]) > 0
        proxy.how = ""
        assert paula.get(digest).data == SMALL
        assert paula("HEAD", f"/v2/staging/acme/web/blobs/{DIGEST}").status == 404
    paula.push(CONTENT)
    assert hub.doctor() == []
    assert hub.stop() == 0
    proxy.close()


def test_the_gateway_dies_in_an_upload_and_comes_back(start: Callable[..., HubProcess], rgw: Rgw) -> None:
    paula = Pusher(start())
    location = paula.begin()

    def slowly() -> Iterator[bytes]:
        for at in range(0, len(CONTENT), 1_000_000):
            if at == HALF:
                rgw.kill_gateway()
            yield CONTENT[at : at + 1_000_000]

    try:
        answer = paula("PATCH", location, slowly())
        assert (answer.status, codes(answer)) == (503, ["UNAVAILABLE"])
    finally:
        rgw.start_gateway()
    paula.push(CONTENT)
    assert paula.hub.doctor() == []


def test_four_large_uploads_at_once_take_little_memory(start: Callable[..., HubProcess]) -> None:
    paula = Pusher(start())
    content = os.urandom(1_000_000)
    digest = sha256(content * 300).hexdigest()

    def one() -> None:
        location = paula.begin()
        assert paula("PATCH", location, (content for _ in range(300))).status == 202
        assert paula("PUT", f"{location}?digest=sha256:{digest}").status == 201

    senders = [threading.Thread(target=one) for _ in range(4)]
    for each in senders:
        each.start()
    for each in senders:
        each.join()
    assert paula.hub.process is not None
    status = Path(f"/proc/{paula.hub.process.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]
    print(f"peak memory of the hub: {peak / 1e6:.0f} MB")
    assert peak < 300e6
    assert paula("HEAD", f"/v2/staging/acme/web/blobs/sha256:{digest}").headers["content-length"] == "300000000"


class Meddler:
    """A connection to the store that refuses, answers 503, is cut in the middle, or falls silent; `how` says which."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.removeprefix("http://").split(":")
        self._target, self.how = (host, int(port)), ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.how == "refuse":
            client.close()
            return
        server = socket.create_connection(self._target)
        back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
        back.start()
        self._pump(client, server, True)

    def _pump(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        try:
            while data := source.recv(65536):
                if self.how == "error" and asking:
                    source.sendall(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    break
                if self.how in ("refuse", "cut"):
                    break
                while self.how == "silence":
                    time.sleep(0.05)
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
