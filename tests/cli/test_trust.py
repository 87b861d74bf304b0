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
    mine = person("image", "sign", f"{repository}:1", code=1)
    assert "no key that may sign" in mine.err  # docker's rule: with signers, their roles only
    signed = person("image", "sign", f"{repository}:1", "--keys", machine, "--json",
                    CUSTOMHOUSE_REPOSITORY_PASSPHRASE="root words").json
    assert sorted(signed["roles"]) == ["targets/ci", "targets/releases"]

    person("image", "signer", "remove", repository, "ci")
    assert [tag["role"] for tag in person("trust", "list", repository, "--json").json["tags"]] == ["targets"]
    person("image", "push", "--sign", layout(tmp_path / "two", Labels={"a": "b"}), f"{repository}:2")
