"""Submissions: intake within the trust update, moves on condition, who sees and who may try again."""

import threading
from collections.abc import Callable

import pytest

from customhouse.accounts.people import ANONYMOUS, Principal
from customhouse.certification.submission import (
    MOST_AT_ONCE,
    State,
    Submission,
    SubmissionUnknown,
    TooManyTags,
    WrongState,
)
from customhouse.errors import Denied
from customhouse.trust.names import SNAPSHOT, TARGETS
from tests.rooms import ADMIN, CARL, HOST, MACHINE, OTTO, PAULA, READER, WEB, Rooms, doubtful, image


def at_once(*works: Callable[[], object]) -> list[object]:
    """Each in a thread of its own, begun together; results or errors."""
    barrier, found = threading.Barrier(len(works)), [None] * len(works)  # type: ignore[var-annotated]

    def work(place: int) -> None:
        barrier.wait()
        try:
            found[place] = works[place]()
        except Exception as error:
            found[place] = error

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def test_a_signature_makes_one_submission_in_its_own_transaction_and_wakes_the_hub(rooms: Rooms) -> None:
    row = rooms.submit(image())
    assert (row.state, row.publisher, row.author, row.snapshot_version) == (State.RECEIVED, "acme", "paula", 1)
    assert rooms.log("submission.receive")[0].actor == "paula"
    assert rooms.events(row.id) == ["receive"] and rooms.woken


def test_an_update_that_is_refused_makes_none(rooms: Rooms) -> None:
    rooms.push(image())
    sim = rooms.simulator()
    sim.sign_tag("1", image().manifest_raw)
    sim.drop_signature(TARGETS)
    with pytest.raises(Exception, match="0 of 1 needed signatures"):
        rooms.trust.publish(sim.gun, sim.upload(), "paula")
    assert rooms.certification.active() == [] and not rooms.log("submission")


def test_only_changed_tags_make_submissions(rooms: Rooms) -> None:
    first = rooms.submit(image())
    rooms.push(image("2"), "2")
    second = rooms.sign(image("2"), "2")
    assert {row.id for row in rooms.certification.active()} == {first.id, second.id}


def test_a_newer_signature_supersedes_what_is_not_final(rooms: Rooms) -> None:
    old = rooms.go(rooms.submit(doubtful()))
    assert old.state is State.AWAITING_REVIEW
    new = rooms.submit(image("2"))
    assert rooms.certification.get(old.id).state is State.SUPERSEDED
    assert new.snapshot_version > old.snapshot_version and new.state is State.RECEIVED


