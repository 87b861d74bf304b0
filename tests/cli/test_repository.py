"""Repositories are listed, shown and deleted by those who may; an administrator collects what is unused."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from customhouse.oci.digest import Digest
from tests.cli.conftest import Person
from tests.hub_process import HubProcess
from tests.publisher import Publisher, image


def test_a_publisher_sees_and_deletes_their_own_staging_and_nobody_elses(
    hub: HubProcess, admin: Person, signed_in: Callable[[str, str], Person], tmp_path: Path
) -> None:
    owner = Publisher(hub, tmp_path / "owner", "depot", "dora")
    owner.join()
    for tag in ("1", "2"):
        owner.push("web", tag, image(f"depot {tag}"))
    name = "staging/depot/web"
    stranger = signed_in("stan", "publisher")
    assert stranger("repository", "list", "staging/", "--json").json == {"repositories": []}
    assert "holds nothing" in stranger("repository", "show", name, code=1).err
    assert "holds nothing" in stranger("repository", "delete", name, "--yes", code=1).err
    assert admin("repository", "list", "staging/depot/", "--json").json == {"repositories": [name]}
    shown = admin("repository", "show", name, "--json").json
    assert (shown["kind"], shown["tags"], shown["manifests"]) == ("staging", 2, 2)
    assert admin("repository", "delete", name, stdin="n\n", code=1).code == 1
    assert hub.api("GET", f"/api/v1/repositories/{name}", user="dora")["tags"] == 2
    hub.api("DELETE", f"/api/v1/repositories/{name}", user="dora")
    assert admin("repository", "list", "staging/depot/", "--json").json == {"repositories": []}
    (entry,) = [
        item for item in hub.api("GET", "/api/v1/audit?limit=1000")["entries"] if item["action"] == "repository.delete"
    ]
    assert (entry["actor"], entry["subject"], entry["detail"]["tags"]) == ("dora", name, 2)
    assert hub.api("GET", "/api/v1/doctor?rehash=true")["breaks"] == []


def test_what_is_unused_is_told_and_collected(
    hub: HubProcess, admin: Person, signed_in: Callable[[str, str], Person]
) -> None:
    """The graces of a new hub are not over yet, so that nothing goes."""
    nothing = dict.fromkeys(("links", "blobs", "orphans", "uploads", "bytes"), 0)
    told = admin("storage", "gc", "--dry-run", "--json").json
    assert told["dry_run"] is True and {name: told[name] for name in nothing} == nothing
    for more in ((), ("--fast",)):
        done = json.loads(admin("storage", "gc", "--json", *more).out)
        assert {name: done[name] for name in nothing} == nothing
    assert "only administrators" in signed_in("carl", "certifier")("storage", "gc", code=1).err


def test_a_stopped_hub_is_collected_by_its_data_and_a_running_one_is_not(
    hub: HubProcess, tmp_path: Path
) -> None:
    person = Person(tmp_path / "home")
    assert "another hub is running" in person("storage", "gc", "--data", hub.data, code=1).err
    stopped = HubProcess(tmp_path / "data").start()
    assert stopped.stop() == 0
    content = b"what a deletion left"
    digest = Digest.of(content)
    file = stopped.data / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with closing(sqlite3.connect(stopped.data / "hub.db")) as rows, rows:
        row = (str(digest), len(content), *["2026-01-01 00:00:00.000000"] * 2)
        rows.execute("INSERT INTO registry_blob (digest, size, stored_at, loose_since) VALUES (?, ?, ?, ?)", row)
    for more, there in ((("--dry-run",), True), ((), False)):
        done = person("storage", "gc", "--data", stopped.data, "--json", *more).json
        assert (done["blobs"], done["bytes"], done["dry_run"]) == (1, len(content), there)
        assert file.exists() is there
    assert "collected: 0 blobs (0 bytes)" in person("storage", "gc", "--data", stopped.data).out
