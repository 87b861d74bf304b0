"""The act of publication and its undoing: what changes together, what races, what is looked at once more."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from customhouse.accounts.people import Principal
from customhouse.certification.store import submission_table
from customhouse.certification.submission import State, Submission, SubmissionUnknown, WrongState
from customhouse.errors import Denied, Invalid, NotFound
from customhouse.registry.content import ManifestRefused, ManifestUnknown
from customhouse.testing.images import index
from customhouse.trust.metadata import parse_timestamp
from customhouse.trust.names import RELEASES, ROOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.verify import SignedTag, verify_repository
from tests.certification.test_service import at_once
from tests.conftest import Clock
from tests.rooms import ADMIN, CARL, HOST, MACHINE, OTTO, PAULA, READER, WEB, Rooms, doubtful, image

GUN = Gun.parse(f"{HOST}/acme/web")


def ready(rooms: Rooms, text: str = "1", tag: str = "1", repository: str = WEB) -> Submission:
    """Judged, and on its way to publication."""
    row = rooms.go(rooms.submit(image(text), tag, repository), until="judge")
    assert row.state is State.PUBLISHING
    return row


def consistent(rooms: Rooms, repository: str = "acme/web") -> dict[str, str]:
    """Invariant P1: tag -> digest, the same in registry, signed targets and records."""
    with rooms.database.read() as tx:
        tags = {name: str(found) for where, name, found in rooms.registry.all_tags(tx) if where == repository}
        records = {r["tag"]: r["digest"] for r in rooms.certification.published(tx) if r["repository"] == repository}
    trusted = rooms.official(repository)
    signed = {name: str(tag.digest) for name, tag in trusted.tags.items()}
    hub = trusted.targets[RoleName.parse("targets/customhouse")].body.targets
    assert tags == records == signed
    assert trusted.targets[RELEASES].body.targets == hub
    return tags


def test_a_publication_is_tag_signature_record_state_and_audit_entry(rooms: Rooms) -> None:
    row = ready(rooms)
    assert rooms.publication.publish(row.id) == "published"
    assert consistent(rooms) == {"1": str(row.digest)}
    assert rooms.registry.resolve("acme/web", "1").raw == image().manifest_raw, "the publisher's bytes"
    assert rooms.official().signers("1") == ["customhouse"]
    entry = rooms.log("publication.publish")[0]
    assert (entry.subject, entry.digest, entry.detail["submission"]) == (f"{GUN}:1", str(row.digest), row.id)
    assert rooms.records() == {row.id: "published"}


def test_no_key_of_the_publisher_is_in_the_official_repository(rooms: Rooms) -> None:
    rooms.publish(image())
    theirs = {key.public.key_id for keys in rooms.simulator().keys.values() for key in keys}
    everything = b"".join(rooms.trust.repository_files(GUN).values()).decode()
    assert not [key for key in theirs if key in everything]


def test_a_repeat_publishes_nothing_twice(rooms: Rooms) -> None:
    row = ready(rooms)
    assert [rooms.publication.publish(row.id) for _ in range(3)] == ["published"] * 3
    assert len(rooms.log("publication.publish")) == 1 and rooms.official().versions[RELEASES] == 1


def test_workers_at_once_publish_once(rooms: Rooms) -> None:
    row = ready(rooms)
    assert at_once(*[lambda: rooms.publication.publish(row.id)] * 3) == ["published"] * 3
    assert len(rooms.log("publication.publish")) == 1
    consistent(rooms)


def test_tags_of_one_repository_at_once_are_all_published(rooms: Rooms) -> None:
    rows = [ready(rooms, str(number), str(number)) for number in range(4)]
    assert at_once(*(lambda r=row: rooms.publication.publish(r.id) for row in rows)) == ["published"] * 4
    assert consistent(rooms) == {row.tag: str(row.digest) for row in rows}


def test_a_renewal_of_the_timestamp_at_the_same_time_changes_no_answer(rooms: Rooms, clock: Clock) -> None:
    rooms.publish(image())
    clock.advance(days=10)
    row = ready(rooms, "2", "2")
    found = at_once(lambda: rooms.publication.publish(row.id), lambda: rooms.trust.renew_all(clock()))
    assert found[0] == "published" and not isinstance(found[1], Exception), found
    assert set(consistent(rooms)) == {"1", "2"}


def test_an_index_becomes_official_with_all_its_platforms(rooms: Rooms) -> None:
    built = index([image("1"), image("2")], platforms=("linux/amd64", "linux/amd64"))
    rooms.review.approve(CARL, rooms.go(rooms.submit(built)).id, "two of one platform, for a test")
    assert rooms.go(rooms.certification.latest(ADMIN, WEB, "1").id).state is State.PUBLISHED
    for member in built.members:
        assert rooms.registry.resolve("acme/web", str(member.digest)).raw == member.manifest_raw


# ---- the last look (P4, P5)


def test_a_signature_that_was_taken_back_meanwhile_publishes_nothing(rooms: Rooms) -> None:
    row = ready(rooms)
    rooms.unsign()
    assert rooms.publication.publish(row.id) == "superseded"
    assert rooms.trust.repository_files(GUN) == {}


def untrust(rooms: Rooms) -> None:
    rooms.enrolment.remove(CARL, "acme", rooms.enrolment.roots("acme")[0].id)


def delete_trust(rooms: Rooms) -> None:
    rooms.trust.delete(rooms.simulator().gun, "admin")


@pytest.mark.parametrize(
    ("meanwhile", "says"), [(untrust, "is not enrolled"), (delete_trust, "no trust metadata")], ids=["root", "deleted"]
)
def test_the_last_look_sees_what_is_not_believed_any_more(
    rooms: Rooms, meanwhile: Callable[[Rooms], None], says: str
) -> None:
    row = ready(rooms)
    meanwhile(rooms)
    assert rooms.publication.publish(row.id) == "rejected"
    reason = rooms.certification.get(row.id).reason
    assert reason.startswith("at the last look before signing") and says in reason
    assert rooms.registry.tag_digest("acme/web", "1") is None and rooms.records() == {}


def test_a_signature_that_expired_while_it_waited_publishes_nothing(rooms: Rooms, clock: Clock) -> None:
    row = rooms.go(rooms.submit(doubtful()))
    clock.advance(days=1200)
    rooms.review.approve(CARL, row.id, "at last")
    ended = rooms.go(row.id)
    assert ended.state is State.REJECTED and "expired" in ended.reason


def test_what_was_overtaken_never_moves_the_tag_back(rooms: Rooms) -> None:
    """P5: the older one is judged late; the newer one stands already."""
    rooms.let_move()
    old = ready(rooms)
    new = rooms.publish(image("2"))
    with rooms.database.write() as tx:  # as if the older one had been on its way all the time
        tx.execute(update(submission_table).where(submission_table.c.id == old.id).values(state="publishing"))
    row, signed = rooms.certification.get(old.id), SignedTag("1", old.digest, old.length, TARGETS, 1)
    files = rooms.trust.repository_files(GUN)
    with rooms.database.write() as tx:  # even if the last look had let it pass
        assert rooms.publication._commit(tx, row, signed, GUN, files, {}, rooms.clock()) == "superseded"
    assert consistent(rooms) == {"1": str(new.digest)}


def test_a_newer_signature_and_the_publication_of_the_older_one_at_once(rooms: Rooms) -> None:
    rooms.let_move()
    for number in range(3):
        tag = f"t{number}"
        old = ready(rooms, f"{number}a", tag)
        rooms.push(image(f"{number}b"), tag)
        found = at_once(lambda o=old: rooms.publication.publish(o.id),
                        lambda t=tag, n=number: rooms.sign(image(f"{n}b"), t))
        assert found[0] in ("published", "superseded", "rejected") and isinstance(found[1], Submission), found
        newest = rooms.go(found[1])
        assert newest.state is State.PUBLISHED
        assert consistent(rooms)[tag] == str(newest.digest)


# ---- locked tags


def test_what_would_move_an_official_tag_ends_before_it_is_fetched_or_examined(rooms: Rooms) -> None:
    first = rooms.publish(image())
    again = rooms.go(rooms.submit(image("2")))
    assert again.state is State.REJECTED and rooms.events(again.id) == ["receive", "verify", "rejected"]
    assert again.reason.startswith(f"the tag acme/web:1 is locked and stays on {first.digest}. Push this image as")
    assert f"customhouse submission retry {again.id}" in again.reason
    assert consistent(rooms) == {"1": str(first.digest)} and rooms.records() == {first.id: "published"}
    assert rooms.publish(image("2"), "2").state is State.PUBLISHED


def test_the_same_image_again_and_latest_are_no_move(rooms: Rooms) -> None:
    first = rooms.publish(image())
    assert rooms.publish(image()).digest == first.digest
    rooms.publish(image("a"), "latest")
    newest = rooms.publish(image("b"), "latest")
    assert consistent(rooms) == {"1": str(first.digest), "latest": str(newest.digest)}


def test_a_rule_or_a_withdrawal_lets_it_through_by_a_retry(rooms: Rooms) -> None:
    first = rooms.publish(image())
    by_rule = rooms.go(rooms.submit(image("2")))
    rooms.let_move("acme/*", "1")
    assert rooms.go(rooms.certification.retry(PAULA, by_rule.id)).state is State.PUBLISHED
    rooms.registry.rules.remove(ADMIN, "acme/*", "1")
    after = rooms.go(rooms.submit(image("3")))
    assert after.state is State.REJECTED
    rooms.publication.withdraw(PAULA, by_rule.id, "replaced")
    assert rooms.go(rooms.certification.retry(PAULA, after.id)).state is State.PUBLISHED
    assert consistent(rooms) == {"1": str(after.digest)} and first.digest != after.digest


def test_a_tag_that_is_locked_while_its_submission_is_under_way_stays(rooms: Rooms) -> None:
    """The last look, in the transaction of the commit."""
    rooms.let_move()
    first = rooms.publish(image())
    late = ready(rooms, "2")
    rooms.registry.rules.remove(ADMIN, "acme/web", "*")
    assert rooms.publication.publish(late.id) == "rejected"
    assert "is locked and stays on" in rooms.certification.get(late.id).reason
    assert consistent(rooms) == {"1": str(first.digest)} and rooms.records() == {first.id: "published"}


# ---- withdrawal (P7)


def test_a_withdrawal_takes_tag_signature_and_digest_away_in_one_act(rooms: Rooms) -> None:
    row = rooms.publish(image())
    ended = rooms.publication.withdraw(PAULA, row.id, " it phones home ")
    assert (ended.state, ended.reason) == (State.WITHDRAWN, "withdrawn by paula: it phones home")
    assert consistent(rooms) == {} and rooms.official().versions[RELEASES] == 2
    with pytest.raises(ManifestUnknown):
        rooms.registry.resolve("acme/web", "1")
    with pytest.raises(ManifestRefused, match="it phones home"):
        rooms.registry.resolve("acme/web", str(row.digest))
    assert rooms.records() == {row.id: "withdrawn"}
    assert rooms.log("publication.withdraw")[0].actor == "paula"
    with pytest.raises(WrongState, match="nothing to withdraw"):
        rooms.publication.withdraw(PAULA, row.id, "again")


def test_content_that_another_tag_stands_on_stays_until_that_is_withdrawn_too(rooms: Rooms) -> None:
    one, two = rooms.publish(image(), "1"), rooms.publish(image(), "2")
    rooms.publication.withdraw(CARL, one.id, "a wrong name")
    assert rooms.registry.resolve("acme/web", "2").digest == two.digest
    assert consistent(rooms) == {"2": str(two.digest)}
    rooms.publication.withdraw(CARL, two.id, "a flaw")
    with pytest.raises(ManifestRefused, match="a flaw"):
        rooms.registry.resolve("acme/web", str(two.digest))


def test_what_was_replaced_is_withdrawn_without_touching_its_successor(rooms: Rooms) -> None:
    rooms.let_move()
    old, new = rooms.publish(image("1")), rooms.publish(image("2"))
    assert rooms.records() == {old.id: "replaced", new.id: "published"}
    before = rooms.official().versions
    assert rooms.publication.withdraw(CARL, old.id, "a flaw").state is State.WITHDRAWN
    assert consistent(rooms) == {"1": str(new.digest)} and rooms.official().versions == before
    with pytest.raises(ManifestRefused):
        rooms.registry.resolve("acme/web", str(old.digest))
    assert rooms.registry.resolve("acme/web", "1").digest == new.digest
    assert rooms.records() == {old.id: "withdrawn", new.id: "published"}


@pytest.mark.parametrize("who", [READER, OTTO])
def test_others_withdraw_nothing(rooms: Rooms, who: Principal) -> None:
    row = rooms.publish(image())
    with pytest.raises((Denied, SubmissionUnknown)):
        rooms.publication.withdraw(who, row.id, "no")
    assert consistent(rooms) == {"1": str(row.digest)}


def test_a_withdrawal_has_a_reason(rooms: Rooms) -> None:
    row = rooms.publish(image())
    for reason in ("", " ", "x" * 5000):
        with pytest.raises(Invalid, match="reason"):
            rooms.publication.withdraw(CARL, row.id, reason)


def test_what_is_under_way_is_ended(rooms: Rooms) -> None:
    waiting = rooms.go(rooms.submit(doubtful()))
    assert rooms.publication.withdraw(MACHINE, waiting.id, "a mistake").state is State.WITHDRAWN
    assert rooms.log("publication") == [] and rooms.trust.repository_files(GUN) == {}


def test_withdrawals_at_once_are_one(rooms: Rooms) -> None:
    row = rooms.publish(image())
    found = at_once(*[lambda: rooms.publication.withdraw(ADMIN, row.id, "a flaw")] * 3)
    assert [type(item) for item in found].count(WrongState) == 2, found
    assert len(rooms.log("publication.withdraw")) == 1 and consistent(rooms) == {}


def test_a_withdrawal_and_the_publication_it_races_end_in_one_order(rooms: Rooms) -> None:
    for number in range(3):
        tag = f"t{number}"
        row = ready(rooms, str(number), tag)
        found = at_once(lambda r=row: rooms.publication.publish(r.id),
                        lambda r=row: rooms.publication.withdraw(CARL, r.id, "stop"))
        assert rooms.certification.get(row.id).state is State.WITHDRAWN, found
        if rooms.trust.repository_files(GUN):
            assert tag not in consistent(rooms)


def test_a_withdrawal_and_a_publication_of_the_same_tag_end_in_one_order(rooms: Rooms) -> None:
    rooms.let_move()
    for number in range(3):
        tag = f"t{number}"
        old = rooms.publish(image(f"{number}a"), tag)
        new = ready(rooms, f"{number}b", tag)
        found = at_once(lambda n=new: rooms.publication.publish(n.id),
                        lambda o=old: rooms.publication.withdraw(CARL, o.id, "stop"))
        assert not [item for item in found if isinstance(item, Exception)], found
        assert consistent(rooms)[tag] == str(new.digest)
        assert (rooms.records()[old.id], rooms.records()[new.id]) == ("withdrawn", "published")


def test_what_consumers_pin_is_the_hubs_root(rooms: Rooms) -> None:
    rooms.publish(image())
    pinned, root = rooms.publication.root_certificate().document(), rooms.official().root.body
    assert pinned["key_id"] in rooms.official().root_keys
    assert list(root.roles[ROOT].key_ids) == [pinned["certificate_id"]]  # the name that notary pins
    assert len(pinned["sha256"]) == 64


def test_what_is_bundled_is_official_readable_and_of_one_moment(rooms: Rooms) -> None:
    rooms.publish(image())
    rooms.publish(image("2"), repository="staging/acme/job")
    everything = rooms.publication.bundled(lambda name: True, "", 10, metadata=True)
    assert [each.gun for each in everything] == [f"{HOST}/acme/job", f"{HOST}/acme/web"]  # nothing of staging
    for each in everything:
        found = verify_repository(
            each.files, [], gun=each.gun, seen={}, now=rooms.clock(),
            enrolled=frozenset({rooms.keys.root.public.canonical_id}),
        )
        assert found.root.raw == each.root and set(found.tags) == {"1"}
    first = rooms.publication.bundled(lambda name: True, "", 1)
    assert [(each.gun, each.files) for each in first] == [(f"{HOST}/acme/job", {})]
    assert [each.gun for each in rooms.publication.bundled(lambda name: True, first[0].gun, 10)] == [f"{HOST}/acme/web"]
    assert rooms.publication.bundled(lambda name: name != "acme/web", first[0].gun, 10) == []
    for name in ("acme/none", "staging/acme/web", "acme/web"):
        with pytest.raises(NotFound, match=f"there is no official repository {name}"):
            rooms.publication.bundled(lambda name: False, "", 10, repository=name)


def test_a_bundled_timestamp_is_renewed_first_so_that_it_is_good_for_long(rooms: Rooms, clock: Clock) -> None:
    rooms.publish(image())
    clock.advance(days=10)
    [found] = rooms.publication.bundled(lambda name: True, "", 10, repository="acme/web", metadata=True)
    assert parse_timestamp(found.files[TIMESTAMP]).expires - clock() > timedelta(days=7)


def test_an_official_repository_that_nothing_is_published_to_does_not_expire(rooms: Rooms, clock: Clock) -> None:
    assert rooms.publication.publish(ready(rooms).id) == "published"
    before = consistent(rooms)
    assert rooms.publication.renew_all(clock()) == 0
    clock.advance(days=600)
    rooms.trust.renew_all(clock())
    assert rooms.publication.renew_all(clock()) == 1
    assert rooms.publication.renew_all(clock()) == 0
    clock.advance(days=600)  # the first signatures would have expired by now
    rooms.trust.renew_all(clock())
    assert consistent(rooms) == before
