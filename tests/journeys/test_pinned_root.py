"""Somebody else answers under the hub's name, with a certificate that everybody believes: who has pinned notices."""

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
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ch-journeys-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def published(hub: HubProcess, engine: Dockerd, folder: Path, page: str) -> Town:
    """A hub on which acme/web:1 is official."""
    town = Town(hub.start(), engine, folder / "homes").opened()
    acme = town.publisher("acme")
    acme.build(f"{acme.staging('web')}:1", context(folder / "web", page=page))
    acme.push(f"{acme.staging('web')}:1")
    acme.outcome(f"{acme.staging('web')}:1", "published")
    acme.forget(f"{acme.staging('web')}:1")
    return town


def test_a_seeded_root_refuses_another_hub_under_the_same_name_and_first_sight_does_not(
    dockerd: Dockerd, folder: Path
) -> None:
    real = HubProcess(folder / "real" / "data")
    false = HubProcess(folder / "false" / "data", port=real.port)
    try:
        town = published(real, dockerd, folder / "real", "the hub's")
        official, handed = f"{real.host}/acme/web:1", folder / "handed"
        town.admin.customhouse_does("trust", "export", "--directory", handed)
        seeded, careless = (Person(name, real, folder / name, dockerd.url) for name in ("seeded", "careless"))
        shutil.copytree(handed / "docker", seeded.home / ".docker")
        seeded.docker_does("pull", official, trust=True).told("Status: Downloaded newer image")
        seeded.forget(official)
        shutil.rmtree(seeded.home / ".docker")
        shutil.copytree(handed / "docker", seeded.home / ".docker")  # seeded, and has not pulled yet
        real.stop()

        published(false, dockerd, folder / "false", "somebody else's")
        careless.docker_does("pull", official, trust=True)
        careless.forget(official)
        seeded.docker("pull", official, trust=True).refused(
            "could not rotate trust to a new trusted root: failed to validate data with current trusted certificates"
        )
        words = ("verify", official, "--ca-file", false.ca, "--bundle", handed / "bundle.json")
        seeded.customhouse(*words).refused("not certified", "is not one that was enrolled")
        told = careless.customhouse("trust", "pin", "--bundle", handed / "bundle.json")
        told.refused(f"{real.host}/acme/web is not pinned: the root that is pinned is of another key", "--replace")
    finally:
        real.close()
        false.close()
