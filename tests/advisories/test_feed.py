import gzip
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.advisories.feed import FeedBudget, FeedTooLarge, FeedUnreadable, Record, Refused, Tally, read_feed
from customhouse.advisories.kev import KevCatalog
from tests.advisories.records import affected, dump, fixed_in, kev, record, written

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GOOD = record("X-1", fixed_in("npm", "x", "1.0.0"))


def ids(path: Path, budget: FeedBudget | None = None) -> list[str]:
    return [item.advisory.id for item in read_feed(path, budget=budget) if isinstance(item, Record)]


def tally(path: Path) -> Tally:
    counted = Tally()
    for item in read_feed(path):
        if isinstance(item, Refused):
            counted.refuse(item)
        elif isinstance(item, Record):
            counted.add(item, NOW)
    return counted


def test_an_archive_a_folder_and_a_single_record_are_read(tmp_path: Path) -> None:
    written(tmp_path, "osv/npm/all.zip", dump([GOOD, record("X-2", fixed_in("npm", "y", "1.0.0"))]))
    written(tmp_path, "osv/more/X-3.json", record("X-3", fixed_in("npm", "z", "1.0.0")))
    written(tmp_path, "osv/notes.txt", b"no record")
    assert sorted(ids(tmp_path / "osv")) == ["X-1", "X-2", "X-3"]
    assert ids(tmp_path / "osv/npm/all.zip") == ["X-1", "X-2"]
    assert ids(tmp_path / "osv/more/X-3.json") == ["X-3"]
    assert ids(written(tmp_path, "list.json", [GOOD, GOOD])) == ["X-1", "X-1"]


def test_the_kev_list_is_read_plain_and_packed(tmp_path: Path) -> None:
    plain = written(tmp_path, "kev.json", kev("CVE-2026-0001", "CVE-2026-0002"))
    packed = written(tmp_path, "kev.json.gz", gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        (found,) = read_feed(path)
        assert isinstance(found, KevCatalog)
        assert [entry.cve for entry in found.entries] == ["CVE-2026-0001", "CVE-2026-0002"]


def test_a_broken_record_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "all.zip", dump([GOOD, {"id": "X-2"}, record("X-3", {"package": {"name": "x"}})]))
    items = list(read_feed(path))
    assert [type(item) for item in items] == [Record, Refused, Refused]
    assert str(getattr(items[1], "reason", "")) == "has no time of modification"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"PK\x03\x04 broken",
        b"\x1f\x8b\x08 broken",
        b"hello",
        b'{"a":' * 50_000,
        gzip.compress(b"x" * 10, mtime=0)[:-9],
    ],
)
def test_a_file_that_is_no_feed_is_unreadable(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FeedUnreadable) as refused:
        list(read_feed(written(tmp_path, "upload", content), "all.zip"))
    assert refused.value.message.startswith("all.zip ") and refused.value.hint


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FeedUnreadable, match="is not there"):
        list(read_feed(tmp_path / "nothing"))


def test_a_broken_kev_list_is_not_taken_for_a_shorter_one(tmp_path: Path) -> None:
    broken = kev("CVE-2026-0001")
    broken["vulnerabilities"].append({"cveID": "not a CVE"})
    with pytest.raises(FeedUnreadable):
        list(read_feed(written(tmp_path, "kev.json", broken)))


def test_a_broken_file_in_a_folder_does_not_cost_the_others(tmp_path: Path) -> None:
    written(tmp_path, "in/a.zip", b"PK broken")
    written(tmp_path, "in/b.zip", dump([GOOD]))
    written(tmp_path, "in/c.json", b"{")
    assert [type(item) for item in read_feed(tmp_path / "in")] == [Refused, Record, Refused]


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    written(tmp_path, "outside.json", GOOD)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.json").symlink_to(tmp_path / "outside.json")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert not list(read_feed(tmp_path / "in"))


def test_a_member_that_blows_up_is_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json", b" " * (40 << 20))
        archive.writestr("X-1.json", json.dumps(GOOD))
    items = list(read_feed(written(tmp_path, "all.zip", out.getvalue())))
    assert [type(item) for item in items] == [Refused, Record]


def test_an_archive_that_blows_up_in_sum_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "all.zip", dump([{"id": f"X-{i}", "details": "a" * 9000} for i in range(20)]))
    with pytest.raises(FeedTooLarge):
        list(read_feed(path, budget=FeedBudget(total=100_000)))


def test_an_archive_of_too_many_members_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    path = written(tmp_path, "all.zip", dump([record(f"X-{i}") for i in range(30)]))
    with pytest.raises(FeedTooLarge):
        list(read_feed(path, budget=FeedBudget(members=20)))


def test_a_record_over_the_budget_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "all.zip", dump([record("X-1", details="a" * 5000)], zipfile.ZIP_STORED))
    (item,) = read_feed(path, budget=FeedBudget(record=1000))
    assert isinstance(item, Refused)


def test_members_of_archives_inside_are_not_opened(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("inner.zip", dump([GOOD]))
        archive.writestr("../../X-1.json", json.dumps(GOOD))
    assert ids(written(tmp_path, "all.zip", out.getvalue())) == ["X-1"]


def test_a_dump_speaks_for_its_own_ecosystem_only(tmp_path: Path) -> None:
    both = record("X-2", fixed_in("npm", "x", "1.0.0"), fixed_in("PyPI", "x", "1"))
    found = tally(written(tmp_path, "all.zip", dump([GOOD, both])))
    assert set(found.whole()) == {"npm"}
    assert found.ecosystems == {"npm": 2, "PyPI": 1}


def test_a_dump_of_all_ecosystems_speaks_for_all(tmp_path: Path) -> None:
    records = [GOOD, record("X-2", fixed_in("PyPI", "x", "1")), record("X-3", fixed_in("Debian:12", "x", "1"))]
    assert set(tally(written(tmp_path, "all.zip", dump(records))).whole()) == {"npm", "PyPI", "Debian:12"}


def test_a_single_record_does_not_make_an_ecosystem_known(tmp_path: Path) -> None:
    assert not tally(written(tmp_path, "X-1.json", GOOD)).whole()


def test_a_dump_with_many_refused_records_is_no_dump(tmp_path: Path) -> None:
    assert not tally(written(tmp_path, "all.zip", dump([GOOD, {"id": "X-2"}, {"id": "X-3"}]))).whole()


def test_a_record_from_the_future_does_not_make_a_feed_look_alive(tmp_path: Path) -> None:
    old = record("X-1", fixed_in("npm", "x", "1.0.0"), modified="2020-01-01T00:00:00Z")
    ahead = record("X-2", affected("npm", "x", {"introduced": "0"}), modified="2027-07-09T15:54:00Z")
    newest = tally(written(tmp_path, "all.zip", dump([old, ahead]))).whole()["npm"]
    assert newest is not None and newest.year == 2020
