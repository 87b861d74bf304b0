"""Bad input and faults against a real hub over TLS: a clear error, nothing half visible, and others are served."""

import contextlib
import json
import os
import resource
import socket
import ssl
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from customhouse.oci.digest import Digest
from customhouse.registry.client import RegistryClient
from customhouse.transport import Tls, Transport
from tests.hub_process import HubProcess
from tests.publisher import Publisher, image

REPOSITORY = "staging/acme/web"
CONTENT = os.urandom(3_000_000)


class Wire:
    """The hub as bytes see it."""

    def __init__(self, hub: HubProcess, publisher: Publisher) -> None:
        self.hub, self.publisher = hub, publisher
        self.context = ssl.create_default_context(cafile=str(hub.ca))
        assert publisher.login is not None
        pair = f"{publisher.login.username}:{publisher.login.secret}"
        self.basic = {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        self.pool = urllib3.PoolManager(ca_certs=str(hub.ca), retries=False, timeout=20, maxsize=20)
        scope = f"repository:{REPOSITORY}:pull,push,delete"
        token = self.pool.request(
            "GET", f"{hub.url}/token?service={hub.host}&scope={scope}", headers=self.basic
        ).json()["token"]
        self.auth = {"authorization": f"Bearer {token}"}

    def connect(self, seconds: float = 10) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.hub.port), timeout=seconds)
        return self.context.wrap_socket(raw, server_hostname="localhost")

    def head(self, method: str, path: str, **headers: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"host: {self.hub.host}"]
        named = {**self.auth, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in named.items())]).encode() + b"\r\n\r\n"

    def said(self, *pieces: bytes, seconds: float = 10) -> tuple[int, bytes]:
        """Status and body of the first answer; 0 where there was none."""
        with self.connect(seconds) as connection:
            answer = b""
            try:
                for piece in pieces:
                    connection.sendall(piece)
                while b"\r\n\r\n" not in answer or len(answer) < answer.index(b"\r\n\r\n") + 4 + _length(answer):
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    answer += piece
            except OSError:
                pass
        return (int(answer[9:12]), answer.partition(b"\r\n\r\n")[2]) if answer else (0, b"")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        named = {**self.auth, **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = path if path.startswith("https://") else f"{self.hub.url}{path}"
        return self.pool.request(method, url, body=body, headers=named)

    def begin(self) -> str:
        location = str(self.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"").headers["location"])
        return location.removeprefix(self.hub.url)

    def offset(self, location: str) -> int:
        """As soon as the request that was cut has let go."""
        deadline = time.monotonic() + 5
        while (found := self.ask("GET", location)).status == 409 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert found.status == 204, found.data
        return int(found.headers["range"].partition("-")[2]) + 1 if found.headers["range"] != "0-0" else 0

    def absent(self, digest: Digest) -> bool:
        return bool(self.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404)

    def alive(self) -> None:
        began = time.monotonic()
        assert self.ask("GET", "/v2/").status == 200
        assert time.monotonic() - began < 2


def _length(answer: bytes) -> int:
    for line in answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def code_of(body: bytes) -> str:
    return str(json.loads(body)["errors"][0]["code"])


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with tempfile.TemporaryDirectory(prefix="ch-wire-", ignore_cleanup_errors=True) as folder:
        hub = HubProcess(Path(folder) / "data")
        try:
            hub.start()
            publisher = Publisher(hub, Path(folder) / "keys")
            publisher.enrol()
            yield Wire(hub, publisher)
            assert hub.doctor() == []
            log = hub.log.read_text()
            assert "Traceback" not in log, log[-3000:]
            assert hub.stop() == 0
        finally:
            hub.close()


