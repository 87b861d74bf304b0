"""Two of everything at once, on both databases: races end in one of the two orders, never between.

Where the order matters, one side is held at a named point outside its transaction while the other goes by.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import customhouse.certification
from customhouse.remote import RemoteError
from tests.hub_process import Refused
from tests.journeys.faults.scenarios import RESTS
from tests.journeys.faults.site import Site
from tests.peers.postgresql import PostgreSQL
from tests.publisher import Publisher, image

SHIPPED = Path(customhouse.certification.__file__).with_name("policies") / "baseline.toml"
TWO = SHIPPED.read_text().replace("approvals = 1", "approvals = 2")
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]


@pytest.fixture(scope="module", params=BOTH)
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres").url())


@pytest.fixture(scope="module")
def town(database: str) -> Iterator[Site]:
    """One hub for these tests, with the shipped policy."""
    site = Site(database)
    try:
        yield site.open()
    finally:
        site.close()


@pytest.fixture(scope="module", params=BOTH)
def court(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A hub whose policy wants two people."""
    site = Site("" if request.param == "sqlite" else request.getfixturevalue("postgres").url(), policy=TWO)
    try:
        yield site.open()
    finally:
        site.close()


@pytest.fixture(autouse=True)
def sound(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in ("town", "court"):
        if name in request.fixturenames:
            request.getfixturevalue(name).assert_sound()


def together(*acts: Callable[[], Any]) -> list[Any]:
    """All at the same moment; each gives its result or its error."""
    results: list[Any] = [None] * len(acts)
    gate = threading.Barrier(len(acts))

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = acts[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def rest(site: Site, name: str, tag: str = "1", *states: str) -> dict[str, Any]:
    return site.hub.wait_for(f"staging/acme/{name}:{tag}", *(states or RESTS))


def decide(site: Site, submission: str, decision: str, user: str) -> dict[str, Any]:
    found: dict[str, Any] = site.hub.api(
        "POST", f"/api/v1/submissions/{submission}/{decision}", {"reason": "because"}, user=user
    )
    return found


# ---- two submissions of one tag (P5)


@pytest.mark.parametrize("point", ["verify.pin", "workflow.step.done", "publish.verified", "publish.signed"])
def test_a_submission_that_is_overtaken_never_moves_the_tag_back(town: Site, point: str) -> None:
    name = town.name("overtaken")
    first, second = image(f"{name} first"), image(f"{name} second")
    with town.held_at(point) as arrived:
        town.publisher.release(name, "1", first)
        arrived()
        town.publisher.release(name, "1", second)
        deadline = time.monotonic() + 30
        while town.submissions(name)[0]["state"] != "published":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    states = {item["digest"]: item["state"] for item in town.submissions(name)}
    assert states == {first.digest: "superseded", second.digest: "published"}
    time.sleep(1)  # what was held goes on, and finds nothing to do
    assert {item["digest"]: item["state"] for item in town.submissions(name)} == states
    town.assert_published_once(name, "1", second)


def test_of_many_signatures_of_one_tag_at_once_the_last_one_stands(town: Site) -> None:
    name = town.name("crowd")
    town.hub.let_move(f"acme/{name}")
    images = [image(f"{name} {number}") for number in range(5)]
    for built in images:
        town.publisher.push(name, f"build-{built.digest.hex[:8]}", built)
    town.publisher.sign(name, "0", images[0])
    results = together(*(lambda b=built: town.publisher.sign(name, "1", b) for built in images))
    assert any(not isinstance(item, Exception) for item in results), results
    rest(town, name, "1", "published")
    with town.publisher.transport() as transport:
        signed = town.publisher.trust(transport).read(town.publisher.gun(name)).tags["1"].digest
    assert town.tag(name, "1") == signed
    states = [item["state"] for item in town.submissions(name) if item["reference"].endswith(":1")]
    assert states.count("published") >= 1
    assert set(states) <= {"published", "superseded"}


# ---- two publications in one GUN (P3)


def test_a_publication_whose_gun_moved_on_signs_again(town: Site) -> None:
    name = town.name("gun")
    first, second = image(f"{name} first"), image(f"{name} second")
    with town.held_at("publish.signed") as arrived:
        town.publisher.release(name, "1", first)
        arrived()
        town.publish(name, "2", second)
    rest(town, name, "1", "published")
    town.assert_published_once(name, "1", first, releases=2)
    town.assert_published_once(name, "2", second, releases=2)


def test_many_publications_in_one_gun_at_once_all_arrive(town: Site) -> None:
    name = town.name("many")
    images = {str(number): image(f"{name} {number}") for number in range(6)}
    for tag, built in images.items():
        town.publisher.push(name, tag, built)
    for tag, built in images.items():
        town.publisher.sign(name, tag, built)
    for tag in images:
        rest(town, name, tag, "published")
    for tag, built in images.items():
        town.assert_published_once(name, tag, built, releases=6)


# ---- people


def waiting(site: Site, kind: str) -> tuple[str, str, Any]:
    name = site.name(kind)
    built = image(name, Healthcheck=None)
    site.publisher.release(name, "1", built)
    return name, str(rest(site, name, "1", "awaiting_review")["id"]), built


def test_two_approvals_at_once_publish_once(town: Site) -> None:
    name, submission, built = waiting(town, "approvals")
    results = together(
        lambda: decide(town, submission, "approve", "carol"), lambda: decide(town, submission, "approve", "dave")
    )
    refused = [item for item in results if isinstance(item, Exception)]
    assert len(refused) < 2
    assert all(isinstance(item, Refused) and item.status == 409 for item in refused), results
    rest(town, name, "1", "published")
    town.assert_published_once(name, "1", built)


def test_two_people_at_once_are_two_and_one_person_twice_is_one(court: Site) -> None:
    name, submission, built = waiting(court, "pair")
    together(*(lambda: decide(court, submission, "approve", "carol") for _ in range(3)))
    time.sleep(0.5)
    assert rest(court, name)["state"] == "awaiting_review"
    assert rest(court, name)["approvals"] == ["carol"]
    decide(court, submission, "approve", "dave")
    rest(court, name, "1", "published")
    court.assert_published_once(name, "1", built)
    name, submission, built = waiting(court, "pair")
    results = together(
        lambda: decide(court, submission, "approve", "carol"), lambda: decide(court, submission, "approve", "dave")
    )
    assert not [item for item in results if isinstance(item, Exception)], results
    rest(court, name, "1", "published")
    court.assert_published_once(name, "1", built)


@pytest.mark.parametrize("other", ["retry", "reject", "withdraw"])
def test_an_approval_and_another_decision_at_once_end_in_one_of_the_two(town: Site, other: str) -> None:
    for _ in range(3):
        name, submission, built = waiting(town, other)
        results = together(
            lambda s=submission: decide(town, s, "approve", "carol"),
            lambda s=submission: decide(town, s, other, "dave"),
        )
        refused = [item for item in results if isinstance(item, Exception)]
        assert all(isinstance(item, Refused) and item.status == 409 for item in refused), results
        end = {"retry": "awaiting_review", "reject": "rejected", "withdraw": "withdrawn"}[other]
        if isinstance(results[0], Exception):
            rest(town, name, "1", end)
            assert town.official(name) is None
        elif isinstance(results[1], Exception):
            rest(town, name, "1", "published")
            town.assert_published_once(name, "1", built)
        else:  # the withdrawal came second and found it on its way, or published already
            assert other == "withdraw"
            rest(town, name, "1", "withdrawn")
            assert town.tag(name, "1") is None


# ---- a withdrawal and a publication (P7)


def test_a_withdrawal_that_comes_before_a_publication_of_the_same_tag(town: Site) -> None:
    name = town.name("before")
    town.hub.let_move(f"acme/{name}")
    first, second = image(f"{name} first"), image(f"{name} second")
    old, _ = town.publish(name, "1", first)
    with town.held_at("publish.signed") as arrived:
        town.publisher.release(name, "1", second)
        arrived()
        decide(town, old, "withdraw", "carol")
        assert town.tag(name, "1") is None
    rest(town, name, "1", "published")
    town.assert_published_once(name, "1", second, releases=3)
    with pytest.raises(RemoteError, match="withdrawn"):
        town.pull(name, first.digest)


def test_a_withdrawal_that_comes_after_a_publication_of_the_same_tag_leaves_that_one(town: Site) -> None:
    name = town.name("after")
    town.hub.let_move(f"acme/{name}")
    first, second = image(f"{name} first"), image(f"{name} second")
    old, _ = town.publish(name, "1", first)
    with town.held_at("withdraw.signed") as arrived:
        thread = threading.Thread(target=lambda: decide(town, old, "withdraw", "carol"))
        thread.start()
        arrived()
        town.publish(name, "1", second)
    thread.join(30)
    states = {item["digest"]: item["state"] for item in town.submissions(name)}
    assert states == {first.digest: "withdrawn", second.digest: "published"}
    town.assert_published_once(name, "1", second, releases=2)
    with pytest.raises(RemoteError, match="withdrawn"):
        town.pull(name, first.digest)


@pytest.mark.parametrize("point", ["verify.pin", "publish.verified", "publish.signed"])
def test_a_submission_withdrawn_under_way_is_not_published(town: Site, point: str) -> None:
    name = town.name("underway")
    with town.held_at(point) as arrived:
        town.publisher.release(name, "1", image(name))
        arrived()
        decide(town, town.submissions(name)[0]["id"], "withdraw", "carol")
    time.sleep(1)
    assert rest(town, name)["state"] == "withdrawn"
    assert town.official(name) is None


# ---- the publisher changes staging meanwhile (S3, P4)


def test_a_deletion_before_the_pin_ends_with_what_to_do(town: Site) -> None:
    name, built = town.name("deleted"), image("deleted")
    with town.held_at("verify.pin") as arrived:
        town.publisher.release(name, "1", built)
        arrived()
        town.publisher.delete_manifest(name, built.digest)
    found = rest(town, name)
    assert found["state"] == "rejected"
    assert "push" in found["reason"]
    assert "again" in found["reason"]


def test_a_deletion_of_content_after_the_pin_changes_nothing(town: Site) -> None:
    name, built = town.name("pinned"), image("pinned")
    with town.held_at("workflow.step.done") as arrived:
        town.publisher.release(name, "1", built)
        arrived()
        town.publisher.delete_manifest(name, built.digest)
    rest(town, name, "1", "published")
    town.assert_published_once(name, "1", built)


@pytest.mark.parametrize("change", ["unsigned", "deleted"])
def test_what_is_no_longer_signed_at_the_last_look_is_not_published(town: Site, change: str) -> None:
    name, built = town.name(change), image(change)
    with town.held_at("workflow.step.done", 3) as arrived:
        town.publisher.release(name, "1", built)
        arrived()
        if change == "unsigned":
            town.publisher.unsign(name, "1")
        else:
            town.publisher.delete_trust(name)
    assert rest(town, name)["state"] in ("superseded", "rejected")
    assert town.official(name) is None
    assert town.tag(name, "1") is None


# ---- rollback after a deletion (T4)


def test_what_was_seen_of_a_publisher_is_remembered_over_a_deletion(town: Site) -> None:
    """Versions that begin again at 1 are an old state for all that the hub knows, after a restart too."""
    name, first = town.name("forgotten"), image("forgotten")
    town.hub.let_move(f"acme/{name}")
    for number in range(3):
        town.publish(name, "1", image(f"{name} {number}"))
    gun = town.publisher.gun(name)
    town.publisher.delete_trust(name)
    town.hub.stop()
    town.hub.start()
    (town.publisher.keys / "tuf" / gun / "metadata" / "root.json").unlink()
    town.publisher.release(name, "1", first)
    found = rest(town, name)
    assert found["digest"] == first.digest
    assert found["state"] == "rejected", found["reason"]
    assert town.tag(name, "1") == image(f"{name} 2").digest


# ---- roots


def test_an_enrolment_and_a_new_signature_at_once_lose_nothing(town: Site) -> None:
    for _ in range(3):
        owner = town.name("lodge")
        stranger = Publisher(town.hub, town.folder / owner, owner, f"user-{owner}")
        stranger.join()
        first, second = image(f"{owner} 1"), image(f"{owner} 2")
        town.hub.let_move(f"{owner}/web")
        reference = stranger.release("web", "1", first)
        stranger.push("web", "1", second)
        town.hub.wait_for(reference, "awaiting_enrolment")
        results = together(
            lambda o=owner: town.hub.api(
                "POST", f"/api/v1/publishers/{o}/roots", {"repository": f"staging/{o}/web"}
            ),
            lambda p=stranger, b=second: p.sign("web", "1", b),
        )
        assert not [item for item in results if isinstance(item, Exception)], results
        town.hub.wait_for(reference, "published")
        deadline = time.monotonic() + 30
        while town.tag("web", "1", owner) != second.digest:
            assert time.monotonic() < deadline, town.submissions("web", owner)
            time.sleep(0.1)


# ---- the database goes away


@pytest.mark.needs("postgresql")
def test_a_database_that_drops_every_connection_again_and_again_loses_nothing(postgres: PostgreSQL) -> None:
    import psycopg

    url = postgres.url()
    name = url.rpartition("/")[2]
    site = Site(url)
    over = threading.Event()

    def cut() -> None:
        with psycopg.connect(
            f"host=127.0.0.1 port={postgres.port} user=customhouse dbname=postgres", autocommit=True
        ) as admin:
            while not over.wait(0.35):
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    try:
        site.open()
        images = {site.name("gone"): image(f"gone {number}") for number in range(4)}
        thread = threading.Thread(target=cut)
        thread.start()
        try:
            for repository, built in images.items():
                for attempt in range(40):
                    try:
                        site.publisher.release(repository, "1", built)
                        break
                    except RemoteError as error:  # told to try again, and does
                        assert attempt < 39 and error.status == 503, error
                        time.sleep(0.05)
            time.sleep(4)
        finally:
            over.set()
            thread.join()
        for repository, built in images.items():
            site.hub.wait_for(f"staging/acme/{repository}:1", "published", "failed", seconds=90)
            site.assert_published_once(repository, "1", built)
            assert len(site.submissions(repository)) == 1
        site.assert_sound()
        assert " 500 " not in site.hub.log.read_text()
    finally:
        site.close()


def test_the_doctor_finds_nothing_while_submissions_come_and_go(town: Site) -> None:
    """What has been received this instant has no workflow yet: that is no break."""
    over, breaks = threading.Event(), []

    def look() -> None:
        while not over.is_set():
            breaks.extend(town.hub.doctor())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for number in range(12):
            town.publisher.release(f"busy{number % 3}", str(number), image(f"busy {number}"))
        for number in range(12):
            rest(town, f"busy{number % 3}", str(number), "published")
    finally:
        over.set()
        thread.join(30)
    assert breaks == []
