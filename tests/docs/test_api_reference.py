"""The list of routes in the reference is whole: told from the application's side, not from the generator's."""

import json
from pathlib import Path
from typing import Any

import pytest

from customhouse.app import api_routes, door_of_registry
from customhouse.registry.wire import Target
from customhouse.trust.http import owns

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
TRUST = {
    "/v2/{gun}/_trust/tuf/{role}.json": {"GET"}, "/v2/{gun}/_trust/tuf/{role}.{hash}.json": {"GET"},
    "/v2/{gun}/_trust/tuf/{version}.{role}.json": {"GET"}, "/v2/{gun}/_trust/tuf/{role}.key": {"GET", "POST"},
    "/v2/{gun}/_trust/tuf/": {"POST", "DELETE"}, "/v2/{gun}/_trust/changefeed": {"GET"},
    "/v2/_trust/changefeed": {"GET"}, "/_notary_server/health": {"GET"},
}  # fmt: skip


class Anything:
    """For doors that are only asked for their routes."""

    def __getattr__(self, _name: str) -> "Anything":
        return self

    def __truediv__(self, _name: str) -> "Anything":
        return self

    def __call__(self, *_about: Any) -> "Anything":
        return self


@pytest.fixture(scope="module")
def served() -> set[tuple[str, str]]:
    """Methods and paths; those of the registry by what they name."""
    hub: Any = Anything()
    found = {(method, path) for path, methods in TRUST.items() for method in methods}
    found |= {(method, route.path) for route in api_routes(hub) for method in route.methods or () if method != "HEAD"}
    for kind, methods in door_of_registry(hub).methods().items():
        found |= {(method, kind) for method in methods}
    return {(method, path.replace(":str}", "}").replace(":path}", "}")) for method, path in found}


def _kind(path: str) -> str:
    target = None if owns(path) else Target.parse(path)
    return target.kind if target else path


def test_each_route_of_the_application_is_on_the_page(served: set[tuple[str, str]]) -> None:
    rows = [line.split("|")[1:3] for line in (REFERENCE / "api.md").read_text().splitlines() if "| `/" in line]
    told = [(method.strip(), path.strip(" `").replace(":path}", "}")) for method, path in rows]
    assert {(method, _kind(path)) for method, path in told} == served
    assert len(told) == len(set(told)) and ("GET", "/v2/_catalog") in told


def test_each_route_of_the_application_is_in_the_document(served: set[tuple[str, str]]) -> None:
    document = json.loads((REFERENCE / "openapi.json").read_text())
    assert document["openapi"].startswith("3.1.")
    told = {
        (method.upper(), _kind(path)): operation
        for path, methods in document["paths"].items() for method, operation in methods.items()
    }  # fmt: skip
    assert told.keys() == served
    for (method, path), operation in told.items():
        statuses = {int(status) for status in operation["responses"]}
        assert min(statuses) < 300, (method, path)
        assert {401, 403} <= statuses or operation["description"] == "For anybody.", (method, path)
        assert 413 in statuses or "requestBody" not in operation, (method, path)
