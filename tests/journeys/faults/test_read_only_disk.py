"""A disk that takes nothing any more: said at each stage, reads go on, and afterwards all goes on.

A file system with a file that is open for writing cannot be made read-only, and SQLite's is: below a running hub it is
that of the blobs, at a start it is all.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from customhouse.oci.digest import Digest
from customhouse.remote import RemoteError
from tests.journeys.faults.scenarios import Sweep
from tests.journeys.faults.site import Site
from tests.publisher import image


class Disk:
    """A file system in memory at a folder, which can be made read-only while nobody writes there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs")

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        self._mount("-o", "remount,ro")
        try:
            yield
        finally:
            self._mount("-o", "remount,rw")

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def _mount(self, *options: str) -> None:
        done = subprocess.run(["mount", *options, str(self.folder)], capture_output=True, text=True)
        assert done.returncode == 0, f"a file system cannot be mounted: run this as root\n{done.stderr}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture
def blobs(site: Site) -> Iterator[Disk]:
    disk = Disk(site.hub.data / "blobs")
    yield disk
    site.hub.close()
    disk.close()


def test_a_publication_needs_no_room_for_blobs_and_a_push_is_refused(site: Site, blobs: Disk) -> None:
    site.open()
    built = image("signed later")
    site.publisher.push("web", "1", built)
    with blobs.read_only():
        site.publisher.sign("web", "1", built)
        site.hub.wait_for("staging/acme/web:1", "published")
        with pytest.raises(RemoteError, match="Read-only") as caught:
            site.publisher.push("web", "2", image("other"))
        assert caught.value.status in (503, 507)
        site.assert_published_once("web", "1", built)
    site.publish("web2", "1", image("other"))
    site.assert_sound()
    assert "Traceback" not in site.hub.log.read_text()


def test_a_collection_that_cannot_remove_bytes_says_so_and_the_next_one_takes_them(site: Site, blobs: Disk) -> None:
    site.open()
    case = Sweep(site)
    case.prepare()
    site.hub.stop()
    with blobs.read_only():
        done = case.program()
        assert done.returncode != 0
        assert "Unavailable: the disk cannot be written: Read-only" in done.stderr
    site.hub.start()
    site.assert_sound()
    case.act()
    case.check()
    site.assert_sound()
    loose = Digest.of(case.name.encode())
    assert not (blobs.folder / loose.algorithm / loose.hex[:2] / loose.hex).exists()


def test_a_running_hub_is_told_to_collect_while_it_cannot(site: Site, blobs: Disk) -> None:
    """Nothing is old enough to go: what is asked of the disk is whether it was looked at, and reads went on."""
    site.open()
    _, built = site.publish("web", "1")
    with blobs.read_only():
        site.hub.api("POST", "/api/v1/storage/collect?part=0&fast=true")
        site.assert_published_once("web", "1", built)
    site.assert_sound()


def test_a_start_on_a_disk_that_is_read_only_says_so_and_changes_nothing(site: Site) -> None:
    disk = Disk(site.hub.data)
    try:
        site.open()
        _, built = site.publish("web", "1")
        site.hub.stop()
        with disk.read_only():
            site.hub.start(wait=False)
            assert site.hub.process is not None and site.hub.process.wait(30) == 3
            said = site.hub.log.read_text()
            assert "Read-only file system" in said or "cannot be written" in said, said[-2000:]
            assert "Traceback" not in said and "of customhouse itself" not in said
        site.hub.start()
        site.assert_published_once("web", "1", built)
        site.assert_sound()
    finally:
        site.hub.close()
        disk.close()
