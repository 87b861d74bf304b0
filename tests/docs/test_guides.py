"""Every command in the guides is run: by the people it is for, against a real hub, with the real docker where it says
docker."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from customhouse.testing import images
from tests.docs.stages import Stage
from tests.peers.dockerd import Dockerd, dockerd

__all__ = ["dockerd"]
ROOT = Path(__file__).parents[2]
needs_docker = pytest.mark.needs("dockerd", "docker")


@pytest.fixture
def stage(dockerd: Dockerd) -> Iterator[Stage]:
    """A hub with an administrator, and the private engine for whoever types docker."""
    folder = Path(tempfile.mkdtemp(prefix="ch-docs-"))
    made = Stage(folder, dockerd.url)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


@needs_docker
def test_the_guide_for_publishers(stage: Stage) -> None:
    stage.open()
    stage.user("alice", "publisher")
    stage.user("casey", "certifier", signed_in=True)
    stage.publisher("acme", "alice")
    stage.ca()
    stage.context("web")
    stage.several_platforms("web.tar")
    stage.archive(images.minimal_server_image(Healthcheck=None), "no-health.tar")
    stage.play(ROOT / "docs" / "publishers.md")
