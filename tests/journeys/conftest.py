"""One engine and one hub for all journeys; a hub of its own for those that need another policy."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import customhouse.certification
from tests.hub_process import HubProcess
from tests.journeys.people import Town
from tests.peers.dockerd import Dockerd, dockerd

__all__ = ["dockerd"]


@contextmanager
def opened(engine: Dockerd, sandbox: str, *arguments: str, **settings: str) -> Iterator[Town]:
    """A hub, its administrator signed in; when everybody has gone, every invariant must still hold."""
    folder = Path(tempfile.mkdtemp(prefix="ch-journeys-"))
    hub = HubProcess(folder / "hub" / "data", settings={"engine": sandbox, **settings}, arguments=arguments)
    try:
        yield Town(hub.start(), engine, folder / "homes").opened()
        assert hub.doctor() == []
        assert hub.api("GET", "/api/v1/audit/verify")["entries"] > 0
    finally:
        hub.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def town(dockerd: Dockerd) -> Iterator[Town]:
    """A hub with the shipped policy, whose sandbox runs on the engine."""
    with opened(dockerd, dockerd.url) as place:
        yield place


@pytest.fixture(scope="session")
def village(dockerd: Dockerd) -> Iterator[Town]:
    """A hub with the shipped policy that runs no images: for what is decided without a run."""
    with opened(dockerd, "none") as place:
        brief = place.publisher("brief")
        # The shortest life there is; a test at the end sees it over.
        words = ("token", "create", "reader", "--publisher", "brief", "--scope", "pull", "--expires", "1m")
        token = brief.customhouse_does(*words)
        place.brief = replace(brief, name=token["username"], password=token["secret"], home=place.homes / "brief")
        place.brief_ends = time.monotonic() + 61
        yield place


@pytest.fixture(scope="module")
def court(dockerd: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A hub whose policy wants two certifiers for every image."""
    policy = tmp_path_factory.mktemp("policy") / "two.toml"
    shipped = Path(customhouse.certification.__file__).with_name("policies").joinpath("baseline.toml").read_text()
    policy.write_text(shipped.replace("approvals = 1", "approvals = 2").replace('"on_findings"', '"always"'))
    with opened(dockerd, "none", "--policy", str(policy)) as place:
        yield place
