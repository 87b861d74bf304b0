"""Following a mirror: only what changed, whatever happens on the way."""

import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from customhouse.accounts.people import HUB, Principal, Role
from customhouse.advisories.mirror import FolderMirror, HttpMirror, open_mirror
from customhouse.advisories.modified import InvalidIndex, due, parse
from customhouse.advisories.service import AdvisoriesService, ImportDenied
from customhouse.advisories.store import AdvisoriesStore
from customhouse.advisories.updates import AlreadyUpdating, Plan, Updates
from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.errors import Invalid, Unavailable
from tests.advisories.records import dump, fixed_in, kev, lib, record, written
from tests.advisories.test_epss import HEAD
from tests.conftest import Clock

DAY = "2026-11-{:02}T00:00:00Z"


class Mirrored(FolderMirror):
    """A mirror whose every reading is counted, and which breaks off after some."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []
        self.breaks_after = 10**9

    def read(self, path: str, most: int) -> bytes | None:
        self.asked.append(path)
        if len(self.asked) > self.breaks_after:
            raise Unavailable("the line is cut")
        return super().read(path, most)


def flaw(number: int, day: int = 1, **more: Any) -> dict[str, Any]:
    return record(f"GHSA-{number:04}", fixed_in("npm", "x", "2"), modified=DAY.format(day), **more)


def publish(folder: Path, *records: dict[str, Any]) -> None:
    ordered = sorted(records, key=lambda each: each["modified"], reverse=True)
    written(folder, "npm/all.zip", dump(records))
    written(folder, "npm/modified_id.csv", "".join(f"{r['modified']},{r['id']}\n" for r in ordered).encode())
    for each in records:
        written(folder, f"npm/{each['id']}.json", each)
    written(folder, "ecosystems.txt", b"npm\nnpm:x\nGIT\n")


class Hub:
    def __init__(self, database: Database, clock: Clock, plan: Plan) -> None:
        store = AdvisoriesStore(database)
        self.service = AdvisoriesService(store, Audit(database), clock)
        self.updates = Updates(self.service, store, clock, plan)

    def flaws(self) -> int:
        return len(self.service.match([lib("npm", "x", "1")]).matches)


@pytest.fixture
def hub(database: Database, clock: Clock, tmp_path: Path) -> Hub:
    return Hub(database, clock, Plan(str(tmp_path)))


def test_the_first_update_brings_the_dump_and_later_ones_only_what_changed(hub: Hub, tmp_path: Path) -> None:
    publish(tmp_path, *(flaw(number) for number in range(30)))
    mirror = Mirrored(tmp_path)
    first = hub.updates.run(HUB, mirror)[0]
    assert (first["records"], first["renewed"], hub.flaws()) == (30, ["npm"], 30)
    gone, changed, new = {3}, flaw(4, 9, withdrawn=DAY.format(9)), flaw(40, 8)
    publish(tmp_path, *(flaw(n) for n in range(30) if n not in gone | {4}), changed, new)
    mirror.asked.clear()
    second = hub.updates.run(HUB, mirror)[0]
    assert [path for path in mirror.asked if "GHSA" in path] == ["npm/GHSA-0040.json", "npm/GHSA-0004.json"]
    assert (second["new"], second["changed"], second["vanished"], second["withdrawn"]) == (1, 1, 1, 1)
    assert hub.flaws() == 29 and second["renewed"] == ["npm"]
    mirror.asked.clear()
    third = hub.updates.run(HUB, mirror)[0]
    assert (third["records"], third["snapshot"]) == (0, second["snapshot"])
    assert mirror.asked == ["ecosystems.txt", "npm/modified_id.csv"]


def test_an_update_that_was_cut_goes_on_where_it_stopped(hub: Hub, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("customhouse.advisories.service.BATCH", 5)
    publish(tmp_path, flaw(0))
    mirror = Mirrored(tmp_path)
    hub.updates.run(HUB, mirror)
    publish(tmp_path, *(flaw(number, 2) for number in range(30)))
    mirror.asked.clear()
    mirror.breaks_after = 20
    assert hub.updates.run(HUB, mirror)[0]["error"] == "the line is cut"
    assert 10 <= hub.flaws() < 30
    brought = hub.flaws()
    mirror.asked.clear()
    mirror.breaks_after = 10**9
    assert hub.updates.run(HUB, mirror)[0]["records"] == 30 - brought
    assert hub.flaws() == 30


def test_a_list_that_lost_much_is_not_believed_and_renews_nothing(hub: Hub, tmp_path: Path, clock: Clock) -> None:
    publish(tmp_path, *(flaw(number) for number in range(300)))
    hub.updates.run(HUB)
    clock.advance(days=8)
    publish(tmp_path, *(flaw(number) for number in range(100)))
    assert hub.updates.run(HUB)[0]["doubted"] == ["npm"]
    assert hub.flaws() == 300 and hub.service.match([lib("npm", "x", "1")]).lacking()


def test_an_update_renews_what_nothing_changed_in(hub: Hub, tmp_path: Path, clock: Clock) -> None:
    publish(tmp_path, flaw(1))
    hub.updates.run(HUB)
    clock.advance(days=8)
    assert hub.service.match([lib("npm", "x", "1")]).lacking()
    hub.updates.run(HUB)
    assert not hub.service.match([lib("npm", "x", "1")]).lacking()


def test_lists_of_exploited_flaws_are_followed_too(hub: Hub, tmp_path: Path) -> None:
    publish(tmp_path, flaw(1))
    written(tmp_path, "known_exploited_vulnerabilities.json", kev("CVE-2026-0001"))
    written(tmp_path, "epss/epss_scores-current.csv.gz", HEAD + b"CVE-2026-0001,0.5,0.9\n")
    assert [each.get("kev") or each.get("epss") for each in hub.updates.run(HUB)[1:]] == [
        "2026.11.20", "v2026.06.15 of 2026-09-29",
    ]  # fmt: skip
    status = hub.service.status()
    assert status["kev"]["coverage"] == "covered" and status["epss"]["records"] == 1


def test_one_update_runs_at_a_time_and_a_dead_ones_lease_ends(hub: Hub, tmp_path: Path, clock: Clock) -> None:
    publish(tmp_path, flaw(1))
    with hub.updates._store.write() as tx:
        hub.updates._store.following.begin(tx, "elsewhere", clock(), timedelta(minutes=10))
    with pytest.raises(AlreadyUpdating):
        hub.updates.run(HUB)
    clock.advance(minutes=11)
    assert hub.updates.run(HUB)[0]["records"] == 1


def test_updates_run_by_the_clock(hub: Hub, tmp_path: Path, clock: Clock) -> None:
    def turn() -> int:
        hub.updates.start_due()
        if hub.updates._thread:
            hub.updates._thread.join(20)
        return hub.flaws()

    publish(tmp_path, flaw(1))
    assert turn() == 1
    publish(tmp_path, flaw(1), flaw(2))
    assert turn() == 1, "it is not due"
    clock.advance(hours=7)
    assert turn() == 2
    hub.updates.close(1)
    clock.advance(hours=7)
    publish(tmp_path, flaw(3))
    assert turn() == 2, "the hub is stopping"


def test_who_may_not_import_may_not_update_and_a_mirror_is_needed(database: Database, clock: Clock) -> None:
    hub = Hub(database, clock, Plan())
    with pytest.raises(ImportDenied):
        hub.updates.run(Principal("paul", "user", Role.PUBLISHER, owner="paul"))
    with pytest.raises(Invalid):
        hub.updates.run(HUB)
    with pytest.raises(Invalid):
        open_mirror("/nonexistent")


class Server(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with ranges; the first whole answer to a dump is cut in its middle."""

    protocol_version = "HTTP/1.1"
    cut: list[str] = []

    def log_message(self, *given: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        raw, start = path.read_bytes(), 0
        if (wanted := self.headers.get("range")) and self.headers.get("if-range") == '"1"':
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("etag", '"1"')
        if start:
            self.send_header("content-range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
        self.send_header("content-length", str(len(raw) - start))
        self.end_headers()
        if path.suffix == ".zip" and self.path not in self.cut:
            self.cut.append(self.path)
            self.wfile.write(raw[: len(raw) // 2])
            self.close_connection = True
            return
        self.cut.append(f"{self.path} from {start}")
        self.wfile.write(raw[start:])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Server.cut = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(tmp_path / "web"))) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_address[1]}/osv"
        web.shutdown()
        thread.join(5)


def test_a_mirror_on_the_web_is_followed_and_a_broken_fetch_gone_on_with(
    server: str, database: Database, clock: Clock, tmp_path: Path
) -> None:
    publish(tmp_path / "web" / "osv", *(flaw(number) for number in range(20)))
    size = (tmp_path / "web/osv/npm/all.zip").stat().st_size
    mirror = open_mirror(server)
    assert isinstance(mirror, HttpMirror)
    hub = Hub(database, clock, Plan(server, ("npm",)))
    assert hub.updates.run(HUB, mirror)[0]["records"] == 20
    assert f"/osv/npm/all.zip from {size // 2}" in Server.cut
    assert hub.updates.run(HUB)[0]["records"] == 0


@pytest.mark.parametrize("path", ["../etc/passwd", "npm/../../x", "/etc/passwd", "npm//x", ".hidden", "npm/%2e%2e"])
def test_no_name_leads_out_of_a_mirror(path: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        FolderMirror(tmp_path / "osv").read(path, 100)


def test_the_list_of_changes_is_read_whole_or_not_at_all() -> None:
    read = parse(b"2026-11-02T00:00:00Z,npm/B-01\r\n2026-11-01T00:00:00Z,A-01\n")
    assert list(read.modified) == ["B-01", "A-01"] and read.newest == datetime(2026, 11, 2, tzinfo=UTC)
    held = {"A-01": datetime(2026, 10, 1, tzinfo=UTC)}
    assert due(read, held, None) == ["A-01", "B-01"]
    assert due(read, held, read.newest) == ["B-01"], "what was seen is not fetched for ever"
    for raw in (b"", b"x", b"2026-11-02T00:00:00Z,../A", b"soon,A-01\n", b"\xff", b"2026-11-02T00:00:00Z\n"):
        with pytest.raises(InvalidIndex):
            parse(raw)
