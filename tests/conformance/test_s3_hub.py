"""A hub whose blobs are in a bucket: clients, publication, moves, several processes, and a store that fails."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import obstore
import pytest
import urllib3

from customhouse.oci.digest import Digest
from tests.blob_contract import CONTENT, DIGEST, HALF, SMALL
from tests.conformance.test_clients import Desk, pushed_and_pulled
from tests.conformance.test_oci import check_conformance
from tests.hub_process import PASSWORD, HubProcess
from tests.peers.dockerd import Dockerd, dockerd
from tests.peers.rgw import SECRET, Bucket, Rgw
from tests.publisher import Publisher, filler, image

__all__ = ["dockerd"]
pytestmark = [pytest.mark.needs("radosgw", "ceph", "ceph-mon", "ceph-osd"), pytest.mark.timeout(300)]
PROGRAM = str(Path(sys.executable).with_name("customhouse"))


@pytest.fixture(scope="module")
def bucket(rgw: Rgw) -> Bucket:
    return rgw.bucket()


Start = Callable[..., HubProcess]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Iterator[Start]:
    """Starts a hub whose blobs are in the bucket; no file of any blob is in its data directory at the end."""
    started: list[HubProcess] = []

    def new(endpoint: str = "", arguments: tuple[str, ...] = (), **settings: str) -> HubProcess:
        chosen = {**bucket.settings(f"hub{len(started)}"), **settings}
        if endpoint:
            chosen["s3_endpoint"] = endpoint
        data = tmp_path_factory.mktemp("hub") / "data"
        started.append(HubProcess(data, settings=chosen, arguments=arguments))
        started[-1].start().add_publisher("acme", "paula")
        return started[-1]

    yield new
    for hub in started:
        hub.close()
        assert not (hub.data / "blobs").exists()
        assert SECRET not in hub.log.read_text()


@pytest.fixture(scope="module")
def hub(start: Start) -> Iterator[HubProcess]:
    """One for most tests, sound at the end."""
    made = start()
    yield made
    assert made.doctor() == []
    assert made.stop() == 0


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


def test_a_get_is_redirected_and_a_head_is_answered(hub: HubProcess, bucket: Bucket) -> None:
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


@pytest.mark.slow
@pytest.mark.needs("go")
def test_the_suite_of_the_specification_passes_on_s3(start: Start, tmp_path: Path) -> None:
    hub = start(blob_redirect="false")  # else the suite misses a header of the hub's in the store's answer
    check_conformance(hub, tmp_path)
    assert hub.doctor() == []
    assert hub.stop() == 0


@pytest.mark.needs("dockerd", "docker", "busybox")
def test_docker_pushes_and_is_sent_to_the_store(hub: HubProcess, dockerd: Dockerd, tmp_path: Path) -> None:
    pushed_and_pulled(Desk(hub, tmp_path / "desk"), dockerd, tmp_path, "docker28")


def test_an_upload_whose_connection_breaks_goes_on(hub: HubProcess) -> None:
    paula = Pusher(hub)
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


def test_a_store_that_fails_is_told_and_nothing_is_half_there(
    start: Start, bucket: Bucket
) -> None:
    proxy = Meddler(bucket.endpoint)
    hub = start(proxy.url, blob_redirect="false")
    paula = Pusher(hub)
    digest, large = paula.push(SMALL), paula.push(os.urandom(1000) + CONTENT)
    part = paula.get(large, Range="bytes=8001000-10000999")
    assert (part.status, part.data) == (206, CONTENT[8_000_000:10_000_000])
    assert paula.get(large).data[1000:] == CONTENT  # through the hub: nothing is redirected
    for how in ("refuse", "error", "cut", "silence"):
        location, other = paula.begin(), paula.begin()
        proxy.how = how
        began = time.monotonic()
        with ThreadPoolExecutor(3) as at_once:
            asked = [
                at_once.submit(paula.get, digest),
                at_once.submit(paula, "PATCH", location, CONTENT),
                at_once.submit(paula, "PUT", f"{other}?digest={Digest.of(b'x')}", b"x"),
            ]
            answers = [each.result() for each in asked]
        took = time.monotonic() - began
        print(f"{how}: {took:.1f} s")
        assert took < 60, how
        for answer in answers:
            assert (answer.status, codes(answer)) == (503, ["UNAVAILABLE"]), (how, answer.data)
            assert int(answer.headers["retry-after"]) > 0
        assert paula("GET", "/v2/staging/acme/web/tags/list").status in (200, 404)
        proxy.how = ""
        assert paula.get(digest).data == SMALL
        assert paula("HEAD", f"/v2/staging/acme/web/blobs/{DIGEST}").status == 404
    paula.push(CONTENT)
    assert hub.doctor() == []
    assert hub.stop() == 0
    proxy.close()


def test_an_image_is_examined_published_pulled_and_moved(
    start: Start, bucket: Bucket, rgw: Rgw, tmp_path: Path
) -> None:
    hub = start()
    prefix = hub.settings["blobs"].rpartition("/")[2]
    alice = Publisher(hub, tmp_path / "keys", name="vendor")
    alice.enrol()
    built = image("on s3", more=(filler(12_000_000),))  # more than one part
    alice.release("web", "1", built)
    hub.wait_for("staging/vendor/web:1", "published", seconds=90)
    desk = Desk(hub, tmp_path / "desk")
    desk("skopeo", "--insecure-policy", "copy", "--src-cert-dir", desk.certificates, "--preserve-digests",
         f"docker://{hub.host}/vendor/web:1", f"dir:{tmp_path / 'pulled'}")
    pulled = {file.name: file for file in (tmp_path / "pulled").iterdir()}
    assert all(pulled[digest.hex].read_bytes() == raw for digest, raw in built.blobs.items())
    obstore.put(bucket.store(prefix), f"sha256/{DIGEST.hex[:2]}/{DIGEST.hex}", SMALL)  # altered, of no row
    storage(hub, "export", str(tmp_path / "export"), "--data", str(hub.data))
    assert hub.stop() == 0
    storage(hub, "verify", "--data", str(hub.data))
    other = rgw.bucket()
    moved = HubProcess(tmp_path / "moved" / "data", port=hub.port, settings=other.settings("elsewhere/deep"))
    key = ("--master-key-file", str(hub.data / "master-key"))
    storage(moved, "import", str(tmp_path / "export"), "--data", str(moved.data), *key)
    try:
        moved.start()
        assert moved.doctor() == []
        assert not (moved.data / "blobs").exists()
        token = Publisher(moved, tmp_path / "keys", name="vendor", login=alice.login)
        token.release("web", "2", image("after the move"))
        moved.wait_for("staging/vendor/web:2", "published", seconds=90)
        layer = next(digest for digest, raw in built.blobs.items() if len(raw) > 10_000_000)
        obstore.put(other.store("elsewhere/deep"), f"sha256/{layer.hex[:2]}/{layer.hex}", SMALL)
        assert moved.stop() == 0
        found = storage(moved, "verify", "--data", str(moved.data), code=1)
        assert layer.hex in found and "vendor/web:1" in found
    finally:
        moved.close()


def storage(hub: HubProcess, *words: str, code: int = 0) -> str:
    """What an administrator types at the hub's machine."""
    done = subprocess.run(
        [PROGRAM, "storage", *words], capture_output=True, text=True, timeout=120, env=hub.environment()
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


def test_an_upload_goes_on_in_another_process_when_its_own_is_killed(
    start: Start, bucket: Bucket
) -> None:
    hub = start(arguments=("--processes", "2"))
    paula = Pusher(hub)
    location = paula.begin()
    assert paula("PATCH", location, CONTENT[:HALF]).status == 202
    assert hub.process is not None
    told = Path(f"/proc/{hub.process.pid}/task/{hub.process.pid}/children").read_text().split()
    cut = ssl.create_default_context(cafile=str(hub.ca)).wrap_socket(
        socket.create_connection(("127.0.0.1", hub.port)), server_hostname="localhost"
    )
    head = f"PATCH {location} HTTP/1.1\r\nhost: {hub.host}\r\ncontent-length: {len(CONTENT)}\r\n"
    cut.sendall(f"{head}authorization: {paula.headers['authorization']}\r\n\r\n".encode() + CONTENT[HALF:-9])
    name = location.rpartition("/")[2]
    wait_until(lambda: any(name in key and "lease" in key for key in bucket.objects()))
    for child in told:  # one of them writes: which, nobody needs to know
        os.kill(int(child), signal.SIGKILL)
    cut.close()
    paula.pool.clear()
    wait_until(lambda: asked(paula, location).status == 204, seconds=60)
    answer = asked(paula, location)
    assert answer.headers["range"] == f"0-{HALF - 1}"  # the segment that was being written is lost, and no more
    answer = paula("PATCH", location, CONTENT[HALF:], **{"content-range": f"{HALF}-{len(CONTENT) - 1}"})
    assert answer.status == 202, answer.data
    assert paula("PUT", f"{location}?digest={DIGEST}").status == 201
    assert hub.doctor() == []
    assert hub.stop() == 0


def asked(paula: "Pusher", location: str) -> urllib3.BaseHTTPResponse:
    """The status of an upload, also while the processes come back."""
    while True:
        with suppress(urllib3.exceptions.HTTPError):
            return paula("GET", location)
        time.sleep(0.2)


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)

@pytest.mark.parametrize("count", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_four_large_uploads_at_once_take_little_memory(start: Start, count: int) -> None:
    paula = Pusher(start())
    content = os.urandom(1_000_000)
    digest = sha256(content * count).hexdigest()

    def one() -> None:
        location = paula.begin()
        assert paula("PATCH", location, (content for _ in range(count))).status == 202
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
    assert paula("HEAD", f"/v2/staging/acme/web/blobs/sha256:{digest}").headers["content-length"] == f"{count}000000"


def test_the_gateway_dies_in_an_upload_and_comes_back(hub: HubProcess, rgw: Rgw) -> None:
    """The last one: a bucket is made slowly by a gateway whose sister died."""
    paula = Pusher(hub)
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
