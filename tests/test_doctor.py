"""Each break planted by hand is found and named, and a sound hub has none."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from customhouse import doctor
from customhouse.audit import audit_entry
from customhouse.certification.store import certification, submission_table
from customhouse.certification.submission import State
from customhouse.hub import Hub
from customhouse.oci.digest import Digest
from customhouse.registry.store.tables import content, link, tag
from customhouse.settings import Settings
from customhouse.trust.names import RELEASES, Gun
from customhouse.trust.store import trust_file
from tests.conftest import Clock
from tests.rooms import CARL, HOST, Rooms, doubtful, image

GUN = Gun.parse(f"{HOST}/acme/web")


@pytest.fixture
def small(rooms: Rooms) -> Rooms:
    """A hub with one official tag, and one that was withdrawn."""
    gone = rooms.publish(image("gone"), "3")
    rooms.publication.withdraw(CARL, gone.id, "a flaw")
    rooms.publish(image(), "1")
    return rooms


@pytest.fixture
def whole(small: Rooms) -> Rooms:
    """A hub in which everything happened once: published, replaced, withdrawn, waiting, rejected."""
    small.let_move()
    small.publish(image("old"), "2")
    small.publish(image("new"), "2")
    small.go(small.submit(doubtful(), "4"))
    small.review.reject(CARL, small.go(small.submit(doubtful("5"), "5")).id, "no")
    return small


def breaks(rooms: Rooms, **more: bool) -> set[tuple[str, str]]:
    return {(item.invariant, item.subject) for item in doctor.examine(rooms, **more)}  # type: ignore[arg-type]


def sql(rooms: Rooms, *statements: object) -> None:
    with rooms.database.write() as tx:
        for statement in statements:
            tx.execute(statement)  # type: ignore[call-overload]


def test_a_sound_hub_has_no_break(whole: Rooms) -> None:
    assert breaks(whole, rehash=True) == set()


def test_time_alone_breaks_nothing(whole: Rooms, clock: Clock) -> None:
    """A hub that was stopped for a year: its timestamps expired, and clients are told so by themselves."""
    clock.advance(days=365)
    assert breaks(whole) == set()


def test_a_running_hub_signs_anew(whole: Rooms, clock: Clock) -> None:
    clock.advance(days=15)
    found = doctor._guns(whole, True)  # type: ignore[arg-type]
    assert [(item.invariant, item.subject) for item in found] == [("T1", GUN)]
    whole.trust.renew_all(clock())
    assert list(doctor._guns(whole, True)) == []  # type: ignore[arg-type]


def tag_without_record(rooms: Rooms) -> None:
    sql(rooms, delete(certification).where(certification.c.tag == "1"))


def record_without_tag(rooms: Rooms) -> None:
    sql(rooms, delete(tag).where(tag.c.repository == "acme/web", tag.c.name == "1"))


def tag_elsewhere(rooms: Rooms) -> None:
    sql(rooms, update(tag).where(tag.c.repository == "acme/web", tag.c.name == "1").values(
        digest=str(image("gone").digest)))


def tag_that_nobody_signed(rooms: Rooms) -> None:
    sql(rooms, insert(tag).values(repository="acme/web", name="9", digest=str(image().digest), set_at=rooms.clock()))


def record_of_a_withdrawn_one(rooms: Rooms) -> None:
    sql(rooms, update(certification).where(certification.c.tag == "3").values(state="published"))


def state_of_the_record_differs(rooms: Rooms) -> None:
    sql(rooms, update(submission_table).where(submission_table.c.tag == "1").values(state="failed"))


def replaced(rooms: Rooms, raw: bytes) -> None:
    """The current targets/releases has other bytes."""
    where = (trust_file.c.gun == GUN, trust_file.c.role == RELEASES, trust_file.c.current.is_(True))
    sql(rooms, update(trust_file).where(*where).values(content=raw))


def targets_altered(rooms: Rooms) -> None:
    replaced(rooms, rooms.trust.repository_files(GUN)[RELEASES].replace(b'"length":', b'"length":1'))


def targets_rolled_back(rooms: Rooms) -> None:
    replaced(rooms, rooms.trust.by_version(GUN, RELEASES, 1).content)


def targets_gone(rooms: Rooms) -> None:
    sql(rooms, delete(trust_file).where(trust_file.c.gun == GUN))


@pytest.mark.parametrize(
    ("plant", "invariant"),
    [
        (tag_without_record, "P1"), (record_without_tag, "P1"), (tag_elsewhere, "P1"), (tag_that_nobody_signed, "P1"),
        (record_of_a_withdrawn_one, "P1"), (state_of_the_record_differs, "P1"), (targets_altered, "T1"),
        (targets_rolled_back, "T1"), (targets_gone, "P1"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_does_not_agree_about_official_tags_is_named(
    small: Rooms, plant: Callable[[Rooms], None], invariant: str
) -> None:
    plant(small)
    found = breaks(small)
    assert invariant in {item[0] for item in found}
    assert any("acme/web" in subject or "0" in subject for _, subject in found)


def test_a_record_without_its_audit_entry_and_an_entry_without_a_record_are_named(small: Rooms) -> None:
    with small.database.read() as tx:
        rows = {record["tag"]: record["submission"] for record in small.certification.records(tx)}
    sql(small, delete(certification).where(certification.c.submission == rows["3"]))
    with small.database.write() as tx:
        small.audit.append(
            tx, actor="hub", action="publication.publish", subject="x", detail={"submission": rows["1"]},
            now=small.clock(),
        )
    found = {item.subject: item.what for item in doctor.examine(small) if item.invariant == "P6"}  # type: ignore[arg-type]
    assert found == {
        rows["3"]: "has no certification record and 1 audit entries",
        rows["1"]: "has a certification record and 2 audit entries",
    }


def test_missing_bytes_a_missing_link_and_altered_bytes_are_named(small: Rooms) -> None:
    built = image()
    layer, config = Digest.of(built.layers[0].blob), Digest.of(built.config_raw)
    path = small.blobs.path(config)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\n")
    small.blobs.delete(layer)
    assert ("R1", str(layer)) in breaks(small) and ("R1", str(config)) not in breaks(small)
    assert ("R1", str(config)) in breaks(small, rehash=True), "only reading every byte shows it"
    sql(small, delete(link).where(link.c.repository == "acme/web", link.c.digest == str(layer)))
    assert ("R4", f"acme/web@{built.digest}") in breaks(small)


def test_a_manifest_that_was_altered_in_the_database_is_named(small: Rooms) -> None:
    digest = str(image().digest)
    sql(small, update(content).where(content.c.digest == digest).values(raw=b"{}"))
    assert ("R1", digest) in breaks(small, rehash=True)


def test_a_signed_length_that_is_not_the_manifests_is_named(small: Rooms) -> None:
    sql(small, update(content).where(content.c.digest == str(image().digest)).values(size=7))
    assert ("P1", "acme/web:1") in breaks(small)


def test_quarantine_that_was_let_go_too_early_is_named(rooms: Rooms) -> None:
    waiting = rooms.go(rooms.submit(doubtful(), "4"))
    assert waiting.state is State.AWAITING_REVIEW
    with rooms.database.write() as tx:
        rooms.registry.delete_repository(tx, waiting.quarantine)
    assert breaks(rooms) == {("S3", waiting.id)}


@pytest.mark.parametrize("how", ["edited", "dropped", "reordered"])
def test_an_audit_log_that_is_not_the_one_that_was_written_is_named(small: Rooms, how: str) -> None:
    third = audit_entry.c.seq == 3
    sql(small, {
        "edited": update(audit_entry).where(third).values(actor="nobody"),
        "dropped": delete(audit_entry).where(third),
        "reordered": update(audit_entry).where(third).values(seq=100_000),
    }[how])
    assert ("A1", "audit") in breaks(small)


def test_a_submission_without_a_workflow_is_named_on_a_running_hub(tmp_path: Path, clock: Clock) -> None:
    """With the real engine: the workflow's row is missing, and the hub that would begin it is stopped."""
    hub = Hub(Settings(data=tmp_path / "hub", engine="none"), clock)
    try:
        hub.workflows.launch()
        lost = Rooms(hub.database, tmp_path / "hub", clock).submit(image())
        assert doctor.examine(hub, running=True) == [], "it has a moment to begin"
        clock.at += timedelta(minutes=1)
        found = doctor.examine(hub, running=True)
        assert [(item.invariant, item.subject) for item in found] == [("S1", lost.id)]
        assert found[0].as_json() == {
            "invariant": "S1", "subject": lost.id, "what": "is received and has no live workflow",
        }
        assert doctor.examine(hub) == [], "in a stopped hub nothing is live"
    finally:
        hub.close(1)
