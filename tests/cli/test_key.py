"""`customhouse key` as a person types it: made, taken in, listed, given out, rotated; and who is asked for what."""

import json
import os
import pty
import select
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM, Person
from tests.cli.test_chain import Maker, layout, publisher_of
from tests.hub_process import HubProcess

UNSET = {"CUSTOMHOUSE_ROOT_PASSPHRASE": "", "CUSTOMHOUSE_REPOSITORY_PASSPHRASE": ""}


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path / "home")


def private(person: Person) -> list[Path]:
    return sorted((person.home / ".docker" / "trust" / "private").glob("*"))


def test_a_key_is_made_with_its_public_file_and_nothing_is_written_over(person: Person, tmp_path: Path) -> None:
    made = person("key", "generate", "alice", "--dir", tmp_path, "--json").json
    public = tmp_path / "alice.pub"
    assert (made["role"], made["type"], made["public"]) == ("alice", "secp256r1", str(public))
    (file,) = private(person)
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == (f"{made['key']}.key", 0o600)
    assert b"role: alice" in file.read_bytes() and b"BEGIN ENCRYPTED PRIVATE KEY" in file.read_bytes()
    assert public.read_text().startswith("-----BEGIN PUBLIC KEY-----\n")
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    refused = person("key", "generate", "alice", "--dir", tmp_path, code=1)
    assert f"there is already a file {public}" in refused.err
    assert private(person) == [file]

    listed = person("key", "list", "--json").json
    assert [(row["key"], row["role"], row["where"]) for row in listed] == [(made["key"], "alice", str(file))]
    assert f"{made['key'][:12]}  alice  file" in person("key", "list").out
    assert person("key", "export", "alice").out == public.read_text()
    assert person("key", "export", made["key"][:8], "--out", tmp_path / "again.pub").out.strip().endswith(made["key"])
    assert (tmp_path / "again.pub").read_bytes() == public.read_bytes()
    person("key", "export", "alice", "--out", tmp_path / "again.pub", code=1)
    assert "a targets key is for one repository" in person("key", "generate", "t", "--role", "targets", code=2).err
    assert "a key in a file is ecdsa-p256" in person("key", "generate", "t", "--type", "ed25519", code=2).err
    assert "cannot be the name of a key" in person("key", "generate", "Bob", "--dir", tmp_path, code=1).err
    assert "is no name of a key but a path" in person("key", "generate", "../bob", "--role", "root", code=2).err
    assert len(private(person)) == 1


@pytest.mark.needs("openssl")
def test_a_key_is_taken_in_and_keeps_its_passphrase_or_gets_one(person: Person, tmp_path: Path) -> None:
    plain, sealed = tmp_path / "plain.pem", tmp_path / "sealed.pem"
    subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-out", plain], check=True)
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", plain, "-out", sealed, "-passout", "pass:sealed words"], check=True
    )
    plain.chmod(0o644)
    refused = person("key", "load", plain, "--name", "bob", code=1)
    assert f"others can read {plain} (mode 0644)" in refused.err and "chmod 600" in refused.err
    for file in (plain, sealed):
        file.chmod(0o600)
    assert "does not say whose key it is: give --name" in person("key", "load", plain, code=2).err
    wrong = person("key", "load", sealed, "--name", "bob", code=1)
    assert f"the passphrase does not open {sealed}" in wrong.err and private(person) == []
    secret = tmp_path / "secret"
    secret.write_text("sealed words\n")
    loaded = person("key", "load", sealed, "--name", "bob", "--passphrase-file", f"bob={secret}", "--json").json
    assert loaded["role"] == "bob"
    assert "is here already" in person("key", "load", plain, "--name", "bob", code=1).err
    # With the passphrase that it had, not with the one of the environment.
    wrong = person("key", "export", "bob", code=1)
    assert f"the passphrase does not open the bob key {loaded['key'][:12]}" in wrong.err
    person("key", "export", "bob", "--passphrase-file", secret)
    person("key", "passwd", "bob", "--passphrase-file", secret, code=1)  # nothing says what the new one is
    new = tmp_path / "new"
    new.write_text("new words\n")
    person("key", "passwd", "bob", "--passphrase-file", secret, "--new-passphrase-file", new)
    person("key", "export", "bob", CUSTOMHOUSE_REPOSITORY_PASSPHRASE="new words")
    (file,) = private(person)
    file.unlink()
    person("key", "load", plain, "--name", "bob")
    person("key", "export", "bob")
    person("key", "load", tmp_path / "nothing", "--name", "x", code=3)
    noise = person("key", "load", secret_file(tmp_path), "--name", "x", code=1)
    assert "the file holds no PEM private key" in noise.err


