"""Manifests that lie ready are given as the door itself gives them: each byte, each count, and not a moment longer."""

import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from customhouse.accounts.clients import REFUSE, WARN, WARNING, ClientWatch
from customhouse.http_limits import bounded
from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.http import Door
from customhouse.registry.service import RegistryService
from customhouse.registry.transfer import ZeroCopy
from customhouse.shortcut import protocol
from tests.registry.conftest import Client, Rights, Served, index

OFFICIAL, STAGING = "acme/web", "staging/alice/web"
AGENTS = {
    "docker-29": "docker/29.1.0 go/go1.25 UpstreamClient(Docker-Client/29.1.0 \\(linux\\))",
    "docker-28": "docker/28.5.0 go/go1.24 UpstreamClient(Docker-Client/28.5.0 \\(linux\\))",
    "podman": "containers/5.33.0 (github.com/containers/image)",
}


@dataclass
class Doors:
    """A registry as the server has it, with and without the short cut."""

    service: RegistryService
    rights: Rights
    policy: str = WARN
    hits: int = 0
    servers: list[Served] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clients = ClientWatch("hub.test", self.policy)
        self.door = Door(self.service, self.rights, self.clients)
        for prepared in (self._prepared, lambda *_: None):
            self.servers.append(Served(ZeroCopy(self.door), http=bounded(protocol(prepared))))
        self.push = Client(self.servers[0].port, "root")

    def _prepared(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
        found = self.door.prepared(target, headers)
        self.hits += found is not None
        return found

    def ask(self, path: str, agent: str, *lines: str, ready: bool = True, user: str = "root") -> bytes:
        """Everything that is sent back, but the time."""
        sent = (f"GET {path} HTTP/1.1", "Host: a", f"User-Agent: {agent}", f"Authorization: Bearer {user}", *lines)
        with socket.create_connection(("127.0.0.1", self.servers[not ready].port), timeout=10) as connection:
            connection.sendall("\r\n".join((*sent, "Connection: close", "", "")).encode())
            whole = b"".join(iter(lambda: connection.recv(65536), b""))
        return re.sub(rb"date: [^\r]+\r\n", b"", whole)

    def close(self) -> None:
        self.push.close()
        for server in self.servers:
            server.stop()


@pytest.fixture
def make(service: RegistryService, rights: Rights) -> Iterator[Callable[..., Doors]]:
    made: list[Doors] = []

    def build(**options: Any) -> Doors:
        made.append(Doors(service, rights, **options))
        return made[-1]

    yield build
    for doors in made:
        doors.close()


def test_a_ready_manifest_is_byte_for_byte_what_the_door_answers_and_counted_alike(make: Callable[..., Doors]) -> None:
    doors = make()
    one = doors.push.push_image(OFFICIAL)
    doors.push.push_image(STAGING)
    many = index(one)
    doors.push.push_manifest(OFFICIAL, "all", many, m.OCI_INDEX)
    paths = {
        f"/v2/{OFFICIAL}/manifests/1": one, f"/v2/{OFFICIAL}/manifests/all": many,
        f"/v2/{OFFICIAL}/manifests/{Digest.of(one)}": one, f"/v2/{STAGING}/manifests/1": one,
    }  # fmt: skip
    times = 3
    counted: dict[bool, Counter[tuple[str, str]]] = {}
    answered = {}
    answers: dict[bool, list[bytes]] = {}
    for ready in (False, True):
        pulls, before = Counter(doors.clients.pulls), doors.door.answered[200]
        answers[ready] = [
            doors.ask(path, agent, *lines, ready=ready)
            for path in paths for agent in AGENTS.values()
            for lines in ((), (f"Accept: {m.OCI_MANIFEST}", f"Accept: {m.OCI_INDEX}")) for _ in range(times)
        ]  # fmt: skip
        counted[ready] = Counter(doors.clients.pulls) - pulls
        answered[ready] = doors.door.answered[200] - before
    assert answers[True] == answers[False]
    bodies = [raw for raw in paths.values() for _ in range(len(AGENTS) * 2 * times)]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers[True]] == bodies
    assert sum(WARNING.encode() in answer for answer in answers[True]) == len(paths) * 2 * times
    # Two official tags, each with and without Accept; what is asked for by digest, or of staging, is no pull of a tag.
    assert counted[True] == counted[False] and set(counted[True].values()) == {2 * 2 * times}
    assert sorted(name for name, _ in counted[True]) == ["docker-28", "docker-29", "podman"]
    assert answered[True] == answered[False] == len(bodies)
    # Only where commits are counted is anything ready: then everything was, since the other door had been asked.
    assert doors.hits == (len(bodies) if doors.service.store.local else 0)


def test_a_moved_or_removed_tag_is_told_by_the_next_answer(make: Callable[..., Doors]) -> None:
    doors, path, agent = make(), f"/v2/{STAGING}/manifests/1", AGENTS["podman"]
    for layer in (b"one", b"two", b"three"):
        raw = doors.push.push_image(STAGING, layer=layer)
        for _ in range(3):
            assert doors.ask(path, agent).endswith(b"\r\n\r\n" + raw)
    assert doors.push("DELETE", path).status == 202
    assert doors.ask(path, agent).startswith(b"HTTP/1.1 404 ")


def test_nobody_gets_what_lies_ready_for_another(make: Callable[..., Doors]) -> None:
    doors, path, agent = make(), f"/v2/{STAGING}/manifests/1", AGENTS["podman"]
    raw = doors.push.push_image(STAGING)
    assert all(doors.ask(path, agent).endswith(raw) for _ in range(3))
    assert doors.ask(path, agent, user="bob").startswith(b"HTTP/1.1 401 ")
    assert doors.ask(path, agent, user="").startswith(b"HTTP/1.1 401 ")
    # Nor does a client get a type that it does not take, or bytes that it has.
    assert doors.ask(path, agent, f"Accept: {m.DOCKER_MANIFEST}").startswith(b"HTTP/1.1 404 ")
    assert doors.ask(path, agent, f'If-None-Match: "{Digest.of(raw)}"').startswith(b"HTTP/1.1 304 ")


def test_a_docker_that_is_refused_tags_never_finds_one_ready(make: Callable[..., Doors]) -> None:
    doors, path = make(policy=REFUSE), f"/v2/{OFFICIAL}/manifests/1"
    raw = doors.push.push_image(OFFICIAL)
    for _ in range(2):
        assert doors.ask(path, AGENTS["docker-28"]).endswith(raw)
        refused = doors.ask(path, AGENTS["docker-29"])
        assert refused.startswith(b"HTTP/1.1 403 ")
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["errors"][0]["code"] == "DENIED"
        assert doors.ask(f"/v2/{OFFICIAL}/manifests/{Digest.of(raw)}", AGENTS["docker-29"]).endswith(raw)
    assert doors.clients.pulls == {("docker-28", "if_told"): 2, ("docker-29", "no"): 2}
