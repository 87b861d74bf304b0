"""What one connection may take: times and sizes, on a real server with short times."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from customhouse.http_limits import HEAD_BYTES, bounded
from customhouse.shortcut import protocol

BIG = b"x" * 30_000_000


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        body = BIG if scope["path"] == "/big" else b"%d" % size
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await send({"type": "http.response.body", "body": body[len(body) // 2 :]})

    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = bounded(protocol(lambda *_: None), head_seconds=0.6, body_seconds=0.6, look_seconds=0.1)
        config = uvicorn.Config(
            app, http=made, loop="uvloop", lifespan="off", log_level="critical", timeout_keep_alive=2
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def said(port: int, *pieces: bytes, pause: float = 0.0, read: bool = True) -> tuple[int, bytes, float]:
    """Status (0: closed without a word), everything that was answered, and after how long it was over."""
    began, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass
        try:
            while read and (piece := connection.recv(65536)):
                answer += piece
        except ConnectionResetError:
            pass
        return int(answer[9:12] or 0) if answer else 0, answer, time.monotonic() - began


POST = b"POST /v2/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4000\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"",), 0), ((b"GET / HT",), 408), ((b"GET / HTTP/1.1\r\n", *[b"a: b\r\n"] * 20), 408),
        ((POST,), 408), ((POST, *[b"x"] * 20), 408),
        ((b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", *[b"\r\n"] * 20), 200),
    ],
    ids=["silent", "half a line", "headers that drip", "no body", "a body that drips", "empty lines for ever"],
)
def test_who_only_holds_a_place_is_sent_away_in_time(port: int, pieces: tuple[bytes, ...], status: int) -> None:
    found, answer, seconds = said(port, *pieces, pause=0.1)
    assert found == status, answer
    assert seconds < 3
    if status == 408:
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["code"] == "TIMEOUT"


def test_who_is_slow_and_goes_on_is_served(port: int) -> None:
    found, answer, seconds = said(port, POST, *[b"x" * 400] * 10, pause=0.15)
    assert (found, answer[-4:]) == (200, b"4000") and seconds > 1.2
    found, answer, _ = said(port, b"GET / HTTP/1.1\r\n", b"host: a\r\n", b"connection: close\r\n", b"\r\n", pause=0.1)
    assert found == 200


def test_a_large_head_is_refused_however_it_comes_and_a_large_body_is_none(port: int) -> None:
    begin, line = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n", b"a: " + b"b" * 1000 + b"\r\n"
    for head in ([begin + line * 100 + b"\r\n"], [begin, *[line * 10] * 10], [b"GET /" + b"x" * 100_000]):
        assert said(port, *head)[0] == 431
    assert said(port, begin + line * (HEAD_BYTES // 1010 - 2) + b"\r\n")[0] == 200
    big = begin.replace(b"GET", b"POST") + b"content-length: 30000000\r\n\r\n" + BIG
    assert said(port, big)[1].endswith(b"30000000")


def test_an_answer_that_nobody_takes_is_given_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(2)
        got = 0
        try:
            while piece := connection.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
        assert got < len(BIG)
    assert said(port, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")[0] == 200


@pytest.mark.parametrize(
    "lines",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n", b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: -1\r\n", b"content-length: 99999999999999999999999\r\n", b"content-length: 5,5\r\n",
        b"content-length: +5\r\n", b"content-length: 0x5\r\n", b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding : chunked\r\n", b"transfer-encoding: xchunked\r\ncontent-length: 5\r\n",
        b"x: a\x00b\r\n", b"x: a\nb\r\n", b"x\r\n",
    ],
)  # fmt: skip
def test_what_two_servers_could_read_differently_is_refused_and_ends_the_connection(port: int, lines: bytes) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
    found, answer, _ = said(port, b"POST / HTTP/1.1\r\nhost: a\r\n" + lines + b"\r\n0\r\n\r\n" + smuggled)
    assert found == 400 and answer.count(b"HTTP/1.1") == 1, answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"]


def test_what_comes_behind_a_good_request_does_not_cost_it_its_answer(port: int) -> None:
    good = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nfour"
    for behind in (b"!", b"GET / HTTP/9\r\n\r\n"):
        found, answer, seconds = said(port, good + behind + good)
        assert (found, answer.count(b"HTTP/"), answer[-1:]) == (200, 1, b"4") and seconds < 1
