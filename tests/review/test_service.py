"""Decisions of people: who may, how many, about which verdict; and waivers."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.accounts.people import ANONYMOUS
from customhouse.certification.submission import State, Submission, SubmissionUnknown, WrongState
from customhouse.certification.waiver import Waiver, countable
from customhouse.db import Database
from customhouse.errors import Denied, Invalid, NotFound
from customhouse.review.service import LONGEST_REASON, NotAReviewer, OwnWaiver, OwnWork
from tests.certification.test_service import at_once
from tests.conftest import Clock
from tests.rooms import ADMIN, CARL, CORA, MACHINE, OTTO, PAULA, POLICY, WEB, Rooms, doubtful, image, user

TWO = replace(POLICY, review=replace(POLICY.review, approvals=2))


@pytest.fixture
def two(database: Database, tmp_path: Path, clock: Clock) -> Rooms:
    """A policy that wants two people."""
    return Rooms(database, tmp_path / "two", clock, policy=TWO)


def waiting(rooms: Rooms, text: str = "1", author: str = "paula") -> Submission:
    row = rooms.go(rooms.submit(doubtful(text), author=author))
    assert row.state is State.AWAITING_REVIEW
    return row


def test_one_approval_publishes_where_one_is_needed(rooms: Rooms) -> None:
    row = waiting(rooms)
    woken = rooms.woken
    moved = rooms.review.approve(CARL, row.id, "  a batch job  ")
    assert (moved.state, moved.round, moved.reason) == (State.PUBLISHING, 2, "approved by carl")
    assert rooms.woken > woken
    entry = rooms.log("submission.approve")[0]
    assert entry.actor == "carl" and entry.detail["reason"] == "a batch job" and entry.detail["approvals"] == 1
    assert rooms.go(row.id).state is State.PUBLISHED


def test_publishers_decide_nothing(rooms: Rooms) -> None:
    row = waiting(rooms)
    for who in (PAULA, OTTO, MACHINE, ANONYMOUS):
        for decide in (rooms.review.approve, rooms.review.reject):
            with pytest.raises(NotAReviewer):
                decide(who, row.id, "fine")
    assert rooms.certification.get(row.id) == row and not rooms.log("submission.approve")


def test_an_author_does_not_approve_his_own_work_and_may_reject_it(rooms: Rooms) -> None:
    row = waiting(rooms, author="admin")
    with pytest.raises(OwnWork, match="admin signed this"):
        rooms.review.approve(ADMIN, row.id, "fine")
    assert rooms.review.reject(ADMIN, row.id, "a mistake").state is State.REJECTED


def test_two_people_are_two_people(two: Rooms) -> None:
    row = waiting(two)
    assert two.review.approve(CARL, row.id, "").state is State.AWAITING_REVIEW
    assert two.review.approve(CARL, row.id, "again").state is State.AWAITING_REVIEW
    assert two.review.approvals(row) == ["carl"]
    assert two.review.approve(CORA, row.id, "").state is State.PUBLISHING
    assert two.certification.get(row.id).reason == "approved by carl, cora"


def test_approvals_at_once_publish_once(two: Rooms) -> None:
    row = waiting(two)
    people = [CARL, CORA, user("ines", "certifier"), ADMIN]
    found = at_once(*(lambda p=person: two.review.approve(p, row.id, "") for person in people))
    late = [item for item in found if isinstance(item, WrongState)]
    assert len(late) == 2 and all(isinstance(item, Submission | WrongState) for item in found), found
    assert two.certification.get(row.id).round == 2
    assert two.go(row.id).state is State.PUBLISHED
    assert len(two.log("publication.publish")) == 1


def test_an_approval_and_a_rejection_at_once_end_in_one_of_the_two(rooms: Rooms) -> None:
    for text in ("a", "b", "c"):
        row = waiting(rooms, text)
        found = at_once(
            lambda r=row: rooms.review.approve(CARL, r.id, ""), lambda r=row: rooms.review.reject(CORA, r.id, "no")
        )
        assert [type(item) for item in found].count(WrongState) == 1, found
        assert rooms.certification.get(row.id).state in (State.PUBLISHING, State.REJECTED)
        with rooms.database.write() as tx:
            said = rooms.review._store.approvals(tx, row.id, (row.verdict or {})["digest"])
        assert bool(said) == (rooms.certification.get(row.id).state is State.PUBLISHING), "the loser left nothing"


def test_approvals_belong_to_a_verdict_and_a_new_one_needs_new_ones(two: Rooms) -> None:
    row = waiting(two)
    two.review.approve(CARL, row.id, "")
    same = two.go(two.certification.retry(PAULA, row.id))
    assert two.review.approvals(same) == ["carl"], "nothing new was found"
    two.review.waive(CORA, repository=WEB, reason="a batch job", days=3, check="CFG-HEALTH")
    other = two.go(two.certification.retry(PAULA, row.id))
    assert other.state is State.PUBLISHED, "nothing is left to review"


def test_a_verdict_that_changed_makes_approvals_of_the_old_one_count_for_nothing(two: Rooms) -> None:
    row = waiting(two)
    two.review.approve(CARL, row.id, "")
    two.steps._policy = replace(two.policy, digest=image().digest)
    again = two.go(two.certification.retry(PAULA, row.id))
    assert again.state is State.AWAITING_REVIEW and two.review.approvals(again) == []


def test_publication_looks_at_the_approvals_once_more(two: Rooms) -> None:
    row = waiting(two)
    two.review.approve(CARL, row.id, "")
    two.review.approve(CORA, row.id, "")
    with two.database.write() as tx:  # the verdict is another one by now
        two.store.set_verdict(tx, row.id, {**(row.verdict or {}), "digest": "sha256:" + "0" * 64})
    assert two.publication.publish(row.id) == "awaiting_review"
    assert "no longer match" in two.certification.get(row.id).reason
    assert two.trust.repository_files(two.publication._gun(row)) == {}


def test_a_person_may_think_again(two: Rooms) -> None:
    row = waiting(two)
    two.review.approve(CARL, row.id, "fine")
    two.review.reject(CARL, row.id, "not fine after all")
    again = two.go(two.certification.retry(PAULA, row.id))
    assert two.review.approvals(again) == [], "who rejected last does not count as approving"
    two.review.approve(CORA, row.id, "")
    assert two.review.approve(CARL, row.id, "mended").state is State.PUBLISHING


def test_a_rejection_has_a_reason_that_the_publisher_reads(rooms: Rooms) -> None:
    row = waiting(rooms)
    with pytest.raises(Invalid, match="needs a reason"):
        rooms.review.reject(CARL, row.id, "  ")
    with pytest.raises(Invalid, match="longer than"):
        rooms.review.reject(CARL, row.id, "x" * (LONGEST_REASON + 1))
    ended = rooms.review.reject(CARL, row.id, "declare a health-check")
    assert (ended.state, ended.reason) == (State.REJECTED, "rejected in review by carl: declare a health-check")


def test_only_what_waits_is_decided(rooms: Rooms) -> None:
    row = rooms.publish(image())
    for decide in (rooms.review.approve, rooms.review.reject):
        with pytest.raises(WrongState, match="is published"):
            decide(CARL, row.id, "x")
        with pytest.raises(SubmissionUnknown):
            decide(CARL, "nothing", "x")


# ---- waivers


def test_a_waiver_is_shown_with_its_author_and_end_and_is_revoked_once(rooms: Rooms) -> None:
    made = rooms.review.waive(CARL, repository=WEB, reason="known", days=2, check="CFG-HEALTH")
    assert rooms.review.waivers(ADMIN)[0]["author"] == "carl"
    rooms.review.end_waiver(CORA, made.id)
    assert rooms.review.waivers(ADMIN) == []
    with pytest.raises(NotFound):
        rooms.review.end_waiver(CORA, made.id)
    assert [entry.action for entry in rooms.log("waiver")] == ["waiver.add", "waiver.remove"]


def test_a_waiver_ends_by_itself(rooms: Rooms, clock: Clock) -> None:
    rooms.review.waive(CARL, repository="staging/acme/*", reason="known", days=2, check="CFG-HEALTH")
    clock.advance(days=2)
    assert rooms.review.waivers(ADMIN) == []
    assert waiting(rooms)


def test_a_waiver_that_needs_a_second_person_counts_when_one_agreed(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    rooms = Rooms(database, tmp_path / "second", clock, policy=replace(POLICY, waiver_approvals=1))
    made = rooms.review.waive(CARL, repository=WEB, reason="a batch job", days=2, check="CFG-HEALTH")
    row = waiting(rooms)
    with pytest.raises(OwnWaiver, match="carl gave this waiver"):
        rooms.review.approve_waiver(CARL, made.id)
    with pytest.raises(Denied):
        rooms.review.approve_waiver(PAULA, made.id)
    for _ in range(2):
        assert rooms.review.approve_waiver(CORA, made.id).approvals == ("cora",)
    assert rooms.review.waivers(ADMIN)[0]["approvals"] == ["cora"]
    rooms.certification.retry(CARL, row.id)
    assert rooms.go(row.id).state is State.PUBLISHED
    rooms.review.end_waiver(CORA, made.id)
    with pytest.raises(NotFound):
        rooms.review.approve_waiver(CORA, made.id)
    assert [entry.action for entry in rooms.log("waiver")].count("waiver.approve") == 2


def test_the_author_of_a_submission_never_helps_his_own_waiver_along() -> None:
    end, approvals = datetime(2027, 1, 1, tzinfo=UTC), ("paula", "carl")
    one = Waiver("w", WEB, "known", "carl", end, check="CFG-USER", approvals=approvals)
    assert countable([one], 1, "paula") == [] and countable([one], 0, "carl") == []
    assert countable([one], 1, "somebody") == [one] and countable([one], 2, "somebody") == []


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"days": 0}, "lasts from 1 to 366 days"),
    ({"days": 367}, "lasts from 1 to 366 days"),
    ({"reason": " "}, "an author and a reason"),
    ({"reason": "x" * 5000}, "longer than"),
    ({"repository": "No Such"}, "is no repository"),
    ({"check": "CFG-HEALHT"}, "there is no check 'CFG-HEALHT'"),
    ({"check": "MAN-DIGEST"}, "no waiver accepts other ones"),
    ({"check": None}, "either a fingerprint or a check"),
    ({"fingerprint": "0" * 32}, "either a fingerprint or a check"),
    ({"check": None, "fingerprint": "x"}, "32 hexadecimal digits"),
]


def test_a_waiver_of_nothing_everything_or_without_reason_is_refused(rooms: Rooms) -> None:
    for given, says in REFUSED:
        whole = {"repository": WEB, "reason": "known", "days": 5, "check": "CFG-HEALTH", **given}
        with pytest.raises(Invalid, match=says):
            rooms.review.waive(CARL, **whole)  # type: ignore[arg-type]
    assert rooms.review.waivers(ADMIN) == []


def test_publishers_waive_nothing_and_see_their_own(rooms: Rooms) -> None:
    made = rooms.review.waive(CARL, repository=WEB, reason="known", days=2, check="CFG-HEALTH")
    for who in (PAULA, MACHINE, OTTO, ANONYMOUS):
        with pytest.raises(Denied):
            rooms.review.waive(who, repository=WEB, reason="mine", days=2, check="CFG-HEALTH")
        with pytest.raises(Denied):
            rooms.review.end_waiver(who, made.id)
        assert len(rooms.review.waivers(who)) == (1 if who in (PAULA, MACHINE) else 0)
