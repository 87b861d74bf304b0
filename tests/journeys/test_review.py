"""People decide: two of them for every image, never the author, over a restart; or one refuses."""

from pathlib import Path

import pytest

from tests.journeys.contexts import context
from tests.journeys.people import Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


def test_two_certifiers_agree_over_a_restart_and_the_image_is_official(court: Town, tmp_path: Path) -> None:
    paul = court.publisher("patient")
    one, two = court.certifier("one"), court.certifier("two")
    staging, official = f"{paul.staging('web')}:1", f"{paul.official('web')}:1"
    paul.build(staging, context(tmp_path / "web"))
    digest = paul.push(staging)
    row = paul.outcome(staging, "awaiting_review")
    assert (row["required_approvals"], row["approvals"]) == (2, [])
    paul.wait(staging).told("approvals 0 of 2", f"customhouse submission approve {row['id']}")

    paul.customhouse("submission", "approve", row["id"]).refused("only a certifier or an administrator may decide")
    one.customhouse_does("submission", "approve", row["id"], "--reason", "looks sound")
    again = one.customhouse_does("submission", "approve", row["id"])
    assert (again["state"], again["approvals"]) == ("awaiting_review", ["one"])
    paul.docker("pull", official).refused("not found")

    assert court.hub.stop() == 0
    court.hub.start()
    assert paul.outcome(staging, "awaiting_review")["approvals"] == ["one"]
    two.customhouse_does("submission", "approve", staging)
    paul.outcome(staging, "published")
    paul.docker_does("pull", official, trust=True).told(digest)


def test_a_rejected_review_shows_the_publisher_the_reason(court: Town, tmp_path: Path) -> None:
    petra = court.publisher("hopeful")
    judge = court.certifier("judge")
    staging = f"{petra.staging('web')}:1"
    petra.build(staging, context(tmp_path / "web"))
    petra.push(staging)
    row = petra.outcome(staging, "awaiting_review")
    judge.customhouse("submission", "reject", row["id"]).refused("--reason")
    judge.customhouse_does("submission", "reject", row["id"], "--reason", "the name is taken: call it webserver")
    ended = petra.wait(staging)
    assert ended.code == 1
    ended.told("rejected in review by judge: the name is taken: call it webserver", "push and sign again")
    judge.customhouse("submission", "approve", row["id"]).refused("is rejected")
    petra.docker("pull", f"{petra.official('web')}:1", trust=True).refused("does not have trust data")


def test_an_author_never_approves_his_own(court: Town, tmp_path: Path) -> None:
    court.publisher("own")
    admin = court.admin
    staging = f"{court.hub.host}/staging/own/web:1"
    court.admin.customhouse_does("publisher", "enrol", "own", "--root-cert", admin.root_certificate())
    admin.build(staging, context(tmp_path / "web"))
    admin.push(staging)
    row = admin.outcome(staging, "awaiting_review")
    assert row["author"] == "admin"
    admin.customhouse("submission", "approve", row["id"]).refused(
        "admin signed this submission and cannot approve it", "Ask another certifier"
    )
    for name in ("third", "fourth"):
        court.certifier(name).customhouse_does("submission", "approve", row["id"])
    admin.outcome(staging, "published")


def test_a_newer_push_takes_the_place_of_one_in_review(court: Town, tmp_path: Path) -> None:
    quinn = court.publisher("quick")
    staging = f"{quinn.staging('web')}:1"
    quinn.build(staging, context(tmp_path / "one", page="one"))
    quinn.push(staging)
    older = quinn.outcome(staging, "awaiting_review")
    quinn.build(staging, context(tmp_path / "two", page="two"))
    digest = quinn.push(staging)
    newer = quinn.outcome(staging, "awaiting_review")
    assert newer["digest"] == digest
    shown = quinn.customhouse("submission", "show", older["id"])
    shown.told("state superseded", f"a newer 1 was signed: {digest}")
    late = court.certifier("late")
    late.customhouse("submission", "approve", older["id"]).refused("is superseded", "customhouse submission show")

    # A publisher who takes his signature back ends the review.
    quinn.docker_does("trust", "revoke", "--yes", staging).told("Successfully deleted signature")
    assert quinn.outcome(newer["id"], "superseded")["reason"] == "the publisher removed the signature of 1"
