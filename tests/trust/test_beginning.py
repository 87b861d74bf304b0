"""The door begins a repository for whoever may push there, if the hub keeps its root; for nobody else."""

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from customhouse.errors import CustomhouseError, StorageFull
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.http import TrustDoor, TrustRoute
from customhouse.trust.names import SNAPSHOT, TIMESTAMP, Gun
from tests.rooms import HOST, WEB, Rooms
from tests.trust.serving import StubAuthorizer

GUN = Gun.parse(f"{HOST}/{WEB}")
PATH = f"/v2/{GUN}/_trust/tuf"


class Beginner:
    """Makes a valid repository when it is asked, and remembers who asked."""

    def __init__(self, rooms: Rooms, willing: bool = True) -> None:
        self.rooms, self.willing, self.asked = rooms, willing, list[str]()
        self.trouble: CustomhouseError | None = None

    def __call__(self, gun: Gun, actor: str) -> bool:
        self.asked.append(actor)
        if self.trouble is not None:
            raise self.trouble
        if self.willing:
            sim = TrustSimulator(gun, self.rooms.clock())
            sim.use_server_keys({role: self.rooms.trust.key(gun, role, actor) for role in (SNAPSHOT, TIMESTAMP)})
            self.rooms.trust.publish(gun, sim.upload(), actor)
        return self.willing


@pytest.fixture
def beginner(rooms: Rooms) -> Beginner:
    return Beginner(rooms)


@pytest.fixture
def client(rooms: Rooms, beginner: Beginner) -> Iterator[TestClient]:
    door = TrustDoor(rooms.trust, StubAuthorizer(), HOST, begin=beginner)
    with TestClient(Starlette(routes=[TrustRoute(door)]), base_url=f"https://{HOST}") as made:
        yield made


def get(client: TestClient, name: str, actions: str = "pull,push") -> int:
    return client.get(f"{PATH}/{name}", headers={"authorization": f"Bearer paula:{actions}"}).status_code


@pytest.mark.parametrize("name", ["root.json", "timestamp.json"])
def test_a_publisher_who_asks_first_finds_it_ready(client: TestClient, beginner: Beginner, name: str) -> None:
    assert get(client, name) == 200
    assert get(client, name) == 200
    assert beginner.asked == ["paula"], "it is begun once"


def test_a_reader_a_stranger_and_other_files_begin_nothing(client: TestClient, beginner: Beginner) -> None:
    assert get(client, "root.json", "pull") == 404
    assert get(client, "root.json", "") == 401
    assert client.get(f"{PATH}/root.json").status_code == 401
    for other in ("targets.json", "snapshot.json", f"root.{'0' * 64}.json", "1.root.json", "targets/releases.json"):
        assert get(client, other) == 404
    assert beginner.asked == []


def test_where_the_hub_keeps_no_root_there_is_nothing_as_before(client: TestClient, beginner: Beginner) -> None:
    beginner.willing = False
    assert get(client, "root.json") == 404
    assert beginner.asked == ["paula"]


def test_what_hinders_the_beginning_is_told(client: TestClient, beginner: Beginner) -> None:
    beginner.trouble = StorageFull("no room left")
    assert get(client, "root.json") == 507
