"""The doors of people over HTTP: docker's token door as docker uses it, and the API."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from customhouse.accounts import http
from customhouse.accounts.authorizer import Authorizer, TokenRequired
from customhouse.accounts.clients import ClientWatch
from customhouse.accounts.service import AccountsService
from customhouse.problem import handlers
from tests.accounts.conftest import HOST, PASSWORD, URL
from tests.conftest import Clock

STAGING = "staging/acme/web"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def client(people: AccountsService) -> Iterator[TestClient]:
    app = Starlette(routes=http.routes(people, HOST, ClientWatch(HOST)), exception_handlers=handlers(http.STATUSES))
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as client:
        yield client


def access(people: AccountsService, answer: Any) -> dict[str, set[str]]:
    assert answer.status_code == 200, answer.text
    claims = people.signer.verify(answer.json()["token"], people.clock())
    return {name: set(actions) for name, actions in claims.access.items()}


def login(client: TestClient, name: str = "admin") -> dict[str, str]:
    answer = client.post("/api/v1/login", auth=(name, PASSWORD))
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


# The token door --------------------------------------------------------------------------------------------------


def test_docker_login_gets_a_refresh_token_and_uses_it(client: TestClient, people: AccountsService) -> None:
    answer = client.get(
        "/token?account=paula&client_id=docker&offline_token=true&service=customhouse", auth=("paula", PASSWORD)
    )
    body = answer.json()
    assert body["token"] == body["access_token"]
    assert body["expires_in"] >= 60
    assert body["issued_at"] == "2026-11-23T12:00:00Z"
    assert answer.headers["cache-control"] == "no-store"
    form = {
        "grant_type": "refresh_token",
        "refresh_token": body["refresh_token"],
        "service": "another-name-for-the-trust-server",
        "client_id": "docker",
        "scope": f"repository:{HOST}/{STAGING}:push,pull repository:acme/web:pull",
    }
    second = client.post("/token", data=form)
    assert access(people, second) == {STAGING: {"pull", "push"}, "acme/web": {"pull"}}
    assert second.json()["scope"] == f"repository:acme/web:pull repository:{STAGING}:pull,push"
    assert "refresh_token" not in second.json()


def test_dockerds_and_the_trust_clients_scopes_mean_one_repository(client: TestClient, people: AccountsService) -> None:
    for name in (STAGING, f"{HOST}/{STAGING}"):
        answer = client.get("/token", params={"scope": f"repository:{name}:push,pull"}, auth=("paula", PASSWORD))
        assert access(people, answer) == {STAGING: {"pull", "push"}}


def test_less_than_asked_is_200(client: TestClient, people: AccountsService) -> None:
    query = [
        ("scope", f"repository:{STAGING}:pull,push"),
        ("scope", "repository:acme/web:pull,push"),
        ("scope", "registry:catalog:*"),
    ]
    assert access(people, client.get("/token", params=query, auth=("cora", PASSWORD))) == {"acme/web": {"pull"}}
    assert access(people, client.get("/token", params=query)) == {"acme/web": {"pull"}}
    assert access(people, client.get("/token?scope=repository:staging/other/web:pull", auth=("paula", PASSWORD))) == {}


def test_the_star_is_for_administrators(client: TestClient, people: AccountsService) -> None:
    query = {"scope": f"repository:{HOST}/{STAGING}:*"}
    got = {
        name: access(people, client.get("/token", params=query, auth=(name, PASSWORD)))
        for name in ("admin", "paula", "otto")
    }
    assert got["admin"][STAGING] == {"*", "pull", "push", "delete"}
    assert got["paula"][STAGING] == {"pull", "push", "delete"}
    assert got["otto"] == {}


def test_the_catalogue_of_all_repositories_is_for_administrators(client: TestClient, people: AccountsService) -> None:
    guard = Authorizer(people.signer, f"{URL}/token", HOST, people.clock)
    with pytest.raises(TokenRequired) as caught:
        guard.authorize(None, "catalog", "*")
    assert caught.value.challenge.scope == "registry:catalog:*"
    query = {"scope": caught.value.challenge.scope}
    for name in ("admin", "carl", "paula"):
        token = client.get("/token", params=query, auth=(name, PASSWORD)).json()["token"]
        assert guard.may(f"Bearer {token}", "catalog", "*") == (name == "admin")
    assert access(people, client.get("/token?scope=repository:catalog:*", auth=("admin", PASSWORD))) == {}
    with pytest.raises(TokenRequired):
        guard.authorize(f"Bearer {token}", "catalog", "*")


def test_an_anonymous_caller_gets_a_token_without_a_refresh_token(client: TestClient, people: AccountsService) -> None:
    answer = client.get("/token?offline_token=true&scope=repository:acme/web:pull")
    assert access(people, answer) == {"acme/web": {"pull"}}
    assert "refresh_token" not in answer.json()
    assert people.signer.verify(answer.json()["token"], people.clock()).subject == ""


def test_the_password_grant_gives_a_refresh_token_when_asked(client: TestClient, people: AccountsService) -> None:
    form = {"grant_type": "password", "username": "paula", "password": PASSWORD, "service": "s", "client_id": "c"}
    online = client.post("/token", data={**form, "scope": f"repository:{STAGING}:pull"})
    assert access(people, online) == {STAGING: {"pull"}}
    assert "refresh_token" not in online.json()
    assert client.post("/token", data={**form, "access_type": "offline"}).json()["refresh_token"].startswith("ch_")


def test_wrong_credentials_are_401_in_words_that_docker_prints(client: TestClient) -> None:
    for answer in (
        client.get("/token", auth=("paula", "wrong password")),
        client.get("/token", auth=("nobody", PASSWORD)),
        client.get("/token", headers={"authorization": "Basic !!!"}),
        client.get("/token", headers={"authorization": "Bearer a.b.c"}),
        client.post("/token", data={"grant_type": "password", "username": "paula", "password": "wrong password"}),
        client.post("/token", data={"grant_type": "refresh_token", "refresh_token": "ch_" + "a" * 43}),
        client.post("/token", data={"grant_type": "refresh_token", "refresh_token": "a\x00b"}),
        client.post("/token", data={"grant_type": "refresh_token"}),
    ):
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/json"
        (error,) = answer.json()["errors"]
        assert error["code"] == "UNAUTHORIZED"
        assert error["message"]


def test_a_disabled_account_is_told_so(client: TestClient, people: AccountsService) -> None:
    people.set_disabled(people.authenticate("admin", PASSWORD), "paula", True)
    answer = client.get("/token", auth=("paula", PASSWORD))
    assert answer.status_code == 403
    (error,) = answer.json()["errors"]
    assert error == {"code": "DENIED", "message": "the account paula is disabled. Ask an administrator of this hub."}


def test_too_many_failures_tell_how_long_to_wait(client: TestClient) -> None:
    for _ in range(10):
        assert client.get("/token", auth=("paula", "wrong password")).status_code == 401
    answer = client.get("/token", auth=("paula", PASSWORD))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "6")
    assert answer.json()["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert "wait 6 s" in answer.json()["errors"][0]["message"]
    api = client.post("/api/v1/login", auth=("paula", PASSWORD))
    assert (api.status_code, api.json()["status"], api.headers["retry-after"]) == (429, 429, "6")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"grant_type=magic",
        b"\xff\xfe",
        b"grant_type=password&grant_type=password",
        b"&" * 200 + b"a=b",
        b"a=%ff",
        b'{"grant_type":"password"}',
        b"=".join([b"a"] * 9),
        b"&".join([b"a=b"] * 200),
        b"grant_type=password&scope=x",
    ],
)
def test_forms_that_say_nothing_usable_are_400(client: TestClient, body: bytes) -> None:
    answer = client.post("/token", content=body, headers=FORM)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"]


def test_hostile_queries_and_huge_bodies_are_refused(client: TestClient) -> None:
    assert client.get("/token", params={"scope": "repository:a b\x00:pull"}).status_code == 400
    assert client.get("/token", params=[("scope", "repository:a/b:pull")] * 40).status_code == 400
    assert client.post("/token", content=b"a=" + b"b" * 70_000, headers=FORM).status_code == 413
    assert client.put("/token").status_code == 405
    huge = base64.b64encode(b"paula:" + b"x" * 30_000).decode()
    assert client.get("/token", headers={"authorization": f"Basic {huge}"}).status_code == 401


def test_a_machines_token_works_for_docker_login(client: TestClient, people: AccountsService) -> None:
    made = client.post(
        "/api/v1/tokens", json={"name": "ci", "publisher": "acme", "scope": ["push"]}, headers=login(client, "paula")
    ).json()
    auth = (made["username"], made["secret"])
    refresh = client.get("/token?offline_token=true", auth=auth).json()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": refresh, "scope": f"repository:{STAGING}:push,pull"}
    answer = client.post("/token", data=form)
    assert access(people, answer) == {STAGING: {"pull", "push"}}
    claims = people.signer.verify(answer.json()["token"], people.clock())
    assert (claims.subject, claims.owner) == ("acme-ci", "paula")


def test_a_login_session_as_dockers_password_gets_no_refresh_token(client: TestClient, people: AccountsService) -> None:
    secret = login(client, "paula")["authorization"].removeprefix("Bearer ")
    for answer in (
        client.get(f"/token?offline_token=true&scope=repository:{STAGING}:push", auth=("paula", secret)),
        client.get(
            f"/token?offline_token=true&scope=repository:{STAGING}:push", headers={"authorization": f"Bearer {secret}"}
        ),
    ):
        assert access(people, answer) == {STAGING: {"push"}}
        assert "refresh_token" not in answer.json()


# The API ---------------------------------------------------------------------------------------------------------


def test_login_whoami_logout(client: TestClient) -> None:
    answer = client.post("/api/v1/login", auth=("paula", PASSWORD)).json()
    assert (answer["username"], answer["role"], answer["expires"]) == ("paula", "publisher", "2026-11-24T00:00:00Z")
    headers = {"authorization": f"Bearer {answer['token']}"}
    assert client.get("/api/v1/whoami", headers=headers).json() == {
        "username": "paula",
        "kind": "user",
        "role": "publisher",
        "publishers": ["acme"],
        "scope": None,
        "owner": "paula",
    }
    assert client.post("/api/v1/logout", headers=headers).status_code == 204
    refused = client.get("/api/v1/whoami", headers=headers)
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert client.get("/api/v1/whoami").status_code == 401
    assert client.get("/api/v1/whoami", auth=("paula", PASSWORD)).status_code == 200
    assert client.post("/api/v1/login").status_code == 401


def test_the_whole_life_of_a_user(client: TestClient) -> None:
    admin = login(client)
    new = {"name": "eve", "role": "publisher", "password": PASSWORD}
    made = client.post("/api/v1/users", json=new, headers=admin)
    assert (made.status_code, made.json()["name"], made.json()["disabled"]) == (201, "eve", False)
    assert PASSWORD not in made.text
    assert client.post("/api/v1/users", json=new, headers=admin).status_code == 409
    eve = login(client, "eve")
    assert client.get("/api/v1/users/eve", headers=eve).json()["role"] == "publisher"
    assert client.get("/api/v1/users/admin", headers=eve).status_code == 403
    change = {"password": "a new password", "current_password": PASSWORD}
    assert client.patch("/api/v1/users/eve", json=change, headers=eve).status_code == 200
    assert client.get("/api/v1/whoami", headers=eve).status_code == 401
    assert client.patch("/api/v1/users/eve", json={"role": "consumer"}, headers=admin).json()["role"] == "consumer"
    assert client.patch("/api/v1/users/eve", json={"disabled": True}, headers=admin).json()["disabled"] is True
    assert client.post("/api/v1/login", auth=("eve", "a new password")).status_code == 403
    for body in ({}, {"role": "publisher", "disabled": False}, {"current_password": "x"}):
        assert client.patch("/api/v1/users/eve", json=body, headers=admin).status_code == 400
    assert client.delete("/api/v1/users/admin/sessions", headers=admin).json() == {"sessions_ended": 1}
    admin = login(client)
    assert client.delete("/api/v1/users/eve", headers=admin).status_code == 204
    assert client.delete("/api/v1/users/eve", headers=admin).status_code == 404
    last = client.delete("/api/v1/users/admin", headers=admin)
    assert (last.status_code, last.json()["detail"]) == (409, "admin is the last administrator")


def test_publishers_and_members(client: TestClient) -> None:
    admin = login(client)
    made = client.post("/api/v1/publishers", json={"name": "third", "members": ["otto"]}, headers=admin)
    assert (made.status_code, made.json()["members"]) == (201, ["otto"])
    added = client.post("/api/v1/publishers/third/members", json={"user": "paula"}, headers=admin)
    assert added.json()["members"] == ["otto", "paula"]
    paula = login(client, "paula")
    seen = client.get("/api/v1/publishers", headers=paula).json()
    assert ([one["name"] for one in seen["publishers"]], seen["next"]) == (["acme", "third"], None)
    assert client.delete("/api/v1/publishers/third/members/paula", headers=admin).json()["members"] == ["otto"]
    assert client.get("/api/v1/publishers/third", headers=paula).status_code == 404
    assert client.get("/api/v1/publishers/third", headers=admin).status_code == 200
    for name, status in (("", 400), ("Third", 400), ("staging", 400), ("third", 409)):
        assert client.post("/api/v1/publishers", json={"name": name}, headers=admin).status_code == status
    assert client.post("/api/v1/publishers/third/members", json={"user": "cora"}, headers=admin).status_code == 409
    assert client.post("/api/v1/publishers", json={"name": "fourth"}, headers=paula).status_code == 403


def test_tokens_are_made_listed_and_revoked(client: TestClient) -> None:
    paula = login(client, "paula")
    body = {"name": "ci", "publisher": "acme", "scope": ["pull", "push"], "expires_seconds": 3600}
    made = client.post("/api/v1/tokens", json=body, headers=paula)
    assert made.status_code == 201
    assert (made.json()["username"], made.json()["expires"]) == ("acme-ci", "2026-11-23T13:00:00Z")
    listed = client.get("/api/v1/tokens", headers=paula)
    assert [one["username"] for one in listed.json()["tokens"]] == ["acme-ci"]
    assert made.json()["secret"] not in listed.text
    machine = {"authorization": f"Bearer {made.json()['secret']}"}
    assert client.get("/api/v1/whoami", headers=machine).json()["scope"] == ["pull", "push"]
    assert client.get("/api/v1/tokens", headers=login(client, "otto")).json()["tokens"] == []
    assert client.delete("/api/v1/tokens/acme-ci", headers=login(client, "otto")).status_code == 404
    assert client.delete("/api/v1/tokens/acme-ci", headers=paula).status_code == 204
    assert client.get("/api/v1/whoami", headers=machine).status_code == 401
    for named in ({"name": "ci", "publisher": "acme"}, {"username": "acme-ci"}, {"name": "acme-ci"}):
        assert client.post("/api/v1/tokens", json=body, headers=paula).status_code == 201
        assert client.request("DELETE", "/api/v1/tokens", json=named, headers=paula).status_code == 204
    assert client.post("/api/v1/tokens", json=body, headers=paula).status_code == 201
    assert client.delete("/api/v1/tokens?username=acme-ci", headers=paula).status_code == 204
    assert client.request("DELETE", "/api/v1/tokens", headers=paula).status_code == 404
    for seconds in (0, -1, 59, 10**12, 10**40):
        refused = client.post("/api/v1/tokens", json={**body, "expires_seconds": seconds}, headers=paula)
        assert refused.status_code == 400, seconds


def test_lists_are_paged(client: TestClient) -> None:
    admin = login(client)
    names, after = [], ""
    while after is not None:
        body = client.get(f"/api/v1/users?limit=2&after={after}", headers=admin).json()
        names += [user["name"] for user in body["users"]]
        after = body["next"]
    assert sorted(names) == ["admin", "carl", "cora", "otto", "paula"]


PATHS = [
    ("POST", "/api/v1/users"),
    ("PATCH", "/api/v1/users/paula"),
    ("POST", "/api/v1/publishers"),
    ("POST", "/api/v1/publishers/acme/members"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_bodies_that_do_not_fit_are_a_clear_400(client: TestClient, method: str, path: str) -> None:
    admin = login(client)
    for body in (b"{", b"[]", b"null", b"\xff", b'{"name":[]}', b'{"unknown":1}', b"[" * 5000, b'{"name":"a\\u0000"}'):
        answer = client.request(method, path, content=body, headers=admin)
        assert answer.status_code == 400 or (method, answer.status_code) == ("DELETE", 404), (body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
    assert client.request(method, path, content=b" " * 70_000, headers=admin).status_code == 413


def test_names_in_paths_cannot_hurt(client: TestClient) -> None:
    admin = login(client)
    for name in ("%00", "..%2f..", "a'--", "%ff%fe", "A", "a" * 5000, "%0a"):
        assert client.get(f"/api/v1/users/{name}", headers=admin).status_code == 404
        assert client.delete(f"/api/v1/tokens/{name}", headers=admin).status_code == 404
        assert client.get(f"/api/v1/publishers/{name}", headers=admin).status_code == 404


def test_no_answer_repeats_a_secret(client: TestClient) -> None:
    secret = "ch_" + "s" * 43
    answers = [
        client.get("/token", auth=("paula", secret)),
        client.get("/api/v1/whoami", headers={"authorization": f"Bearer {secret}"}),
        client.post("/token", data={"grant_type": "refresh_token", "refresh_token": secret}),
        client.post(
            "/api/v1/users", json={"name": "eve", "role": "consumer", "password": secret}, headers=login(client)
        ),
        client.post("/api/v1/users", content=json.dumps({"password": secret, "x": 1}), headers=login(client)),
    ]
    for answer in answers:
        assert answer.status_code in (400, 401)
        assert secret not in answer.text


def test_a_closed_database_is_500_without_a_detail(client: TestClient, people: AccountsService, clock: Clock) -> None:
    from customhouse.db import metadata

    headers = login(client)
    with people.store.write() as tx:
        metadata.tables["account_session"].drop(tx)
    for path in ("/api/v1/whoami",):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 500
        assert "account_session" not in answer.text
    form = {"grant_type": "refresh_token", "refresh_token": "ch_" + "a" * 43}
    answer = client.post("/token", data=form)
    assert answer.status_code == 500
    assert answer.json()["errors"][0]["message"] == "the hub met an error of its own"
