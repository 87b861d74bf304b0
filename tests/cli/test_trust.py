"""A consumer pins, a publisher names signers: what is refused leaves everything as it was."""

import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.keys import PublicKey
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.transport import Tls, Transport
from customhouse.trust.client import Anchor, TrustClient
from customhouse.trust.names import ROOT, TARGETS, Gun, RoleName
from tests.cli.conftest import Person, foreign_bundle
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
    published("pinned", hub, admin, signed_in, tmp_path)
    repository, bundle, ca = f"{hub.host}/pinned/web", tmp_path / "bundle.json", tmp_path / "ca.crt"
    stranger("trust", "export", "--url", hub.url, "--out", bundle, "--ca-out", ca)
    assert ca.read_text() == hub.ca.read_text()
    assert repository in [each["gun"] for each in json.loads(bundle.read_text())["repositories"]]

    root = pinned_root(stranger, repository)
    foreign = foreign_bundle(bundle, tmp_path / "foreign.json")
    for words in ((repository,), ()):
        refused = stranger("trust", "pin", *words, "--bundle", foreign, code=1)
        assert "is not one that was enrolled" in refused.out + refused.err
    assert not root.exists()
    elsewhere = stranger("trust", "pin", "other.example/pinned/web", "--bundle", bundle, code=1)
    assert f"the bundle is of {hub.host}" in elsewhere.err

    [told] = stranger("trust", "pin", repository, "--bundle", bundle, "--json").json["repositories"]
    assert (told["gun"], told["result"], told["version"]) == (repository, "pinned", 1) and told["root_key_ids"]
    assert json.loads(root.read_bytes())["signed"]["_type"] == "Root"
    assert "is pinned already" in stranger("trust", "pin", repository, "--bundle", bundle).out


