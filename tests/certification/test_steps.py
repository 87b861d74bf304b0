"""The steps of a workflow: verify, pin, examine, run, judge, each repeatable, and the end of a quarantine."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from customhouse.certification.findings import Finding, Outcome
from customhouse.certification.submission import State
from customhouse.db import Database
from customhouse.enrolment.service import NotEnrolled
from customhouse.errors import NotFound
from customhouse.oci.digest import Digest
from customhouse.registry.sweep import Grace
from customhouse.testing.images import BuiltImage, encode, index, layer
from customhouse.trust.names import TARGETS
from tests.certification.test_service import at_once
from tests.conftest import Clock
from tests.rooms import ADMIN, CARL, CORA, MACHINE, PAULA, STRICT, WEB, Rooms, doubtful, image


def test_an_image_goes_all_the_way_and_each_step_is_recorded(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(image()))
    assert row.state is State.PUBLISHED
    assert rooms.events(row.id) == ["receive", "verify", "pin", "content", "run", "judge", "published"]
    actions = [entry.action for entry in rooms.log() if entry.detail.get("submission") == row.id]
    assert actions == [
        "submission.receive", "submission.verify", "submission.judge", "submission.published", "publication.publish",
    ]


def test_every_step_may_be_repeated_at_any_time_and_changes_nothing(rooms: Rooms) -> None:
    row = rooms.submit(image())
    for step in (rooms.steps.verify, rooms.steps.examine, rooms.steps.run, rooms.steps.judge):
        first = step(row.id)
        seen = rooms.certification.get(row.id)
        log = len(rooms.log())
        assert step(row.id) == first == rooms.certification.get(row.id).state
        assert rooms.certification.get(row.id) == seen
        assert len(rooms.log()) == log
    assert seen.state is State.PUBLISHING


def test_steps_out_of_turn_do_nothing(rooms: Rooms) -> None:
    row = rooms.submit(image())
    for step in (rooms.steps.examine, rooms.steps.run, rooms.steps.judge, rooms.publication.publish):
        assert step(row.id) == "received"
    assert rooms.certification.get(row.id) == row


def test_an_unknown_root_waits_for_a_person_and_goes_on_when_it_is_enrolled(rooms: Rooms) -> None:
    rooms.push(image())
    row = rooms.go(rooms.sign(image()))
    assert row.state is State.AWAITING_ENROLMENT and "publisher enrol acme --from-staging" in row.reason
    rooms.enrol()
    again = rooms.certification.get(row.id)
    assert (again.state, again.round) == (State.RECEIVED, 2)
    assert rooms.go(again).state is State.PUBLISHED


def test_an_enrolment_between_the_look_and_the_rest_is_not_lost(rooms: Rooms) -> None:
    """The step sees no root; before it rests, the root is enrolled: nobody else would wake it."""
    rooms.push(image())
    row = rooms.steps._begin(rooms.sign(image()).id)
    with pytest.raises(NotEnrolled) as looked:
        rooms.enrolment.verify_tag(row.repository, row.publisher, row.tag, row.digest)
    rooms.enrol()
    assert rooms.steps._await_enrolment(row, looked.value) == "verifying"
    again = rooms.certification.get(row.id)
    assert again.round == row.round + 1, "a new workflow begins"
    assert rooms.go(again).state is State.PUBLISHED


def test_enrolments_and_verifications_at_once_leave_nothing_waiting(rooms: Rooms) -> None:
    for number in range(4):
        repository = f"staging/acme/w{number}"
        rooms.push(image(), repository=repository)
        row = rooms.sign(image(), repository=repository)
        found = at_once(lambda r=row: rooms.steps.verify(r.id), lambda r=repository: rooms.enrol(r))
        assert not [item for item in found if isinstance(item, Exception)], found
        assert rooms.go(row.id).state is State.PUBLISHED


def test_what_was_not_pushed_is_refused_with_what_to_do(rooms: Rooms) -> None:
    rooms.push(image("other"))
    rooms.enrol()
    row = rooms.go(rooms.sign(image()))
    assert row.state is State.REJECTED and "push localhost:5443/staging/acme/web:1 again, then sign it" in row.reason


def test_a_signed_length_that_is_wrong_is_refused(rooms: Rooms) -> None:
    rooms.push(image())
    rooms.enrol()
    rooms.sign(image())
    sim = rooms.simulator()
    sim.bump(TARGETS)
    body = sim.bodies[TARGETS]
    meta = body.targets["1"]
    sim.bodies[TARGETS] = replace(body, targets={"1": replace(meta, length=meta.length + 1)})
    rooms.trust.publish(sim.gun, sim.upload(TARGETS), "paula")
    row = rooms.go(rooms.certification.latest(ADMIN, WEB, "1"))
    assert row.state is State.REJECTED and "bytes, and" in row.reason


def test_bytes_that_are_gone_from_the_store_are_noticed_before_anything_is_pinned(rooms: Rooms) -> None:
    built = image()
    row = rooms.submit(built)
    rooms.blobs.delete(Digest.of(built.layers[0].blob))
    ended = rooms.go(row)
    assert ended.state is State.REJECTED and str(Digest.of(built.layers[0].blob)) in ended.reason
    assert rooms.registry.repositories("quarantine/") == []


def test_bytes_that_were_altered_in_the_store_refuse_it(rooms: Rooms) -> None:
    built = image()
    row = rooms.submit(built)
    path = rooms.blobs.path(Digest.of(built.layers[0].blob))
    assert path is not None
    path.chmod(0o600)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    ended = rooms.go(row)
    assert ended.state is State.REJECTED and "MAN-DIGEST" in ended.reason


def test_the_examination_reads_the_pin_and_not_staging(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(image()), until="verify")
    with rooms.database.write() as tx:
        rooms.registry.delete_repository(tx, WEB)
    rooms.registry.sweep(rooms.clock.advance(days=400), Grace())
    rooms.clock.advance(days=-400)
    for step in (rooms.steps.examine, rooms.steps.run, rooms.steps.judge):
        step(row.id)
    assert rooms.certification.get(row.id).state is State.PUBLISHING


def rebuilt(built: BuiltImage, config: bytes | None = None, **changes: object) -> BuiltImage:
    """The same image with another config, or other fields of its descriptor."""
    manifest = json.loads(built.manifest_raw)
    raw = built.config_raw if config is None else config
    manifest["config"].update({"digest": str(Digest.of(raw)), "size": len(raw), **changes})
    return BuiltImage(encode(manifest), built.media_type, {**built.blobs, Digest.of(raw): raw})


@pytest.mark.parametrize(
    "bad",
    [rebuilt(image(style="oci"), mediaType="application/vnd.acme.chart"), rebuilt(image(), b'{"os": 5}')],
    ids=["artifact", "config"],
)
def test_what_is_no_image_is_the_publishers_to_mend_and_no_failure_of_the_hub(rooms: Rooms, bad: BuiltImage) -> None:
    row = rooms.go(rooms.submit(bad))
    assert row.state is State.REJECTED and "cannot be examined" in row.reason


def test_an_index_is_examined_platform_by_platform(rooms: Rooms) -> None:
    members = [image("amd"), doubtful("arm")]
    row = rooms.go(rooms.submit(index(members, platforms=("linux/amd64", "linux/amd64"))))
    assert row.state is State.AWAITING_REVIEW and "CFG-HEALTH" in row.reason
    assert row.verdict is not None
    assert set(row.verdict["inputs"]["content"]["advisories"]) == {str(member.digest) for member in members}


def test_a_verdict_waits_for_both_parts(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(image()), until="examine")
    assert rooms.steps.judge(row.id) == "examining"
    assert rooms.certification.get(row.id).verdict is None
    rooms.steps.run(row.id)
    assert rooms.steps.judge(row.id) == "publishing"


def test_a_worker_that_wakes_in_another_round_leaves_the_verdict_alone(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(doubtful()), until="run")
    with rooms.database.read() as tx:
        stale = rooms.store.get(tx, row.id)
    assert stale is not None
    rooms.certification.another_round(stale)
    assert rooms.steps.run(row.id) == "examining", "the content of this round was not looked at yet"
    assert rooms.steps.judge(row.id) == "examining"
    done = rooms.go(row)
    assert done.state is State.AWAITING_REVIEW
    with rooms.database.write() as tx:
        assert not rooms.store.move(tx, stale, State.REJECTED, rooms.clock())
    assert rooms.certification.get(row.id) == done


def test_two_workers_on_one_submission_give_one_verdict(rooms: Rooms) -> None:
    row = rooms.submit(doubtful())
    found = at_once(*[lambda: rooms.go(row)] * 2)
    assert not [item for item in found if isinstance(item, Exception)], found
    assert rooms.certification.get(row.id).state is State.AWAITING_REVIEW
    assert len(rooms.log("submission.judge")) == 1


def test_a_failure_of_the_hub_is_told_and_ends_nothing_that_rests(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    assert rooms.steps.fail(row.id, "broken") == "awaiting_review"
    other = rooms.submit(image("2"), "2")
    assert rooms.steps.fail(other.id, "broken") == "failed"
    assert rooms.certification.get(other.id).reason == "broken"


def test_a_waiver_lets_a_finding_pass_from_the_next_examination_on(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    rooms.review.waive(CARL, repository="localhost:5443/acme/web", reason="a batch job", days=30, check="CFG-HEALTH")
    assert rooms.go(rooms.certification.retry(PAULA, row.id)).state is State.PUBLISHED


def test_a_waiver_of_the_author_does_not_count_for_the_authors_own_image(rooms: Rooms) -> None:
    rooms.review.waive(ADMIN, repository=WEB, reason="mine is fine", days=30, check="CFG-HEALTH")
    own = rooms.go(rooms.submit(doubtful(), author="admin"))
    assert own.state is State.AWAITING_REVIEW
    assert rooms.go(rooms.submit(doubtful("2"), author="paula")).state is State.PUBLISHED


def test_content_that_was_withdrawn_becomes_official_again_by_people_only(rooms: Rooms) -> None:
    done = rooms.publish(image())
    rooms.publication.withdraw(CARL, done.id, "it phones home")
    rooms.push(image(), "2")
    row = rooms.go(rooms.sign(image(), "2"))
    assert row.state is State.AWAITING_REVIEW and done.id in row.reason
    rooms.review.approve(CARL, row.id, "the reason is gone")
    assert rooms.go(row.id).state is State.PUBLISHED
    assert rooms.registry.resolve("acme/web", "2").digest == row.digest, "and is handed out again"


def test_content_that_is_withdrawn_while_another_tag_of_it_is_on_its_way_is_judged_again(rooms: Rooms) -> None:
    done = rooms.publish(image())
    rooms.push(image(), "2")
    row = rooms.go(rooms.sign(image(), "2"), until="judge")
    assert row.state is State.PUBLISHING
    rooms.publication.withdraw(CARL, done.id, "it phones home")
    assert rooms.publication.publish(row.id) == "received"
    ended = rooms.go(row.id)
    assert ended.state is State.AWAITING_REVIEW and rooms.records() == {done.id: "withdrawn"}


def test_quarantine_is_let_go_when_a_submission_is_final_for_long_enough(rooms: Rooms) -> None:
    done, waiting = rooms.publish(image()), rooms.go(rooms.submit(doubtful(), "2"))
    month = timedelta(days=30)
    assert rooms.steps.release(rooms.clock() - month) == 0
    later = rooms.clock.advance(days=31)
    assert rooms.steps.release(later - month) == 1
    assert rooms.registry.repositories("quarantine/") == [waiting.quarantine]
    with pytest.raises(NotFound):
        rooms.registry.manifest(done.quarantine, done.digest)
    assert rooms.registry.resolve("acme/web", "1").digest == done.digest, "official content has a hold of its own"
    assert [entry.subject for entry in rooms.log("quarantine.release")] == ["localhost:5443/staging/acme/web:1"]
    assert rooms.steps.release(later - month) == 0


def test_what_is_tried_again_at_the_end_of_its_quarantine_is_pinned_anew(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    rooms.review.reject(CARL, row.id, "no")
    later = rooms.clock.advance(days=31)
    found = at_once(
        lambda: rooms.steps.release(later - timedelta(days=30)), lambda: rooms.certification.retry(MACHINE, row.id)
    )
    assert not [item for item in found if isinstance(item, Exception)], found
    assert rooms.go(row.id).state is State.AWAITING_REVIEW
    assert rooms.registry.manifest(row.quarantine, row.digest).digest == row.digest


def test_a_policy_that_always_asks_people_asks_as_many_as_it_says(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    strict = Rooms(database, tmp_path / "strict", clock, policy=STRICT)
    row = strict.go(strict.submit(image()))
    assert row.state is State.AWAITING_REVIEW and row.verdict is not None and row.verdict["approvals"] == 2
    strict.review.approve(CARL, row.id, "")
    assert strict.certification.get(row.id).state is State.AWAITING_REVIEW
    strict.review.approve(CORA, row.id, "")
    assert strict.go(row.id).state is State.PUBLISHED

# What the small image always fails: a program of a few bytes, and a date for the same bytes every time.
ALWAYS = ["FS-BINHARD", "LIC-FILES", "MAN-AGE"]


def test_findings_survive_the_store(rooms: Rooms) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    assert row.verdict is not None
    found = [Finding.parse(item) for item in row.verdict["findings"]]
    failed = [item.check for item in found if item.outcome is Outcome.FAIL]
    assert failed == ["CFG-HEALTH", *ALWAYS]


def test_layers_more_than_the_config_names_are_not_started(rooms: Rooms) -> None:
    built = image(more=(layer({"x": b"x"}),))
    config = json.loads(built.config_raw)
    config["rootfs"]["diff_ids"].pop()
    row = rooms.go(rooms.submit(rebuilt(built, encode(config))))
    assert row.state is State.REJECTED and "MAN-DIGEST" in row.reason
    assert row.verdict is not None
    reasons = [run["reason"] for run in row.verdict["inputs"]["run"]["runs"]]
    assert reasons == ["not started, because MAN-DIGEST failed"]
