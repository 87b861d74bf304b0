"""The plumbing of the API's doors: statuses, bodies with a budget, pages, and 500 without a detail."""

from collections.abc import Iterator

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from customhouse import errors
from customhouse.problem import Page, handlers, read_json, reply, routes_of_api, status_of


class Item(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 0


class Worse(errors.Conflict):
    """A room's own class with another status than its ancestor."""


async def echo(request: Request) -> Response:
    return reply(await read_json(request, Item, limit=100))


async def fail(request: Request) -> Response:
    kind = {**vars(errors), "Worse": Worse}.get(request.path_params["kind"])
    if kind is None:
        raise ZeroDivisionError("a secret detail")
    raise kind("it is wrong", hint="do this")


async def page(request: Request) -> Response:
    asked = Page.parse(request)
    kept, following = asked.cut([f"n{number}" for number in range(asked.limit + 1)], lambda name: name)
    return reply({"kept": len(kept), "next": following})


@pytest.fixture
def client() -> Iterator[TestClient]:
    routes = [
        Route("/echo", echo, methods=["POST"]),
        Route("/fail/{kind}", fail, methods=["GET"]),
        Route("/page", page, methods=["GET"]),
    ]
    app = Starlette(routes=routes_of_api(routes, {Worse: 423}), exception_handlers=handlers())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("Invalid", 400),
        ("Unauthenticated", 401),
        ("Denied", 403),
        ("NotFound", 404),
        ("Conflict", 409),
        ("TooLarge", 413),
        ("StorageFull", 507),
        ("Unavailable", 503),
        ("Undetermined", 503),
        ("CustomhouseError", 500),
        ("Worse", 423),
    ],
)
def test_each_class_has_its_status_and_its_words(client: TestClient, kind: str, status: int) -> None:
    answer = client.get(f"/fail/{kind}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["detail"], body["hint"], body["type"]) == (
        status,
        "it is wrong",
        "do this",
        "about:blank",
    )
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_a_subclass_has_the_status_of_its_nearest_ancestor() -> None:
    assert status_of(Worse("x")) == 409
    assert status_of(Worse("x"), {Worse: 423}) == 423


def test_a_defect_is_500_and_tells_nothing(client: TestClient) -> None:
    answer = client.get("/fail/none")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    assert client.get("/nowhere").json()["status"] == 404
    refused = client.delete("/echo")
    assert (refused.status_code, refused.json()["title"]) == (405, "Method not allowed")
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name":"a"}', 200),
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"name":1}', 400),
        (b'{"name":"a","x":1}', 400),
        (b'{"name":"a","count":"1"}', 400),
        (b"\xff\xfe", 400),
        (b'{"name":"\xff"}', 400),
        (b"null", 400),
        (b"[" * 99, 400),
        (b'{"name":"' + b"a" * 100 + b'"}', 413),
    ],
)
def test_bodies_are_what_they_should_be_or_are_refused(client: TestClient, body: bytes, status: int) -> None:
    assert client.post("/echo", content=body).status_code == status


def test_a_body_without_a_length_is_cut_off_as_well(client: TestClient) -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        for _ in range(50):
            sent.append(1)
            yield b" " * 50

    assert client.post("/echo", content=endless()).status_code == 413
    assert client.post("/echo", content=b"{}", headers={"content-length": "9" * 40}).status_code == 413


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=1001",
        "limit=x",
        "limit=",
        "limit=٣",
        "limit=1e2",
        "after=%00",
        "after=" + "a" * 600,
    ],
)
def test_pages_out_of_bounds_are_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/page?{query}").status_code == 400


def test_a_page_says_where_the_next_begins(client: TestClient) -> None:
    assert client.get("/page").json() == {"kept": 100, "next": "n99"}
    assert client.get("/page?limit=3&after=b").json() == {"kept": 3, "next": "n2"}
