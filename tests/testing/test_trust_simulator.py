"""The simulator that users get: its page is true, what it makes is valid, copies are apart, hooks do one thing."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from customhouse.testing.spoilers import SPOILERS
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust.multipart import UploadParser
from customhouse.trust.names import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from customhouse.trust.verify import TrustedRepository, verify_repository

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GUN = "hub.example.com/acme/web"
PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def judged(sim: TrustSimulator) -> TrustedRepository:
    return verify_repository(sim.files(), sim.roots, gun=sim.gun, enrolled=None, seen={}, now=NOW)


def test_the_examples_of_the_page_run_as_they_stand() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(names["too_trusting"]) > 700


def test_the_page_names_every_public_method_and_every_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    methods = [name for name in vars(TrustSimulator) if not name.startswith("_")]
    said = {name for name in methods if f"`{name}" in page or f".{name}(" in page}
    assert {"edit", "sign_with", "edit_signatures", "edit_bytes", "replace", "mend", "complete", "copy"} <= said
    folder = Path(__file__).parents[2] / "src/customhouse/testing/spoilers"
    tables = {path.stem for path in folder.glob("*.py")} - {"__init__", "spoiler", "harmless"}
    assert {name for name in tables if f"| `{name}` |" in page} == tables
    cases = sum(len(spoiler.roles) for spoiler in SPOILERS)
    assert len(SPOILERS) > 350 and 1250 < cases < 1400


def test_a_simulator_is_valid_at_every_version_and_remembers_the_last() -> None:
    sim = TrustSimulator.complete(GUN, NOW)
    for version in (2, 3, 4):
        found = judged(sim)
        assert set(found.versions.values()) == {version} and not found.skipped
        sim.advance()
    assert [json.loads(files[TIMESTAMP])["signed"]["version"] for files in sim.history] == [1, 2, 3, 4]
    assert len(sim.roots) == 4


def test_the_same_state_asked_for_twice_is_the_same_bytes() -> None:
    sim = TrustSimulator.complete(GUN, NOW)
    assert sim.files() == sim.files()
    assert sim.copy().files() == sim.files()


def test_what_is_done_to_a_copy_is_not_done_to_the_first() -> None:
    sim = TrustSimulator.complete(GUN, NOW)
    before, other = sim.files(), sim.copy()
    other.expire(TARGETS)
    other.sign_tag("9")
    other.delegate("targets/new")
    other.keys[TARGETS].append(sim.keys[ROOT][0])
    other.advance()
    other.rotate_root()
    other.replace(SNAPSHOT, None)
    assert sim.files() == before
    assert judged(sim).tags.keys() == {"1", "r"}


def test_mending_takes_every_hook_back() -> None:
    sim = TrustSimulator.complete(GUN, NOW)
    good = sim.files()
    for role in (TARGETS, SNAPSHOT):
        sim.expire(role)
        sim.swap_key(role)
        sim.forge(role)
        sim.re_encode(role)
        sim.replace(role, b"")
    assert sim.files() != good
    sim.mend(TARGETS, SNAPSHOT)
    assert sim.files() == good


def test_the_body_of_a_publish_is_what_a_server_reads() -> None:
    files = TrustSimulator.complete(GUN, NOW).upload()
    body, kind = multipart(files)
    parser = UploadParser(kind)
    parser.feed(body)
    assert parser.files() == files
