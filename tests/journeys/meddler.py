"""Somebody between a client and the trust server, who changes what is published: TLS on a port of his own.

`meddle` takes the files of an update by role and gives those that are sent on. Everything else passes unchanged.
"""

import email.parser
import email.policy
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3

from customhouse.testing.trust_simulator import multipart
from customhouse.trust.names import RoleName
from tests.hub_process import HubProcess

Files = dict[RoleName, bytes]
_NOT_PASSED = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


class Meddler:
    """A proxy. `seen` are the updates as they came, `asked` the requests, each as `GET root.json`."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.meddle: Callable[[Files], Files] = lambda files: files
        self.seen: list[Files] = []
        self.asked: list[str] = []
        self.pool = urllib3.PoolManager(ca_certs=str(hub.ca), retries=False, timeout=30)

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> urllib3.BaseHTTPResponse:
        self.asked.append(f"{method} {path.partition('/_trust/tuf/')[2] or path}")
        if method == "POST" and path.endswith("/_trust/tuf/"):
            files = _files(headers["content-type"], body)
            self.seen.append(files)
            body, headers["content-type"] = multipart(self.meddle(dict(files)))
        return self.pool.request(method, f"{self.hub.url}{path}", headers=headers, body=body or None, redirect=False)


def _files(content_type: str, body: bytes) -> Files:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    parts = [part for part in message.walk() if part.get_filename()]
    named = {str(part.get_filename()).removesuffix(".json"): part.get_payload(decode=True) for part in parts}
    return {RoleName.parse(name): raw for name, raw in named.items() if isinstance(raw, bytes)}


@contextmanager
def between(hub: HubProcess) -> Iterator[tuple[Meddler, str]]:
    """(the meddler, the value for DOCKER_CONTENT_TRUST_SERVER)."""
    meddler = Meddler(hub)

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if (self.headers.get("transfer-encoding") or "") == "chunked":
                body = _chunks(self.rfile.readline, self.rfile.read)
            headers = {name.lower(): value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED}
            answer = meddler.forward(self.command, self.path, headers, body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _NOT_PASSED | {"date", "server"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data)

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(hub.data / "tls" / "server.crt", hub.data / "tls" / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield meddler, f"https://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        meddler.pool.clear()
        thread.join(timeout=5)


def _chunks(line: Callable[[], bytes], read: Callable[[int], bytes]) -> bytes:
    body = b""
    while size := int(line().partition(b";")[0], 16):
        body += read(size)
        line()
    line()
    return body
