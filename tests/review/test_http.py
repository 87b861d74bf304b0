"""The API of submissions and waivers, over the real services."""

import time
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from customhouse.accounts.access import allowed
from customhouse.accounts.people import ANONYMOUS
from customhouse.certification.submission import State
from customhouse.enrolment import http as enrolment_http
from customhouse.publication import http as publication_http
from customhouse.review import http
from tests.rooms import ADMIN, CARL, HOST, MACHINE, OTTO, PAULA, READER, WEB, Rooms, doubtful, image

PEOPLE = {person.name: person for person in (PAULA, OTTO, CARL, ADMIN, MACHINE, READER)}


def _official(who: Any, repository: str) -> frozenset[str]:
    return allowed(who, repository, anonymous_pull=True)


class Door:
    """The three doors together; `user` is the whole Authorization header."""

    def __init__(self, rooms: Rooms) -> None:
        self.addresses: list[str] = []

        def principal_of(authorization: str | None, address: str) -> Any:
            self.addresses.append(address)
            return ANONYMOUS if authorization is None else PEOPLE[authorization]

        def shown(row: Any) -> dict[str, Any]:
            return http.as_json(row, HOST, rooms.review.approvals(row), rooms.clock())

        self.client = TestClient(
            Starlette(
                routes=[
                    *http.routes(rooms.certification, rooms.review, rooms.rehearsal, principal_of),
                    *publication_http.routes(rooms.publication, principal_of, shown, dict, _official),
                    *enrolment_http.routes(rooms.enrolment, rooms.signers, principal_of),
                ]
            )
        )

    def __call__(self, method: str, path: str, body: Any = None, user: str | None = "carl") -> Any:
        headers = {} if user is None else {"authorization": user}
        answer = self.client.request(method, f"/api/v1{path}", json=body, headers=headers)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) == {"type", "title", "status", "detail", "hint"}
        return answer


@pytest.fixture
def door(rooms: Rooms) -> Door:
    return Door(rooms)


def test_a_submission_is_shown_as_scripts_expect_it(rooms: Rooms, door: Door) -> None:
    row = rooms.publish(image())
    shown = door("GET", f"/submissions/{row.id}").json()
    assert set(shown) >= {
        "id", "reference", "digest", "state", "verdict", "grade", "official_reference", "reason", "findings",
        "publisher", "author", "created", "updated", "approvals", "required_approvals",
    }
    assert (shown["state"], shown["verdict"], shown["official_reference"]) == (
        "published", "certified", f"{HOST}/acme/web:1",
    )
    assert set(shown["findings"][0]) >= {"check", "outcome", "severity", "message", "evidence", "fingerprint"}
    assert door("GET", f"/submissions/latest?reference={HOST}/{WEB}:1", user="paula").json() == shown
    assert door("GET", "/submissions/latest?reference=acme/web:1").json() == shown


QUESTIONS = [
    ("/submissions/none", 404, "no submission none"),
    ("/submissions/latest?reference=elsewhere:1/staging/acme/web:1", 400, "not of this hub"),
    ("/submissions/latest?reference=", 400, ""),
    ("/submissions/latest?reference=staging/acme/none:1", 404, "A submission begins with a signed push"),
    ("/submissions?state=nothing", 400, "States: received"),
    ("/submissions?limit=0", 400, "limit"),
    ("/submissions/ID/events?after=x", 400, "after must be a number"),
    ("/submissions/ID/events?wait=99999", 400, "wait must be a number"),
]


def test_a_question_that_makes_no_sense_says_why(rooms: Rooms, door: Door) -> None:
    row = rooms.submit(image())
    for path, status, says in QUESTIONS:
        answer = door("GET", path.replace("ID", row.id))
        assert answer.status_code == status and says in answer.text, (path, answer.text)


PATHS = [
    ("GET", "/submissions"), ("GET", "/submissions/ID"), ("GET", "/submissions/latest?reference=acme/web:1"),
    ("GET", "/submissions/ID/events"), ("POST", "/submissions/ID/approve"), ("POST", "/submissions/ID/reject"),
    ("POST", "/submissions/ID/retry"), ("POST", "/submissions/ID/withdraw"), ("GET", "/waivers"),
    ("POST", "/waivers"), ("DELETE", "/waivers/x"), ("GET", "/publishers/acme/roots"),
    ("POST", "/publishers/acme/roots"), ("DELETE", "/publishers/acme/roots/x"),
]


def test_nobody_is_asked_to_sign_in_everywhere(rooms: Rooms, door: Door) -> None:
    row = rooms.submit(image())
    for method, path in PATHS:
        answer = door(method, path.replace("ID", row.id), {}, user=None)
        assert answer.status_code == 401 and "customhouse login" in answer.json()["hint"], path
    assert set(door.addresses) == {"testclient"}, "wrong passwords are slowed down by the client's address"


