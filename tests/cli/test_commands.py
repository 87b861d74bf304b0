"""Commands at a real hub, one noun after the other; and the rules that hold for all of them."""

import json
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from customhouse.cli.program import COMMANDS
from tests.cli.conftest import PROGRAM, Person
from tests.hub_process import PASSWORD, HubProcess, free_port

Maker = Callable[[str, str], Person]
ADVISORY = {
    "id": "TEST-2026-1", "modified": "2026-11-01T00:00:00Z", "published": "2026-10-01T00:00:00Z",
    "summary": "a made-up flaw", "schema_version": "1.6.0",
    "affected": [{"package": {"ecosystem": "PyPI", "name": "made-up"},
                  "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]}]}],
}


def test_help_starts_fast_and_names_every_command(tmp_path: Path) -> None:
    person, times = Person(tmp_path), []
    for _ in range(5):
        began = time.perf_counter()
        shown = person("--help").out
        times.append(time.perf_counter() - began)
    assert all(name in shown for name in COMMANDS) and "Exit codes" in shown
    assert min(times) < 0.4, times  # 0.06 s on an idle machine


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded(name: str, tmp_path: Path) -> None:
    assert "Usage: customhouse" in Person(tmp_path)(name, "--help").out


def test_wrong_usage_is_2_and_told_on_stderr_or_as_json(tmp_path: Path) -> None:
    person = Person(tmp_path)
    assert "error: " in person("submission", "show", code=2).err
    assert person("nonsense", code=2).out == ""
    told = person("user", "add", "x", "--role", "king", "--json", code=2)
    assert told.json["exit_code"] == 2 and "king" in told.json["error"]["message"]
    person("verify", "no-registry:1", code=2)
    person("image", "push", "x", "localhost:1/no-tag", code=2)


def test_without_a_hub_the_hint_says_how_to_name_one(tmp_path: Path) -> None:
    done = Person(tmp_path)("user", "list", code=1)
    assert "no hub is known" in done.err and "hint: Run customhouse login" in done.err


def test_no_answer_is_3_everywhere(tmp_path: Path, hub: HubProcess) -> None:
    person, nobody = Person(tmp_path), f"localhost:{free_port()}"
    for words in (["user", "list", "--url", f"https://{nobody}"],
                  ["submission", "wait", f"{nobody}/staging/acme/web:1", "--timeout", "1"]):
        told = person(*words, "--json", code=3)
        assert "nothing answers at" in told.json["error"]["message"] and told.json["error"]["hint"]
    unknown = person("verify", f"{nobody}/acme/web:1", "--json", code=3).json
    assert unknown["verdict"] == "undetermined" and "nothing answers at" in unknown["reason"] and unknown["hint"]
    untrusted = person("verify", f"{hub.host}/acme/web:1", code=3)
    assert "could not be determined: " in untrusted.out
    assert "could not prove who it is" in untrusted.out and "--ca-file" in untrusted.out


def test_a_login_is_kept_privately_and_ends_at_the_hub_too(hub: HubProcess, admin: Person, signed_in: Maker) -> None:
    person = signed_in("lena", "consumer")
    kept = person.home / ".config/customhouse/config.json"
    assert kept.stat().st_mode & 0o777 == 0o600 and "their-password" not in kept.read_text()
    assert person("whoami", "--json").json["username"] == "lena"
    session = json.loads(kept.read_text())["logins"][0]["token"]
    person("logout", hub.url)
    assert json.loads(kept.read_text())["logins"] == []
    ended = person("whoami", "--url", hub.url, code=1, CUSTOMHOUSE_TOKEN=session, CUSTOMHOUSE_CA_FILE=str(hub.ca))
    assert session not in ended.err


def test_a_wrong_password_is_refused_and_never_repeated(hub: HubProcess, tmp_path: Path) -> None:
    done = Person(tmp_path)(
        "login", hub.url, "-u", "admin", "--password-stdin", "--ca-file", hub.ca, stdin="hunter2hunter2\n", code=1
    )
    assert "hunter2" not in done.err + done.out and done.err.startswith("error: ")


def test_environment_alone_is_enough(hub: HubProcess, admin: Person, tmp_path: Path) -> None:
    session = json.loads((admin.home / ".config/customhouse/config.json").read_text())["logins"][0]["token"]
    person = Person(tmp_path, {"CUSTOMHOUSE_URL": hub.url, "CUSTOMHOUSE_TOKEN": session,
                               "CUSTOMHOUSE_CA_FILE": str(hub.ca)})
    assert person("whoami", "--json").json["role"] == "administrator"


def test_users_come_change_and_go(hub: HubProcess, admin: Person, signed_in: Maker) -> None:
    person = signed_in("uwe", "consumer")
    admin("user", "role", "uwe", "publisher")
    rows = {row["name"]: row for row in admin("user", "list", "--json").json["users"]}
    assert rows["uwe"]["role"] == "publisher"
    assert "uwe" in admin("user", "list").out
    person("user", "add", "more", "--role", "consumer", "--password-stdin", stdin="their-password\n", code=1)
    admin("user", "disable", "uwe")
    person("whoami", code=1)
    admin("user", "enable", "uwe")
    admin("user", "password", "uwe", "--password-stdin", stdin="another-password\n")
    person("login", hub.url, "-u", "uwe", "--password-stdin", stdin="another-password\n")
    taken = admin("user", "add", "uwe", "--role", "consumer", "--password-stdin", stdin="their-password\n", code=1)
    assert "uwe" in taken.err
    admin("user", "remove", "uwe")


def test_publishers_have_members(admin: Person, signed_in: Maker) -> None:
    signed_in("petra", "publisher")
    admin("publisher", "add", "members-inc")
    admin("publisher", "member", "add", "members-inc", "petra")
    assert admin("publisher", "show", "members-inc", "--json").json["members"] == ["petra"]
    admin("publisher", "member", "remove", "members-inc", "petra")
    assert "members -" in admin("publisher", "show", "members-inc").out
    assert "members-inc" in admin("publisher", "list").out
    admin("publisher", "enrol", "members-inc", code=2)


def test_advisories_are_imported_from_files_archives_and_folders(admin: Person, tmp_path: Path) -> None:
    folder = tmp_path / "osv"
    folder.mkdir()
    (folder / "TEST-2026-1.json").write_text(json.dumps(ADVISORY))
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("TEST-2026-2.json", json.dumps(ADVISORY | {"id": "TEST-2026-2"}))
    reports = admin("advisories", "import", folder, "--json").json["imports"]
    assert {report["name"] for report in reports} == {"all.zip", "osv.zip"}
    assert "PyPI" in admin("advisories", "status").out
    (tmp_path / "empty").mkdir()
    assert "there are no advisories in" in admin("advisories", "import", tmp_path / "empty", code=1).err


def test_a_waiver_is_added_listed_and_ended(admin: Person) -> None:
    made = admin("waiver", "add", "staging/acme/web", "--check", "CFG-LABELS", "--reason", "a test", "--expires", "30d",
                 "--json").json
    assert made["id"] in admin("waiver", "list").out
    admin("waiver", "remove", made["id"])
    admin("waiver", "add", "staging/acme/web", "--reason", "x", "--expires", "30d", code=2)
    admin("waiver", "add", "staging/acme/web", "--check", "X", "--reason", "x", "--expires", "soon", code=2)


def test_a_rule_is_added_listed_and_removed(admin: Person, signed_in: Maker) -> None:
    made = admin("rule", "add", "rulers/*", "nightly-*", "--movable", "--json").json
    assert (made["locked"], made["added_by"]) == (False, "admin")
    assert "rulers/*:nightly-* is locked" in admin("rule", "add", "rulers/*", "nightly-*", "--locked").out
    listed = admin("rule", "list").out.splitlines()
    assert listed[0].split() == ["REPOSITORIES", "TAGS", "STATE", "ADDED_BY", "ADDED"]
    assert [line.split()[:4] for line in listed[1:4]] == [
        ["**", "*", "locked", "customhouse"], ["**", "latest", "movable", "customhouse"],
        ["staging/**", "*", "movable", "customhouse"],
    ]
    assert [line.split()[:4] for line in listed if "rulers" in line] == [["rulers/*", "nightly-*", "locked", "admin"]]
    admin("rule", "remove", "rulers/*", "nightly-*")
    assert "no rule was added" in admin("rule", "remove", "rulers/*", "nightly-*", code=1).err
    admin("rule", "add", "rulers/*", "x", code=2)
    assert "is no pattern" in admin("rule", "add", "RULERS", "x", "--locked", code=1).err
    publisher = signed_in("ruth", "publisher")
    assert "only administrators" in publisher("rule", "add", "rulers/*", "x", "--movable", code=1).err
    assert "only certifiers" in publisher("rule", "list", code=1).err


def test_retention_is_set_listed_run_and_removed(admin: Person, signed_in: Maker) -> None:
    words = ("--newest", "3", "--days", "9", "--never", "v*", "--never", "x", "--untagged-days", "7")
    assert "is set" in admin("retention", "set", "staging/keepers/*", *words).out
    listed = admin("retention", "list").out.splitlines()
    assert listed[1].split() == ["staging/keepers/*", "3", "9", "v*,x", "7", "admin"]
    assert admin("retention", "run", "--dry-run").out == admin("retention", "run").out == "nothing goes\n"
    assert "withdraw" in admin("retention", "set", "keepers/*", "--newest", "1", code=1).err
    assert "only administrators" in signed_in("karl", "certifier")("retention", "run", code=1).err
    admin("retention", "remove", "staging/keepers/*")
    admin("retention", "remove", "staging/keepers/*", code=1)


def test_a_quota_is_set_shown_and_kept(admin: Person, signed_in: Maker, tmp_path: Path) -> None:
    member = signed_in("quentin", "publisher")
    admin("publisher", "add", "quota-inc", "--member", "quentin")
    assert "staging holds 0 bytes, no quota" in member("publisher", "show", "quota-inc").out
    assert "the quota is 1.5 kB" in admin("publisher", "quota", "quota-inc", "1.5kB").out
    assert "the quota is 1.5 kB" in member("publisher", "show", "quota-inc").out
    assert "only administrators" in member("publisher", "quota", "quota-inc", "none", code=1).err
    stranger = signed_in("quinta", "publisher")
    stranger("publisher", "quota", "quota-inc", "none", code=1)
    admin("publisher", "quota", "no-such-inc", "1MB", code=1)
    admin("publisher", "quota", "quota-inc", "much", code=2)
    assert "no quota" in admin("publisher", "quota", "quota-inc", "none").out


def test_a_token_is_valid_for_docker_login(hub: HubProcess, admin: Person, signed_in: Maker) -> None:
    person = signed_in("tom", "publisher")
    admin("publisher", "add", "tomcorp", "--member", "tom")
    made = person("token", "create", "ci", "--publisher", "tomcorp", "--scope", "pull", "--json").json
    docker = subprocess.run(
        ["curl", "-sS", "--cacert", str(hub.ca), "-u", f"{made['username']}:{made['secret']}",
         f"{hub.url}/token?service=x&scope=repository:staging/tomcorp/web:pull"],
        capture_output=True, text=True, timeout=20,
    )
    assert "token" in json.loads(docker.stdout)


def test_a_closed_pipe_is_no_error(admin: Person) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(admin.home)}
    done = subprocess.run(
        f"{PROGRAM} audit list --limit 1000 | head -n 1", shell=True, capture_output=True, text=True, env=environment
    )
    assert done.stderr == "" and done.stdout.startswith("SEQ")


def test_a_stopped_hub_is_examined_by_its_data(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "other" / "data").start()
    person = Person(tmp_path)
    running = person("doctor", "--data", hub.data, "--public-url", hub.url, code=1)
    assert "another hub is running" in running.err
    hub.stop()
    assert person("doctor", "--data", hub.data, "--json").json["sound"]  # the URL is in the root certificate
    assert PASSWORD not in running.err