def test_thousands_who_only_hold_connections_keep_nobody_from_being_served(wire: Wire) -> None:
    """Silent ones, heads and bodies that drip; the hub lets go of all of them in time."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8000), most))
    with contextlib.ExitStack() as held:
        for _ in range(2500):
            held.enter_context(socket.create_connection(("127.0.0.1", wire.hub.port), timeout=10))
        dripping = [held.enter_context(wire.connect()) for _ in range(200)]
        for number, connection in enumerate(dripping):
            if number % 2:
                connection.sendall(wire.head("GET", "/v2/")[:-4])
            else:
                connection.sendall(wire.head("PUT", f"/v2/{REPOSITORY}/manifests/1", content_length="400") + b"{")
        began = time.monotonic()
        while time.monotonic() - began < 27:
            wire.alive()
            for connection in dripping[1::2]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
            time.sleep(1)
        wire.publisher.push("busy", "1", image("busy"))
        ended = 0
        for connection in dripping[1::2]:
            connection.settimeout(5)
            with contextlib.suppress(OSError):
                answer = connection.recv(4096)
                ended += answer == b"" or b" 408 " in answer
        assert ended == 100


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("x: " + "y" * 70_000, 431), ("\r\n".join(f"x{number}: {'y' * 100}" for number in range(900)), 431),
        ("content-length: -5", 400), ("content-length: 5\r\ncontent-length: 6", 400),
        ("content-length: 5\r\ntransfer-encoding: chunked", 400), ("transfer-encoding: gzip, chunked, gzip", 400),
        ("content-length: 5 5", 400), ("transfer-encoding\t: chunked", 400), ("x: a\rb", 400),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_the_registrys_form(wire: Wire, lines: str, status: int) -> None:
    head = f"POST /v2/{REPOSITORY}/blobs/uploads/ HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n".encode()
    found, body = wire.said(head + b"GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n")
    assert found == status and code_of(body)
    wire.alive()


def test_a_body_that_is_longer_or_shorter_than_it_said_leaves_nothing(wire: Wire) -> None:
    digest = Digest.of(b"five!")
    path = f"{wire.begin()}?digest={digest}"
    # Longer: what is over is the next request, and no good one; the first has its answer.
    found, body = wire.said(wire.head("PUT", path, content_length="4") + b"five!")
    assert (found, code_of(body)) == (400, "DIGEST_INVALID") and wire.absent(digest)
    # Shorter: the client leaves, and the upload holds what came.
    location = wire.begin()
    assert wire.said(wire.head("PATCH", location, content_length="3000000") + CONTENT[:100_000], seconds=1)[0] == 0
    assert 0 <= wire.offset(location) <= 100_000
    for size in ("9999999999999999", "18446744073709551615", "99999999999999999999999999"):
        request = wire.head("PUT", f"/v2/{REPOSITORY}/manifests/1", content_length=size) + b"{}"
        found, body = wire.said(request, seconds=3)
        assert found in (400, 413) and code_of(body), size
    wire.alive()


@pytest.mark.parametrize("share", [0, 2, 1_000_000, 2_999_999])
def test_an_upload_that_is_cut_anywhere_goes_on_where_it_was(wire: Wire, share: int) -> None:
    content = CONTENT[:-8] + share.to_bytes(8, "big")
    digest, location = Digest.of(content), wire.begin()
    with wire.connect() as connection:
        connection.sendall(wire.head("PATCH", location, content_length=str(len(content))) + content[:share])
        time.sleep(0.1)
    assert wire.absent(digest)
    deadline = time.monotonic() + 10
    while (answer := wire.ask("PATCH", location, content[wire.offset(location) :],
                              content_range=f"{wire.offset(location)}-{len(content) - 1}")).status != 202:
        assert time.monotonic() < deadline, answer.data
        time.sleep(0.05)
    assert wire.absent(digest)
    done = wire.ask("PUT", f"{location}?digest={digest}", b"")
    assert done.status == 201, done.data
    assert wire.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}").data == content


def test_a_client_that_leaves_at_any_byte_of_a_put_leaves_no_blob_and_no_manifest(wire: Wire) -> None:
    content = os.urandom(200_000)
    digest = Digest.of(content)
    whole = wire.head("PUT", f"{wire.begin()}?digest={digest}", content_length=str(len(content))) + content
    manifest = image("cut").manifest_raw
    tagged = wire.head(
        "PUT", f"/v2/{REPOSITORY}/manifests/cut", content_length=str(len(manifest)),
        content_type=image("cut").media_type,
    ) + manifest
    for request in (whole, tagged):
        for cut in (1, 30, len(request) // 2, len(request) - 1):
            with wire.connect() as connection:
                connection.sendall(request[:cut])
    time.sleep(0.3)
    assert wire.absent(digest)
    assert wire.ask("HEAD", f"/v2/{REPOSITORY}/manifests/cut").status == 404
    wire.alive()


def test_readers_who_leave_in_the_middle_cost_nothing(wire: Wire) -> None:
    digest = Digest.of(CONTENT)
    assert wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", CONTENT).status in (201, 202)
    if wire.absent(digest):
        assert wire.ask("PUT", f"{wire.begin()}?digest={digest}", CONTENT).status == 201
    files = Path(f"/proc/{wire.hub.process.pid}/fd")  # type: ignore[union-attr]
    before = len(list(files.iterdir()))

    def leave(_: int) -> None:
        with wire.connect() as connection:
            connection.sendall(wire.head("GET", f"/v2/{REPOSITORY}/blobs/{digest}"))
            connection.recv(1000)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(leave, range(100)))
    deadline = time.monotonic() + 10
    while len(list(files.iterdir())) > before + 10:
        assert time.monotonic() < deadline, "files stay open"
        time.sleep(0.2)
    assert wire.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}").data == CONTENT


def test_requests_that_come_at_once_and_those_of_http_1_0_are_answered_in_order(wire: Wire) -> None:
    names = [f"/v2/{REPOSITORY}/blobs/{Digest.of(b'%d' % number)}" for number in range(20)]
    last = wire.head("GET", "/v2/", connection="close")
    with wire.connect() as connection:
        connection.sendall(b"".join(wire.head("HEAD", name) for name in names) + last)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 404") == 20 and answer.count(b"HTTP/1.1 200") == 1
    assert answer.rindex(b"HTTP/1.1 404") < answer.index(b"HTTP/1.1 200")
    with wire.connect() as connection:
        connection.sendall(wire.head("GET", "/v2/").replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 200 " in answer[:20] and b"transfer-encoding" not in answer.lower()


@pytest.fixture
def read_only() -> Iterator[tuple[HubProcess, Publisher, Any]]:
    """A hub whose blobs are on a disk of their own, which can be made read-only."""
    folder = Path(tempfile.mkdtemp(prefix="ch-ro-"))
    blobs = folder / "data" / "blobs"
    blobs.mkdir(parents=True)

    def mount(*options: str) -> None:
        done = subprocess.run(["mount", *options, str(blobs)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"run this as root\n{done.stderr}"

    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs")
    hub = HubProcess(folder / "data")
    try:
        hub.start()
        publisher = Publisher(hub, folder / "keys")
        publisher.enrol()
        yield hub, publisher, lambda mode: mount("-o", f"remount,{mode}")
    finally:
        hub.close()
        subprocess.run(["umount", "-l", str(blobs)], check=True)
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_a_disk_that_became_read_only_is_told_and_reads_go_on(
    read_only: tuple[HubProcess, Publisher, Any],
) -> None:
    hub, publisher, remount = read_only
    publisher.release("web", "1", image("1"))
    hub.wait_for("staging/acme/web:1", "published")
    wire = Wire(hub, publisher)
    location = wire.begin()
    remount("ro")
    for answer in (
        wire.ask("PATCH", location, b"bytes"),
        wire.ask("PUT", f"{location}?digest={Digest.of(b'x')}", b"x"),
    ):
        assert answer.status in (503, 507), (answer.status, answer.data)
        assert "Read-only" in json.loads(answer.data)["errors"][0]["message"]
    layer = Digest.of(image("1").layers[0].blob)
    assert wire.ask("GET", f"/v2/{REPOSITORY}/blobs/{layer}").status == 200
    with contextlib.closing(Transport(hub.url, tls=Tls(ca_file=hub.ca))) as transport:
        assert RegistryClient(transport).manifest("acme/web", "1").digest == image("1").digest
    remount("rw")
    publisher.release("web", "2", image("2"))
    hub.wait_for("staging/acme/web:2", "published")
    assert hub.doctor() == []
    assert "Traceback" not in hub.log.read_text()
