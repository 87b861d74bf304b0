"""A trust server that serves whatever files it is given, over TLS, and answers with whatever status it is told."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.names import RoleName
from tests.peers.certificates import LoopbackCertificate, loopback_certificate

BODIES = {
    400: json.dumps({"errors": [{"code": "INVALID_UPDATE", "message": "", "detail": {
        "Name": "ErrValidation", "Error": {"Msg": "this repository was withdrawn"}}}]}).encode(),
    404: b'{"errors":[{"code":"METADATA_NOT_FOUND","message":""}]}',
}  # fmt: skip


class LyingServer:
    """Files by role; roots also by version. A file asked for by a hash is given whatever its hash is, if `lies`."""

    def __init__(self, port: int, tls: LoopbackCertificate) -> None:
        self.host, self.tls = f"localhost:{port}", tls
        self.files: dict[RoleName, bytes] = {}
        self.roots: dict[int, bytes] = {}
        self.status: dict[str, int] = {}
        self.roots_shown = True

    def show(self, sim: TrustSimulator) -> None:
        """Serve what the simulator has now; its earlier roots by their versions, where they are shown."""
        self.files = sim.files()
        self.roots = {json.loads(raw)["signed"]["version"]: raw for raw in sim.roots} if self.roots_shown else {}

    def answer(self, name: str) -> tuple[int, bytes]:
        parts = name.removesuffix(".json").split(".")
        versioned = parts[0].isdigit()
        role = RoleName(parts[1] if versioned else parts[0])
        status = self.status.get(role, self.status.get("*", 200))
        if status != 200:
            return status, BODIES.get(status, b"no")
        raw = self.roots.get(int(parts[0])) if versioned else self.files.get(role)
        return (404, BODIES[404]) if raw is None else (200, raw)


@contextmanager
def lying_server(folder: Path) -> Iterator[LyingServer]:
    """On a free loopback port."""
    tls = loopback_certificate(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/v2/":
                status, body = 200, b"{}"
            elif self.path == "/elsewhere":
                status, body = 301, b""
            else:
                status, body = server.answer(self.path.partition("/_trust/tuf/")[2])
            self.send_response(status)
            if status == 301:
                self.send_header("Location", f"https://{server.host}/elsewhere")
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    server = LyingServer(listening.server_address[1], tls)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join(5)
