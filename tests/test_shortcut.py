"""The short cut of the HTTP server: the same answers in the same order, and uvicorn's own way for everything else."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from customhouse.shortcut import protocol

HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
READY = b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n"


@dataclass
class Server:
    port: int
    asked: list[str] = field(default_factory=list)

    def talk(self, *pieces: bytes, end: bool = True) -> bytes:
        """Everything the server says to these bytes, until it closes the connection or is told that nothing follows."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                connection.sendall(piece)
            if end:
                connection.sendall(b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def bodies(self, *pieces: bytes) -> list[bytes]:
        """Those of the answers to these bytes; what lies ready may be answered either way at once."""
        found = re.findall(rb"\r\n\r\n(.{5})", self.talk(*pieces), re.S)[:-1]
        return [body.replace(b"/read", b"READY") for body in found]


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        server.asked.append(f"{scope['method']} {scope['path']}")
        if scope["path"] == "/slow":
            await asyncio.sleep(0.2)
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": scope["path"].encode().ljust(5)[:5]})

    def prepared(target: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
        if target != b"/ready" or (b"ask", b"app") in headers:
            return None
        return b"".join(b"%b: %b\r\n" % header for header in HEADERS), b"READY"

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.port = listening.getsockname()[1]
        config = uvicorn.Config(
            app, http=protocol(prepared), loop=request.param, lifespan="off", log_level="error", server_header=False
        )
        served = uvicorn.Server(config)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield server
        served.should_exit = True
        thread.join(10)


@pytest.fixture
def server(running: Server) -> Server:
    running.asked.clear()
    return running


def test_what_lies_ready_is_answered_as_the_application_would_and_without_it(server: Server) -> None:
    for close in (b"", b"connection: close\r\n"):
        ready = server.talk(b"GET /ready HTTP/1.1\r\nhost: a\r\n" + close + b"\r\n", end=not close)
        usual = server.talk(b"GET /ready HTTP/1.1\r\nhost: a\r\nask: app\r\n" + close + b"\r\n", end=not close)
        date = re.compile(rb"date: [^\r]+")
        assert date.search(ready)
        assert date.sub(b"", ready).replace(b"READY", b"/read") == date.sub(b"", usual)
    assert [asked for asked in server.asked if asked != "GET /last"] == ["GET /ready"] * 2


def test_a_connection_goes_on_and_answers_keep_their_order(server: Server) -> None:
    usual = b"GET /app1 HTTP/1.1\r\nhost: a\r\n\r\n"
    slow = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n"
    assert server.bodies(READY, usual, READY) == [b"READY", b"/app1", b"READY"]
    assert server.bodies(READY + READY + usual + READY) == [b"READY", b"READY", b"/app1", b"READY"]
    assert server.bodies(slow + READY + usual) == [b"/slow", b"READY", b"/app1"]


def test_a_request_in_single_bytes_is_one_request(server: Server) -> None:
    assert server.bodies(*[bytes([byte]) for byte in READY]) == [b"READY"]


def test_after_the_end_of_a_connection_nothing_is_looked_at(server: Server) -> None:
    last = b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    more = b"POST /app2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
    answer = server.talk(last + more + READY, end=False)
    assert answer.count(b"HTTP/1.1") == 1 and answer.endswith(b"READY") and b"connection: close" in answer
    assert server.asked == []


def test_a_client_of_http_1_0_is_answered_and_left(server: Server) -> None:
    answer = server.talk(b"GET /ready HTTP/1.0\r\n\r\n", end=False)
    assert answer.endswith(b"READY") and b"connection: close" in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"HEAD /ready HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /ready HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        b"GET /ready?x=1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /ready HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n",
        b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ],
)
def test_everything_else_goes_the_usual_way(server: Server, request_: bytes) -> None:
    assert b"READY" not in server.talk(request_)
    assert server.asked[:1] == [request_.split(b"?")[0].decode().split(" HTTP")[0]]


def test_a_body_that_nobody_asked_for_is_passed_over(server: Server) -> None:
    with_body = b"GET /ready HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
    assert server.bodies(with_body, READY) == [b"READY", b"READY"]
