"""The trust door on a free loopback port over TLS, with a stub for who may do what."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from customhouse.accounts.authorizer import Challenge, TokenRequired
from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.signing import Vault
from customhouse.trust import http
from customhouse.trust.service import FOREVER, TrustService
from customhouse.trust.store import TrustStore
from customhouse.trust.update import TrustUpdate

MASTER = b"m" * 32


@dataclass
class Subject:
    subject: str
    owner: str = ""
    expires: datetime = FOREVER


@dataclass
class StubAuthorizer:
    """A token names its bearer (and the person behind it) and what it allows: `Bearer machine@alice:pull,push`."""

    realm: str = "https://localhost/token"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def authorize(self, authorization: str | None, repository: str, action: str) -> Subject:
        self.asked.append((repository, action))
        name, _, actions = (authorization or "").removeprefix("Bearer ").partition(":")
        if action in actions.split(",") or "*" in actions.split(","):
            machine, _, owner = name.partition("@")
            return Subject(machine, owner)
        error = "insufficient_scope" if authorization else ""
        scope = f"repository:{repository}:{action}"
        raise TokenRequired("authentication required", Challenge(self.realm, "customhouse", scope, error))


@dataclass
class Listener:
    """Writes down what it is told; refuses when it is given an error."""

    accepted_updates: list[TrustUpdate] = field(default_factory=list)
    committed_updates: list[TrustUpdate] = field(default_factory=list)
    refusal: Exception | None = None

    def accepted(self, tx: Connection, update: TrustUpdate) -> None:
        self.accepted_updates.append(update)
        if self.refusal is not None:
            raise self.refusal

    def committed(self, update: TrustUpdate) -> None:
        self.committed_updates.append(update)


class Meeting:
    """Before the application: holds publishes until so many have come as are awaited, then lets all go on at once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._awaited, self._here = 0, list[asyncio.Event]()
        self.outcomes: list[int] = []

    def of(self, count: int) -> None:
        """The next `count` publishes meet; what came of this and of later ones is in `outcomes`."""
        self._awaited, self.outcomes = count, []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith("/tuf/"):
            await self._app(scope, receive, send)
            return
        if self._awaited:
            arrived = asyncio.Event()
            self._here.append(arrived)
            if len(self._here) == self._awaited:
                self._awaited = 0
                for each in self._here:
                    each.set()
                self._here = []
            await asyncio.wait_for(arrived.wait(), 60)

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.outcomes.append(message["status"])
            await send(message)

        await self._app(scope, receive, note)


@dataclass
class Served:
    host: str
    ca: Path
    service: TrustService
    store: TrustStore
    listener: Listener
    meeting: Meeting


@contextmanager
def serving(database: Database, folder: Path) -> Iterator[Served]:
    """A running server; clients reach it as https://localhost:PORT and find tokens at /token."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = f"localhost:{listening.getsockname()[1]}"
        authorizer = StubAuthorizer(f"https://{host}/token")
        listener = Listener()
        store = TrustStore(database)
        service = TrustService(store, Vault(MASTER), Audit(database), lambda: datetime.now(UTC), [listener])

        async def ping(request: Request) -> JSONResponse:
            challenge = str(Challenge(authorizer.realm, "customhouse"))
            return JSONResponse({}, 401, {"WWW-Authenticate": challenge})

        async def token(request: Request) -> JSONResponse:
            actions = request.query_params.get("scope", "").rpartition(":")[2]
            return JSONResponse({"token": f"publisher:{actions}", "expires_in": 300})

        app = Starlette(
            routes=[*http.routes(service, authorizer, host), Route("/v2/", ping), Route("/token", token)]
        )
        app.router.redirect_slashes = False  # as in the hub's own application
        certificate, key = _certificate(folder)
        meeting = Meeting(app)
        config = uvicorn.Config(
            meeting, ssl_certfile=str(certificate), ssl_keyfile=str(key), ssl_version=ssl.PROTOCOL_TLS_SERVER,
            log_level="error", lifespan="off",
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield Served(host, certificate, service, store, listener, meeting)
        finally:
            server.should_exit = server.force_exit = True  # clients that keep a connection are not waited for
            thread.join(10)
            assert not thread.is_alive()


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    begin = datetime.now(UTC) - timedelta(hours=1)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=2)).add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, private = folder / "server.crt", folder / "server.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private
