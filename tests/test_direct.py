"""Large bodies past the parser: the same bytes, the same limits, and the next request where it begins."""

import asyncio
import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from customhouse.direct import BUFFER, BUFFERS, EXTENSION, LEAST, Gone
from customhouse.http_limits import bounded
from customhouse.shortcut import protocol
from tests.peers.certificates import loopback_certificate

BODY = os.urandom(7_654_321)
GET = b"GET /after HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


class Server:
    """An application that tells the digest of what came, and how it came; with or without TLS."""

    def __init__(self, tls: Path | None) -> None:
        self.seen: list[str] = []
        self.go_on = threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.client = None
        options: dict[str, Any] = {}
        if tls is not None:
            own = loopback_certificate(tls)
            options = {"ssl_certfile": own.certificate, "ssl_keyfile": own.key}
            self.client = ssl.create_default_context(cafile=own.ca)
        made = bounded(protocol(lambda *_: None), body_seconds=0.4, look_seconds=0.1)
        config = uvicorn.Config(
            self._app, http=made, interface="asgi3", loop="uvloop", lifespan="off", log_level="critical", **options
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self.listening]})
        self._thread.start()

    def connect(self) -> socket.socket:
        """A connection of its own."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.client.wrap_socket(made, server_hostname="127.0.0.1") if self.client else made

    def close(self) -> None:
        """Stop, and wait for the end."""
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        digest, size, how = hashlib.sha256(), 0, "parsed"
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append(f"gone after {size}")
                return
            digest.update(message["body"])
            size += len(message["body"])
            more = message["more_body"]
            rest = scope["extensions"][EXTENSION]() if more and EXTENSION in scope.get("extensions", {}) else None
            if rest is None:
                continue
            how = "direct"
            if scope["path"] == "/wait":
                await asyncio.get_running_loop().run_in_executor(None, self.go_on.wait, 10)
            try:
                while piece := await rest.next():
                    digest.update(piece)
                    size += len(piece)
                    rest.give_back(piece)
                    if scope["path"] == "/leave":
                        rest.leave()
                        break
            except Gone:
                self.seen.append(f"gone after {size}")
                return
            more = False
        body = f"{how} {'' if scope['path'] == '/leave' else digest.hexdigest()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module", params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("tls") if request.param == "TLS" else None)
    yield server
    server.close()


def post(path: str = "/", size: int = len(BODY)) -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (path.encode(), size)


def told(connection: socket.socket) -> list[str]:
    """Everything that is answered until the end: the bodies."""
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return [part.partition(b"\r\n\r\n")[2].decode() for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("size", [LEAST * 2, BUFFER, BUFFER + 1, BUFFER * BUFFERS, len(BODY)])
def test_the_body_comes_whole_and_the_next_request_begins_where_it_ends(server: Server, size: int) -> None:
    empty = hashlib.sha256().hexdigest()
    sent = post(size=size) + BODY[:size] + GET
    with server.connect() as connection:
        connection.sendall(sent[:100_000])
        time.sleep(0.02)
        for at in range(100_000, len(sent), 1_000_003):
            connection.sendall(sent[at : at + 1_000_003])
        digest = hashlib.sha256(BODY[:size]).hexdigest()
        assert told(connection) == [f"direct {digest}", f"parsed {empty}"]


def test_several_bodies_come_over_one_connection(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall((post() + BODY) * 3 + GET)
        answers = told(connection)
    assert [answer.split()[1] for answer in answers[:3]] == [hashlib.sha256(BODY).hexdigest()] * 3
    assert len(answers) == 4


def test_who_leaves_early_leaves_a_connection_that_goes_on(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(post("/leave"))
        time.sleep(0.02)
        connection.sendall(BODY + GET)
        answers = told(connection)
    assert [answer.split()[0] for answer in answers] == ["direct", "parsed"]


def test_what_came_before_the_connection_ended_is_given(server: Server) -> None:
    server.seen.clear()
    with server.connect() as connection:
        connection.sendall(post() + BODY[:2_000_000])
        time.sleep(0.1)
    until = time.monotonic() + 5
    while not server.seen and time.monotonic() < until:
        time.sleep(0.01)
    assert server.seen == ["gone after 2000000"]


def test_who_does_not_read_is_sent_no_more_than_the_buffers_hold(server: Server) -> None:
    server.go_on.clear()
    with server.connect() as connection:
        size = 64_000_000
        connection.sendall(post("/wait", size))
        connection.settimeout(0.4)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < size:
                sent += connection.send(BODY[:65536])
        assert BUFFERS * BUFFER < sent < BUFFERS * BUFFER + 12_000_000  # with what the sockets hold
        server.go_on.set()


def test_a_body_that_drips_is_refused_and_a_slow_one_is_served(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(post() + BODY[:50_000])
        began = time.monotonic()
        assert "the body stood still" in told(connection)[0] and time.monotonic() - began < 3
    with server.connect() as connection:
        connection.sendall(post(size=LEAST + 40_000) + BODY[:10_000])
        for at in range(10_000, LEAST + 40_000, 30_000):
            connection.sendall(BODY[at : min(at + 30_000, LEAST + 40_000)])
            time.sleep(0.06)
        connection.sendall(GET)
        assert told(connection)[0] == f"direct {hashlib.sha256(BODY[: LEAST + 40_000]).hexdigest()}"


def test_a_small_body_and_one_without_a_length_come_as_ever(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(post(size=LEAST - 1) + BODY[: LEAST - 1])
        head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head + b"%x\r\n" % LEAST + BODY[:LEAST] + b"\r\n0\r\n\r\n" + GET)
        assert [answer.split()[0] for answer in told(connection)] == ["parsed"] * 3