def test_another_publisher_learns_nothing_and_changes_nothing(rooms: Rooms, door: Door) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    for verb in ("approve", "reject", "retry", "withdraw"):
        answer = door("POST", f"/submissions/{row.id}/{verb}", {"reason": "x"}, user="otto")
        assert answer.status_code in (403, 404) and str(row.digest) not in answer.text
    assert door("GET", f"/submissions/{row.id}", user="otto").status_code == 404
    assert rooms.certification.get(row.id) == row


def test_a_review_by_the_api_from_rejection_over_retry_to_approval(rooms: Rooms, door: Door) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    path = f"/submissions/{row.id}"
    assert door("POST", f"{path}/reject", {"reason": ""}).status_code == 400
    assert door("POST", f"{path}/reject", {"reason": "no"}).json()["state"] == "rejected"
    assert door("POST", f"{path}/approve", {"reason": "yes"}).status_code == 409
    assert door("POST", f"{path}/retry", {}, user="acme-ci").json()["state"] == "received"
    rooms.go(row.id)
    approved = door("POST", f"{path}/approve", {"reason": "yes"}).json()
    assert (approved["state"], approved["approvals"], approved["required_approvals"]) == ("publishing", ["carl"], 1)
    assert rooms.go(row.id).state is State.PUBLISHED
    withdrawn = door("POST", f"{path}/withdraw", {"reason": "a flaw"}, user="paula").json()
    assert (withdrawn["state"], withdrawn["official_reference"]) == ("withdrawn", None)


def test_a_body_that_is_none_is_refused_and_decides_nothing(rooms: Rooms, door: Door) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    for body in (b"", b"[]", b'{"reason": 5}', b"\xff", b'{"reason": "' + b"x" * 70_000):
        answer = door.client.post(
            f"/api/v1/submissions/{row.id}/approve", content=body, headers={"authorization": "carl"}
        )
        assert answer.status_code in (400, 413) and answer.headers["content-type"] == "application/problem+json"
    assert rooms.certification.get(row.id) == row


def test_progress_is_followed_and_the_wait_ends_where_a_person_is_needed(rooms: Rooms, door: Door) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    begun = time.monotonic()
    first = door("GET", f"/submissions/{row.id}/events?wait=20", user="paula").json()
    rest = door("GET", f"/submissions/{row.id}/events?wait=20&after={first['events'][-1]['seq']}").json()
    assert (first["state"], rest) == ("awaiting_review", {"state": "awaiting_review", "events": []})
    assert time.monotonic() - begun < 10
    active = rooms.submit(image("2"), "2")
    begun = time.monotonic()
    assert door("GET", f"/submissions/{active.id}/events?wait=1&after=1").json()["events"] == []
    assert 0.9 < time.monotonic() - begun < 10


def test_pages_follow_one_another(rooms: Rooms, door: Door) -> None:
    for number in range(3):
        rooms.clock.advance(seconds=1)
        rooms.submit(image(str(number)), str(number))
    first = door("GET", "/submissions?limit=2").json()
    rest = door("GET", f"/submissions?limit=2&after={first['next']}").json()
    tags = [item["reference"][-1] for item in first["submissions"] + rest["submissions"]]
    assert tags == ["2", "1", "0"] and rest["next"] is None
    assert "findings" not in first["submissions"][0]


def test_waivers_by_the_api(rooms: Rooms, door: Door) -> None:
    body = {"repository": "acme/web", "reason": "known", "days": 3, "check": "CFG-HEALTH"}
    assert door("POST", "/waivers", body, user="paula").status_code == 403
    made = door("POST", "/waivers", body)
    assert made.status_code == 201 and made.json()["expires"].startswith("2026-11-26")
    assert [item["repository"] for item in door("GET", "/waivers", user="paula").json()["waivers"]] == [WEB]
    assert door("GET", "/waivers", user="otto").json()["waivers"] == []
    assert door("DELETE", f"/waivers/{made.json()['id']}").status_code == 204
    assert door("DELETE", f"/waivers/{made.json()['id']}").status_code == 404


def test_enrolment_by_the_api(rooms: Rooms, door: Door) -> None:
    rooms.push(image())
    rooms.go(rooms.sign(image()))
    for body in ({}, {"certificate": "x", "repository": "y"}, {"certificate": "no pem"}):
        assert door("POST", "/publishers/acme/roots", body).status_code == 400
    made = door("POST", "/publishers/acme/roots", {"repository": f"{HOST}/{WEB}"}).json()
    shown = door("GET", "/publishers/acme/roots", user="acme-read").json()
    assert made == shown and len(shown["keys"]) == 1
    assert door("GET", "/publishers/acme/roots", user="otto").status_code == 403
    assert door("DELETE", f"/publishers/acme/roots/{shown['keys'][0]['id']}", user="paula").status_code == 403
    assert door("DELETE", f"/publishers/acme/roots/{shown['keys'][0]['id']}").status_code == 204