def test_a_removed_signature_ends_what_waits(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    rooms.unsign()
    ended = rooms.certification.get(row.id)
    assert ended.state is State.SUPERSEDED and "removed the signature of 1" in ended.reason


def test_more_tags_at_once_than_may_become_submissions_are_refused_and_taken_in_portions(rooms: Rooms) -> None:
    sim = rooms.simulator()
    for number in range(MOST_AT_ONCE + 1):
        sim.sign_tag(f"{number}")
    with pytest.raises(TooManyTags, match="signs 1001 tags anew, .* at most 1000 may at once") as refused:
        rooms.trust.publish(sim.gun, sim.upload(), "paula")
    assert "Sign at most 1000 of them" in refused.value.hint
    assert rooms.certification.active() == [] and rooms.trust.repository_files(sim.gun) == {}
    sim.remove_tag("1000")
    rooms.trust.publish(sim.gun, sim.upload(), "paula")
    sim.sign_tag("1000")
    sim.bump(TARGETS)
    rooms.trust.publish(sim.gun, sim.upload(TARGETS), "paula")
    assert len(rooms.certification.active()) == MOST_AT_ONCE + 1
    for number in range(MOST_AT_ONCE + 1):
        sim.remove_tag(f"{number}")
    sim.bump(TARGETS)
    rooms.trust.publish(sim.gun, sim.upload(TARGETS), "paula")
    assert rooms.certification.active() == [], "what is taken back is never too much"


def test_trust_data_that_was_deleted_and_begun_again_is_received_and_comes_later(rooms: Rooms) -> None:
    """The trust server counts from 1 again; the order of submissions does not."""
    rooms.push(image())
    first = rooms.sign(image())
    rooms.trust.delete(rooms.simulator().gun, "admin")
    del rooms.publisher[WEB]
    second = rooms.sign(image())
    assert rooms.trust.current(rooms.simulator().gun, SNAPSHOT).version == 1
    assert second.id != first.id and second.snapshot_version == first.snapshot_version + 1
    assert rooms.certification.get(first.id).state is State.SUPERSEDED


def test_a_move_is_refused_to_whoever_comes_second(rooms: Rooms) -> None:
    row = rooms.submit(image())
    with rooms.certification.transaction() as tx:
        assert rooms.certification.move(tx, row, State.REJECTED, "one")
    with rooms.certification.transaction() as tx:
        assert not rooms.certification.move(tx, row, State.WITHDRAWN, "two")
    assert rooms.certification.get(row.id).reason == "one"
    assert "submission.withdrawn" not in {entry.action for entry in rooms.log()}


def test_two_moves_at_once_give_one(rooms: Rooms) -> None:
    row = rooms.submit(image())

    def move(state: State) -> bool:
        with rooms.certification.transaction() as tx:
            return rooms.certification.move(tx, row, state, state.value)

    found = at_once(*(lambda s=state: move(s) for state in (State.REJECTED, State.WITHDRAWN, State.FAILED)))
    assert sorted(map(str, found)) == ["False", "False", "True"]


def test_a_signature_and_a_decision_at_once_leave_the_older_one_superseded_or_decided(rooms: Rooms) -> None:
    for text in ("a", "b", "c"):
        old = rooms.go(rooms.submit(doubtful(text)))
        rooms.push(doubtful(text + "2"))
        found = at_once(
            lambda o=old: rooms.review.reject(CARL, o.id, "no"), lambda t=text: rooms.sign(doubtful(t + "2"))
        )
        assert isinstance(found[1], Submission), found
        assert rooms.certification.get(old.id).state in (State.SUPERSEDED, State.REJECTED)
        assert found[1].state is State.RECEIVED


def test_a_move_that_the_table_does_not_have_is_a_defect(rooms: Rooms) -> None:
    row = rooms.submit(image())
    with pytest.raises(ValueError, match="does not move"), rooms.certification.transaction() as tx:
        rooms.certification.move(tx, row, State.PUBLISHED, "")


@pytest.mark.parametrize("who", [PAULA, MACHINE, READER, CARL, ADMIN])
def test_its_people_and_certifiers_see_it(rooms: Rooms, who: Principal) -> None:
    row = rooms.submit(image())
    assert rooms.certification.visible(who, row.id).id == row.id
    assert rooms.certification.latest(who, WEB, "1").id == row.id
    assert [item.id for item in page(rooms, who)] == [row.id]


@pytest.mark.parametrize("who", [OTTO, ANONYMOUS])
def test_others_cannot_tell_it_from_one_that_is_not_there(rooms: Rooms, who: Principal) -> None:
    row = rooms.submit(image())
    with pytest.raises(SubmissionUnknown, match=f"no submission {row.id}"):
        rooms.certification.visible(who, row.id)
    with pytest.raises(SubmissionUnknown, match=f"no submission of {HOST}/{WEB}:1") as hidden:
        rooms.certification.latest(who, WEB, "1")
    with pytest.raises(SubmissionUnknown) as absent:
        rooms.certification.latest(who, WEB, "2")
    assert str(hidden.value).removesuffix(":1") == str(absent.value).removesuffix(":2")
    assert page(rooms, who) == []


def page(rooms: Rooms, who: Principal, **more: object) -> list[Submission]:
    asked: dict[str, object] = {"repository": None, "state": None, "publisher": None, "before": None, "limit": 10}
    return rooms.certification.page(who, **{**asked, **more})  # type: ignore[arg-type]


def test_pages_are_cut_and_filtered(rooms: Rooms) -> None:
    ids = []
    for number in range(3):
        rooms.clock.advance(seconds=1)
        ids.append(rooms.submit(image(str(number)), str(number)).id)
    assert [row.id for row in page(rooms, ADMIN, limit=2)] == [ids[2], ids[1]]
    assert [row.id for row in page(rooms, ADMIN, before=ids[1])] == [ids[0]]
    assert page(rooms, ADMIN, publisher="other") == [] and len(page(rooms, ADMIN, publisher="acme")) == 3
    assert page(rooms, ADMIN, state=State.PUBLISHED) == [] and page(rooms, ADMIN, repository="staging/acme/x") == []


def test_what_failed_is_tried_again_in_a_new_round(rooms: Rooms) -> None:
    row = rooms.submit(image())
    rooms.steps.fail(row.id, "the hub could not go on")
    again = rooms.certification.retry(MACHINE, row.id)
    assert (again.state, again.round) == (State.RECEIVED, row.round + 1)
    assert rooms.log("submission.received")[-1].actor == "paula"
    assert rooms.go(again).state is State.PUBLISHED


def test_a_token_that_only_reads_tries_nothing_again(rooms: Rooms) -> None:
    row = rooms.submit(image())
    rooms.steps.fail(row.id, "the hub could not go on")
    with pytest.raises(Denied, match="only members of acme"):
        rooms.certification.retry(READER, row.id)


@pytest.mark.parametrize("state", [State.RECEIVED, State.AWAITING_ENROLMENT, State.PUBLISHED])
def test_what_is_under_way_or_done_is_not_tried_again(rooms: Rooms, state: State) -> None:
    if state is State.AWAITING_ENROLMENT:
        rooms.push(image())
        row = rooms.go(rooms.sign(image()))
    else:
        row = rooms.publish(image()) if state is State.PUBLISHED else rooms.submit(image())
    assert row.state is state
    with pytest.raises(WrongState, match=f"is {state.value}"):
        rooms.certification.retry(ADMIN, row.id)


def test_an_older_one_is_not_tried_again(rooms: Rooms) -> None:
    row = rooms.submit(image())
    rooms.steps.fail(row.id, "broken")
    rooms.submit(image("2"))
    with pytest.raises(WrongState, match="a newer submission"):
        rooms.certification.retry(ADMIN, row.id)


def test_events_are_numbered_without_gaps_under_racing_writers(rooms: Rooms) -> None:
    row = rooms.submit(image())

    def tell() -> None:
        with rooms.database.write() as tx:
            rooms.store.add_event(tx, row.id, "step", "x", rooms.clock())

    assert at_once(*[tell] * 4) == [None] * 4
    assert [event["seq"] for event in rooms.certification.events(row.id, 0)] == [1, 2, 3, 4, 5]
    assert len(rooms.certification.events(row.id, 3)) == 2
