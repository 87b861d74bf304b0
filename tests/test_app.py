"""One origin: every path goes to its door, and each door answers errors in its own dialect."""

import base64
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from customhouse.accounts.people import HUB
from customhouse.app import application
from customhouse.errors import Conflict
from customhouse.hub import Hub
from customhouse.settings import Settings
from customhouse.transport import Transport
from tests.hub_process import HubProcess
from tests.registry.conftest import Served

PASSWORD = "a made-up password"


def hub_of(folder: Path, **more: Any) -> Hub:
    return Hub(Settings(data=folder, engine="none", admin_password=PASSWORD, **more))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that is put together and not started: no workflows, no thread."""
    made = hub_of(tmp_path_factory.mktemp("hub") / "data")
    made._add_first_administrator()
    made.accounts.add_user(HUB, "paula", "publisher", PASSWORD)
    yield made
    made.workflows.close(0)
    made.database.close()
    made._lock.close()


@pytest.fixture(scope="module")
def client(hub: Hub) -> TestClient:
    return TestClient(application(hub), raise_server_exceptions=False)


def basic(name: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()}


ADMIN, PAULA = basic("admin"), basic("paula")
OCI, NOTARY, PROBLEM = "errors of OCI", "errors of Notary", "application/problem+json"


def dialect(answer: Any) -> str:
    if answer.headers["content-type"].startswith(PROBLEM):
        assert set(answer.json()) == {"type", "title", "status", "detail", "hint"}
        return PROBLEM
    entry = answer.json()["errors"][0]
    assert {"code", "message"} <= set(entry)
    return NOTARY if "_trust" in str(answer.request.url) else OCI


@pytest.mark.parametrize(
    ("method", "path", "status", "form"),
    [
        ("GET", "/v2/", 401, OCI),
        ("GET", "/v2", 401, OCI),
        ("GET", "/v2/acme/web/manifests/1", 401, OCI),
        ("GET", "/v2/acme/web/nothing", 404, OCI),
        ("GET", "/v2/localhost:5443/acme/web/_trust/tuf/root.json", 401, NOTARY),
        ("POST", "/v2/localhost:5443/staging/acme/web/_trust/tuf/", 401, NOTARY),
        ("GET", "/v2/_trust/changefeed", 401, NOTARY),
        ("GET", "/api/v1/whoami", 401, PROBLEM),
        ("GET", "/api/v1/submissions", 401, PROBLEM),
        ("GET", "/api/v1/audit", 401, PROBLEM),
        ("GET", "/api/v1/doctor", 401, PROBLEM),
        ("GET", "/api/v1/nothing", 404, PROBLEM),
        ("PUT", "/api/v1/submissions", 405, PROBLEM),
        ("POST", "/healthz", 405, PROBLEM),
        ("GET", "/nothing", 404, PROBLEM),
        ("GET", "/", 404, PROBLEM),
        ("GET", "/v1/", 404, PROBLEM),
        ("GET", "/v2x", 404, PROBLEM),
    ],
)
def test_every_path_has_its_door_and_every_door_its_dialect(
    client: TestClient, method: str, path: str, status: int, form: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, dialect(answer)) == (status, form), answer.text
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_the_registry_and_the_trust_server_ask_for_tokens_of_one_service(client: TestClient, hub: Hub) -> None:
    asked = [
        client.get(path).headers["www-authenticate"]
        for path in ("/v2/", "/v2/localhost:5443/staging/acme/web/_trust/tuf/root.json")
    ]
    assert all(f'realm="{hub.settings.url}/token"' in challenge for challenge in asked)
    assert len({challenge.split("service=")[1].split(",")[0] for challenge in asked}) == 1


def test_a_docker_login_and_a_pull_of_nothing(client: TestClient) -> None:
    token = client.get("/token?service=customhouse&scope=repository:acme/web:pull", headers=PAULA).json()["token"]
    bearer = {"authorization": f"Bearer {token}"}
    assert client.get("/v2/", headers=bearer).json() == {}
    answer = client.get("/v2/acme/web/manifests/1", headers=bearer)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")


def test_it_is_healthy_and_ready(client: TestClient) -> None:
    assert (client.get("/healthz").text, client.get("/readyz").text) == ("ok\n", "ready\n")


def test_who_asks_with_which_program_changes_no_answer(client: TestClient) -> None:
    agents = ("docker/28.2.2 go/go1.23", "Go-http-client/1.1", "Mozilla/5.0 (X11; Linux)", "")
    answers = {
        (path, client.get(path, headers={"user-agent": agent}).text)
        for path in ("/v2/", "/healthz", "/api/v1/nothing") for agent in agents
    }
    assert len(answers) == 3


def test_our_own_client_says_who_it_is(client: TestClient, hub: Hub) -> None:
    seen: list[str] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope["headers"])[b"user-agent"].decode())
        await application(hub)(scope, receive, send)

    served = Served(listening)
    transport = Transport(f"http://127.0.0.1:{served.port}")
    try:
        assert transport.request("GET", "/healthz").body == b"ok\n"
    finally:
        transport.close()
        served.stop()
    assert seen and seen[0].startswith("customhouse/")


def test_a_websocket_is_turned_away(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/v1/submissions"):
        pass


def test_the_bundle_is_for_everybody_and_holds_what_consumers_pin(client: TestClient, hub: Hub) -> None:
    bundle = client.get("/api/v1/trust/bundle").json()
    assert (bundle["version"], bundle["host"], bundle["hub_name"]) == (2, "localhost:5443", "customhouse")
    root = x509.load_pem_x509_certificate(bundle["roots"][0]["certificate"].encode())
    assert root.subject.rfc4514_string() == "CN=localhost:5443/*"
    assert bundle["ca"] == hub.tls.authority.read_text()  # type: ignore[union-attr]


def test_repositories_of_the_bundle_are_for_who_may_pull(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/api/v1/trust/repositories").json() == {"repositories": [], "next": None}
    named = client.get("/api/v1/trust/repositories?repository=acme/web")
    assert (named.status_code, named.json()["detail"]) == (404, "there is no official repository acme/web")
    closed = hub_of(tmp_path / "closed", anonymous_pull=False)
    closed._add_first_administrator()
    try:
        guarded = TestClient(application(closed))
        assert guarded.get("/api/v1/trust/bundle").status_code == 200  # trust comes before a login
        refused = guarded.get("/api/v1/trust/repositories")
        assert (refused.status_code, refused.json()["hint"]) == (401, "Run `customhouse login`.")
        assert guarded.get("/api/v1/trust/repositories", headers=ADMIN).json() == {"repositories": [], "next": None}
    finally:
        closed.workflows.close(0)
        closed.database.close()
        closed._lock.close()


def test_the_audit_log_is_paged_and_proved_for_certifiers_only(client: TestClient) -> None:
    for path in ("/api/v1/audit", "/api/v1/audit/verify", "/api/v1/doctor"):
        assert client.get(path, headers=PAULA).status_code == 403
    page = client.get("/api/v1/audit?limit=1", headers=ADMIN).json()
    assert page["next"] == "1" and page["entries"][0]["action"] == "user.add"
    rest = client.get("/api/v1/audit?after=1", headers=ADMIN).json()["entries"]
    assert [entry["seq"] for entry in rest] == list(range(2, 2 + len(rest)))
    proof = client.get("/api/v1/audit/verify", headers=ADMIN).json()
    assert proof["entries"] == 1 + len(rest)
    assert client.get(f"/api/v1/audit/verify?checkpoint={proof['checkpoint']}", headers=ADMIN).json() == proof
    assert client.get("/api/v1/doctor?rehash=true", headers=ADMIN).json() == {"sound": True, "breaks": []}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/audit?after=²", "/api/v1/audit?after=99999999999999999999", "/api/v1/audit?after=-1",
        "/api/v1/audit?limit=0", "/api/v1/audit/verify?checkpoint=1", "/api/v1/audit/verify?checkpoint=²:" + "0" * 64,
        "/api/v1/audit/verify?checkpoint=99999999999999999999:" + "0" * 64,
    ],
)
def test_a_number_that_is_none_is_the_askers_mistake(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=ADMIN)
    assert (answer.status_code, dialect(answer)) == (400, PROBLEM)


def test_a_database_that_is_gone_makes_it_not_ready_and_stays_in_the_dialect(tmp_path: Path) -> None:
    hub = hub_of(tmp_path / "data")
    client = TestClient(application(hub), raise_server_exceptions=False)
    hub.database.close()
    for file in (tmp_path / "data").glob("hub.db*"):
        file.rename(file.with_suffix(".away"))
    (tmp_path / "data" / "hub.db").mkdir()
    answer = client.get("/readyz")
    assert (answer.status_code, dialect(answer)) == (503, PROBLEM)
    assert client.get("/healthz").status_code == 200
    hub.workflows.close(0)
    hub._lock.close()


def test_two_hubs_on_one_folder_and_another_public_name_are_refused(tmp_path: Path) -> None:
    first = hub_of(tmp_path / "data")
    with pytest.raises(Conflict, match="another hub is running"):
        hub_of(tmp_path / "data")
    first.workflows.close(0)
    first._lock.close()
    with pytest.raises(Conflict, match="this hub signs as localhost:5443") as refused:
        hub_of(tmp_path / "data", url="https://elsewhere.example")
    assert "--url https://localhost:5443" in refused.value.hint


def test_a_start_removes_cut_uploads_and_leaves_a_removed_password_file_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for number in range(2):
        hub = Hub(Settings(data=folder, engine="none"))
        (folder / "spool" / "advisories-x").mkdir(parents=True)
        hub.start()
        assert list((folder / "spool").iterdir()) == []
        assert (folder / "admin-password").exists() == (number == 0)
        hub.close(1)
        if number == 0:
            assert (folder / "admin-password").stat().st_mode & 0o777 == 0o600
            (folder / "admin-password").unlink()


def test_a_connection_is_never_resumed_and_each_is_answered(tmp_path: Path) -> None:
    """Docker opens one connection per file: a ticket for the next one would be made and never used."""
    hub = HubProcess(tmp_path / "data").start()
    try:
        context = ssl.create_default_context(cafile=str(hub.ca))
        for _ in range(2):
            with (
                socket.create_connection(("127.0.0.1", hub.port), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                secure.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                answer = b"".join(iter(lambda s=secure: s.recv(65536), b""))  # type: ignore[misc]
                assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"ok\n")
                assert secure.version() == "TLSv1.3"
                assert secure.session is None or not secure.session.has_ticket
    finally:
        hub.close()
