"""A hub that gives official tags to docker 29 only after it was verified: what its users see, with real engines."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from tests.journeys.conftest import opened
from tests.journeys.contexts import context
from tests.journeys.people import Person, Town
from tests.peers.docker29 import client, dockerd29, patient
from tests.peers.dockerd import Dockerd

__all__ = ["dockerd29"]
pytestmark = [pytest.mark.needs("go", "dockerd", "docker", "busybox", "skopeo"), patient]


@pytest.fixture(scope="module")
def strict(dockerd: Dockerd) -> Iterator[Town]:
    with opened(dockerd, "none", unverifying_clients="refuse") as place:
        yield place


def counted(town: Town, label: str, verifies: str) -> float:
    """How many official tags this client asked for, as the hub's metrics say."""
    text = urllib3.PoolManager(ca_certs=str(town.hub.ca)).request("GET", f"{town.hub.url}/metrics").data.decode()
    start = f'customhouse_clients_total{{client="{label}",verifies="{verifies}"}} '
    return sum(float(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start))


def test_docker_29_is_told_what_to_do_and_pulls_by_the_digest_that_it_verified(
    strict: Town, dockerd29: Dockerd, tmp_path: Path
) -> None:
    acme = strict.publisher("acme")
    staging, official = f"{acme.staging('web')}:1", f"{acme.official('web')}:1"
    acme.build(staging, context(tmp_path / "web", page="for those who verify"))
    acme.push(staging)
    digest = str(acme.outcome(staging, "published")["digest"])
    acme.forget(staging)
    told = (
        "docker 29 ignores DOCKER_CONTENT_TRUST, and this hub gives tags to clients that verify.",
        f"Run `customhouse verify {official} --digest` and pull what it prints",
    )

    new = replace(strict.at(dockerd29).consumer("new"), client=dockerd29.client)  # client and engine are 29
    half = replace(strict.consumer("half"), client=str(client()))  # client 29, Debian's engine
    for person in (new, half):
        person.docker_login()
        person.docker("pull", official).refused(*told)
        person.docker("pull", official, trust=True).refused(*told)
        person.docker("run", "--rm", official).refused(*told)
        image = person.customhouse("verify", official, "--digest")
        assert image.out.strip() == f"{official.removesuffix(':1')}@{digest}", image.said
        person.docker_does("pull", image.out.strip()).told(f"Digest: {digest}")
        person.forget(image.out.strip())

    # Whoever can verify is not held up: docker 28 with content trust, at either engine, and other programs.
    for town in (strict, strict.at(dockerd29)):
        old = Person("old", strict.hub, strict.homes / f"old-{Path(town.engine.client).name}", town.engine.url)
        old.docker_does("pull", official, trust=True).told(f"Pull (1 of 1): {official}@{digest}")
        old.forget(f"{official.removesuffix(':1')}@{digest}")
    inspected = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{official}"], capture_output=True, text=True, timeout=60
    )
    assert digest in inspected.stdout, inspected.stderr

    # Pushing is not pulling: a publisher with docker 29 works as before.
    modern = replace(strict.at(dockerd29).publisher("modern"), client=dockerd29.client)
    modern.build(f"{modern.staging('web')}:1", context(tmp_path / "modern", page="pushed by docker 29"))
    modern.docker_does("push", f"{modern.staging('web')}:1")
    modern.docker_does("pull", f"{modern.staging('web')}:1")
    assert counted(strict, "docker-29", "no") >= 6
    assert counted(strict, "skopeo", "unknown") >= 1


def test_by_default_docker_29_pulls_and_is_counted(village: Town, dockerd29: Dockerd, tmp_path: Path) -> None:
    acme = village.publisher("counted")
    staging, official = f"{acme.staging('web')}:1", f"{acme.official('web')}:1"
    acme.build(staging, context(tmp_path / "web", page="counted"))
    acme.push(staging)
    acme.outcome(staging, "published")
    nina = replace(village.at(dockerd29).anonymous("nina"), client=dockerd29.client)
    pulled = nina.docker_does("pull", official, trust=True)
    assert "customhouse verify" not in pulled.said  # the Warning header was sent, and docker 29 shows none
    assert counted(village, "docker-29", "no") >= 1
