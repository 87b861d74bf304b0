"""The transport against servers that misbehave, and docker's token scheme as a registry may demand it."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import pytest

from customhouse.oci.digest import Digest
from customhouse.registry.client import RegistryClient
from customhouse.remote import (
    AnswerTooLarge,
    RemoteConflict,
    RemoteDenied,
    RemoteFailed,
    RemoteInvalid,
    RemoteUnauthenticated,
    Unreachable,
)
from customhouse.transport import Credentials, Patience, Transport


class Request:
    """What a server was sent; it answers through `send`, or hangs up."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.handler, self.body = handler, body
        self.method, self.headers = handler.command, handler.headers
        self.path, self.query = urlsplit(handler.path).path, parse_qs(urlsplit(handler.path).query)
        self.authorization = handler.headers.get("authorization", "")

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def hang_up(self) -> None:
        self.handler.close_connection = True


@dataclass
class Server:
    """A loopback server whose every answer the test decides."""

    answer: Callable[[Request], None] = lambda request: request.send(404)
    seen: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = Request(self, body)
                outer.seen.append(request)
                outer.answer(request)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


PULL = ("repository:acme/web:pull",)


def tokens(server: Server, *, issue: Callable[[Request], str | None]) -> Callable[[Request], None]:
    """A registry that wants Bearer tokens; `issue` names one for a request to /token, or None for a 401."""

    def answer(request: Request) -> None:
        if request.path == "/token":
            token = issue(request)
            if token is None:
                request.send(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong credentials"}]}')
            else:
                request.send(200, json.dumps({"token": token, "expires_in": 300}).encode())
        elif request.authorization == "Bearer good":
            request.send(200, b"content")
        else:
            request.send(401, WWW_Authenticate=f'Bearer realm="{server.url}/token",service="hub",scope="x"')

    return answer


def test_a_token_is_fetched_for_the_scope_with_our_name_and_used_again(server: Server) -> None:
    server.answer = tokens(server, issue=lambda request: "good")
    transport = Transport(server.url, credentials=Credentials("alice", "secret"))
    for _ in range(2):
        assert transport.request("GET", "/v2/acme/web/tags/list", scopes=PULL).body == b"content"
    assert [request.path for request in server.seen] == ["/v2/", "/token", *["/v2/acme/web/tags/list"] * 2]
    asked = server.seen[1]
    assert asked.query == {"service": ["hub"], "scope": ["repository:acme/web:pull"], "account": ["alice"]}
    assert base64.b64decode(asked.authorization.removeprefix("Basic ")) == b"alice:secret"


def test_nobody_asks_for_a_token_without_credentials(server: Server) -> None:
    server.answer = tokens(server, issue=lambda request: "good")
    assert Transport(server.url).request("GET", "/v2/x", scopes=PULL).status == 200
    assert server.seen[1].authorization == "" and "account" not in server.seen[1].query


def test_a_refresh_token_goes_by_form(server: Server) -> None:
    server.answer = tokens(server, issue=lambda request: "good")
    Transport(server.url, credentials=Credentials(refresh_token="r1")).request("GET", "/v2/x", scopes=PULL)
    form = parse_qs(server.seen[1].body.decode())
    assert server.seen[1].method == "POST"
    assert (form["grant_type"], form["refresh_token"], form["scope"]) == (["refresh_token"], ["r1"], list(PULL))


def test_a_token_that_ended_is_replaced_once_and_the_body_sent_again(server: Server) -> None:
    given = iter(["stale", "good", "never"])
    server.answer = tokens(server, issue=lambda request: next(given))
    transport = Transport(server.url)
    answer = transport.request("PUT", "/v2/x", scopes=PULL, body=lambda: BytesIO(b"again"),
                               headers={"Content-Length": "5"})
    assert answer.body == b"content"
    assert [request.body for request in server.seen if request.method == "PUT"] == [b"again", b"again"]
    server.answer = tokens(server, issue=lambda request: "useless")
    with pytest.raises(RemoteUnauthenticated):
        Transport(server.url).request("GET", "/v2/x", scopes=PULL)


def test_wrong_credentials_are_told_with_the_servers_words_and_no_secret(server: Server) -> None:
    server.answer = tokens(server, issue=lambda request: None)
    with pytest.raises(RemoteUnauthenticated, match="wrong credentials") as caught:
        Transport(server.url, credentials=Credentials("alice", "hunter2")).request("GET", "/v2/x", scopes=PULL)
    assert "log in again" in caught.value.hint
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {Credentials('alice', 'hunter2')!r}"


def test_a_redirect_elsewhere_is_followed_without_our_credentials(server: Server, other: Server) -> None:
    other.answer = lambda request: request.send(200, b"from elsewhere")
    server.answer = lambda request: request.send(307, Location=f"{other.url}/blob?signature=x")
    transport = Transport(server.url, credentials=Credentials("alice", "secret"))
    assert transport.request("GET", "/api/v1/thing").body == b"from elsewhere"
    assert server.seen[0].authorization and not other.seen[0].authorization


def test_redirects_in_a_circle_end(server: Server) -> None:
    server.answer = lambda request: request.send(302, Location="/again")
    with pytest.raises(RemoteFailed, match="redirects more than"):
        Transport(server.url).request("GET", "/again")


def test_a_write_is_not_redirected(server: Server, other: Server) -> None:
    server.answer = lambda request: request.send(307, Location=f"{other.url}/take-this")
    with pytest.raises(RemoteFailed):
        Transport(server.url).request("POST", "/v2/x", body=b"content")
    assert other.seen == []


def test_reading_is_tried_again_when_the_server_is_busy_or_hangs_up(server: Server) -> None:
    def answer(request: Request) -> None:
        if len(server.seen) == 1:
            request.send(503, Retry_After="0")
        elif len(server.seen) == 2:
            request.hang_up()
        else:
            request.send(200, b"at last")

    server.answer = answer
    assert Transport(server.url).request("GET", "/x").body == b"at last"


def test_writing_is_never_repeated_on_its_own(server: Server) -> None:
    server.answer = lambda request: request.hang_up()
    with pytest.raises(Unreachable):
        Transport(server.url).request("POST", "/x", body=b"once")
    assert len(server.seen) == 1


def test_an_answer_is_cut_at_its_budget_of_bytes_and_of_time(server: Server) -> None:
    server.answer = lambda request: request.send(200, b"x" * 1000)
    with pytest.raises(AnswerTooLarge):
        Transport(server.url).request("GET", "/x", budget=999)
    assert len(Transport(server.url).request("GET", "/x", budget=1000).body) == 1000
    release = threading.Event()

    def drip(request: Request) -> None:
        request.send(200, b"x", Content_Length="1000")
        request.handler.wfile.flush()
        release.wait(5)

    server.answer = drip
    with pytest.raises(Unreachable):
        Transport(server.url, patience=Patience(read=0.2)).request("GET", "/x")
    release.set()


def test_a_compressed_answer_is_not_unpacked(server: Server) -> None:
    server.answer = lambda request: request.send(200, b"\x1f\x8b-not-opened", Content_Encoding="gzip")
    assert Transport(server.url).request("GET", "/x").body == b"\x1f\x8b-not-opened"
    assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(("status", "kind", "body", "said"), [
    (400, RemoteInvalid, {"errors": [{"code": "INVALID_UPDATE", "message": "m", "detail":
                                      {"Name": "ErrValidation", "Error": {"Msg": "say this"}}}]}, "say this"),
    (403, RemoteDenied, {"errors": [{"code": "DENIED", "message": "not yours"}]}, "not yours"),
    (409, RemoteConflict, {"title": "Conflict", "detail": "already there", "hint": "choose another"}, "already there"),
    (500, RemoteFailed, "<html>", "answered 500 to GET /x"),
])
def test_an_error_keeps_the_servers_words(
    server: Server, status: int, kind: type[Exception], body: object, said: str
) -> None:
    server.answer = lambda request: request.send(status, json.dumps(body).encode())
    with pytest.raises(kind, match=said):
        Transport(server.url).request("GET", "/x")


def test_an_upload_that_broke_goes_on_where_the_registry_stands(server: Server) -> None:
    content = bytes(range(256)) * 40
    held = bytearray()
    broken: list[int] = []

    def answer(request: Request) -> None:
        if request.path == "/v2/":
            request.send(200)
        elif request.method == "HEAD":
            request.send(404)
        elif request.method == "POST":
            request.send(202, Location="/upload/1")
        elif request.method == "PATCH" and len(held) >= 4000 and not broken:
            held.extend(request.body[:1500])  # it took a part, and then the line went dead
            broken.append(len(held))
            request.hang_up()
        elif request.method == "PATCH":
            first = int(request.headers["content-range"].partition("-")[0])
            assert first == len(held)
            held.extend(request.body)
            request.send(202, Location="/upload/1")
        elif request.method == "GET":
            request.send(204, Location="/upload/1", Range=f"0-{len(held) - 1}")
        else:
            assert request.query["digest"] == [str(Digest.of(bytes(held)))]
            request.send(201)

    server.answer = answer
    client = RegistryClient(Transport(server.url), chunk=2000)
    assert client.push_blob("acme/web", Digest.of(content), len(content), lambda: BytesIO(content)) == "uploaded"
    assert bytes(held) == content and broken
