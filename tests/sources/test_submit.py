"""Submissions from elsewhere on both databases: at once, in order, and through the API's door."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from customhouse.accounts.people import ANONYMOUS
from customhouse.certification.service import CertificationService
from customhouse.certification.submission import State
from customhouse.cli.submission import submission_lines
from customhouse.enrolment.origin import Origin
from customhouse.errors import CustomhouseError
from customhouse.oci.digest import Digest
from customhouse.review import http as review_http
from customhouse.sources import http as sources_http
from customhouse.sources.service import SourceFailed
from customhouse.trust.names import TARGETS
from customhouse.trust.verify import SignedTag
from tests.certification.test_service import at_once
from tests.rooms import ADMIN, CARL, HOST, OTTO, PAULA, WEB, Rooms, image

ORIGIN = Origin.parse("registry.vendor.example/app:2")


class There:
    """What is signed at the vendor's now."""

    def __init__(self) -> None:
        self.digest, self.version = Digest.of(b"first"), 3
        self.error: CustomhouseError | None = None

    def __call__(self, publisher: str, origin: Origin) -> tuple[SignedTag, int]:
        if self.error:
            raise self.error
        return SignedTag(origin.tag, self.digest, 5, TARGETS, 1), self.version


@pytest.fixture
def there() -> There:
    return There()


@pytest.fixture
def intake(rooms: Rooms, there: There) -> CertificationService:
    """Over the vendor of this test; rows, audit and clock are those of the rooms."""
    return CertificationService(
        rooms.store, audit=rooms.audit, clock=rooms.clock, host=HOST, wake=rooms._wake, offered=there
    )


def test_asked_for_by_many_at_once_it_is_one(rooms: Rooms, intake: CertificationService) -> None:
    assert len({row.id for row in at_once(*[lambda: intake.submit(PAULA, ORIGIN, WEB, "1")] * 6)}) == 1
    assert len(intake.active()) == 1 and len(rooms.log("submission.receive")) == 1
    assert rooms.woken == 1
    row = intake.active()[0]
    assert (row.origin, row.source, row.trust_server) == (ORIGIN, "registry.vendor.example/app:2", "")
    assert (row.snapshot_version, row.length, row.repository, row.tag) == (3, 5, WEB, "1")


def test_submissions_and_signed_pushes_of_one_tag_stand_in_one_order(
    rooms: Rooms, intake: CertificationService, there: There
) -> None:
    """From two sides at once: whoever comes last is the newest, and one only is under way."""
    rooms.push(image())
    rooms.simulator()

    def push() -> None:
        for _ in range(3):
            rooms.sign(image("pushed"))
            rooms.unsign()

    def submit() -> None:
        for number in range(6):
            there.digest = Digest.of(str(number).encode())
            intake.submit(PAULA, ORIGIN, WEB, "1")

    assert at_once(push, submit) == [None] * 2
    rows = intake.page(ADMIN, repository=WEB, state=None, publisher=None, before=None, limit=100)
    assert len({row.snapshot_version for row in rows}) == len(rows) == 9
    assert {row.state for row in rows} <= {State.RECEIVED, State.SUPERSEDED}
    newest = max(rows, key=lambda row: row.snapshot_version)
    assert [row.id for row in rows if row.state is State.RECEIVED] in ([newest.id], [])


def test_another_trust_server_is_another_submission(intake: CertificationService) -> None:
    first = intake.submit(PAULA, ORIGIN, WEB, "1")
    other = Origin.parse(str(ORIGIN), "https://notary.vendor.example/")
    second = intake.submit(PAULA, other, WEB, "1")
    assert second.id != first.id and intake.get(first.id).state is State.SUPERSEDED
    assert second.origin == other and other.asked == "https://notary.vendor.example"


def test_a_server_has_one_name_and_so_one_memory(intake: CertificationService) -> None:
    row = intake.submit(PAULA, ORIGIN, WEB, "1")
    same = Origin.parse("Registry.VENDOR.example/app:2", "")
    assert same == ORIGIN and intake.submit(PAULA, same, WEB, "1").id == row.id
    assert Origin.parse(str(ORIGIN), "https://Notary.vendor.example/").asked == "https://notary.vendor.example"


