from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from customhouse.accounts.people import ANONYMOUS, Principal, Role
from customhouse.advisories.http import routes
from customhouse.advisories.service import AdvisoriesService
from customhouse.advisories.store import AdvisoriesStore
from customhouse.advisories.updates import Plan, Updates
from customhouse.audit import Audit
from customhouse.db import Database
from tests.advisories.records import dump, fixed_in, kev, record, written
from tests.conftest import Clock

PEOPLE = {
    None: ANONYMOUS,
    "Bearer ada": Principal("ada", "user", Role.ADMINISTRATOR, owner="ada"),
    "Bearer carla": Principal("carla", "user", Role.CERTIFIER, owner="carla"),
    "Bearer paul": Principal("paul", "user", Role.PUBLISHER, owner="paul"),
}
ADA, CARLA, PAUL = ({"authorization": name} for name in PEOPLE if name)
DUMP = dump([record("X-1", fixed_in("npm", "x", "2.0.0"))])


@pytest.fixture
def client(database: Database, clock: Clock, tmp_path: Path) -> TestClient:
    store = AdvisoriesStore(database)
    service = AdvisoriesService(store, Audit(database), clock)
    updates = Updates(service, store, clock, Plan(str(tmp_path / "mirror")), tmp_path / "spool")
    spool = tmp_path / "spool"
    door = routes(service, updates, lambda sent, _address: PEOPLE[sent], spool=spool, largest=100_000)
    return TestClient(Starlette(routes=door))


def test_an_upload_is_imported_and_shows_in_the_status(client: TestClient, tmp_path: Path) -> None:
    answer = client.post("/api/v1/advisories?name=all.zip", content=DUMP, headers=CARLA)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["records"], answer.json()["renewed"]) == (1, ["npm"])
    assert client.post("/api/v1/advisories?name=kev.json", json=kev("CVE-2026-0001"), headers=ADA).json()["kev"]
    status: dict[str, Any] = client.get("/api/v1/advisories/status", headers=PAUL).json()
    assert status["ecosystems"][0]["ecosystem"] == "npm" and status["ecosystems"][0]["coverage"] == "covered"
    assert status["kev"]["coverage"] == "covered"
    assert status["imports"][0]["digest"].startswith("sha256:")
    assert not list((tmp_path / "spool").iterdir()), "uploads are removed"


@pytest.mark.parametrize(
    ("query", "body", "headers", "status"),
    [
        ("?name=all.zip", DUMP, {}, 401),
        ("?name=all.zip", DUMP, PAUL, 403),
        ("", DUMP, CARLA, 400),
        ("?name=all.zip", b"", CARLA, 400),
        ("?name=all.zip", b"nonsense", CARLA, 400),
        ("?name=all.zip", b"x" * 100_001, CARLA, 413),
    ],
)
def test_a_refused_upload_says_why(
    client: TestClient, tmp_path: Path, query: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/api/v1/advisories" + query, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] and answer.json()["hint"]
    assert not list((tmp_path / "spool").glob("*"))


def test_a_body_of_unsaid_length_is_cut_at_the_limit(client: TestClient) -> None:
    pieces = (b"x" * 10_000 for _ in range(11))
    assert client.post("/api/v1/advisories?name=all.zip", content=pieces, headers=CARLA).status_code == 413


def test_strangers_do_not_see_the_status(client: TestClient) -> None:
    assert client.get("/api/v1/advisories/status").status_code == 401


def test_records_are_listed_and_one_is_shown_by_any_of_its_names(client: TestClient) -> None:
    content = dump([
        record("GHSA-0001", fixed_in("npm", "x", "2"), aliases=["CVE-2026-0001"], modified="2026-11-02T00:00:00Z"),
        record("GHSA-0002", fixed_in("npm", "y", "2"), withdrawn="2026-11-01T00:00:00Z"),
        record("PYSEC-0003", fixed_in("PyPI", "z", "2")),
    ])  # fmt: skip
    client.post("/api/v1/advisories?name=all.zip", content=content, headers=CARLA)
    client.post("/api/v1/advisories?name=kev.json", json=kev("CVE-2026-0001"), headers=ADA)
    names = [each["id"] for each in client.get("/api/v1/advisories?ecosystem=npm", headers=PAUL).json()["records"]]
    assert names == ["GHSA-0001"]
    assert len(client.get("/api/v1/advisories?limit=2", headers=PAUL).json()["records"]) == 2
    for name in ("GHSA-0001", "CVE-2026-0001"):
        found = client.get(f"/api/v1/advisories/records/{name}", headers=PAUL).json()
        assert (found["id"], found["kev"], found["affected"][0]["package"]) == ("GHSA-0001", ["CVE-2026-0001"], "x")
    assert client.get("/api/v1/advisories/records/GHSA-0002", headers=PAUL).json()["withdrawn"]
    assert client.get("/api/v1/advisories/records/GHSA-9999", headers=PAUL).status_code == 404
    assert client.get("/api/v1/advisories?limit=x", headers=PAUL).status_code == 400
    assert client.get("/api/v1/advisories").status_code == 401


def test_the_mirror_that_is_set_is_followed_on_request(client: TestClient, tmp_path: Path) -> None:
    written(tmp_path, "mirror/ecosystems.txt", b"npm\n")
    written(tmp_path, "mirror/npm/all.zip", DUMP)
    written(tmp_path, "mirror/npm/modified_id.csv", b"2026-11-20T00:00:00Z,X-1\n")
    assert client.post("/api/v1/advisories/update", headers=PAUL).status_code == 403
    answer = client.post("/api/v1/advisories/update", headers=CARLA).json()
    assert answer["updates"][0]["renewed"] == ["npm"], answer