def secret_file(folder: Path) -> Path:
    file = folder / "noise"
    file.write_text("noise")
    file.chmod(0o600)
    return file


def test_passphrases_come_from_option_environment_and_files_in_this_order(person: Person, tmp_path: Path) -> None:
    person("key", "generate", "root", "--role", "root", "--dir", tmp_path)
    person("key", "generate", "ann", "--dir", tmp_path)
    words = {name: tmp_path / name.replace(" ", "-") for name in ("root words", "repository words", "wrong")}
    for name, file in words.items():
        file.write_text(f"{name}\r\nsecond line\n")
    right_root, right_other, wrong = words.values()

    named = {"ROOT": right_root, "REPOSITORY": right_other}
    files = {f"CUSTOMHOUSE_{kind}_PASSPHRASE_FILE": str(file) for kind, file in named.items()}
    for name in ("root", "ann"):
        person("key", "export", name, **UNSET, **files)
        person("key", "export", name, "--passphrase-file", right_root if name == "root" else right_other, **UNSET)
        person("key", "export", name, "--passphrase-file", wrong, code=1)
        person("key", "export", name, "--passphrase-file", f"{name}={wrong}", code=1)
        person("key", "export", name, "--passphrase-file", f"other={wrong}")
    docker = {"DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE": "root words"}
    person("key", "export", "root", **UNSET, **docker)
    person("key", "export", "root", "--passphrase-file", f"root={right_root}", "--passphrase-file", wrong)
    both = ("--passphrase-file", f"repository={right_other}", "--passphrase-file", wrong)
    person("key", "export", "ann", *both, **UNSET)

    none = person("key", "export", "ann", code=1, **UNSET)
    assert "the ann key" in none.err and "needs a passphrase, and there is no terminal to ask on" in none.err
    assert "CUSTOMHOUSE_REPOSITORY_PASSPHRASE" in none.err and "--passphrase-file" in none.err
    empty = tmp_path / "empty"
    empty.write_text("\n")
    said = person("key", "export", "ann", "--passphrase-file", empty, code=1).err
    assert f"the passphrase file {empty} holds no passphrase in its first line" in said
    said = person("key", "export", "ann", "--passphrase-file", tmp_path / "gone", code=1).err
    assert "cannot be read: No such file" in said


