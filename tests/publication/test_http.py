"""The door of the bundle's repositories: pages that end, and nothing that the caller may not read."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from customhouse.accounts.access import allowed
from customhouse.accounts.people import ANONYMOUS, Principal
from customhouse.publication import http, service
from customhouse.trust.bundle import Bundle
from tests.rooms import CARL, HOST, PAULA, READER, Rooms, image

PEOPLE = {person.name: person for person in (PAULA, CARL, READER)}
NAMES = ["acme/a", "acme/b", "acme/web"]


def door(rooms: Rooms, *, anonymous_pull: bool = True) -> TestClient:
    def principal_of(authorization: str | None, address: str) -> Principal:
        return PEOPLE[authorization] if authorization else ANONYMOUS

    def bundle() -> Bundle:
        return Bundle(HOST, f"https://{HOST}", "customhouse", rooms.clock(), (rooms.publication.root_certificate(),))

    def may(who: Principal, repository: str) -> frozenset[str]:
        return allowed(who, repository, anonymous_pull=anonymous_pull)

    return TestClient(Starlette(routes=http.routes(rooms.publication, principal_of, dict, bundle, may)))  # type: ignore[arg-type]


@pytest.fixture
def published(rooms: Rooms) -> Rooms:
    for name in NAMES:
        rooms.publish(image(name), repository=f"staging/{name}")
    return rooms


def walk(client: TestClient, query: str, **headers: str) -> tuple[list[dict[str, Any]], int]:
    """Every repository over all pages, and how many pages there were."""
    found, after, pages = [], "", 0
    while True:
        answer = client.get(f"/api/v1/trust/repositories?{query}&after={after}", headers=headers)
        assert answer.status_code == 200, answer.text
        found += answer.json()["repositories"]
        pages, after = pages + 1, answer.json()["next"]
        if not after:
            return found, pages


def test_pages_end_by_number_and_by_bytes_and_hold_everything_once(
    published: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, guns = door(published), [f"{HOST}/{name}" for name in NAMES]
    for query, pages in (("limit=100", 1), ("limit=2", 2), ("limit=1", 3)):
        found, there = walk(client, query)
        assert ([each["gun"] for each in found], there) == (guns, pages)
    monkeypatch.setattr(service, "LARGEST_PAGE", 1)
    monkeypatch.setattr(http, "LARGEST_PAGE", 1)
    found, there = walk(client, "limit=100&metadata=true")
    assert [each["gun"] for each in found] == guns and there >= 3
    assert all(set(each["metadata"]) >= {"root", "targets", "targets/releases", "snapshot", "timestamp"}
               for each in found)


def test_where_nobody_reads_without_a_login_everybody_who_is_signed_in_does(published: Rooms) -> None:
    client = door(published, anonymous_pull=False)
    assert client.get("/api/v1/trust/repositories").status_code == 401
    assert client.get("/api/v1/trust/repositories?repository=acme/web").status_code == 401
    for name in PEOPLE:
        assert len(walk(client, "limit=100", authorization=name)[0]) == 3


def test_staging_and_quarantine_are_not_there_for_anybody(published: Rooms) -> None:
    client = door(published)
    for name in ("staging/acme/web", "quarantine/abc", "acme", "", "acme/none"):
        answer = client.get(f"/api/v1/trust/repositories?repository={name}x", headers={"authorization": "carl"})
        assert answer.status_code == 404, answer.text
    assert not [each for each in walk(client, "limit=9", authorization="carl")[0] if "staging" in each["gun"]]
