"""Who may do what in which repository, over the whole application: every role, every kind, every method of /v2.

RIGHTS is written down here on its own, from the documentation, and not computed by the code that it judges. r is to
read, w to write, d to delete, * to delete trust data. Whoever has no right learns nothing: what exists and is another's
is answered as what does not exist.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from customhouse.accounts.people import HUB
from customhouse.app import application
from customhouse.hub import Hub
from customhouse.oci.digest import Digest
from customhouse.settings import Settings
from tests.peers.postgresql import PostgreSQL
from tests.registry.conftest import CONFIG, image

PASSWORD = "a made-up password"
OWN, FOREIGN, QUARANTINE, OFFICIAL = "staging/acme/web", "staging/other/web", "quarantine/q1", "acme/web"
NO_OWN, NO_FOREIGN, NO_QUARANTINE, NO_OFFICIAL, NONE = (
    "staging/acme/non", "staging/other/non", "quarantine/q2", "acme/non", "web"
)  # fmt: skip
KEPT = (OWN, FOREIGN, QUARANTINE, OFFICIAL)
EVERYBODY = {OFFICIAL: "r", NO_OFFICIAL: "r"}
RIGHTS: dict[str, dict[str, str]] = {
    "anonymous": EVERYBODY,
    "cora": EVERYBODY,
    "paula": {OWN: "rwd", NO_OWN: "rwd", **EVERYBODY},
    "otto": {FOREIGN: "rwd", NO_FOREIGN: "rwd", **EVERYBODY},
    "carl": {QUARANTINE: "r", NO_QUARANTINE: "r", **EVERYBODY},
    "admin": {OWN: "rwd*", NO_OWN: "rwd*", FOREIGN: "rwd*", NO_FOREIGN: "rwd*", QUARANTINE: "r", NO_QUARANTINE: "r",
              **EVERYBODY},
    "acme+reads": {OWN: "r", NO_OWN: "r", **EVERYBODY},
    "acme+pushes": {OWN: "rw", NO_OWN: "rw", **EVERYBODY},
}  # fmt: skip
PLACES = (*KEPT, NO_OWN, NO_FOREIGN, NO_QUARANTINE, NO_OFFICIAL, NONE)
ABSENT = Digest.of(b"nothing has these bytes")
UPLOAD = "0" * 32
METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE")
# right, method, path below /v2/<repository>/; {digest} and {blob} are there where a repository is kept
OPERATIONS = (
    ("r", "GET", "manifests/1"), ("r", "HEAD", "manifests/1"), ("r", "GET", "manifests/{digest}"),
    ("r", "HEAD", "manifests/{digest}"), ("r", "GET", "blobs/{blob}"), ("r", "HEAD", "blobs/{blob}"),
    ("r", "GET", "tags/list"), ("r", "GET", "referrers/{digest}"),
    ("w", "POST", "blobs/uploads/"), ("w", "POST", "blobs/uploads/?digest={blob}"),
    ("w", "POST", "blobs/uploads/?mount={blob}"), ("w", "POST", "blobs/uploads/?mount={blob}&from=acme/web"),
    ("w", "GET", f"blobs/uploads/{UPLOAD}"), ("w", "PATCH", f"blobs/uploads/{UPLOAD}"),
    ("w", "PUT", f"blobs/uploads/{UPLOAD}?digest={{blob}}"), ("w", "DELETE", f"blobs/uploads/{UPLOAD}"),
    ("w", "PUT", "manifests/1"), ("w", "PUT", "manifests/{digest}"),
    ("d", "DELETE", "manifests/1"), ("d", "DELETE", "manifests/{digest}"), ("d", "DELETE", "blobs/{blob}"),
)  # fmt: skip
TRUST = (
    ("r", "GET", "tuf/root.json"), ("r", "GET", "tuf/timestamp.json"), ("r", "GET", "changefeed"),
    ("w", "POST", "tuf/"), ("w", "GET", "tuf/snapshot.key"), ("w", "POST", "tuf/snapshot.key"), ("*", "DELETE", "tuf/"),
)  # fmt: skip


class World:
    """A hub with something in every kind of repository, and a token of each role that asked for everything."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.client = TestClient(application(hub), raise_server_exceptions=False)
        people = hub.accounts
        for name, role in (("paula", "publisher"), ("otto", "publisher"), ("carl", "certifier"), ("cora", "consumer")):
            people.add_user(HUB, name, role, PASSWORD)
        people.add_publisher(HUB, "acme", ["paula"])
        people.add_publisher(HUB, "other", ["otto"])
        paula = people.principal_of(_basic("paula", PASSWORD), "")
        logins = {name: (name, PASSWORD) for name in ("paula", "otto", "carl", "cora", "admin")}
        for name, scope in (("reads", "pull"), ("pushes", "push")):
            made = people.create_token(paula, name, "acme", [scope])
            logins[f"acme+{name}"] = (made.token.username, made.secret)
        self.tokens = {"anonymous": self._token(None)} | {name: self._token(login) for name, login in logins.items()}
        self.content: dict[str, tuple[Digest, Digest]] = {}
        for place in KEPT:
            layer = f"only in {place}".encode()
            with hub.database.write() as tx:
                for content in (CONFIG, layer):
                    hub.registry.blobs.add(content)
                    hub.registry.attach_blob(tx, place, Digest.of(content), hub.clock())
            kept = hub.registry.push_manifest(place, "1", image(layer), None)
            self.content[place] = kept.digest, Digest.of(layer)

    def _token(self, login: tuple[str, str] | None) -> str:
        asked = [("scope", f"repository:{place}:pull,push,delete,*") for place in PLACES]
        asked.append(("scope", "registry:catalog:*"))
        headers = {"authorization": _basic(*login)} if login else {}
        answer = self.client.get("/token", params=[("service", "hub"), *asked], headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def __call__(self, role: str, method: str, path: str, content: bytes = b"") -> Any:
        headers = {"authorization": f"Bearer {self.tokens[role]}"}
        return self.client.request(method, f"/v2/{path}", headers=headers, content=content, follow_redirects=False)


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    more = {}
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgres")
        more["database"] = server.url()
    data = tmp_path_factory.mktemp("hub") / "data"
    hub = Hub(Settings(data=data, engine="none", admin_password=PASSWORD, **more))
    hub._add_first_administrator()
    yield World(hub)
    hub.workflows.close(0)
    hub.database.close()
    hub._lock.close()


def turned_away(answer: Any) -> bool:
    """Was the right missing? 401 sends for another token; 403, in the trust server's dialect 400, is nobody's right."""
    if "_trust" in str(answer.request.url) and answer.status_code == 400 and answer.content:
        return "nobody pushes" in answer.text or "is not a repository of this hub" in answer.text
    return answer.status_code in (401, 403)


@pytest.mark.parametrize("role", RIGHTS)
def test_each_role_may_do_what_is_written_and_nothing_else(world: World, role: str) -> None:
    wrong = []
    for place in PLACES:
        digest, blob = world.content.get(place, (ABSENT, ABSENT))
        rights = RIGHTS[role].get(place, "")
        for right, method, path in OPERATIONS:
            may = right in rights
            # What may be changed is not, so that the next role finds it: an absent digest, an empty manifest.
            named = (ABSENT, ABSENT) if may and right != "r" else (digest, blob)
            target = path.format(digest=named[0], blob=named[1])
            if may and (method, path) == ("DELETE", "manifests/1"):
                target = "manifests/none"
            answer = world(role, method, f"{place}/{target}")
            if turned_away(answer) is may or (may and right == "r" and place in KEPT and answer.status_code != 200):
                wrong.append((place, method, path, answer.status_code))
        for right, method, path in TRUST:
            answer = world(role, method, f"{world.hub.settings.host}/{place}/_trust/{path}")
            if turned_away(answer) is (right in rights):
                wrong.append((place, method, f"_trust/{path}", answer.status_code))
    assert wrong == []
    for place, (digest, blob) in world.content.items():
        assert world.hub.registry.resolve(place, "1").digest == digest
        assert world.hub.registry.blob(place, blob).digest == blob


def test_every_method_of_every_path_is_in_the_table(world: World) -> None:
    listed = {(method, re.sub(r"\?.*", "", path)) for _, method, path in OPERATIONS}
    for path in sorted({path for _, path in listed}):
        for method in METHODS:
            answer = world("paula", method, f"{NO_OWN}/{path.format(digest=ABSENT, blob=ABSENT)}")
            assert (answer.status_code == 405) is ((method, path) not in listed), (method, path, answer.status_code)


def shape(answer: Any, *names: str) -> tuple[int, list[tuple[str, str]], str]:
    """What an answer tells, apart from what the caller said himself and what is new in each."""

    def plain(text: str) -> str:
        for name in names:
            text = text.replace(name, "NAME")
        return re.sub(r"sha256:[0-9a-f]{64}", "DIGEST", re.sub(r"\b[0-9a-f]{32}\b", "UPLOAD", text))

    headers = sorted((name, plain(value)) for name, value in answer.headers.items() if name != "date")
    return answer.status_code, headers, plain(answer.text)


@pytest.mark.parametrize("role", [role for role in RIGHTS if role != "admin"])
def test_what_is_anothers_is_answered_as_what_does_not_exist(world: World, role: str) -> None:
    compared = 0
    for place, none in ((OWN, NO_OWN), (FOREIGN, NO_FOREIGN), (QUARANTINE, NO_QUARANTINE)):
        if place in RIGHTS[role]:
            continue
        digest, blob = world.content[place]
        for _, method, path in OPERATIONS:
            there = shape(world(role, method, f"{place}/{path.format(digest=digest, blob=blob)}"), place)
            absent = shape(world(role, method, f"{none}/{path.format(digest=ABSENT, blob=ABSENT)}"), none)
            assert there == absent, (place, method, path)
            compared += 1
        for _, method, path in TRUST:
            host = world.hub.settings.host
            there = shape(world(role, method, f"{host}/{place}/_trust/{path}"), place)
            assert there == shape(world(role, method, f"{host}/{none}/_trust/{path}"), none), (place, method, path)
    assert compared >= len(OPERATIONS)


@pytest.mark.parametrize("role", RIGHTS)
def test_the_list_of_all_repositories_is_the_administrators(world: World, role: str) -> None:
    answer = world(role, "GET", "_catalog")
    assert answer.status_code == (200 if role == "admin" else 401)
    assert (FOREIGN in answer.text) is (role == "admin")
    assert world(role, "POST", "_catalog").status_code == 405


@pytest.mark.parametrize("role", ["paula", "acme+pushes"])
def test_a_writer_learns_nothing_of_others_by_mount_digest_or_upload(world: World, role: str) -> None:
    theirs = world("otto", "POST", f"{FOREIGN}/blobs/uploads/").headers["docker-upload-uuid"]
    digest, blob = world.content[FOREIGN]
    hidden = world.content[QUARANTINE][1]

    def same(method: str, path: str, *cases: str) -> int:
        """The same request about what another holds and about what nobody does."""
        shapes = [shape(world(role, method, f"{OWN}/{path.format(case)}"), FOREIGN, NO_FOREIGN) for case in cases]
        assert all(found == shapes[0] for found in shapes), (method, path)
        return shapes[0][0]

    held = (str(ABSENT), str(blob), str(hidden))
    assert same("POST", "blobs/uploads/?mount={}", *held) == 202
    for source in (FOREIGN, NO_FOREIGN, QUARANTINE):
        assert same("POST", f"blobs/uploads/?mount={{}}&from={source}", *held) == 202
    assert same("POST", f"blobs/uploads/?mount={blob}&from={{}}", FOREIGN, NO_FOREIGN) == 202
    assert same("POST", "blobs/uploads/?digest={}", *held) == 400
    for method in ("GET", "HEAD"):
        assert same(method, "blobs/{}", *held) == 404
        assert same(method, "manifests/{}", str(ABSENT), str(digest)) == 404
    assert same("GET", "referrers/{}", str(ABSENT), str(digest)) == 200
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        query = f"?digest={blob}" if method == "PUT" else ""
        assert same(method, f"blobs/uploads/{{}}{query}", UPLOAD, theirs) == 404
    assert world("otto", "GET", f"{FOREIGN}/blobs/uploads/{theirs}").status_code == 204
