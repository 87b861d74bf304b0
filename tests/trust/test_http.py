"""The wire: paths, methods, rights, errors, bodies."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from starlette.applications import Starlette

from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.errors import Conflict, Invalid, StorageFull
from customhouse.keys import PublicKey
from customhouse.signing import Vault
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust import http
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.service import TrustService
from customhouse.trust.store import TrustStore
from tests.conftest import Clock
from tests.trust.serving import MASTER, Listener, StubAuthorizer

HOST = "localhost:5443"
GUN = Gun(f"{HOST}/staging/acme/web")
BASE = f"/v2/{GUN}/_trust/tuf/"
PUBLISHER = "Bearer alice:pull,push"
ADMIN = "Bearer root:*"
FORM = "multipart/form-data; boundary=B"


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def code(self) -> str:
        errors = json.loads(self.body)["errors"]
        assert len(errors) == 1
        assert len(self.body) < 1024
        return str(errors[0]["code"])

    @property
    def detail(self) -> tuple[str, str]:
        found = json.loads(self.body)["errors"][0]["detail"]
        return found["Name"], found["Error"]["Msg"]


@dataclass
class Wire:
    app: Starlette
    service: TrustService
    listener: Listener
    authorizer: StubAuthorizer

    def __call__(
        self, method: str, path: str, token: str = PUBLISHER, body: bytes = b"", kind: str = "", step: int = 1 << 20
    ) -> Answer:
        return asyncio.run(self._call(method, path, token, body, kind, step))

    async def _call(self, method: str, path: str, token: str, body: bytes, kind: str, step: int) -> Answer:
        path, _, query = path.partition("?")
        headers = [(b"authorization", token.encode())] if token else []
        headers += [(b"content-type", kind.encode())] if kind else []
        chunks = [body[i : i + step] for i in range(0, len(body), step)] or [b""]
        answer = Answer(0)

        async def receive() -> dict[str, object]:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Mapping[str, object]) -> None:
            if message["type"] == "http.response.start":
                answer.status = int(str(message["status"]))
                answer.headers = {key.decode(): value.decode() for key, value in message["headers"]}  # type: ignore[attr-defined]
            else:
                answer.body += bytes(message.get("body", b""))  # type: ignore[call-overload]

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": query.encode(), "headers": headers, "http_version": "1.1", "scheme": "https",
            "server": ("localhost", 5443), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        await self.app(scope, receive, send)
        return answer

    def publish(
        self, files: Mapping[RoleName, bytes] | Mapping[str, bytes], step: int = 1 << 20, token: str = PUBLISHER
    ) -> Answer:
        body, kind = multipart(files)
        return self("POST", BASE, token, body, kind, step)


@pytest.fixture
def wire(database: Database, clock: Clock) -> Wire:
    listener, authorizer = Listener(), StubAuthorizer()
    service = TrustService(TrustStore(database), Vault(MASTER), Audit(database), clock, [listener])
    return Wire(Starlette(routes=http.routes(service, authorizer, HOST)), service, listener, authorizer)


@pytest.fixture
def sim(wire: Wire, now: datetime) -> TrustSimulator:
    made = TrustSimulator(GUN, now)
    keys = {}
    for role in (SNAPSHOT, TIMESTAMP):
        answer = wire("GET", f"{BASE}{role}.key")
        assert answer.status == 200
        document = json.loads(answer.body)
        assert set(document) == {"keytype", "keyval"}
        assert document["keyval"]["private"] is None
        keys[role] = PublicKey.parse(document["keytype"], document["keyval"]["public"])
    made.use_server_keys(keys)
    made.sign_tag("1")
    made.bump(TARGETS)
    made.delegate(RELEASES)
    return made


def test_a_publish_is_readable_by_name_hash_and_version(wire: Wire, sim: TrustSimulator) -> None:
    files = sim.upload()
    answer = wire.publish(files, step=7)
    assert (answer.status, answer.body) == (200, b"")
    for role in (ROOT, TARGETS, RELEASES):
        current = wire("GET", f"{BASE}{role}.json")
        assert (current.status, current.body) == (200, files[role])
        assert "no-store" in current.headers["cache-control"]
        assert current.headers["last-modified"] == "Mon, 23 Nov 2026 12:00:00 GMT"
        version = json.loads(files[role])["signed"]["version"]
        assert wire("GET", f"{BASE}{version}.{role}.json").body == files[role]
        stored = wire.service.current(GUN, role)
        by_hash = wire("GET", f"{BASE}{role}.{stored.sha256}.json")
        assert by_hash.body == files[role]
        assert "max-age=2592000" in by_hash.headers["cache-control"]
        assert wire("GET", f"{BASE}{role}.{stored.sha256.upper()}.json").status == 404
    assert wire("GET", f"{BASE}timestamp.json").status == 200


def test_a_publish_without_parts_is_fine_when_there_is_a_repository(wire: Wire, sim: TrustSimulator) -> None:
    assert wire.publish({}).code == "INVALID_UPDATE"
    wire.publish(sim.upload())
    assert wire.publish({}).status == 200
    assert wire("POST", BASE, PUBLISHER, b"--B--\r\n", "multipart/form-data; boundary=B").status == 200


def test_the_author_of_what_a_machine_publishes_is_its_owner(wire: Wire, sim: TrustSimulator) -> None:
    wire.publish(sim.upload(), token="Bearer acme-build@alice:push")
    sim.bump(TARGETS)
    wire.publish(sim.upload(TARGETS), token="Bearer bob:push")
    assert [update.actor for update in wire.listener.accepted_updates] == ["alice", "bob"]


def test_file_names_may_end_in_json_and_a_timestamp_is_ignored(wire: Wire, sim: TrustSimulator) -> None:
    files = {f"{role}.json": raw for role, raw in sim.upload().items()}
    assert wire.publish({**files, "timestamp": b"ignored"}).status == 200
    assert wire.service.current(GUN, RELEASES).version == 1


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{}", "application/json", "MALFORMED_UPLOAD"),
        (b"", "multipart/form-data", "MALFORMED_UPLOAD"),
        (b"", FORM, "MALFORMED_UPLOAD"),
        (b"--X\r\n", FORM, "MALFORMED_UPLOAD"),
        (b'--B\r\nContent-Disposition: form-data; filename="root"\r\n\r\nabc', FORM, "MALFORMED_UPLOAD"),
        (b'--B\r\nContent-Disposition: form-data; name="files"\r\n\r\nabc\r\n--B--\r\n', FORM, "NO_FILENAME"),
        (b"--B\r\n\r\nabc\r\n--B--\r\n", FORM, "NO_FILENAME"),
        (b"--B\r\nbad header\r\n\r\nabc\r\n--B--\r\n", FORM, "MALFORMED_UPLOAD"),
        (b"", FORM + "B" * 2000, "MALFORMED_UPLOAD"),
    ],
)
def test_a_broken_body_is_refused(wire: Wire, body: bytes, kind: str, code: str) -> None:
    for step in (1, 4096):
        answer = wire("POST", BASE, PUBLISHER, body, kind, step)
        assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("name", ["targets/../root", "a", "../root", "targets/Ä", "passwd"])
def test_a_part_that_is_no_role_is_refused(wire: Wire, name: str) -> None:
    answer = wire.publish({name: b"{}"})
    assert (answer.status, answer.code) == (400, "INVALID_ROLE")


def test_a_role_twice_or_too_many_parts_are_refused(wire: Wire) -> None:
    assert wire.publish({"root": b"{}", "root.json": b"{}"}).code == "MALFORMED_UPLOAD"
    many = wire.publish({f"targets/r{number}": b"{}" for number in range(300)})
    assert (many.code, many.detail[0]) == ("INVALID_UPDATE", "ErrValidation")
    assert "more than 256 files" in many.detail[1]


def test_what_is_not_json_is_named_with_its_role(wire: Wire, sim: TrustSimulator) -> None:
    answer = wire.publish({**sim.upload(), ROOT: b"<html>"})
    assert (answer.status, answer.code) == (400, "INVALID_UPDATE")
    name, said = answer.detail
    assert name == "ErrBadRoot"
    assert said.startswith("the root metadata is not well-formed: it is not JSON")


def test_a_refusal_is_short_enough_to_be_read_whole(wire: Wire, sim: TrustSimulator, now: datetime) -> None:
    wire.listener.refusal = Conflict('"\\<é' * 2000, hint="Do this.")
    answer = wire.publish(sim.upload())
    assert (answer.status, answer.code) == (400, "INVALID_UPDATE")
    assert answer.detail[1].endswith("...")
    wire.listener.refusal = Invalid("web is full", hint="Delete a tag.")
    assert wire.publish(sim.upload()).detail == ("ErrValidation", "web is full. Delete a tag.")
    wire.listener.refusal = StorageFull("the database has no room left")
    assert wire.publish(sim.upload()).status == 507
    wire.listener.refusal = ZeroDivisionError("a secret")
    broken = wire.publish(sim.upload())
    assert (broken.status, broken.code) == (500, "UNKNOWN")
    assert b"secret" not in broken.body
    assert wire("GET", f"{BASE}root.json").status == 404


def test_a_version_that_came_second_says_so_and_what_to_do(wire: Wire, sim: TrustSimulator) -> None:
    wire.publish(sim.upload())
    sim.sign_tag("2")
    answer = wire.publish(sim.upload(TARGETS))
    assert (answer.status, answer.code) == (400, "VERSION")
    assert "run the same command again" in answer.detail[1]


def test_a_missing_server_snapshot_names_what_is_missing(wire: Wire, sim: TrustSimulator, now: datetime) -> None:
    local = TrustSimulator(GUN, now)
    local.use_server_keys({TIMESTAMP: sim.server[TIMESTAMP]})
    answer = wire.publish(local.upload())
    assert json.loads(answer.body)["errors"][0]["detail"]["Error"]["Missing"] == "snapshot"


@pytest.mark.parametrize(
    ("method", "rest", "action"),
    [
        ("GET", "tuf/root.json", "pull"), ("GET", "tuf/1.root.json", "pull"), ("POST", "tuf/", "push"),
        ("GET", "tuf/timestamp.key", "push"), ("POST", "tuf/snapshot.key", "push"), ("DELETE", "tuf/", "*"),
        ("GET", "changefeed?records=1", "pull"),
    ],
)  # fmt: skip
def test_every_request_needs_its_right(wire: Wire, method: str, rest: str, action: str) -> None:
    others = ",".join({"pull", "push"} - {action})
    for token, error in (("", None), (f"Bearer bob:{others}", "insufficient_scope")):
        answer = wire(method, f"/v2/{GUN}/_trust/{rest}", token)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="https://localhost/token",service="customhouse"')
        assert f'scope="repository:staging/acme/web:{action}"' in challenge
        assert error is None or f'error="{error}"' in challenge
    assert set(wire.authorizer.asked) == {("staging/acme/web", action)}
    assert wire(method, f"/v2/{GUN}/_trust/{rest}", f"Bearer bob:{action}").status != 401


@pytest.mark.parametrize("where", ["acme/web", "quarantine/123", "staging"])
def test_nobody_writes_outside_staging_and_is_told_where_to_push(wire: Wire, where: str) -> None:
    base = f"/v2/{HOST}/{where}/_trust/tuf/"
    for method, rest in (("POST", ""), ("DELETE", ""), ("GET", "timestamp.key"), ("POST", "snapshot.key")):
        answer = wire(method, base + rest, ADMIN)
        assert (answer.status, answer.code) == (400, "INVALID_UPDATE")
        assert "push" in answer.detail[1]
    assert wire("GET", base + "root.json", ADMIN).status == 404


def test_another_host_is_not_ours(wire: Wire) -> None:
    base = "/v2/elsewhere.example/staging/acme/web/_trust/tuf/"
    answer = wire("POST", base, ADMIN)
    assert (answer.status, answer.code) == (400, "INVALID_GUN")
    assert "this hub signs for localhost:5443 only" in answer.detail[1]
    assert wire("GET", base + "root.json", ADMIN).status == 404


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("HEAD", "root.json"), ("GET", "targets.key"), ("GET", "root.key"), ("GET", ""), ("PUT", "root.json"),
        ("GET", "evil/../root.json"), ("GET", "nobody.json"), ("GET", "99999999999.root.json"), ("GET", "0.root.json"),
        ("GET", "9999999999.root.json"), ("GET", "targets/.json"), ("GET", "root.abc.json"),
    ],
)  # fmt: skip
def test_what_is_not_served_is_not_found(wire: Wire, sim: TrustSimulator, method: str, rest: str) -> None:
    wire.publish(sim.upload())
    answer = wire(method, BASE + rest, ADMIN)
    assert answer.status == 404


def test_other_methods_are_not_known(wire: Wire) -> None:
    assert wire("PATCH", f"{BASE}root.json").status == 405


def test_deletion_answers_well_also_when_there_was_nothing(wire: Wire, sim: TrustSimulator) -> None:
    wire.publish(sim.upload())
    for _ in range(2):
        answer = wire("DELETE", BASE, ADMIN)
        assert (answer.status, answer.body) == (200, b"")
    assert wire("GET", f"{BASE}root.json").code == "METADATA_NOT_FOUND"


def test_the_changefeed_is_as_clients_read_it(wire: Wire, sim: TrustSimulator) -> None:
    feed = f"/v2/{GUN}/_trust/changefeed"
    assert json.loads(wire("GET", f"{feed}?records=10").body) == {"count": 0, "records": []}
    wire.publish(sim.upload())
    wire("DELETE", BASE, ADMIN)
    found = json.loads(wire("GET", f"{feed}?records=0").body)
    assert found["count"] == 2
    first, second = found["records"]
    assert (first["GUN"], first["Version"], first["Category"]) == (GUN, 1, "update")
    assert len(first["SHA256"]) == 64
    assert (second["Version"], second["SHA256"], second["Category"]) == (0, "", "deletion")
    page = json.loads(wire("GET", f"{feed}?records=-1&change_id={second['ID']}").body)["records"]
    assert page == [first]
    assert json.loads(wire("GET", f"{feed}?records=1&change_id=-1").body)["records"] == [second]
    for wrong in ("", "?records=x", "?records=1&change_id=x", "?records=99999999999"):
        assert wire("GET", feed + wrong).code == "INVALID_PARAMETERS"
    everyone = wire("GET", "/v2/_trust/changefeed?records=5", PUBLISHER)
    assert everyone.status == 401
    assert json.loads(wire("GET", "/v2/_trust/changefeed?records=5", ADMIN).body)["count"] == 2


def test_health_needs_no_rights(wire: Wire) -> None:
    answer = wire("GET", "/_notary_server/health", "")
    assert (answer.status, answer.body) == (200, b"{}\n")


def test_only_paths_of_the_trust_door_are_taken_from_the_registry() -> None:
    for mine in (f"{BASE}root.json", BASE, "/v2/_trust/changefeed", f"/v2/{GUN}/_trust/changefeed"):
        assert http.owns(mine)
    for other in ("/v2/", "/v2/staging/acme/web/manifests/1", "/v2/_catalog", "/v2/a/_trust/", "/api/v1/login"):
        assert not http.owns(other)
