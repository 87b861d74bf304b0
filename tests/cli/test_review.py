"""People decide about submissions by the command line; consumers notice what is rolled back."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from customhouse.testing import images
from tests.cli.conftest import Person
from tests.cli.test_chain import Maker, layout, publisher_of
from tests.hub_process import HubProcess


def test_a_certifier_approves_and_the_author_cannot(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    author, certifier = publisher_of("modest", hub, admin, signed_in), signed_in("carla", "certifier")
    reference = f"{hub.host}/staging/modest/web:1"
    author("image", "push", "--sign", layout(tmp_path / "img", Healthcheck=None), reference)
    resting = author("submission", "wait", reference, "--timeout", "90", code=1)
    assert "awaiting_review" in resting.out and "customhouse submission approve" in resting.out
    assert "CFG-HEALTH" in resting.out
    author("submission", "approve", reference, code=1)
    listed = certifier(
        "submission", "list", "--state", "awaiting_review", "--publisher", "modest", "--json"
    ).json["submissions"]
    assert [row["reference"] for row in listed] == [reference]
    assert reference in certifier("submission", "list", "--publisher", "modest").out
    certifier("submission", "approve", listed[0]["id"], "--reason", "accepted for a test")
    assert author("submission", "wait", reference, "--timeout", "90", "--json").json["approvals"] == ["carla"]


def test_a_rejection_needs_a_reason_which_the_publisher_reads(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    author, certifier = publisher_of("hopeful", hub, admin, signed_in), signed_in("cora", "certifier")
    reference = f"{hub.host}/staging/hopeful/web:1"
    author("image", "push", "--sign", layout(tmp_path / "img", Healthcheck=None), reference)
    author("submission", "wait", reference, "--timeout", "90", code=1)
    certifier("submission", "reject", reference, code=2)
    certifier("submission", "reject", reference, "--reason", "add a health-check")
    shown = author("submission", "wait", reference, "--json", code=1).json
    assert shown["state"] == "rejected" and "add a health-check" in shown["reason"]


def test_a_repository_that_went_back_is_not_certified(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    author = publisher_of("steady", hub, admin, signed_in)
    author("image", "push", "--sign", layout(tmp_path / "img"), f"{hub.host}/staging/steady/web:1")
    author("submission", "wait", f"{hub.host}/staging/steady/web:1", "--timeout", "90")
    stranger("verify", f"{hub.host}/steady/web:1")
    (memory,) = (stranger.home / ".local/state/customhouse/trust").glob("*/seen.json")
    seen = json.loads(memory.read_text())
    seen["versions"]["timestamp"] += 1  # as if a newer one had been seen
    memory.write_text(json.dumps(seen))
    done = stranger("verify", f"{hub.host}/steady/web:1", "--json", code=1).json
    assert done["verdict"] == "not_certified" and "was seen before" in done["reason"]
    memory.write_text("{")
    assert "Delete the folder" in stranger("verify", f"{hub.host}/steady/web:1", code=3).out


def test_another_publisher_can_neither_push_nor_look(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    owner, rival = publisher_of("owner", hub, admin, signed_in), publisher_of("rival", hub, admin, signed_in)
    reference = f"{hub.host}/staging/owner/web:1"
    owner("image", "push", "--sign", layout(tmp_path / "img"), reference)
    rival("image", "push", "--sign", layout(tmp_path / "img"), reference, code=1)
    rival("submission", "show", reference, code=1)
    rival("check", reference, "--engine", "none", code=1)
    rival("trust", "list", f"{hub.host}/staging/owner/web", code=1)


def test_a_tag_is_revoked_in_staging_and_moved_by_a_new_signature(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    mover = publisher_of("mover", hub, admin, signed_in)
    reference = f"{hub.host}/staging/mover/web:1"
    first = mover("image", "push", "--sign", layout(tmp_path / "a"), reference, "--json").json
    second = images.minimal_server_image(style="oci", files={"motd": b"second"})
    moved = mover("image", "push", "--sign", images.write_oci_layout(second, tmp_path / "b"), reference, "--json").json
    assert moved["changed"] and not moved["created"] and moved["digest"] == second.digest != first["digest"]
    mover("image", "revoke", reference)
    assert mover("trust", "list", f"{hub.host}/staging/mover/web", "--json").json["tags"] == []
    assert "is not signed in any role of yours" in mover("image", "revoke", reference, code=1).err


@pytest.mark.needs("docker")
def test_docker_reads_what_we_signed_and_goes_on_with_our_keys(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    author = publisher_of("whale", hub, admin, signed_in)
    name = f"{hub.host}/staging/whale/web"
    made = author("image", "push", "--sign", layout(tmp_path / "img"), f"{name}:1", "--json").json
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(author.home), "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE": "root words",
        "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE": "repository words",
    }

    def docker(*words: str) -> str:
        ran = subprocess.run(["docker", *words], capture_output=True, text=True, env=environment, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    auth = base64.b64encode(b"whale-dev:their-password").decode()
    (author.home / ".docker/config.json").write_text(json.dumps({"auths": {hub.host: {"auth": auth}}}))
    shown = json.loads(docker("trust", "inspect", name))
    assert [(tag["SignedTag"], f"sha256:{tag['Digest']}") for tag in shown[0]["SignedTags"]] == [("1", made["digest"])]
    docker("trust", "key", "generate", "anna", "--dir", str(tmp_path))  # into the directory of our keys
    docker("trust", "signer", "add", "--key", str(tmp_path / "anna.pub"), "anna", name)  # signed with our targets key
    second = images.minimal_server_image(style="oci", files={"motd": b"second"})
    folder = images.write_oci_layout(second, tmp_path / "second")
    signed = author("image", "push", "--sign", folder, f"{name}:2", "--json").json  # and we with docker's new key
    assert set(signed["roles"]) == {"targets/anna", "targets/releases"}
    shown = json.loads(docker("trust", "inspect", name))
    assert {tag["SignedTag"]: tag["Signers"] for tag in shown[0]["SignedTags"]}["2"] == ["anna"]
