"""A consumer pins, a publisher names signers: what is refused leaves everything as it was."""

import json
from pathlib import Path

from tests.cli.conftest import Person
from tests.cli.test_chain import Maker, layout, publisher_of
from tests.hub_process import HubProcess


def published(name: str, hub: HubProcess, admin: Person, signed_in: Maker, folder: Path) -> Person:
    person = publisher_of(name, hub, admin, signed_in)
    reference = f"{hub.host}/staging/{name}/web:1"
    person("image", "push", "--sign", layout(folder / "img"), reference)
    person("submission", "wait", reference, "--timeout", "90")
    return person


def test_a_root_is_pinned_for_docker_by_the_bundle_and_by_no_other(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    person = published("pinned", hub, admin, signed_in, tmp_path)
    repository, bundle, ca = f"{hub.host}/pinned/web", tmp_path / "bundle.json", tmp_path / "ca.crt"
    stranger("trust", "export", "--url", hub.url, "--out", bundle, "--ca-out", ca)
    assert ca.read_text() == hub.ca.read_text()

    document = json.loads(bundle.read_text())
    person("image", "root-cert", "--out", tmp_path / "foreign.pem")
    document["roots"] = [{"certificate": (tmp_path / "foreign.pem").read_text()}]
    (tmp_path / "foreign.json").write_text(json.dumps(document))
    root = stranger.home / ".docker" / "trust" / "tuf" / repository / "metadata" / "root.json"
    stranger("trust", "pin", repository, "--bundle", tmp_path / "foreign.json", code=1)
    assert not root.exists()
    elsewhere = stranger("trust", "pin", "other.example/pinned/web", "--bundle", bundle, code=1)
    assert f"the bundle is of {hub.host}" in elsewhere.err

    told = stranger("trust", "pin", repository, "--bundle", bundle, "--json").json
    assert told["gun"] == repository and told["root_key_ids"]
    assert json.loads(root.read_bytes())["signed"]["_type"] == "Root"


def test_the_digest_alone_is_printed_for_what_is_certified_and_nothing_for_what_is_not(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    published("digests", hub, admin, signed_in, tmp_path)
    name = f"{hub.host}/digests/web"
    done = stranger("verify", f"{name}:1", "--digest")
    assert done.out.startswith(f"{name}@sha256:") and done.out.count("\n") == 1
    refused = stranger("verify", f"{name}:2", "--digest", code=1)
    assert refused.out == "" and "not certified" in refused.err


def test_signers_are_added_and_removed_and_the_last_one_gives_the_tags_back_to_the_targets_key(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    person = published("signers", hub, admin, signed_in, tmp_path)
    repository = f"{hub.host}/staging/signers/web"
    machine = tmp_path / "machine"
    person("image", "root-cert", "--out", tmp_path / "ci.pub", "--keys", machine)  # any key will do
    unknown = person("image", "signer", "remove", repository, "ci", code=1)
    assert f"{repository} has no signer ci" in unknown.err
    nobody = person("image", "signer", "add", repository, "ci", "--key", tmp_path / "ci.pub", "--keys", machine, code=1)
    assert "no key that may sign" in nobody.err

    person("image", "signer", "add", repository, "ci", "--key", tmp_path / "ci.pub")
    listed = person("image", "signer", "list", repository, "--json").json["signers"]
    assert [(row["signer"], row["paths"], row["threshold"], row["here"]) for row in listed] == [
        ("ci", [""], 1, []), ("releases", [""], 1, [])
    ]
    assert "0 of 1" in person("image", "signer", "list", repository).out
    mine = person("image", "sign", f"{repository}:1", code=1)
    assert "no key that may sign" in mine.err  # docker's rule: with signers, their roles only
    root_words = {"CUSTOMHOUSE_REPOSITORY_PASSPHRASE": "root words"}
    signed = person("image", "sign", f"{repository}:1", "--keys", machine, "--json", **root_words).json
    assert sorted(signed["roles"]) == ["targets/ci", "targets/releases"]

    # In targets the tag stands since before there were signers: docker would find it there, and the command says so.
    still = person("image", "revoke", f"{repository}:1", "--keys", machine, code=1, **root_words)
    assert f"{repository}:1 is signed still in targets, where docker finds it" in still.err
    assert "it is gone from targets/ci, targets/releases" in still.err
    assert person("image", "revoke", f"{repository}:1", "--json").json["roles"] == ["targets"]
    assert person("trust", "list", repository, "--json").json["tags"] == []

    person("image", "sign", f"{repository}:1", "--keys", machine, "--json", **root_words)
    lost = person("image", "signer", "remove", repository, "ci")
    assert f"1 lost its signature; sign it again: customhouse image sign {repository}:1@sha256:" in lost.err
    person("image", "sign", f"{repository}:1")
    assert [tag["role"] for tag in person("trust", "list", repository, "--json").json["tags"]] == ["targets"]
    person("image", "push", "--sign", layout(tmp_path / "two", Labels={"a": "b"}), f"{repository}:2")


def test_several_tags_are_signed_at_once_by_what_they_are_or_by_a_digest(
    hub: HubProcess, admin: Person, signed_in: Maker, tmp_path: Path
) -> None:
    person = publisher_of("several", hub, admin, signed_in)
    name = f"{hub.host}/staging/several/web"
    first = person("image", "push", layout(tmp_path / "one"), f"{name}:1", "--json").json["digest"]
    second = person("image", "push", layout(tmp_path / "two", Labels={"a": "b"}), f"{name}:2", "--json").json["digest"]

    would = person("image", "sign", f"{name}:1", "2", "--dry-run", "--json").json
    assert [(row["reference"], row["digest"], row["roles"]) for row in would] == [
        (f"{name}:1", first, ["targets"]), (f"{name}:2", second, ["targets"])
    ]
    assert "there is no trust data" in person("trust", "list", name, code=1).err
    signed = person("image", "sign", f"{name}:1", "2", "--json").json
    assert [(row["digest"], row["roles"], row["missing"]) for row in signed] == [
        (first, ["targets"], {}), (second, ["targets"], {})
    ]
    assert person("image", "sign", f"{name}@{first}", "1.0", "stable").out.splitlines() == [
        f"{name}:1.0@{first}", f"{name}:stable@{first}"
    ]
    listed = person("trust", "list", name, "--json").json["tags"]
    assert {tag["tag"]: tag["digest"] for tag in listed} == {"1": first, "2": second, "1.0": first, "stable": first}

    gone = person("image", "sign", f"{name}:9", code=1)
    assert f"{name} has no tag 9 in the registry" in gone.err and "Push the image first" in gone.err
    absent = "sha256:" + "0" * 64
    assert f"{name} has no {absent} in the registry" in person("image", "sign", f"{name}:1@{absent}", code=1).err
    assert "does not name a registry and a tag" in person("image", "sign", f"{name}@{first}", code=2).err
    assert "is not a tag" in person("image", "sign", f"{name}:1", "x/y", code=2).err
