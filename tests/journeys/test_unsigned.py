"""A push without a signature: it stays where it is, for its publisher only, and says why."""

from pathlib import Path

import pytest

from tests.journeys.contexts import context
from tests.journeys.people import Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


def test_an_unsigned_push_stays_in_staging_until_it_is_signed(village: Town, tmp_path: Path) -> None:
    ulla = village.publisher("unsigned")
    staging, official = f"{ulla.staging('web')}:1", f"{ulla.official('web')}:1"
    ulla.build(staging, context(tmp_path / "web"))
    digest = ulla.push(staging, trust=False)

    asked = ulla.wait(staging, 2)
    assert asked.code == 1
    asked.told(f"there is no submission of {staging} yet; waiting. A submission begins with a signed push")
    asked.told("a push without a signature stays in staging", "docker trust sign")
    ulla.customhouse("submission", "show", staging).refused("docker trust sign")
    ulla.docker("pull", staging, trust=True).refused("does not have trust data")

    village.anonymous("passer").docker("pull", staging).refused("may not pull in staging/unsigned/web")
    village.consumer("uwe").docker("pull", staging).refused("may not pull in staging/unsigned/web")
    ulla.docker("pull", official).refused("not found")
    ulla.docker("pull", official, trust=True).refused("does not have trust data")

    ulla.docker_does("trust", "sign", staging).told("Successfully signed")
    assert ulla.outcome(staging, "published")["digest"] == digest
