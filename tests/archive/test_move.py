"""A hub is moved, over both databases in both directions: all that counted before counts after, and it goes on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from customhouse import archive, doctor
from customhouse.archive import store, writing
from customhouse.archive.reading import take_in
from customhouse.archive.writing import export
from customhouse.blobs.files import FileBlobs
from customhouse.certification.submission import State
from customhouse.errors import Conflict, Invalid
from customhouse.hub import Hub
from customhouse.oci.digest import Digest
from customhouse.settings import Settings
from customhouse.trust.names import Gun
from customhouse.trust.verify import verify_repository
from tests.conftest import Clock
from tests.peers.postgresql import PostgreSQL
from tests.rooms import ADMIN, CARL, HOST, Rooms, doubtful, image

GUN = Gun.parse(f"{HOST}/acme/web")


class Moved(Rooms):
    """The rooms of a test on a real hub's database, keys and blobs."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        super().__init__(hub.database, hub.settings.data, clock)
        self.hub = hub
        for name in ("audit", "blobs", "registry", "trust", "certification", "steps", "publication", "review", "keys"):
            setattr(self, name, getattr(hub, name))
        self.enrolment, self.signers = hub.enrolment, hub.signers


def settings(folder: Path, database: str) -> Settings:
    return Settings(data=folder, engine="none", database=database, admin_password="a-made-up-password")


@pytest.fixture
def urls(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, str]:
    """From one engine to the other."""
    server: PostgreSQL = request.getfixturevalue("postgres")
    return ("", server.url().replace("postgresql://", "postgresql+psycopg://"))


@pytest.fixture
def source(tmp_path: Path, clock: Clock) -> Iterator[Hub]:
    hub = Hub(settings(tmp_path / "old", ""), clock)
    yield hub
    hub.close(1)


def filled(hub: Hub, clock: Clock) -> Moved:
    rooms = Moved(hub, clock)
    hub.accounts.add_publisher(ADMIN, "acme")
    gone = rooms.publish(image("gone"), "3")
    rooms.publication.withdraw(CARL, gone.id, "a flaw")
    rooms.publish(image(), "1")
    rooms.go(rooms.submit(doubtful(), "4"))
    return rooms


def rows_of(hub: Hub) -> dict[str, list[bytes]]:
    with hub.database.read() as tx:
        return {
            table.name: sorted(store.row_to_line(table, row) for row in tx.execute(select(table)))
            for table in store.tables()
        }


@pytest.mark.needs("postgresql")
def test_a_hub_moves_to_the_other_database_and_back_and_goes_on(
    source: Hub, tmp_path: Path, clock: Clock, urls: tuple[str, str]
) -> None:
    old = filled(source, clock)
    before, waiting = rows_of(source), old.certification.latest(CARL, "staging/acme/web", "4")
    contents, index = export(source.settings, tmp_path / "export", clock())
    assert len(index) == 64 and contents.blobs > 0 and not contents.damaged
    key = source.settings.data / "master-key"
    for number, url in enumerate((urls[1], "")):
        target = settings(tmp_path / f"new{number}", url)
        take_in(target, tmp_path / "export", key_file=key)
        hub = Hub(target, clock)
        try:
            assert doctor.examine(hub, rehash=True) == []
            assert rows_of(hub) == before
            assert (target.data / "tls" / "ca.key").read_bytes() == (source.settings.data / "tls/ca.key").read_bytes()
            with hub.database.read() as tx:
                assert hub.audit.verify(tx) == proof(source)
            again, _ = export(target, tmp_path / f"again{number}", clock())
            assert again.parts[: len(again.rows)] == contents.parts[: len(contents.rows)]
            new = Moved(hub, clock)
            new.publisher = old.publisher
            assert hub.certification.get(waiting.id).state is State.AWAITING_REVIEW
            hub.review.approve(CARL, waiting.id, "it is fine")
            new.go(waiting.id)
            files = hub.trust.repository_files(GUN)
            seen = {role: signed for role, signed in verify_repository(
                old.trust.repository_files(GUN), old.trust.root_versions(GUN), gun=GUN,
                enrolled=frozenset({old.keys.keys("root")[-1].signer.public.canonical_id}), seen={}, now=clock(),
            ).versions.items()}
            trusted = verify_repository(
                files, hub.trust.root_versions(GUN), gun=GUN, seen=seen, now=clock(),
                enrolled=frozenset({old.keys.keys("root")[-1].signer.public.canonical_id}),
            )
            assert set(trusted.tags) == {"1", "4"}, "who pinned the old hub believes the new one"
            assert new.publish(image(f"new {number}"), f"n{number}").state is State.PUBLISHED
            assert doctor.examine(hub, rehash=True) == []
        finally:
            hub.close(1)