def test_all_repositories_of_a_bundle_are_pinned_without_a_network(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    published("offline", hub, admin, signed_in, tmp_path)
    bundle, only = tmp_path / "bundle.json", tmp_path / "only.json"
    stranger("trust", "export", "--url", hub.url, "--out", bundle)
    stranger("trust", "export", "--url", hub.url, "--out", only, "--repository", "offline/web")
    assert [each["gun"] for each in json.loads(only.read_text())["repositories"]] == [f"{hub.host}/offline/web"]
    absent = stranger("trust", "export", "--url", hub.url, "--repository", "offline/none", code=1)
    assert "there is no official repository offline/none" in absent.err
    staging = stranger("trust", "export", "--url", hub.url, "--repository", "staging/offline/web", code=1)
    assert "there is no official repository staging/offline/web" in staging.err

    away = Person(tmp_path / "away")  # knows no CA, so nothing is asked of the hub
    told = away("trust", "pin", "--bundle", bundle, "--json").json["repositories"]
    assert {each["result"] for each in told} == {"pinned"}
    assert all(pinned_root(away, each["gun"]).exists() for each in told)
    bare = json.loads(bundle.read_text()) | {"repositories": []}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    assert "the bundle holds no repository" in away("trust", "pin", "--bundle", tmp_path / "bare.json", code=1).err


def test_a_pin_of_another_key_or_a_newer_one_is_told_and_left_alone(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    published("swapped", hub, admin, signed_in, tmp_path)
    gun, bundle = f"{hub.host}/swapped/web", tmp_path / "bundle.json"
    stranger("trust", "export", "--url", hub.url, "--out", bundle, "--repository", "swapped/web")
    root = pinned_root(stranger, gun)
    sim = TrustSimulator(gun, datetime.now(UTC))
    root.parent.mkdir(parents=True)
    root.write_bytes(sim.build_root())
    other = sim.keys[ROOT][0].public.canonical_id
    [told] = stranger("trust", "pin", "--bundle", bundle, "--json", code=1).json["repositories"]
    assert (told["result"], told["reason"]) == ("refused", f"the root that is pinned is of another key, {other}")
    for _ in range(2):
        sim.rotate_root()
    root.write_bytes(sim.build_root())
    [told] = stranger("trust", "pin", "--bundle", bundle, "--json", code=1).json["repositories"]
    assert told["reason"] == "root version 3 is pinned, and the bundle has version 1"
    root.write_bytes(b"damaged")
    assert "what is pinned cannot be read" in stranger("trust", "pin", "--bundle", bundle, code=1).out
    assert root.read_bytes() == b"damaged"
    assert " is pinned to " in stranger("trust", "pin", "--bundle", bundle, "--replace").out
    assert json.loads(root.read_bytes())["signed"]["version"] == 1


@pytest.mark.needs("notary", "docker")
def test_the_folder_that_is_handed_out_is_believed_by_notary_and_docker_and_another_root_is_not(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    published("handed", hub, admin, signed_in, tmp_path)
    gun, folder = f"{hub.host}/handed/web", tmp_path / "folder"
    told = stranger("trust", "export", "--url", hub.url, "--directory", folder, "--metadata", "--json").json
    assert gun in told["repositories"] and told["metadata_until"]
    for name in told["files"]:
        assert (folder / name).exists()
        assert name == "README.txt" or name in (folder / "README.txt").read_text(), name
    again = stranger("trust", "export", "--url", hub.url, "--directory", folder, code=1)
    assert "exists and is not an empty folder" in again.err

    assert "1 " in notary(folder, tmp_path / "n1", gun)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    configuration = json.loads((other / "notary/config.json").read_text())
    configuration["trust_pinning"]["certs"] = {f"{hub.host}/*": ["0" * 64]}
    (other / "notary/config.json").write_text(json.dumps(configuration))
    assert "could not validate the path to a trusted root" in notary(other, tmp_path / "n2", gun, fails=True)

    home = tmp_path / "docker"
    shutil.copytree(folder / "docker/trust", home / "trust")
    place = home / "tls" / hub.host
    place.mkdir(parents=True)
    shutil.copy(folder / "ca.crt", place / "ca.crt")
    shown = json.loads(docker(home, "trust", "inspect", gun))[0]
    [root] = json.loads((folder / "bundle.json").read_text())["roots"]
    keys = {entry["Name"]: [key["ID"] for key in entry["Keys"]] for entry in shown["AdministrativeKeys"]}
    assert keys["Root"] == [root["certificate_id"]]  # the name that the README tells people to compare
    seeded = home / "trust/tuf" / gun / "metadata"
    shutil.rmtree(seeded)
    seeded.mkdir(parents=True)
    other_root = TrustSimulator(gun, datetime.now(UTC)).build_root()  # to this machine the hub's root looks swapped
    (seeded / "root.json").write_bytes(other_root)
    assert "no signatures or cannot access" in docker(home, "trust", "inspect", gun, fails=True)
    assert (seeded / "root.json").read_bytes() == other_root


def test_admission_controllers_are_given_the_roots_public_key_and_the_ca(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    published("admitted", hub, admin, signed_in, tmp_path)
    folder = tmp_path / "folder"
    stranger("trust", "export", "--url", hub.url, "--directory", folder, "--repository", "admitted/web")
    public = PublicKey.of_pem((folder / "root.pub.pem").read_bytes())
    [root] = json.loads((folder / "bundle.json").read_text())["roots"]
    assert public.key_id == root["key_id"]
    assert PublicKey.of_certificate((folder / "root.crt").read_bytes()).key_id == root["certificate_id"]
    connaisseur = (folder / "admission/connaisseur.yaml").read_text()
    pems = re.findall(r" *-----BEGIN .*?-----END [A-Z ]+-----", connaisseur, re.DOTALL)
    plain = ["".join(f"{line.strip()}\n" for line in pem.splitlines()) for pem in pems]
    assert plain == [(folder / "root.pub.pem").read_text(), (folder / "ca.crt").read_text()]
    portieris = (folder / "admission/portieris.yaml").read_text()
    assert f'trustServer: "{hub.url}"' in portieris and "- name: hub-signer" in portieris
    signer = PublicKey.of_pem((folder / "signer.pub.pem").read_bytes())
    shown = json.loads((folder / "bundle.json").read_text())["repositories"][0]
    assert shown["gun"] == f"{hub.host}/admitted/web"
    transport = Transport(hub.url, tls=Tls(ca_file=hub.ca))
    found = TrustClient(transport).fetch(Gun.parse(shown["gun"]), Anchor(), datetime.now(UTC))
    entry = found.targets[TARGETS].body.delegation(RoleName.parse("targets/customhouse"))
    assert entry is not None and entry.keys.key_ids == (signer.key_id,)  # whom Portieris asks for


def test_a_machine_without_a_network_verifies_by_the_bundle_and_its_own_copy(
    hub: HubProcess, admin: Person, signed_in: Maker, stranger: Person, tmp_path: Path
) -> None:
    published("airgap", hub, admin, signed_in, tmp_path)
    reference, bundle = f"{hub.host}/airgap/web:1", tmp_path / "bundle.json"
    done = stranger("trust", "export", "--url", hub.url, "--out", bundle, "--repository", "airgap/web", "--metadata")
    assert "verifies offline until " in done.out
    away = Person(tmp_path / "away")
    bare = away("verify", reference, "--offline", "--json", code=3).json
    assert bare["reason"] == f"nothing is known of {hub.host}/airgap/web on this machine"
    copy = f"oci-layout:{tmp_path / 'img'}"
    told = away("verify", reference, "--offline", "--bundle", bundle, "--image", copy, "--json").json
    assert (told["verdict"], told["root"]) == ("certified", "bundle")
    assert told["checked"] == {"metadata": "bundle", "registry": False, "content": True}
    assert "all hashed" in away("verify", reference, "--offline", "--image", copy).out
    assert "not signed by the hub" in away("verify", f"{reference}0", "--offline", code=1).out
    online = stranger("verify", reference, "--image", copy, "--json").json
    assert online["checked"] == {"metadata": "hub", "registry": True, "content": True}
    assert stranger("verify", reference, "--offline", "--json").json["checked"]["metadata"] == "kept"


def pinned_root(person: Person, gun: str) -> Path:
    return person.home / ".docker" / "trust" / "tuf" / gun / "metadata" / "root.json"


def notary(folder: Path, trust: Path, gun: str, *, fails: bool = False) -> str:
    words = ["notary", "-c", str(folder / "notary/config.json"), "-d", str(trust), "list", gun]
    return ran(words, {"HOME": str(trust)}, fails)


def docker(home: Path, *words: str, fails: bool = False) -> str:
    return ran(["docker", *words], {"HOME": str(home), "DOCKER_CONFIG": str(home)}, fails)


def ran(words: list[str], settings: dict[str, str], fails: bool) -> str:
    environment = {"PATH": os.environ["PATH"], **settings}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=environment)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


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

    would = person("image", "sign", f"{name}:1", "2", "--dry-run")
    assert f"there is no trust data for {name} yet: the first signature makes it" in would.err
    assert "there is no trust data" in person("trust", "list", name, code=1).err
    signed = person("image", "sign", f"{name}:1", "2", "--json").json
    assert [(row["digest"], row["roles"], row["missing"]) for row in signed] == [
        (first, ["targets"], {}), (second, ["targets"], {})
    ]
    would = person("image", "sign", f"{name}:1", "2", "--dry-run", "--json").json
    assert [(row["reference"], row["digest"], row["roles"]) for row in would] == [
        (f"{name}:1", first, ["targets"]), (f"{name}:2", second, ["targets"])
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