def test_people_are_told_where_it_is_from_and_what_comes_next(rooms: Rooms, intake: CertificationService) -> None:
    row = intake.submit(PAULA, Origin.parse(str(ORIGIN), "https://notary.vendor.example"), WEB, "1")
    with rooms.database.write() as tx:
        intake.move(tx, row, State.REJECTED, "the signature does not hold")
    lines = submission_lines(review_http.as_json(intake.get(row.id), HOST, [], rooms.clock()))
    assert "  source    registry.vendor.example/app:2, signed at https://notary.vendor.example" in lines
    assert lines[-1] == (
        "  next      Correct what is named above, sign it there, then: customhouse submit "
        "registry.vendor.example/app:2 --as acme/web:1 --trust-server https://notary.vendor.example"
    )


# ---- the doors


@pytest.fixture
def door(rooms: Rooms, intake: CertificationService) -> Iterator[Any]:
    people = {person.name: person for person in (PAULA, OTTO, CARL, ADMIN)}

    def principal_of(authorization: str | None, address: str) -> Any:
        return people[authorization] if authorization else ANONYMOUS

    with TestClient(
        Starlette(
            routes=[
                *review_http.routes(intake, rooms.review, rooms.rehearsal, principal_of),
                *sources_http.routes(rooms.sources, principal_of),
            ]
        )
    ) as client:

        def ask(method: str, path: str, body: Any = None, user: str = "") -> Any:
            headers = {"authorization": user} if user else {}
            return client.request(method, f"/api/v1{path}", json=body, headers=headers)

        yield ask


def test_the_api_takes_a_submission_and_shows_where_it_is_from(door: Any) -> None:
    asked = {"source": "registry.vendor.example/app:2", "repository": "acme/web"}
    assert door("POST", "/submissions", asked).status_code == 401
    assert door("POST", "/submissions", asked, "otto").status_code == 403
    made = door("POST", "/submissions", asked, "paula")
    assert made.status_code == 201
    row = made.json()
    assert (row["reference"], row["source"], row["trust_server"]) == (f"{HOST}/{WEB}:2", asked["source"], None)
    for repository in (WEB, f"{HOST}/{WEB}", f"{HOST}/acme/web"):
        assert door("POST", "/submissions", asked | {"repository": repository}, "paula").json()["id"] == row["id"]
    assert door("GET", f"/submissions/{row['id']}", user="paula").json()["source"] == asked["source"]
    assert door("GET", f"/submissions/{row['id']}", user="otto").status_code == 404
    for wrong in ({"source": "app"}, {"source": asked["source"], "repository": "quarantine/x"}, {}):
        assert door("POST", "/submissions", wrong, "paula").status_code == 400


def test_what_a_source_does_is_no_refusal_of_the_hub(door: Any, there: There) -> None:
    there.error = SourceFailed("registry.vendor.example did not answer in time", hint="Try again later.")
    answer = door("POST", "/submissions", {"source": str(ORIGIN), "repository": "acme/web"}, "paula")
    assert answer.status_code == 503 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == there.error.message and answer.json()["hint"] == there.error.hint


def test_sources_come_back_without_their_secrets(door: Any) -> None:
    asked = {"publisher": "acme", "url": "https://registry.vendor.example", "username": "hub", "secret": "words"}
    assert door("POST", "/sources", asked, "carl").status_code == 403
    made = door("POST", "/sources", asked, "admin")
    assert made.status_code == 201
    shown = {"publisher", "host", "url", "ca", "username", "added_by", "added"}
    assert set(made.json()) == shown and "words" not in made.text
    assert door("GET", "/sources", user="paula").json()["sources"] == [made.json()]
    assert door("GET", "/sources", user="otto").json()["sources"] == []
    assert door("POST", "/sources", asked | {"secret": 5}, "admin").status_code == 400
    path = "/sources/acme/registry.vendor.example"
    assert [door("DELETE", path, user=user).status_code for user in ("carl", "admin", "admin")] == [403, 204, 404]