def proof(hub: Hub) -> tuple[int, str]:
    with hub.database.read() as tx:
        return hub.audit.verify(tx)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_not_the_export_that_was_made_is_refused(source: Hub, tmp_path: Path, clock: Clock) -> None:
    """Each on the same export, put right again afterwards; a refused import leaves no hub behind."""
    filled(source, clock)
    made, key = tmp_path / "export", source.settings.data / "master-key"
    export(source.settings, made, clock())
    small, blob = made / "rows" / "registry_tag.jsonl", next((made / "blobs" / "sha256").glob("*/*"))
    index = made / "archive.json"
    wrong_key = tmp_path / "wrong"
    wrong_key.write_text("ab" * 32)

    def refused(said: str, file: Path, content: bytes | None, with_key: Path | None = key) -> None:
        good = file.read_bytes()
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        target = settings(tmp_path / "refused", "")
        with pytest.raises(Invalid, match=said):
            take_in(target, made, key_file=with_key)
        shutil.rmtree(target.data, ignore_errors=True)
        file.write_bytes(good)

    good = index.read_bytes()
    refused("no finished export", index, None)
    refused("is customhouse-archive 9", index, good.replace(b'"version": 1', b'"version": 9'))
    refused("has the schema 9999", index, json.dumps({**json.loads(good), "schema": "9999"}).encode())
    refused("outside", index, good.replace(b"rows/registry_tag.jsonl", b"rows/../../etc/passwd"))
    refused("is not the file that was exported", small, small.read_bytes().replace(b"acme", b"acne"))
    refused("is not the file that was exported", small, None)
    refused("is not whole", blob, blob.read_bytes()[:-1] + b"!")
    refused("is not whole", blob, None)
    refused("without it no key", index, good, None)
    refused("does not hold the master key", index, good, wrong_key)
    with pytest.raises(Conflict, match="another hub is running"):
        take_in(source.settings, made, key_file=key)
    source.close(1)
    with pytest.raises(Conflict, match="there is a hub already"):
        take_in(source.settings, made, key_file=key)
    target = settings(tmp_path / "refused", "")
    take_in(target, made, key_file=key)
    hub = Hub(target, clock)
    assert doctor.examine(hub, rehash=True) == [], "the export itself was right all the time"
    hub.close(1)


def test_nothing_secret_is_in_the_clear_in_an_export(source: Hub, tmp_path: Path, clock: Clock) -> None:
    export(source.settings, tmp_path / "sealed", clock())
    secrets = [
        (source.settings.data / "master-key").read_bytes(), (source.settings.data / "tls" / "ca.key").read_bytes(),
        b"PRIVATE KEY", b"a-made-up-password",
    ]
    for name, content in files_of(tmp_path / "sealed").items():
        assert not [secret for secret in secrets if secret in content], name
    export(source.settings, tmp_path / "open", clock(), with_master_key=True)
    assert secrets[0] in files_of(tmp_path / "open").values(), "only where that was asked for"
    take_in(settings(tmp_path / "new", ""), tmp_path / "open")
    assert (tmp_path / "new" / "tls" / "ca.key").stat().st_mode & 0o777 == 0o600


def test_what_is_collected_while_it_is_copied_is_in_no_export(
    source: Hub, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collection comes between the rows and the bytes: a second look has neither."""
    rooms = filled(source, clock)
    rooms.push(image("unused"), "9")
    doomed = image("unused")
    copy, struck = writing._Export._copy, []

    def first_collect(self: writing._Export, item: tuple[Digest, int]) -> tuple[Digest, int, str]:
        if not struck:
            struck.append(item)
            source.registry.delete_manifest("staging/acme/web", doomed.digest, "paula")
            clock.advance(days=3)
            for _ in range(3):
                source.registry.sweep(clock())
                clock.advance(days=3)
        return copy(self, item)

    monkeypatch.setattr(writing._Export, "_copy", first_collect)
    monkeypatch.setattr(writing, "in_parallel", lambda items, work: map(work, items))
    contents, _ = export(source.settings, tmp_path / "export", clock(), with_master_key=True)
    layer = Digest.of(doomed.layers[0].blob)
    assert struck and source.blobs.stat(layer) is None and not contents.damaged
    assert layer not in dict(archive.blobs_in(tmp_path / "export"))
    take_in(settings(tmp_path / "new", ""), tmp_path / "export")
    hub = Hub(settings(tmp_path / "new", ""), clock)
    assert [item for item in doctor.examine(hub, rehash=True) if item.invariant != "S3"] == []
    hub.close(1)


def test_a_second_export_copies_what_is_new_and_forgets_what_is_gone(
    source: Hub, tmp_path: Path, clock: Clock
) -> None:
    rooms, made = filled(source, clock), tmp_path / "export"
    export(source.settings, made, clock())
    blobs = made / "blobs"
    kept = {path: path.stat().st_ino for path in blobs.rglob("*") if path.is_file()}
    foreign = FileBlobs(blobs).add(b"what an older export had")
    cut = blobs / "uploads" / "sha256-cut"
    cut.write_bytes(b"half")
    rooms.publish(image("newer"), "5")
    contents, _ = export(source.settings, made, clock())
    now = {path: path.stat().st_ino for path in blobs.rglob("*") if path.is_file()}
    assert kept.items() < now.items(), "no blob was copied twice, and new ones came"
    assert len(now) == contents.blobs
    assert FileBlobs(blobs).stat(foreign) is None and not cut.exists()


def test_bytes_that_are_gone_or_altered_stop_an_export_unless_they_are_left_out(
    source: Hub, tmp_path: Path, clock: Clock
) -> None:
    filled(source, clock)
    gone, altered = Digest.of(image().layers[0].blob), Digest.of(image().config_raw)
    source.blobs.delete(gone)
    path = source.blobs.path(altered)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Conflict, match="are gone|are altered"):
        export(source.settings, tmp_path / "export", clock())
    contents, _ = export(source.settings, tmp_path / "export", clock(), damaged=True, with_master_key=True)
    assert set(contents.damaged) == {str(gone), str(altered)}
    take_in(settings(tmp_path / "new", ""), tmp_path / "export")
    hub = Hub(settings(tmp_path / "new", ""), clock)
    assert {item.subject for item in doctor.examine(hub, rehash=True)} == set(contents.damaged)
    hub.close(1)
