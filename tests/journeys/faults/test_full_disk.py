"""A disk that fills: a clear error while it is full, nothing half visible, and when there is room everything goes on.

The data directory is a file system of its own with a few megabytes, filled to its last byte by a file of the test.
"""

import errno
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from customhouse.errors import CustomhouseError
from customhouse.oci.digest import Digest
from customhouse.registry.client import RegistryClient
from customhouse.remote import RemoteError
from tests.hub_process import PASSWORD, HubProcess, Refused
from tests.journeys.faults.scenarios import Sweep
from tests.journeys.faults.site import Site
from tests.publisher import filler, image

MEGABYTES = 48


class SmallDisk:
    """A file system in memory that holds so much and no more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0700", "tmpfs", str(folder)],
            capture_output=True, text=True,
        )
        assert made.returncode == 0, f"a small file system cannot be mounted: run this as root\n{made.stderr}"
        self.ballast = folder / "ballast"

    def fill(self) -> None:
        """To the last byte. Whoever frees something meanwhile is filled up again by the next call."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                while True:
                    try:
                        file.write(b"\0" * size)
                    except OSError as error:
                        assert error.errno == errno.ENOSPC
                        break

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Full, and kept full whatever is deleted meanwhile."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(0.02):
                self.fill()

        self.fill()
        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()
            self.free()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def place() -> Iterator[tuple[Site, SmallDisk]]:
    site = Site()
    disk = SmallDisk(site.hub.data)
    try:
        yield site.open(), disk
    finally:
        site.hub.close()
        disk.close()
        site.close()


def refusal(act: object) -> CustomhouseError:
    with pytest.raises(RemoteError) as caught:
        act()  # type: ignore[operator]
    return caught.value


def test_a_push_to_a_full_disk_is_refused_and_can_be_repeated(place: tuple[Site, SmallDisk]) -> None:
    site, disk = place
    site.publish("before", "1")
    built = image("full", more=(filler(3_000_000),))
    with disk.full():
        error = refusal(lambda: site.publisher.push("web", "1", built))
        assert error.status == 507, error  # type: ignore[attr-defined]
        assert "room" in f"{error.message} {error.hint}"
        site.pull("before", "1")  # what is there can be read
    site.publish("web", "1", built)
    site.assert_published_once("web", "1", built)
    site.assert_sound()


def test_a_disk_that_fills_in_the_middle_of_an_upload_keeps_what_was_whole(place: tuple[Site, SmallDisk]) -> None:
    site, disk = place
    content = os.urandom(6_000_000)
    digest, repository = Digest.of(content), site.publisher.repository("web")
    scope = (f"repository:{repository}:pull,push",)
    with site.publisher.transport() as transport:
        begun = transport.request("POST", f"/v2/{repository}/blobs/uploads/", scopes=scope, body=b"", expect=(202,))
        location = begun.headers["location"]
        transport.request("PATCH", location, scopes=scope, body=content[:2_000_000], expect=(202,))
        with disk.full():
            error = refusal(lambda: transport.request(
                "PATCH", location, scopes=scope, body=content[2_000_000:], expect=(202,)
            ))
            assert error.status == 507, error  # type: ignore[attr-defined]
            assert RegistryClient(transport).blob_size(repository, digest) is None
        standing = transport.request("GET", location, scopes=scope, expect=(204,))
        offset = int(standing.headers["range"].partition("-")[2]) + 1
        assert 2_000_000 <= offset < 6_000_000
        transport.request("PATCH", location, scopes=scope, body=content[offset:], expect=(202,))
        transport.request("PUT", location, scopes=scope, query={"digest": digest}, body=b"", expect=(201,))
        assert RegistryClient(transport).blob(repository, digest, budget=10_000_000) == content
    site.assert_sound()


def test_a_signature_on_a_full_disk_is_refused_as_a_whole(place: tuple[Site, SmallDisk]) -> None:
    site, disk = place
    before, built = image("before"), image("after")
    site.hub.let_move("acme/web")
    site.publish("web", "1", before)
    site.publisher.push("web", "1", built)
    with disk.full():
        refused = False
        for _ in range(5):  # a small write may still fit into pages that the database has
            try:
                site.publisher.sign("web", "1", built)
                break
            except RemoteError as error:
                refused = True
                assert "room" in f"{error.message} {error.hint}", error
        assert site.tag("web", "1") == before.digest
    site.publisher.sign("web", "1", built)
    site.hub.wait_for("staging/acme/web:1", "published")
    site.assert_published_once("web", "1", built, releases=2)
    assert len(site.submissions("web")) == 2
    site.assert_sound()
    assert refused, "the database had room for a publish on a full disk: the test shows nothing"


