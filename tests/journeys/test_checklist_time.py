"""Timestamps near their end and past it, and a hub that is stopped, killed and started at other times of its life.

docker's clock cannot be set, so the hub begins in the past: what it signs then ends while the test waits.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customhouse.trust.documents import TIMESTAMP_LIFETIME
from tests.hub_process import HubProcess
from tests.journeys import wire
from tests.journeys.faults import ahead
from tests.journeys.people import Person
from tests.peers.dockerd import Dockerd
from tests.publisher import Publisher, image

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")
LEFT = timedelta(seconds=45)
DAY = 86400


class Era:
    """A hub whose clock is set, and a publisher whose clock goes with it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._file = folder, folder / "ahead"
        self.set(0)
        self.hub = HubProcess(
            folder / "hub" / "data", settings={"ahead": f"@{self._file}"}, program=(sys.executable, ahead.__file__)
        )
        self.publisher = Publisher(self.hub, folder / "keys", clock=self.now)
        self.gun = f"{self.hub.host}/acme/web"

    def set(self, seconds: int) -> None:
        self.seconds = seconds
        new = self._file.with_name("ahead.new")
        new.write_text(str(seconds))
        new.replace(self._file)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)

    def reader(self, name: str, engine: Dockerd) -> Person:
        return Person(name, self.hub, self.folder / name, engine.url, password="")

    def signed(self) -> list[int]:
        """The versions of the official timestamp, from the list of changes: nobody asks for the timestamp itself."""
        admin = Person("admin", self.hub, self.folder, "")
        found = wire.request(admin, "GET", "/v2/_trust/changefeed?records=1000", "registry:catalog:*").json()
        return [row["Version"] for row in found["records"] if row["GUN"] == self.gun]

    def keys(self, engine: Dockerd) -> tuple[Any, ...]:
        """The root's roles, and who signed the present timestamp."""
        nobody = self.reader("nobody", engine)
        path = f"/v2/{self.gun}/_trust/tuf/timestamp.json"
        stamp = wire.request(nobody, "GET", path, f"repository:{self.gun}:pull").json()
        return wire.trust_file(nobody, "acme/web", "root")["roles"], [each["keyid"] for each in stamp["signatures"]]


@pytest.fixture
def era() -> Iterator[Era]:
    folder = Path(tempfile.mkdtemp(prefix="ch-era-"))
    made = Era(folder)
    yield made
    made.hub.close()
    shutil.rmtree(folder, ignore_errors=True)


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.checklist("10.near", "10.after", "10.by-get", "10.by-job", "10.restart")
def test_timestamps_are_signed_anew_in_time_and_docker_pulls_all_along(era: Era, dockerd: Dockerd) -> None:
    tag = f"{era.gun}:1"
    old, fresh = era.reader("old", dockerd), era.reader("fresh", dockerd)
    era.set(-int((TIMESTAMP_LIFETIME - LEFT).total_seconds()))
    era.hub.start()
    era.publisher.enrol()
    built = image("in the past")
    era.hub.wait_for(era.publisher.release("web", "1", built), "published")
    end = datetime.now(UTC) + LEFT

    def pulled(person: Person) -> None:
        person.docker_does("pull", tag, trust=True).told(f"Digest: {built.digest}")
        person.forget(tag)

    pulled(old)
    first, keys = era.signed(), era.keys(dockerd)
    assert first == [1]
    # Started again: the same keys, and nothing to sign, for its own clock says that there is time.
    assert era.hub.stop() == 0
    era.hub.start()
    time.sleep(max(5.0, (end - datetime.now(UTC)).total_seconds() + 2))
    assert (era.signed(), era.keys(dockerd)) == (first, keys)
    for person in (old, fresh):
        person.docker("pull", tag, trust=True).refused(f"remote repository {era.gun} out-of-date: timestamp expired at")

    # Its clock is set right: who asks first has a new one.
    era.set(0)
    assert era.signed() == first
    pulled(fresh)
    assert era.signed() == [1, 2]
    pulled(old)

    # Near the end, and after it: signed by the hub's own thread before anybody asks. A kill is no different.
    for days, end_hub in ((8, era.hub.stop), (40, era.hub.kill)):
        before = era.signed()
        end_hub()
        era.set(days * DAY)
        era.hub.start()
        until(lambda known=before: len(era.signed()) > len(known))  # type: ignore[misc]
        assert era.signed() == [*before, before[-1] + 1]
        for person in (old, fresh):
            pulled(person)
        assert era.keys(dockerd) == keys
    assert era.hub.doctor() == []
