"""A registry behind a real server on a loopback port, on each database, and a client that keeps nothing to itself."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3
import uvicorn
from starlette.applications import Starlette

from customhouse.accounts.authorizer import Challenge, TokenRequired
from customhouse.accounts.tokens import Claims
from customhouse.audit import Audit
from customhouse.blobs.files import FileBlobs
from customhouse.db import Database
from customhouse.errors import Denied
from customhouse.http_limits import bounded
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.http import routes
from customhouse.registry.service import RegistryService
from customhouse.registry.store import RegistryStore
from customhouse.registry.transfer import ZeroCopy
from customhouse.shortcut import protocol
from tests.conftest import Clock

EVERYTHING = frozenset({"pull", "push", "delete"})


@dataclass
class Rights:
    """The accounts' side of the door: `Bearer NAME` is NAME, who may do what `grants` says by repository prefix."""

    grants: dict[str, dict[str, frozenset[str]]] = field(default_factory=dict)

    def authenticate(self, authorization: str | None) -> Claims:
        name = (authorization or "").removeprefix("Bearer ")
        if name not in self.grants:
            raise TokenRequired("authentication required", Challenge("https://hub.test/token", "customhouse"))
        return _claims(name)

    def authorize(self, authorization: str | None, repository: str, action: str) -> Claims:
        if repository.startswith("official/") and action != "pull":
            raise Denied("nobody pushes to the official area: push to staging/<publisher>/<name>")
        if not self.may(authorization, repository, action):
            scope = f"repository:{repository}:{action}"
            raise TokenRequired("authentication required", Challenge("https://hub.test/token", "customhouse", scope))
        return _claims((authorization or "").removeprefix("Bearer "))

    def may(self, authorization: str | None, repository: str, action: str) -> bool:
        granted = self.grants.get((authorization or "").removeprefix("Bearer "), {})
        return any(repository.startswith(prefix) and action in actions for prefix, actions in granted.items())


def _claims(name: str) -> Claims:
    return Claims(name, {}, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        return [entry["code"] for entry in self.json["errors"]]

    @property
    def location(self) -> str:
        return str(self.headers["location"])


class Client:
    """Plain HTTP; `user` is who asks."""

    def __init__(self, port: int, user: str = "alice") -> None:
        self.port = port
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=8, timeout=20, retries=False)
        self.user = user

    def close(self) -> None:
        self._pool.close()

    def __call__(self, method: str, path: str, body: Any = None, user: str | None = "", **headers: str) -> Reply:
        sent = urllib3.HTTPHeaderDict({name.replace("_", "-"): value for name, value in headers.items()})
        who = self.user if user == "" else user
        if who is not None:
            sent["Authorization"] = f"Bearer {who}"
        reply = self._pool.request(method, path, body=body, headers=sent, redirect=False)
        return Reply(reply.status, reply.headers, reply.data)

    def push_blob(self, repository: str, content: bytes, user: str | None = "") -> Digest:
        digest = Digest.of(content)
        begun = self("POST", f"/v2/{repository}/blobs/uploads/", user=user)
        assert begun.status == 202, begun
        done = self("PUT", f"{begun.location}?digest={digest}", content, user=user)
        assert done.status == 201, done
        return digest

    def push_manifest(
        self, repository: str, reference: str, raw: bytes, media_type: str = m.OCI_MANIFEST, user: str | None = ""
    ) -> Reply:
        return self("PUT", f"/v2/{repository}/manifests/{reference}", raw, user=user, content_type=media_type)

    def push_image(
        self, repository: str, tag: str = "1", layer: bytes = b"layer", user: str | None = "", **changes: Any
    ) -> bytes:
        """Blobs and manifest; returns the manifest."""
        for content in (CONFIG, layer):
            self.push_blob(repository, content, user)
        raw = image(layer, **changes)
        done = self.push_manifest(repository, tag, raw, json.loads(raw)["mediaType"], user)
        assert done.status == 201, done
        return raw


CONFIG = b'{"os":"linux","architecture":"amd64"}'


def descriptor(content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def image(layer: bytes = b"layer", **changes: Any) -> bytes:
    document = {
        "schemaVersion": 2, "mediaType": m.OCI_MANIFEST, "config": descriptor(CONFIG, m.OCI_CONFIG),
        "layers": [descriptor(layer, m.OCI_LAYER)], **changes,
    }  # fmt: skip
    return json.dumps(document, indent=3).encode()


def index(*manifests: bytes, **changes: Any) -> bytes:
    children = [descriptor(raw, json.loads(raw)["mediaType"]) for raw in manifests]
    return json.dumps({"schemaVersion": 2, "mediaType": m.OCI_INDEX, "manifests": children, **changes}).encode()


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


@pytest.fixture
def make_service(database: Database, blobs: FileBlobs, clock: Clock) -> Callable[[], RegistryService]:
    """A registry over the same rows and files, as after a restart."""
    return lambda: RegistryService(RegistryStore(database), FileBlobs(blobs.path(Digest.of(b"")).parents[2]),
                                   Audit(database), clock)  # fmt: skip


@pytest.fixture
def service(make_service: Callable[[], RegistryService]) -> RegistryService:
    return make_service()


@pytest.fixture
def rights() -> Rights:
    return Rights(
        {
            "alice": {"staging/alice/": EVERYTHING, "official/": frozenset({"pull"})},
            "bob": {"staging/bob/": EVERYTHING, "staging/alice/shared": frozenset({"pull"})},
            "root": {"": EVERYTHING | {"*"}},
        }
    )


class Served:
    """A uvicorn in a thread, stopped and joined at the end."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        options = {"http": bounded(protocol(lambda *_: None)), "lifespan": "off", **options}
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **options)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def start(service: RegistryService, rights: Rights, zero_copy: bool = True, **options: Any) -> Served:
        app = Starlette(routes=routes(service, rights))
        running.append(Served(ZeroCopy(app) if zero_copy else app, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()


class Switch:
    """One server for all tests: starting and stopping one costs more than most of them."""

    def __init__(self) -> None:
        self.app: Any = None
        self.served = Served(ZeroCopy(self._turn))

    async def _turn(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def switch() -> Iterator[Switch]:
    switch = Switch()
    yield switch
    switch.served.stop()


@pytest.fixture
def hub(switch: Switch, service: RegistryService, rights: Rights) -> Iterator[Client]:
    """A client of a running registry, as alice."""
    switch.app = Starlette(routes=routes(service, rights))
    client = Client(switch.served.port)
    yield client
    client.close()