def typed(person: Person, words: list[str], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Run on a terminal of its own; for each prompt that contains the first, type the second."""
    child, terminal = pty.fork()
    if child == 0:
        environment = {"PATH": os.environ["PATH"], "HOME": str(person.home), "TERM": "dumb", **person.environment}
        os.execve(PROGRAM, [str(PROGRAM), *words], environment)
    shown, waiting, end = "", list(answers), time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 4096).decode()
        except OSError:
            break
        if not part:
            break
        shown += part
        if waiting and waiting[0][0] in shown.rpartition("\n")[2]:
            os.write(terminal, waiting.pop(0)[1].encode() + b"\n")
    assert not waiting, shown
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown


def test_on_a_terminal_a_person_is_asked_and_what_is_typed_is_not_shown(person: Person, tmp_path: Path) -> None:
    person.home.mkdir()
    code, shown = typed(person, ["key", "generate", "ann", "--dir", str(tmp_path)], [
        ("Passphrase for the new ann key", "typed words"), ("Repeat", "other words"),
        ("Passphrase for the new ann key", "typed words"), ("Repeat", "typed words"),
    ])  # fmt: skip
    assert code == 0 and "The two entered values do not match" in shown, shown
    (file,) = private(person)
    code, wrong = typed(person, ["key", "export", "ann"], [("Passphrase of the ann key", "wrong words")])
    assert code == 1 and f"the passphrase does not open the ann key {file.stem[:12]}" in wrong
    code, right = typed(person, ["key", "export", "ann"], [("Passphrase of the ann key", "typed words")])
    assert code == 0 and "BEGIN PUBLIC KEY" in right
    code, changed = typed(person, ["key", "passwd", "ann"], [
        ("Passphrase of the ann key", "typed words"), ("New passphrase", "fresh words"), ("Repeat", "fresh words"),
    ])  # fmt: skip
    assert code == 0, changed
    for text in (shown, wrong, right, changed):
        assert not [secret for secret in ("typed words", "other words", "wrong words", "fresh words") if secret in text]
    person("key", "export", "ann", CUSTOMHOUSE_REPOSITORY_PASSPHRASE="fresh words")


def test_nothing_secret_is_in_what_a_failing_command_says(person: Person, tmp_path: Path) -> None:
    person("key", "generate", "ann", "--dir", tmp_path)
    secrets = ("hunter2hunter2", "repository words")
    for extra in ({}, {"CUSTOMHOUSE_DEBUG": "1"}):
        ran = subprocess.run(
            [PROGRAM, "key", "export", "ann", "--json"], capture_output=True, text=True, timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(person.home), "CUSTOMHOUSE_REPOSITORY_PASSPHRASE": secrets[0],
                 **extra},
        )
        assert ran.returncode == 1
        assert not [secret for secret in secrets if secret in ran.stdout + ran.stderr]


def test_keys_of_a_repository_are_rotated_and_the_hub_goes_on_believing(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    person = publisher_of("rotor", hub, admin, signed_in)
    name = f"{hub.host}/staging/rotor/web"
    person("image", "push", "--sign", layout(tmp_path / "one"), f"{name}:1")
    person("image", "push", "--sign", layout(tmp_path / "other"), f"{hub.host}/staging/rotor/other:1")
    done = person("key", "rotate", name, "root", "--json").json
    assert done["root_version"] == 2 and done["elsewhere"] == [f"{hub.host}/staging/rotor/other"]
    said = person("key", "rotate", f"{hub.host}/staging/rotor/other", "root").out
    assert f"is now key {done['new']}" in said and "docker, notary and the hub follow by themselves" in said
    for number, role in enumerate(("targets", "snapshot", "timestamp"), start=3):
        assert person("key", "rotate", name, role, "--json").json["root_version"] == number
    # No new enrolment: the old key signed the new root, and the submission is believed.
    person("image", "push", "--sign", layout(tmp_path / "two", Labels={"a": "b"}), f"{name}:2")
    assert "published" in person("submission", "wait", f"{name}:2", "--timeout", "90").out

    person("key", "generate", "ann", "--dir", tmp_path)
    person("image", "signer", "add", name, "ann", "--key", tmp_path / "ann.pub")
    person("image", "push", "--sign", layout(tmp_path / "three", Labels={"c": "d"}), f"{name}:3")
    rotated = person("key", "rotate", name, "ann", "--json").json
    assert rotated["lost"] == [] and any("back up" in step for step in rotated["next"])
    person("image", "push", "--sign", layout(tmp_path / "four", Labels={"e": "f"}), f"{name}:4")
    for tag in ("3", "4"):
        assert "published" in person("submission", "wait", f"{name}:{tag}", "--timeout", "90").out
    assert "has no signer nobody" in person("key", "rotate", name, "nobody", code=1).err
    listed = {row["key"]: row["signs"] for row in person("key", "list", "--json").json}
    assert {"repository": name, "role": "root"} in listed[done["new"]]
    assert hub.doctor() == []
    assert json.loads(person("trust", "list", name, "--json").out)["versions"]["root"] == 5
