"""A database that is gone, slow or full of others' work: whoever asks is told when to come back, and all goes on."""

import json
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
import urllib3

from tests.conformance.wire import Wire
from tests.hub_process import HubProcess
from tests.peers.postgresql import PostgreSQL
from tests.publisher import Publisher, image

pytestmark = pytest.mark.needs("postgresql")
DOWN_SECONDS = 4.0
LONGEST = 25  # seconds that anybody may wait for an answer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """One of its own, since it is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="customhouse-pg-"))
    made = PostgreSQL(folder)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def publisher(server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    folder = tmp_path_factory.mktemp("database")
    hub = HubProcess(folder / "hub" / "data", settings={"database": server.url()}).start()
    made = Publisher(hub, folder / "keys")
    made.enrol()
    made.release("web", "1", image("1"))
    hub.wait_for("staging/acme/web:1", "published")
    yield made
    hub.close()


class Load:
    """Acts that are repeated by a thread each until the end; every answer is noted with the seconds that it took."""

    def __init__(self, *acts: Callable[[], urllib3.HTTPResponse]) -> None:
        self.answers: list[tuple[float, int, urllib3.HTTPResponse]] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=(act,)) for act in acts]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, act: Callable[[], urllib3.HTTPResponse]) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            answer = act()
            self.answers.append((time.monotonic() - began, answer.status, answer))

    def counted(self) -> "Counter[int]":
        return Counter(status for _, status, _ in self.answers)


def told_to_come_back(answer: urllib3.HTTPResponse) -> bool:
    """The registry's form of "not now"."""
    (error,) = json.loads(answer.data)["errors"]
    return error["code"] == "UNAVAILABLE" and bool(error["message"]) and int(answer.headers["retry-after"]) > 0


def test_a_database_that_restarts_under_load_costs_nothing_but_the_time(
    server: PostgreSQL, publisher: Publisher
) -> None:
    hub, wire = publisher.hub, Wire(publisher, "staging/acme/web")
    for tag in ("2", "3", "4"):
        publisher.push("web", tag, image(tag))
    whole: set[str] = set()

    def push() -> urllib3.HTTPResponse:
        content = os.urandom(1000)
        digest = f"sha256:{sha256(content).hexdigest()}"
        begun = wire.request("POST", "/blobs/uploads/")
        if begun.status != 202:
            return begun
        done = wire.request("PUT", f"{begun.headers['location']}?digest={digest}", content)
        if done.status == 201:
            whole.add(digest)
        return done

    def login() -> urllib3.HTTPResponse:
        assert publisher.login is not None
        basic = urllib3.make_headers(basic_auth=f"{publisher.login.username}:{publisher.login.secret}")
        return wire.request(
            "GET", f"/token?service={hub.host}&scope=repository:{wire.repository}:pull", headers=basic, base=""
        )

    read = lambda: wire.request("GET", "/manifests/1")  # noqa: E731
    listed = lambda: wire.request("GET", "/tags/list")  # noqa: E731
    with Load(read, read, listed, push, push, login) as load:
        time.sleep(1)
        for tag in ("2", "3", "4"):
            publisher.sign("web", tag, image(tag))  # their workflows are on their way when it stops
        server.stop()
        stopped = time.monotonic()
        time.sleep(DOWN_SECONDS)
        server.start()
        started = time.monotonic()
        while {status for _, status, _ in load.answers[-12:]} - {200, 201}:
            assert time.monotonic() < started + 20, load.counted()
            time.sleep(0.2)
        down = started - stopped
    refused = [answer for _, status, answer in load.answers if status not in (200, 201)]
    assert {answer.status for answer in refused} == {503}, load.counted()
    assert all(told_to_come_back(answer) for answer in refused)
    assert max(seconds for seconds, _, _ in load.answers) < down + LONGEST
    for digest in whole:
        assert wire.request("HEAD", f"/blobs/{digest}").status == 200
    for tag in ("2", "3", "4"):
        hub.wait_for(f"staging/acme/web:{tag}", "published")
    publisher.release("web", "5", image("5"))
    hub.wait_for("staging/acme/web:5", "published")
    assert hub.process is not None and hub.process.poll() is None
    assert hub.doctor() == []


def test_what_finds_no_connection_is_told_to_come_back(publisher: Publisher) -> None:
    wire = Wire(publisher, "staging/acme/web")
    place = publisher.hub.settings["database"].replace("+psycopg", "")
    with psycopg.connect(place) as holder, ThreadPoolExecutor(60) as threads:
        holder.execute("LOCK TABLE registry_tag IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()

        def ask(_: int) -> urllib3.HTTPResponse:
            return wire.request("GET", "/tags/list")

        waiting = [threads.submit(ask, number) for number in range(60)]
        time.sleep(11.5)
        assert wire.request("GET", "/healthz", base="", headers={"accept": "*/*"}).status == 200
        holder.rollback()
        answers = [each.result(LONGEST) for each in waiting]
        assert time.monotonic() - began < LONGEST
    found = Counter(answer.status for answer in answers)
    assert set(found) == {200, 503} and found[503] >= 10, found
    assert all(told_to_come_back(answer) for answer in answers if answer.status == 503)
    assert wire.request("GET", "/tags/list").status == 200
    assert publisher.hub.doctor() == []
