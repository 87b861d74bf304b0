"""From a publisher's layout to a consumer's verification, by the command line alone, at a real hub."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from customhouse.oci.digest import Digest
from customhouse.testing import images
from tests.cli.conftest import Person, foreign_bundle
from tests.hub_process import HubProcess

Maker = Callable[[str, str], Person]


def publisher_of(name: str, hub: HubProcess, admin: Person, signed_in: Maker, *, enrolled: bool = True) -> Person:
    """A publisher `name` with a member of the same name, whose root key is enrolled."""
    person = signed_in(f"{name}-dev", "publisher")
    admin("publisher", "add", name, "--member", f"{name}-dev")
    if enrolled:
        pem = person.home / "root.pem"
        person("image", "root-cert", "--out", pem)
        admin("publisher", "enrol", name, "--root-cert", pem)
    return person


def layout(folder: Path, **changes: object) -> Path:
    return images.write_oci_layout(images.minimal_server_image(style="oci", **changes), folder)


def test_what_a_publisher_attaches_before_signing_is_looked_at(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    acme = publisher_of("attaching", hub, admin, signed_in)
    reference = f"{hub.host}/staging/attaching/web:1"
    pushed = acme("image", "push", layout(tmp_path / "img"), reference, "--json").json
    tests, profile = tmp_path / "tests.yaml", tmp_path / "run.toml"
    tests.write_text("schemaVersion: 2.0.0\nfileExistenceTests: [{name: licence, path: /LICENCE}]\n")
    profile.write_text("version = 1\n")
    done = acme("image", "attach", reference, "--structure-tests", tests, "--profile", profile, "--json").json
    assert {row["subject"] for row in done} == {pushed["digest"]}
    assert "nothing to attach" in acme("image", "attach", reference, code=1).err
    acme("image", "sign", reference)
    shown = acme("submission", "wait", reference, "--timeout", "90", "--json", code=None).json
    assert [item["outcome"] for item in shown["findings"] if item["check"] == "CST-USER"] == ["fail"]


def test_an_image_goes_from_a_layout_to_a_verified_official_reference(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    acme = publisher_of("acme", hub, admin, signed_in)
    pushed = acme("image", "push", "--sign", layout(tmp_path / "img"), f"{hub.host}/staging/acme/web:1", "--json").json
    assert pushed["created"] and pushed["signed"] and pushed["roles"] == ["targets"]
    waited = acme("submission", "wait", f"{hub.host}/staging/acme/web:1", "--timeout", "90", "--json")
    row = waited.json
    assert (row["state"], row["digest"], row["official_reference"]) == (
        "published", pushed["digest"], f"{hub.host}/acme/web:1"
    )
    assert {"id", "reference", "verdict", "grade", "reason", "findings"} <= set(row)
    assert "verify" in waited.err  # progress was told on stderr

    official = f"{hub.host}/acme/web:1"
    first = stranger("verify", official, "--json")
    assert first.json["verdict"] == "certified" and first.json["digest"] == pushed["digest"]
    assert first.json["signers"] == ["customhouse"] and first.json["expires"]
    root = hub.api("GET", "/api/v1/trust/bundle")["roots"][0]["key_id"]
    assert f"first sight of {hub.host}: its root key {root} was taken from the hub itself" in first.err
    assert "first sight" not in stranger("verify", official).err
    stranger("verify", f"{hub.host}/acme/web@{pushed['digest']}")
    assert stranger("verify", f"{hub.host}/acme/web:2", "--json", code=1).json["verdict"] == "not_certified"
    assert stranger("verify", f"{hub.host}/acme/nothing:1", "--json", code=1).json["verdict"] == "not_certified"

    bundle = tmp_path / "bundle.json"
    stranger("trust", "export", "--out", bundle, "--url", hub.url)
    pinned = Person(tmp_path / "pinned")  # knows nothing but the bundle, which brings the CA
    done = pinned("verify", official, "--bundle", bundle)
    assert "first sight" not in done.err and pushed["digest"] in done.out

    foreign = foreign_bundle(bundle, tmp_path / "foreign.json")
    refused = Person(tmp_path / "misled")("verify", official, "--bundle", foreign, "--json", code=1)
    assert "not one that was enrolled" in refused.json["reason"] and refused.json["role"] == "root"

    # checked without a hub, and from the hub, the same image has the same verdict
    assert acme("check", tmp_path / "img", "--engine", "none", "--json").json["verdict"] == "certified"
    assert stranger("check", official, "--engine", "none", "--json").json["digest"] == pushed["digest"]

    listed = acme("trust", "list", f"{hub.host}/staging/acme/web", "--json").json
    assert [tag["tag"] for tag in listed["tags"]] == ["1"]

    admin("submission", "withdraw", row["id"], "--reason", "a test")
    gone = stranger("verify", official, "--json", code=1).json
    assert gone["verdict"] == "not_certified"
    assert acme("submission", "show", row["id"], "--json").json["state"] == "withdrawn"
    assert acme("submission", "wait", row["id"], "--json", code=1).json["state"] == "withdrawn"
    assert "unbroken" in admin("audit", "verify").out
    actions = {entry["action"] for entry in admin("audit", "list", "--limit", "1000", "--json").json["entries"]}
    assert "publisher.add" in actions
    assert admin("doctor", "--json").json == {"sound": True, "breaks": []}


def test_a_docker_archive_and_an_index_are_pushed_and_signed(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    acme = publisher_of("archivist", hub, admin, signed_in)
    tar = images.write_docker_save(images.minimal_server_image(), tmp_path / "save.tar")
    name = f"{hub.host}/staging/archivist/web"
    once = acme("image", "push", "--sign", f"docker-archive:{tar}", f"{name}:1", "--json").json
    again = acme("image", "push", "--sign", tar, f"{name}:2", "--json").json
    assert once["digest"] == again["digest"]
    assert acme("submission", "wait", f"{name}:1", "--timeout", "90", "--json").json["state"] == "published"

    index = images.index([images.minimal_server_image(style="oci")], style="oci")
    images.write_oci_layout(index, tmp_path / "index", tag="x")
    acme("image", "push", f"oci-layout:{tmp_path / 'index'}:x", f"{name}:3")
    acme("submission", "show", f"{name}:3", code=1)  # not signed: not submitted
    signed = acme("image", "sign", f"{name}:3", "--json").json
    assert signed["digest"] == index.digest
    assert acme("submission", "wait", f"{name}:3", "--timeout", "90", "--json").json["state"] == "published"


def test_an_unknown_root_waits_for_a_certifier_who_confirms_it(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    newcomer = publisher_of("newcomer", hub, admin, signed_in, enrolled=False)
    reference = f"{hub.host}/staging/newcomer/web:1"
    newcomer("image", "push", "--sign", layout(tmp_path / "img"), reference)
    waiting = newcomer("submission", "wait", reference, "--timeout", "60", code=1)
    assert "awaiting_enrolment" in waiting.out and "publisher enrol newcomer --from-staging" in waiting.out
    admin("publisher", "enrol", "newcomer", "--from-staging", "staging/newcomer/web")
    assert len(admin("publisher", "show", "newcomer", "--json").json["roots"]) == 1
    newcomer("submission", "wait", reference, "--timeout", "90")


def test_a_refused_image_exits_1_here_and_there_with_the_same_finding(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    careless = publisher_of("careless", hub, admin, signed_in)
    reference = f"{hub.host}/staging/careless/web:1"
    folder = layout(tmp_path / "img", Healthcheck=None)
    local = careless("check", folder, "--engine", "none", "--json", code=1).json
    careless("image", "push", "--sign", folder, reference)
    remote = careless("submission", "wait", reference, "--timeout", "90", "--json", code=1).json

    def failed(document: dict[str, list[dict[str, str]]]) -> set[str]:
        return {item["check"] for item in document["findings"] if item["outcome"] == "fail"}

    assert local["verdict"] == remote["verdict"] != "certified"
    assert "CFG-HEALTH" in failed(local) and failed(local) == failed(remote)


def test_a_machine_pushes_with_a_token_alone_and_one_for_pulling_cannot(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    robot = publisher_of("robotics", hub, admin, signed_in)
    made = robot("token", "create", "ci", "--publisher", "robotics", "--scope", "push", "--scope", "pull",
                 "--expires", "90d", "--json").json
    assert made["username"] == "robotics-ci"
    machine = Person(robot.home, {"XDG_CONFIG_HOME": str(tmp_path / "none"), "CUSTOMHOUSE_CA_FILE": str(hub.ca),
                                  "CUSTOMHOUSE_TOKEN": f"{made['username']}:{made['secret']}"})
    reference = f"{hub.host}/staging/robotics/web:1"
    machine("image", "push", "--sign", layout(tmp_path / "img"), reference)
    reader = robot("token", "create", "reader", "--publisher", "robotics", "--scope", "pull", "--json").json
    refused = machine("image", "push", layout(tmp_path / "img"), f"{hub.host}/staging/robotics/other:1", code=1,
                      CUSTOMHOUSE_TOKEN=f"{reader['username']}:{reader['secret']}")
    assert refused.err.startswith("error: ") and reader["secret"] not in refused.err
    assert {item["username"] for item in robot("token", "list", "--json").json["tokens"]} >= {"robotics-ci"}
    robot("token", "revoke", "robotics-ci")
    machine("submission", "show", reference, code=1)


def test_the_registry_and_the_keys_say_what_is_missing(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    keyless = publisher_of("keyless", hub, admin, signed_in)
    reference = f"{hub.host}/staging/keyless/web:1"
    keyless("image", "push", "--sign", layout(tmp_path / "img"), reference)
    missing = keyless("image", "sign", reference, "--keys", tmp_path / "empty", code=None)
    assert missing.code in (0, 1)  # the same digest again needs no key
    images.write_oci_layout(images.minimal_server_image(style="oci", Labels=None), tmp_path / "second")
    moved = keyless("image", "push", "--sign", tmp_path / "second", reference, "--keys", tmp_path / "empty", code=1)
    assert "no key that may sign" in moved.err and "hint: Bring the key file of" in moved.err
    no_words = keyless("image", "push", "--sign", tmp_path / "second", reference, code=1,
                       CUSTOMHOUSE_REPOSITORY_PASSPHRASE="wrong")
    assert "the passphrase does not open the targets key" in no_words.err
    official = keyless("image", "push", tmp_path / "img", f"{hub.host}/keyless/web:1", code=1)
    assert "staging" in official.err


def test_damage_on_this_machine_is_found_before_anything_is_sent(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    careful = publisher_of("careful", hub, admin, signed_in)
    folder = layout(tmp_path / "img")
    index = json.loads((folder / "index.json").read_text())
    blob = folder / "blobs/sha256" / Digest(index["manifests"][0]["digest"]).hex
    blob.write_bytes(blob.read_bytes() + b" ")
    reference = f"{hub.host}/staging/careful/web:1"
    assert "not the content of its digest" in careful("image", "push", "--sign", folder, reference, code=1).err
    careful("image", "push", "--sign", tmp_path / "nowhere", reference, code=1)
    assert pytest.approx(0) == len(list((tmp_path / "nowhere").glob("*")))
