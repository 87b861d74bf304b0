"""The numbers that Prometheus scrapes: counted at every door, true of the database, and without a name in them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from customhouse import app as module
from customhouse.accounts.clients import WARNING
from customhouse.accounts.people import HUB
from customhouse.app import application
from customhouse.hub import Hub
from customhouse.metrics import Numbers, render
from tests.peers import postgresql
from tests.test_app import ADMIN, PASSWORD, hub_of

DOCKER_29 = r"docker/29.8.1 go/go1.26.8 UpstreamClient(Docker-Client/29.8.2 \(linux\))"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    made = hub_of(tmp_path_factory.mktemp("hub") / "data")
    made._add_first_administrator()
    made.accounts.add_user(HUB, "secretive", "publisher", PASSWORD)
    yield made
    made.workflows.close(0)
    made.database.close()
    made._lock.close()


@pytest.fixture
def client(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(module, "METRICS_SECONDS", 0)
    return TestClient(application(hub), raise_server_exceptions=False)


def numbers(client: TestClient) -> dict[tuple[str, ...], float]:
    """Sample name and label values -> value, as Prometheus itself reads the page."""
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text) for sample in family.samples
    }


def test_every_door_counts_its_answers_by_status(client: TestClient) -> None:
    for path, times in (("/v2/", 3), ("/v2/localhost:5443/acme/web/_trust/tuf/root.json", 2), ("/token", 1),
                        ("/api/v1/whoami", 4), ("/healthz", 1)):
        for _ in range(times):
            client.get(path)
    found = numbers(client)
    name = "customhouse_answers_total"
    assert found[name, "registry", "401"] == 3
    assert found[name, "trust", "401"] == 2
    assert found[name, "token", "200"] == 1
    assert (found[name, "api", "401"], found[name, "api", "200"]) == (4, 1)
    assert numbers(client)[name, "api", "200"] == 2  # the look before


def test_submissions_are_there_in_every_state_and_the_database_is_up(client: TestClient) -> None:
    found = numbers(client)
    assert found["customhouse_submissions", "published"] == found["customhouse_submissions", "awaiting_review"] == 0
    assert found["customhouse_database_up",] == 1 and found["customhouse_build_info", "0.1.0"] == 1
    assert found["process_resident_memory_bytes",] > 1e6
    assert ("customhouse_first_timestamp_expiry_seconds",) not in found  # nothing is signed yet


@pytest.mark.needs("postgresql")
def test_without_its_database_the_rest_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "METRICS_SECONDS", 0)
    folder = Path(tempfile.mkdtemp(prefix="customhouse-pg-"))
    server = postgresql.PostgreSQL(folder)
    try:
        made = hub_of(tmp_path / "data", database=server.url())
        client = TestClient(application(made), raise_server_exceptions=False)
        client.get("/v2/")
        assert numbers(client)["customhouse_database_up",] == 1
        server.stop()
        found = numbers(client)
        assert found["customhouse_database_up",] == 0 and found["customhouse_answers_total", "registry", "401"] == 1
        assert not [key for key in found if key[0] == "customhouse_submissions"]
        made.database.close()
        made._lock.close()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_no_name_is_told(client: TestClient) -> None:
    for path in ("/v2/secretive/web/manifests/1", "/api/v1/users/secretive"):
        client.get(path, headers=ADMIN)
    assert "secretive" not in client.get("/metrics").text


def test_a_page_is_made_once_in_five_seconds(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "METRICS_SECONDS", 60)
    client = TestClient(application(hub))
    first = numbers(client)
    client.get("/v2/")
    assert numbers(client) == first


def test_the_first_expiry_is_told_as_a_moment() -> None:
    ends = datetime(2026, 12, 8, tzinfo=UTC)
    text = render(Numbers({}, {("docker-29", "no"): 7}, [os.getpid()], True, {"published": 2}, ends)).decode()
    assert "customhouse_first_timestamp_expiry_seconds 1.796688e+09" in text
    assert ends.timestamp() == 1.796688e09
    assert 'customhouse_clients_total{client="docker-29",verifies="no"} 7.0' in text


def test_docker_29_is_warned_where_it_is_seen_and_nobody_else(client: TestClient) -> None:
    def warned(path: str, agent: str, **more: Any) -> str | None:
        return client.get(path, headers={"user-agent": agent, **more}).headers.get("warning")

    token = client.get("/token?scope=repository:acme/web:pull").json()["token"]
    bearer = {"authorization": f"Bearer {token}"}
    assert warned("/v2/", DOCKER_29, **bearer) == warned("/token", DOCKER_29) == WARNING
    assert warned("/v2/", "skopeo/1.9.3", **bearer) is None and warned("/token", "skopeo/1.9.3") is None
    posted = client.post("/token", data={"grant_type": "password", "username": "admin", "password": PASSWORD},
                         headers={"user-agent": DOCKER_29})
    assert (posted.status_code, posted.headers["warning"]) == (200, WARNING)
