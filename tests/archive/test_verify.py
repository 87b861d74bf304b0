"""`storage verify`: all that is stored is read again, piece by piece; what is wrong is named with its remedy."""

import os
from typing import Any

import pytest
from sqlalchemy import delete, event, insert, update

from customhouse import doctor
from customhouse.errors import Invalid
from customhouse.oci.digest import Digest
from customhouse.registry import integrity
from customhouse.registry.store.tables import blob, content, link
from tests.conftest import Clock
from tests.rooms import Rooms, image


def looked(rooms: Rooms, **more: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"breaks": [], "items": 0, "bytes": 0, "pieces": 0, "orphans": 0}
    after: str | None = ""
    while after is not None:
        piece = doctor.verify_piece(rooms, after, **more)  # type: ignore[arg-type]
        found["breaks"] += piece["breaks"]
        for name in ("items", "bytes", "orphans"):
            found[name] += piece[name]
        found["total"] = piece.get("total", found.get("total"))
        found["pieces"] += 1
        after = piece["next"]
    return found


def alter(rooms: Rooms, digest: Digest) -> None:
    path = rooms.blobs.path(digest)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def test_a_sound_store_is_read_whole_in_any_number_of_pieces(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms.publish(image(), "1")
    whole = looked(rooms)
    assert whole["breaks"] == [] and whole["total"] == {"items": whole["items"], "bytes": whole["bytes"]}
    monkeypatch.setattr(integrity, "PIECE_BYTES", 1)
    small = looked(rooms)
    assert small["pieces"] > whole["pieces"] and small["bytes"] == whole["bytes"]


def test_each_damage_is_named_with_whom_it_concerns_and_a_remedy(rooms: Rooms) -> None:
    rooms.publish(image(), "1")
    built = image()
    layer, config = Digest.of(built.layers[0].blob), Digest.of(built.config_raw)
    alter(rooms, config)
    rooms.blobs.delete(layer)
    other = image("other")
    rooms.push(other, "2")
    with rooms.database.write() as tx:
        tx.execute(update(content).where(content.c.digest == str(other.digest)).values(raw=b"{}"))
        tx.execute(delete(link).where(link.c.repository == "acme/web", link.c.digest == str(layer)))
    found = {item["subject"]: item for item in looked(rooms)["breaks"]}
    assert set(found) == {layer, config, other.digest, f"acme/web@{built.digest}"}
    assert {"acme/web:1", "staging/acme/web:1"} < set(found[layer]["concerns"])
    assert "push staging/acme/web:1 again" in found[layer]["remedy"]
    assert "--discard" in found[config]["remedy"] and not found[config]["discarded"]
    assert found[other.digest]["concerns"] == ["staging/acme/web:2"]


def test_altered_bytes_that_are_discarded_come_back_with_the_next_push(rooms: Rooms) -> None:
    built = image()
    rooms.publish(built, "1")
    config = Digest.of(built.config_raw)
    alter(rooms, config)
    assert [item["discarded"] for item in looked(rooms, discard=True)["breaks"]] == [True]
    assert rooms.blobs.stat(config) is None and [entry.subject for entry in rooms.log("blob.discard")] == [config]
    rooms.blobs.add(built.config_raw)  # as the push does: the hub says that it lacks it
    assert looked(rooms)["breaks"] == []


def test_bytes_that_no_row_names_are_counted_and_break_nothing(rooms: Rooms, clock: Clock) -> None:
    lost = rooms.blobs.add(b"left by a crash")
    path = rooms.blobs.path(lost)
    assert path is not None
    os.utime(path, (0, 0))
    found = looked(rooms)
    assert (found["orphans"], found["breaks"]) == (1, [])


def test_a_place_that_is_none_is_refused(rooms: Rooms) -> None:
    for place in ("blob:x", "nowhere", "manifest:sha256:00", "blob:sha256:" + "0" * 65):
        with pytest.raises(Invalid):
            doctor.verify_piece(rooms, place)  # type: ignore[arg-type]


def test_no_statement_fetches_a_row_for_each_of_many_blobs(rooms: Rooms) -> None:
    """Of many rows at most a few hundred are asked for at once."""
    now = rooms.clock()
    with rooms.database.write() as tx:
        tx.execute(insert(blob), [
            {"digest": str(Digest.of(b"%d" % number)), "size": 1, "stored_at": now, "loose_since": now}
            for number in range(1100)
        ])
    fetched: list[str] = []
    event.listen(
        rooms.database.engine, "before_cursor_execute",
        lambda conn, cursor, statement, *rest: fetched.append(statement),
    )
    found = list(rooms.registry.breaches(rehash=True))
    assert len(found) == 1100, "none of them has bytes"
    assert not [one for one in fetched if "FROM registry_blob" in one and "LIMIT" not in one and "WHERE" not in one]
