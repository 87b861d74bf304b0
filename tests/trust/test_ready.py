"""Answers that are given again: never across tokens, files or commits, and never past their time."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from customhouse.ready import PIECE, REMEMBERED, Ready, ReadyAnswers
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.documents import TIMESTAMP_LIFETIME
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun
from customhouse.trust.service import FOREVER
from tests.conftest import Clock
from tests.trust.serving import StubAuthorizer
from tests.trust.test_http import BASE, GUN, HOST, PUBLISHER, Wire, sim, wire

__all__ = ["sim", "wire"]


@pytest.fixture
def published(wire: Wire, sim: TrustSimulator) -> TrustSimulator:
    assert wire.publish(sim.upload()).status == 200
    return sim


def version(wire: Wire, role: str, token: str = PUBLISHER) -> int:
    return int(json.loads(wire("GET", f"{BASE}{role}.json", token).body)["signed"]["version"])


def test_each_kind_of_file_is_given_again_byte_for_byte(wire: Wire, published: TrustSimulator) -> None:
    for role in (ROOT, TARGETS, RELEASES, SNAPSHOT, TIMESTAMP):
        for path in (f"{BASE}{role}.json", f"{BASE}{role}.{wire.service.current(GUN, role).sha256}.json"):
            first, second, third = (wire("GET", path) for _ in range(3))
            assert first.status == 200
            assert first == second == third
            assert int(first.headers["content-length"]) == len(first.body)


def test_timestamps_are_not_to_be_cached_and_files_by_hash_are(wire: Wire, published: TrustSimulator) -> None:
    digest = wire.service.current(GUN, SNAPSHOT).sha256
    for _ in range(2):
        for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
            assert wire("GET", f"{BASE}{role}.json").headers["cache-control"] == "no-cache, no-store"
        by_hash = wire("GET", f"{BASE}snapshot.{digest}.json").headers["cache-control"]
        assert by_hash == "private, max-age=2592000, immutable"


def test_a_publish_and_a_deletion_are_seen_at_once(wire: Wire, published: TrustSimulator) -> None:
    assert [version(wire, "targets") for _ in range(2)] == [2, 2]
    published.bump(TARGETS)
    assert wire.publish(published.upload(TARGETS)).status == 200
    assert (version(wire, "targets"), version(wire, "snapshot"), version(wire, "timestamp")) == (3, 2, 2)
    digest = wire.service.current(GUN, TARGETS).sha256
    assert wire("GET", f"{BASE}targets.{digest}.json").status == 200
    assert wire("DELETE", BASE, "Bearer root:*").status == 200
    assert wire("GET", f"{BASE}targets.json").status == 404
    assert wire("GET", f"{BASE}targets.{digest}.json").status == 404


def test_an_answer_is_for_its_token_only(wire: Wire, published: TrustSimulator) -> None:
    for _ in range(2):
        assert wire("GET", f"{BASE}timestamp.json").status == 200
        for other in ("", "Bearer bob:push", PUBLISHER.upper(), PUBLISHER + "x", PUBLISHER[:-1]):
            assert wire("GET", f"{BASE}timestamp.json", other).status == (200 if "pull" in other else 401)


def test_an_answer_ends_with_its_token(wire: Wire, published: TrustSimulator, clock: Clock) -> None:
    expires = clock.at + timedelta(seconds=300)

    class Expiring(StubAuthorizer):
        def authorize(self, authorization: str | None, repository: str, action: str) -> Any:
            bearer = super().authorize(authorization if clock.at < expires else None, repository, action)
            bearer.expires = expires
            return bearer

    wire.authorizer.__class__ = Expiring
    digest = wire.service.current(GUN, ROOT).sha256
    paths = [f"{BASE}timestamp.json", f"{BASE}root.{digest}.json"]
    assert [wire("GET", path).status for path in paths * 2] == [200] * 4
    clock.advance(seconds=299)
    assert [wire("GET", path).status for path in paths] == [200, 200]
    clock.advance(seconds=1)
    assert [wire("GET", path).status for path in paths] == [401, 401]


def test_names_roles_and_hashes_are_never_mixed_up(wire: Wire, published: TrustSimulator, now: datetime) -> None:
    root = wire.service.current(GUN, ROOT).sha256
    assert wire("GET", f"{BASE}root.{root}.json").status == 200
    near = root[:-1] + ("1" if root.endswith("0") else "0")
    for wrong in (f"targets.{root}", f"root.{root.upper()}", "targets/alice", f"root.{near}"):
        for _ in range(2):
            assert wire("GET", f"{BASE}{wrong}.json").status == 404
    other = Gun(f"{HOST}/staging/acme/api")
    assert wire("GET", f"/v2/{other}/_trust/tuf/root.{root}.json").status == 404
    assert wire("GET", f"/v2/elsewhere.example/staging/acme/web/_trust/tuf/root.{root}.json").status == 404


def test_a_timestamp_is_signed_anew_when_it_is_due_however_often_it_was_asked_for(
    wire: Wire, published: TrustSimulator, clock: Clock
) -> None:
    assert [version(wire, "timestamp") for _ in range(2)] == [1, 1]
    clock.advance(seconds=TIMESTAMP_LIFETIME.total_seconds() / 2)
    assert [version(wire, "timestamp") for _ in range(2)] == [1, 1]
    clock.advance(seconds=1)
    assert [version(wire, "timestamp") for _ in range(2)] == [2, 2]


def test_a_file_that_is_too_long_for_the_loop_is_given_whole(wire: Wire, sim: TrustSimulator) -> None:
    for number in range(3000):
        sim.sign_tag(f"release-candidate-{number:05}", role=RELEASES)
    raw = sim.upload()[RELEASES]
    assert len(raw) > PIECE
    assert wire.publish(sim.upload()).status == 200
    for path in (f"{BASE}{RELEASES}.json", f"{BASE}{RELEASES}.{wire.service.current(GUN, RELEASES).sha256}.json"):
        for _ in range(3):
            answer = wire("GET", path)
            assert (answer.status, answer.body) == (200, raw)
            assert int(answer.headers["content-length"]) == len(raw)


def test_what_lies_ready_for_the_server_is_what_the_door_answered_and_ends_with_it(
    wire: Wire, published: TrustSimulator, clock: Clock
) -> None:
    door = wire.app.routes[0].door  # type: ignore[attr-defined]
    at_hand = wire.service.moment()[1] is not None

    def prepared(path: str, *headers: tuple[bytes, bytes], token: str = PUBLISHER) -> tuple[bytes, bytes] | None:
        async def ask() -> tuple[bytes, bytes] | None:
            sent = [(b"authorization", token.encode()), *headers]
            found: tuple[bytes, bytes] | None = door.prepared(path.encode(), sent)
            return found

        return asyncio.run(ask())

    path = f"{BASE}timestamp.json"
    assert prepared(path) is None, "nobody was authorised yet"
    answer, count = wire("GET", path), door.answered[200]
    found = prepared(path)
    assert (found is not None) is at_hand
    if found is None:
        return  # PostgreSQL: commits are not counted, so nothing lies ready
    assert found == (b"".join(f"{name}: {value}\r\n".encode() for name, value in answer.headers.items()), answer.body)
    assert door.answered[200] == count + 1
    assert prepared(path, token=PUBLISHER + "x") is None and prepared(path, token="") is None
    assert prepared(path + "?x=1") is None and prepared(path.replace("t", "%74")) is None
    assert prepared(path, (b"content-length", b"3")) is None and prepared("/v2/") is None
    assert prepared(path, (b"authorization", b"another")) is None, "two were not judged yet"
    clock.advance(seconds=TIMESTAMP_LIFETIME.total_seconds() / 2 + 1)
    assert prepared(path) is None
    wire("GET", path)
    assert wire("GET", path).body != answer.body
    assert prepared(path) is not None
    published.bump(TARGETS)
    wire.publish(published.upload(TARGETS))
    assert prepared(path) is None


def asked(table: ReadyAnswers, path: str, token: bytes, make: Callable[[], Ready | None]) -> Ready | None:
    scope = {"path": path, "headers": [(b"authorization", token)]}

    async def ask() -> Ready | None:
        return table.get(scope, make)

    return asyncio.run(ask())


def test_the_table_is_bounded_and_leaves_out_what_is_long_or_cannot_be_counted(now: datetime) -> None:
    made: list[int] = []

    def make() -> Ready:
        made.append(1)
        return Ready([], b"", FOREVER)

    counted = ReadyAnswers(lambda: (now, 7))
    for number in range(REMEMBERED + 1):
        asked(counted, str(number), b"t", make)
    asked(counted, str(REMEMBERED), b"t", make)
    assert len(made) == REMEMBERED + 1
    asked(counted, "0", b"t", make)
    assert len(made) == REMEMBERED + 2, "the first ones were forgotten"
    for _ in range(2):
        asked(counted, "0", b"t" * 5000, make)
        asked(ReadyAnswers(lambda: (now, None)), "0", b"t", make)
    assert len(made) == REMEMBERED + 6
    assert asked(counted, "absent", b"t", lambda: None) is None


def test_commits_are_counted_once_in_a_turn_of_the_loop(now: datetime) -> None:
    counts = iter(range(100))
    table = ReadyAnswers(lambda: (now, next(counts)))
    scope = {"path": "p", "headers": []}
    bodies: list[bytes] = []

    async def one(number: int) -> None:
        ready = table.get(scope, lambda: Ready([], b"%d" % number, FOREVER))
        assert ready is not None
        bodies.append(ready.body)

    async def turns() -> None:
        await asyncio.gather(*(one(number) for number in range(3)))
        await asyncio.sleep(0)
        await one(3)

    asyncio.run(turns())
    assert bodies == [b"0", b"0", b"0", b"3"]


def test_a_large_body_is_handed_on_in_pieces() -> None:
    body = bytes(range(256)) * (PIECE // 100)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Ready([], body, FOREVER).send(send))
    assert b"".join(message["body"] for message in sent[1:]) == body
    assert max(len(message["body"]) for message in sent[1:]) == PIECE
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(sent) - 2) + [False]
