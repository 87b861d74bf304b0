"""A hub under a name of its own on another address than loopback, where docker checks certificates."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_process import HubProcess
from tests.journeys.contexts import context
from tests.journeys.people import Person, Town
from tests.peers.certificates import loopback_certificate
from tests.peers.dockerd import Dockerd
from tests.peers.machine import ADDRESS, Machine

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox", "ip")
NAME, ALIAS = "hub.example", "other.example"
UNKNOWN = "x509: certificate signed by unknown authority"


class Place:
    """The machine, its hub and engine, and where they find CAs."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder, NAME, ALIAS)
        try:
            customhouse = (*self.machine.prefix, *HubProcess.program)
            self.hub = HubProcess(folder / "hub" / "data", program=customhouse, name=NAME, address=ADDRESS)
            (folder / "engine").mkdir()
            self.engine = Dockerd(folder / "engine", prefix=self.machine.prefix)
        except BaseException:
            self.machine.stop()
            raise
        self.town = Town(self.hub.start(), self.engine, folder / "homes")

    def engine_believes(self, ca: Path | None, host: str = "") -> None:
        place(self.machine.etc / "docker/certs.d" / (host or self.hub.host), ca)

    def close(self) -> None:
        self.hub.close()
        self.engine.stop()
        self.machine.stop()


def believes(person: Person, ca: Path | None, host: str = "") -> None:
    """The person's docker client; None takes it away."""
    place(person.home / ".docker/tls" / (host or person.hub.host), ca)


def place(folder: Path, ca: Path | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if ca is not None:
        folder.mkdir(parents=True)
        shutil.copy(ca, folder / "ca.crt")


@pytest.fixture(scope="module")
def abroad() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="ch-abroad-", dir="/tmp"))
    made = Place(folder)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.checklist("8.own-ca", "8.wrong-ca", "8.wrong-name")
def test_docker_checks_the_hubs_certificate_and_needs_nothing_but_its_ca(abroad: Place, tmp_path: Path) -> None:
    town, hub = abroad.town, abroad.hub
    wrong = loopback_certificate(tmp_path / "wrong").ca
    abroad.engine_believes(hub.ca)
    believes(town.admin, hub.ca)
    town.opened()
    zoe = town.publisher("acme")
    believes(zoe, hub.ca)
    staging, official = f"{zoe.staging('web')}:1", f"{zoe.official('web')}:1"
    assert official.startswith(f"{NAME}:{hub.port}/")
    zoe.build(staging, context(tmp_path / "web", page="over checked TLS"))
    digest = zoe.push(staging)
    assert zoe.outcome(staging, "published")["digest"] == digest
    zoe.forget(staging)

    # The client: no CA, another's, the right one. The engine has the right one all the time.
    cleo = town.anonymous("cleo")
    for ca in (None, wrong):
        believes(cleo, ca)
        cleo.docker("pull", official, trust=True).refused("error contacting notary server", UNKNOWN)
    believes(cleo, hub.ca)
    cleo.docker_does("pull", official, trust=True).told(digest)
    cleo.forget(official)
    cleo.customhouse("verify", official).refused("could not prove who it is", "--ca-file")
    verified = cleo.customhouse("verify", official, "--ca-file", hub.ca)
    assert verified.code == 0, verified.said

    # The engine, whose folder is another one.
    for ca in (None, wrong):
        abroad.engine_believes(ca)
        cleo.docker("pull", official, trust=True).refused("Error response from daemon", UNKNOWN)
    abroad.engine_believes(hub.ca)

    # The right CA, under a name that the certificate does not have.
    host = f"{ALIAS}:{hub.port}"
    abroad.engine_believes(hub.ca, host)
    believes(cleo, hub.ca, host)
    for trust in (True, False):
        refused = cleo.docker("pull", f"{host}/acme/web:1", trust=trust)
        refused.refused("x509: certificate is valid for hub.example, localhost, not other.example")
    problems = town.admin.customhouse("doctor")
    assert problems.code == 0, problems.said