def test_people_are_told_too(place: tuple[Site, SmallDisk]) -> None:
    site, disk = place
    site.hub.api("GET", "/api/v1/whoami")
    session = site.hub.sessions["admin", PASSWORD]
    pool = urllib3.PoolManager(ca_certs=str(site.hub.ca), retries=False, timeout=30)
    headers = {"authorization": f"Bearer {session}", "content-type": "application/json"}
    with disk.full():
        path, packed = "/api/v1/advisories?name=all.zip", os.urandom(500_000)
        answers = [pool.request("POST", f"{site.hub.url}{path}", body=packed, headers=headers)]
        for number in range(30):  # until the pages that the database still has are used up
            answers.append(pool.request(
                "POST", f"{site.hub.url}/api/v1/waivers", headers=headers,
                json={"repository": "acme/*", "reason": "x" * 3900, "days": 3, "check": "MAN-TAG", "path": f"{number}"},
            ))
        assert site.hub.api("GET", "/api/v1/whoami")["username"] == "admin"
    assert {answer.status for answer in answers} <= {201, 507}, [answer.data for answer in answers]
    assert answers[0].status == answers[-1].status == 507
    for answer in (answers[0], answers[-1]):
        problem = answer.json()
        assert "room" in f"{problem['detail']} {problem['hint']}", problem
    kept = len(site.hub.api("GET", "/api/v1/waivers")["waivers"])
    assert kept == len([answer for answer in answers if answer.status == 201])
    site.assert_sound()


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("verify.pin", marks=pytest.mark.slow), "workflow.step.done",
        pytest.param("publish.verified", marks=pytest.mark.slow), "publish.signed",
    ],
)
def test_a_submission_waits_for_room_and_goes_on(place: tuple[Site, SmallDisk], point: str) -> None:
    site, disk = place
    built = image(point)
    for number in range(3):
        site.publish("before", str(number))
    with site.held_at(point) as arrived:
        site.publisher.release("web", "1", built)
        arrived()
        disk.fill()
    with disk.full():
        time.sleep(4)
        state = site.submissions("web")[0]["state"]
        assert state in ("received", "verifying", "examining", "publishing", "published")
        if state != "published":
            assert site.tag("web", "1") is None
    found = site.hub.wait_for("staging/acme/web:1", "published", "failed", "rejected")
    assert found["state"] == "published", found["reason"]
    site.assert_published_once("web", "1", built)
    site.assert_sound()


def test_a_collection_on_a_full_disk_takes_what_it_can_and_the_next_one_the_rest(place: tuple[Site, SmallDisk]) -> None:
    site, disk = place
    case = Sweep(site)
    case.prepare()
    site.hub.stop()
    with disk.full():
        done = case.program()
        assert done.returncode == 0 or "StorageFull" in done.stderr, done.stderr[-2000:]
    site.hub.start()
    site.assert_sound()
    case.act()
    case.check()
    site.assert_sound()


def test_a_long_outage_ends_soon_after_there_is_room(place: tuple[Site, SmallDisk]) -> None:
    """Several submissions at every stage, people at work, a while without room."""
    site, disk = place
    names = [site.name("long") for _ in range(4)]
    images = {name: image(name) for name in names}
    reviewed = image("long review", Healthcheck=None)
    site.publisher.release("review", "1", reviewed)
    submission = site.hub.wait_for("staging/acme/review:1", "awaiting_review")["id"]
    for name in names:
        site.publisher.push(name, "1", images[name])
        site.publisher.sign(name, "1", images[name])
    with disk.full():
        for _ in range(5):
            try:
                site.hub.api("POST", f"/api/v1/submissions/{submission}/approve", {"reason": "x"}, user="carol")
                break
            except Refused as error:
                assert error.status in (507, 409), error
            time.sleep(3)
    began = time.monotonic()
    for name in names:
        assert site.hub.wait_for(f"staging/acme/{name}:1", "published", "failed", "rejected", seconds=120)["state"] == (
            "published"
        )
        site.assert_published_once(name, "1", images[name])
    if site.hub.latest("staging/acme/review:1")["state"] == "awaiting_review":
        site.hub.api("POST", f"/api/v1/submissions/{submission}/approve", {"reason": "x"}, user="carol")
    site.hub.wait_for("staging/acme/review:1", "published", seconds=120)
    assert time.monotonic() - began < 100
    site.assert_published_once("review", "1", reviewed)
    site.assert_sound()


def test_a_kill_on_a_full_disk_and_a_start_without_room(place: tuple[Site, SmallDisk]) -> None:
    site, disk = place
    built = image("killed")
    with site.held_at("publish.signed") as arrived:
        site.publisher.release("web", "1", built)
        arrived()
        disk.fill()
        site.hub.kill()
    with disk.full():
        site.hub.start(wait=False)
        assert site.hub.process is not None
        line = site.hub.process.stdout.readline()  # type: ignore[union-attr]
        if not line.startswith("ready"):  # it may not be able to work, but says why
            assert site.hub.process.wait(10) == 3
            said = site.hub.log.read_text()
            assert "room" in said or "space" in said, said[-2000:]
            assert "of customhouse itself" not in said
            assert "Traceback" not in said
    if site.hub.process.poll() is not None:
        site.hub.start()
    assert site.hub.wait_for("staging/acme/web:1", "published", "failed", seconds=120)["state"] == "published"
    site.assert_published_once("web", "1", built)
    site.assert_sound()


def test_sigterm_while_a_step_waits_for_room_is_no_failure_of_the_submission(place: tuple[Site, SmallDisk]) -> None:
    site, disk = place
    built = image("waiting")
    with site.held_at("publish.verified") as arrived:
        site.publisher.release("web", "1", built)
        arrived()
        disk.fill()
    with disk.full():
        time.sleep(2)
        began = time.monotonic()
        assert site.hub.stop(seconds=10) == 0
        assert time.monotonic() - began < 10
    site.hub.start()
    found = site.hub.wait_for("staging/acme/web:1", "published", "failed", seconds=60)
    assert found["state"] == "published", found["reason"]
    site.assert_published_once("web", "1", built)
    site.assert_sound()


def test_a_first_start_on_a_full_disk_says_so_and_leaves_nothing_in_the_way() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ch-faults-"))
    hub, disk = HubProcess(folder / "data"), SmallDisk(folder / "data")
    try:
        with disk.full():
            hub.start(wait=False)
            assert hub.process is not None
            assert hub.process.wait(30) == 3
            said = hub.log.read_text()
            assert "room" in said or "No space left" in said, said
            assert "of customhouse itself" not in said
            assert "Traceback" not in said
        hub.start()
        assert hub.doctor() == []
    finally:
        hub.close()
        disk.close()
