"""From docker to docker over two hubs: signed with `docker push` at a vendor's, official and pulled with content trust
here."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_process import HubProcess
from tests.journeys.contexts import context
from tests.journeys.people import Person, Town
from tests.peers.dockerd import Dockerd

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


@pytest.fixture
def here(dockerd: Dockerd) -> Iterator[Town]:
    """The hub that takes from others."""
    folder = Path(tempfile.mkdtemp(prefix="ch-journeys-"))
    hub = HubProcess(folder / "hub" / "data")
    try:
        yield Town(hub.start(), dockerd, folder / "homes").opened()
        assert hub.doctor() == []
    finally:
        hub.close()
        shutil.rmtree(folder, ignore_errors=True)


def taken(here: Town, alice: Person, source: str, key: str) -> str:
    """What submits and enrols; returns the digest that became official."""
    name = source.partition("/")[2].replace("/", "-").partition(":")[0]
    here.admin.customhouse_does("publisher", "enrol", "acme", "--key-id", key)
    row = alice.customhouse_does("submit", source, "--as", f"acme/{name}:1")
    return str(alice.outcome(row["reference"], "published")["digest"])


def test_what_docker_signed_at_a_vendors_is_pulled_with_content_trust_here(
    here: Town, village: Town, tmp_path: Path
) -> None:
    vic = village.publisher("vic")
    source, there = f"{vic.staging('web')}:1", f"{vic.official('web')}:1"
    vic.build(source, context(tmp_path / "web"))
    digest = vic.push(source)
    vic.outcome(source, "published")
    alice = here.publisher("acme", enrolled=False)
    words = ("source", "add", village.hub.url, "--publisher", "acme", "--authority", village.hub.ca)
    login = (*words, "--username", vic.name, "--password-stdin")
    here.admin.customhouse_does(*login, stdin=vic.password)

    # Their staging repository, under the vendor's own root; and what that hub made official, under the hub's.
    key = vic.customhouse_does("image", "root-cert")["key_id"]
    assert taken(here, alice, source, key) == digest
    root = village.hub.api("GET", "/api/v1/trust/bundle")["roots"][0]["key_id"]
    assert taken(here, alice, there, root) == digest

    carol = here.anonymous("carol")
    for name in ("staging-vic-web", "vic-web"):
        official = f"{here.hub.host}/acme/{name}:1"
        carol.forget(source, there, official)
        carol.docker_does("pull", official, trust=True).told(digest)
        ran = carol.docker_does("run", "--rm", "--network", "none", official, "/bin/cat", "/www/index.html", trust=True)
        assert ran.out == "it works\n"
        carol.forget(official)
