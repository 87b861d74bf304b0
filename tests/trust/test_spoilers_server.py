"""Each spoiler with each role, as an upload: refused with the exact reason, and nothing is stored."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette

from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.errors import CustomhouseError
from customhouse.signing import Vault
from customhouse.testing.spoilers import SPOILERS, Spoiler
from customhouse.testing.spoilers.harmless import Harmless
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust import http
from customhouse.trust.metadata import parse_file
from customhouse.trust.names import SNAPSHOT, TIMESTAMP, Gun, RoleName
from customhouse.trust.service import SERVER_ROLES, TrustService
from customhouse.trust.store import TrustStore
from customhouse.trust.update import Stored, VersionConflict, admit
from customhouse.trust.verify import verify_repository
from tests.trust.serving import MASTER, Listener, StubAuthorizer
from tests.trust.spoiling import EACH_HARMLESS, EACH_SPOILER, NOW, complete
from tests.trust.test_http import Wire


@dataclass
class Published:
    """A repository whose first version the server holds; the simulator is at the second."""

    service: TrustService
    gun: Gun
    sim: TrustSimulator

    def state(self) -> object:
        return self.service.repository_files(self.gun), len(self.service.changefeed(self.gun, None, 100))


@dataclass
class Server:
    """Two repositories: one whose snapshot the server signs, one whose publisher does."""

    signing: Published
    checking: Published

    def for_(self, spoiler: Spoiler, role: RoleName) -> Published:
        return self.checking if SNAPSHOT in (role, spoiler.judged_in(role)) else self.signing


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('trust') / 'hub.db'}")
    database.create()
    service = TrustService(TrustStore(database), Vault(MASTER), Audit(database), lambda: NOW)
    made = []
    for name, held in (("signing", SERVER_ROLES), ("checking", (TIMESTAMP,))):
        gun = Gun(f"localhost:5443/staging/acme/{name}")
        sim = TrustSimulator.complete(gun, NOW, {role: service.key(gun, role, "alice") for role in held})
        first = {role: raw for role, raw in sim.history[0].items() if role not in held}
        service.publish(gun, first, "alice")
        made.append(Published(service, gun, sim))
    yield Server(*made)
    database.close()


def sent(sim: TrustSimulator) -> dict[RoleName, bytes]:
    """What a client sends: what the server signs is not among it."""
    return {role: raw for role, raw in sim.files().items() if role not in sim.server}


@pytest.mark.parametrize(("spoiler", "role"), EACH_SPOILER)
def test_a_spoilt_upload_is_refused_with_the_exact_reason_and_changes_nothing(
    server: Server, spoiler: Spoiler, role: RoleName
) -> None:
    place = server.for_(spoiler, role)
    expected = spoiler.at_server(place.sim, role)
    if expected is None:
        assert_accepted_without_it(spoiler, role)
        return
    before, sim = place.state(), place.sim.copy()
    spoiler.apply(sim, role)
    with pytest.raises(CustomhouseError) as refused:
        place.service.publish(place.gun, sent(sim), "mallory")
    assert expected.fits(refused.value), f"expected {expected}, got {refused.value!r} {vars(refused.value)}"
    assert place.state() == before


def one_role_each() -> list[object]:
    """Each spoiler that the server refuses, with one of its roles, the roles in turn."""
    sim, found = complete(), []
    for number, spoiler in enumerate(SPOILERS):
        refused = [role for role in spoiler.roles if spoiler.at_server(sim, role)]
        if refused:
            role = refused[number % len(refused)]
            found.append(pytest.param(spoiler, role, id=f"{spoiler.name}-{role}"))
    return found


@pytest.mark.parametrize(("spoiler", "role"), one_role_each())
def test_the_door_gives_the_reason_in_the_form_and_length_that_clients_print(
    server: Server, spoiler: Spoiler, role: RoleName
) -> None:
    place = server.for_(spoiler, role)
    expected, sim = spoiler.at_server(place.sim, role), place.sim.copy()
    assert expected is not None
    spoiler.apply(sim, role)
    body, kind = multipart(sent(sim))
    authorizer = StubAuthorizer()
    app = Starlette(routes=http.routes(place.service, authorizer, place.gun.host))
    door = Wire(app, place.service, Listener(), authorizer)
    answer = door("POST", f"/v2/{place.gun}/_trust/tuf/", body=body, kind=kind)
    assert answer.status == 400 and len(answer.body) < 1024
    if expected.error is VersionConflict:
        assert answer.code == "VERSION"
        return
    assert answer.code == "INVALID_UPDATE"
    name, text = answer.detail
    printable = re.sub(r"[^ -~]", "?", expected.sentence.partition("…")[0]).replace('"', "'").replace("\\", "/")
    assert name == expected.kind
    assert text.startswith(printable[:600]), text


def assert_accepted_without_it(spoiler: Spoiler, role: RoleName) -> None:
    """The server makes its own timestamp, whatever a client sends; and a file that is not sent stays as it is."""
    sim = complete()
    first, held = sim.history[0], {TIMESTAMP: {key.public.key_id: key for key in sim.keys[TIMESTAMP]}}
    spoiler.apply(sim, role)
    upload = sim.files()
    if spoiler.name == "missing":  # a client's snapshot would name what is not sent
        held[SNAPSHOT] = {key.public.key_id: key for key in sim.keys[SNAPSHOT]}
        upload.pop(SNAPSHOT, None)
    admitted = admit(sim.gun, stored(first, sim.roots[:1]), upload, held, NOW)
    if spoiler.name == "replayed":
        assert admitted is None  # the stored files again
        return
    assert admitted is not None
    assert admitted.files[TIMESTAMP].raw != upload.get(TIMESTAMP)
    assert admitted.repository.versions[TIMESTAMP] == 2
    assert set(admitted.repository.tags) == {"1", "r"}
    assert spoiler.name == "missing" or spoiler.judged_in(role) == TIMESTAMP


def stored(files: dict[RoleName, bytes], roots: list[bytes]) -> Stored:
    parsed = {name: parse_file(name, raw) for name, raw in files.items()}
    versions = {name: file.version for name, file in parsed.items()}
    return Stored(files, versions, {name: file.expires for name, file in parsed.items()}, roots)


@pytest.mark.parametrize(("change", "role"), EACH_HARMLESS)
def test_what_other_clients_write_is_stored(change: Harmless, role: RoleName) -> None:
    sim = complete()
    first, roots = sim.history[0], sim.roots[:1]
    change.apply(sim, role)
    held = {name: {key.public.key_id: key for key in sim.keys[name]} for name in SERVER_ROLES}
    upload = {name: raw for name, raw in sim.files().items() if name != SNAPSHOT or role == SNAPSHOT}
    admitted = admit(sim.gun, stored(first, roots), upload, held, NOW)
    assert admitted is not None
    result = {**first, **{name: file.raw for name, file in admitted.files.items()}}
    again = verify_repository(result, roots, gun=sim.gun, enrolled=None, seen={}, now=NOW)
    assert again.versions == admitted.repository.versions
    assert not again.skipped
    if role != TIMESTAMP:
        assert admitted.files[role].raw == upload[role]
