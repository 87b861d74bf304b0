"""Debian's notary client and docker's trust commands against this server, over TLS."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customhouse.db import Database
from customhouse.keyfiles import KeyFile, read_key_file, write_key_file
from customhouse.keys import PrivateKey, PublicKey
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust import signers
from customhouse.trust.metadata import parse_file, parse_root
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.update import VersionConflict
from tests.trust.serving import Served, serving
from tests.trust.signing_people import ONE, TWO, Signatory

PASSPHRASE = "correct horse battery"


class Client:
    """A user with a home of his own."""

    def __init__(self, served: Served, home: Path) -> None:
        home.mkdir(exist_ok=True)
        self.served = served
        self.home = home
        self.gun = f"{served.host}/staging/acme/app"

    def run(self, *words: str, fails: bool = False) -> str:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "DOCKER_CONFIG": str(self.home / "docker"),
            "NOTARY_AUTH": "YWxpY2U6c2VjcmV0", "DOCKER_CONTENT_TRUST": "1",
            **{f"NOTARY_{role}_PASSPHRASE": PASSPHRASE for role in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")},
            **{f"DOCKER_CONTENT_TRUST_{kind}_PASSPHRASE": PASSPHRASE for kind in ("ROOT", "REPOSITORY")},
        }  # fmt: skip
        done = subprocess.run(
            words, env=environment, cwd=self.home, input="yes\n", capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said
        return said

    def notary(self, *words: str, fails: bool = False, folder: str = "trust") -> str:
        base = ["notary", "-s", f"https://{self.served.host}", "--tlscacert", str(self.served.ca)]
        return self.run(*base, "-d", str(self.home / folder), *words, fails=fails)

    def sign(self, tag: str, fails: bool = False) -> None:
        """Into targets/releases and the person's own role, with the key that docker made."""
        roles = ["--roles", "targets/releases", "--roles", f"targets/{self.home.name}"]
        self.notary("add", "-p", self.gun, tag, self.target(tag, tag), *roles, folder="docker/trust", fails=fails)

    def signed_tags(self) -> dict[str, list[str]]:
        """As docker names them, with their signers."""
        shown = json.loads(self.run("docker", "trust", "inspect", self.gun))[0]
        return {each["SignedTag"]: each["Signers"] for each in shown["SignedTags"]}

    def target(self, name: str, content: str) -> str:
        file = self.home / f"{name}.content"
        file.write_text(content)
        return str(file)


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    with serving(database, tmp_path) as running:
        yield running


@pytest.fixture
def alice(served: Served, tmp_path: Path) -> Client:
    return Client(served, tmp_path / "alice")


@pytest.fixture
def consumer(served: Served, tmp_path: Path) -> Client:
    return Client(served, tmp_path / "consumer")


@pytest.mark.needs("notary")
def test_notary_publishes_rotates_every_key_and_a_consumer_follows(alice: Client, consumer: Client) -> None:
    gun = alice.gun
    service = alice.served.service
    alice.notary("init", "-p", gun)
    alice.notary("add", "-p", gun, "1", alice.target("one", "first"))
    assert "1 " in consumer.notary("list", gun)
    first = service.root_versions(Gun(gun))

    alice.notary("key", "rotate", gun, "snapshot", "-r")
    alice.notary("key", "rotate", gun, "targets")
    alice.notary("key", "rotate", gun, "timestamp", "-r")
    alice.notary("key", "rotate", gun, "root")
    alice.notary("add", "-p", gun, "2", alice.target("two", "second"))
    roots = service.root_versions(Gun(gun))
    assert len(first) == 1
    assert [parse_file(ROOT, raw).version for raw in roots] == [1, 2, 3, 4, 5]

    listed = consumer.notary("list", gun)
    assert "1 " in listed
    assert "2 " in listed
    consumer.notary("verify", gun, "2", "-i", alice.target("two", "second"), "-o", "/dev/null")
    assert alice.served.listener.accepted_updates[-1].changed == ("2",)


@pytest.mark.needs("notary")
def test_notary_delegates_removes_and_delegates_again_with_another_key(alice: Client, consumer: Client) -> None:
    gun = alice.gun
    service = alice.served.service
    alice.notary("init", "-p", gun)
    alice.notary("key", "rotate", gun, "snapshot", "-r")
    for turn in (1, 2):
        key = PrivateKey.generate()
        public = alice.home / f"bob{turn}.pem"
        public.write_bytes(_pem(key))
        folder = alice.home / "trust" / "private"
        file = KeyFile(key, "delegation")
        (folder / file.filename).write_bytes(write_key_file(file, PASSPHRASE.encode()))
        (folder / file.filename).chmod(0o600)
        alice.notary("delegation", "add", "-p", gun, "targets/releases", str(public), "--all-paths")
        alice.notary(
            "add", "-p", gun, f"v{turn}", alice.target("x", f"content {turn}"), "--roles", "targets/releases"
        )
        files = service.repository_files(Gun(gun))
        assert parse_file(RELEASES, files[RELEASES]).version == 1
        assert f"v{turn}" in Client(alice.served, consumer.home / str(turn)).notary("list", gun)
        alice.notary("delegation", "remove", "-p", "-y", gun, "targets/releases")
        assert RELEASES not in service.repository_files(Gun(gun))
    assert alice.served.listener.accepted_updates[-1].removed == ("v2",)


@pytest.mark.needs("notary", "docker")
def test_when_the_signer_who_signed_last_is_removed_the_other_signs_on(
    alice: Client, consumer: Client, tmp_path: Path
) -> None:
    """The file that bob signed ends: alice's client begins at version 1, and one who has it cached goes along."""
    gun, service = alice.gun, alice.served.service
    bob = Client(alice.served, tmp_path / "bob")
    ids = {}
    for person in (alice, bob):
        person.run("docker", "trust", "key", "generate", person.home.name)
        public = person.home / f"{person.home.name}.pub"
        ids[person.home.name] = PublicKey.of_pem(public.read_bytes()).canonical_id
        alice.run("docker", "trust", "signer", "add", "--key", str(public), person.home.name, gun)
    for turn, person in enumerate((alice, bob)):
        person.sign(f"v{turn}")
    assert consumer.signed_tags() == {"v0": ["alice"], "v1": ["bob"]}
    old = parse_file(RELEASES, service.repository_files(Gun(gun))[RELEASES])
    assert old.version == 2

    for role in (RELEASES, "targets/bob"):
        alice.notary("delegation", "remove", "-p", "-y", gun, role, ids["bob"], folder="docker/trust")
    assert RELEASES not in service.repository_files(Gun(gun))
    assert alice.served.listener.accepted_updates[-2].removed == ("v0", "v1")
    bob.sign("stolen", fails=True)
    alice.sign("v2")
    assert parse_file(RELEASES, service.repository_files(Gun(gun))[RELEASES]).version == 1
    assert Client(alice.served, tmp_path / "new").signed_tags() == {"v2": ["alice"]}
    assert consumer.signed_tags() == {"v2": ["alice"]}


@pytest.mark.needs("notary")
def test_a_refusal_reaches_the_user_as_a_sentence(alice: Client) -> None:
    foreign = f"{alice.served.host}/acme/app"
    said = alice.notary("init", "-p", foreign, fails=True)
    assert "push to staging/acme/app" in said
    other = alice.notary("init", "-p", "elsewhere.example/acme/app", fails=True)
    assert f"this hub signs for {alice.served.host} only" in other
    alice.served.listener.refusal = VersionConflict(alice.gun, TARGETS, 2, 3)
    assert "run the same command again" in alice.notary("init", "-p", alice.gun, fails=True)


@pytest.mark.needs("notary")
def test_the_snapshot_key_goes_to_the_server_back_to_notary_and_to_the_server_again(
    alice: Client, consumer: Client
) -> None:
    gun, service = alice.gun, alice.served.service
    alice.notary("init", "-p", gun)
    for turn, words in enumerate((("-r",), (), ("-r",))):
        alice.notary("key", "rotate", gun, "snapshot", *words)
        alice.notary("add", "-p", gun, f"v{turn}", alice.target("x", f"{turn}"))
        assert f"v{turn} " in consumer.notary("list", gun)
        root = parse_root(service.repository_files(Gun(gun))[ROOT]).body
        held = service.key(Gun(gun), SNAPSHOT, "alice").key_id
        assert (held in root.roles[SNAPSHOT].key_ids) == bool(words)
        assert root.version == turn + 2


@pytest.mark.needs("notary")
def test_what_notary_holds_back_survives_a_publish_and_a_deletion_removes_everything(alice: Client) -> None:
    gun = alice.gun
    alice.notary("init", "-p", gun)
    alice.notary("key", "rotate", gun, "snapshot", "-r")
    files = alice.served.service.repository_files(Gun(gun))
    assert set(files) == {ROOT, TARGETS, SNAPSHOT, TIMESTAMP}
    alice.notary("add", gun, "late", alice.target("late", "late"))
    alice.notary("add", "-p", gun, "1", alice.target("one", "one"))
    assert "late" in alice.notary("list", gun)
    alice.notary("delete", gun, "--remote")
    assert alice.served.service.repository_files(Gun(gun)) == {}


@pytest.mark.needs("docker")
def test_docker_initialises_signs_with_a_delegation_and_inspects(alice: Client) -> None:
    gun = alice.gun
    said = alice.run("docker", "trust", "key", "generate", "bob")
    assert "Successfully generated" in said
    alice.run("docker", "trust", "signer", "add", "--key", "bob.pub", "bob", gun)
    bob = PublicKey.of_pem((alice.home / "bob.pub").read_bytes())
    shown = json.loads(alice.run("docker", "trust", "inspect", gun))[0]
    assert shown["Signers"] == [{"Name": "bob", "Keys": [{"ID": bob.canonical_id}]}]
    private = next((alice.home / "docker/trust/private").glob(f"{bob.canonical_id}.key"))
    assert read_key_file(private.read_bytes(), PASSPHRASE.encode()).key.public == bob
    files = alice.served.service.repository_files(Gun(gun))
    assert {"root", "targets", "snapshot", "timestamp"} <= set(files)


@pytest.mark.needs("notary", "docker")
def test_go_clients_read_what_two_signed_together_and_cannot_change_it_alone(alice: Client, consumer: Client) -> None:
    """Thresholds above 1 are ours: docker and notary verify them, and sign only where they have keys enough."""
    owner, ann, ben = (Signatory(alice.served, alice.home / name) for name in ("owner", "ann", "ben"))
    gun = owner.gun
    owner.publisher.sign_tag(gun, "1", ONE, 3)
    signers.add(owner.publisher, gun, "ann", [ann.key("ann")])
    signers.add(owner.publisher, gun, "ben", [ben.key("ben")], threshold=2)
    ann.publisher.sign_tag(gun, "2", TWO, 3)

    def shown() -> dict[str, list[str]]:
        tags = json.loads(consumer.run("docker", "trust", "inspect", gun))[0]["SignedTags"]
        return {tag["SignedTag"]: sorted(tag["Signers"]) for tag in tags}

    assert shown() == {"1": ["Repo Admin"]}
    # Notary writes the file anew in which the proposal waits, and carries it along.
    (ann.home / "docker").mkdir()
    (ann.home / "docker" / "trust").symlink_to(ann.home / "trust")
    lone = Client(alice.served, ann.home)
    lone.notary("addhash", "-p", gun, "own", "3", "--sha256", ONE.hex, "--roles", "targets/ann")
    assert shown() == {"1": ["Repo Admin"]}
    ben.publisher.sign_tag(gun, "2", TWO, 3)
    assert shown() == {"1": ["Repo Admin"], "2": ["ann", "ben"]}
    assert TWO.hex in consumer.notary("list", gun)

    before = alice.served.service.repository_files(gun)
    alone = "found 1 of 2 needed keys"
    assert alone in lone.run("docker", "trust", "revoke", "--yes", f"{gun}:2", fails=True)
    assert alone in lone.notary("remove", "-p", gun, "2", "--roles", "targets/releases", fails=True)
    assert alice.served.service.repository_files(gun) == before
    assert ann.publisher.remove_tag(gun, "2").resolves
    assert not ben.publisher.remove_tag(gun, "2").resolves
    assert shown() == {"1": ["Repo Admin"]}


@pytest.mark.needs("notary", "docker")
def test_go_clients_read_what_the_hub_signed_and_see_it_as_the_signer(consumer: Client) -> None:
    service, gun = consumer.served.service, Gun(f"{consumer.served.host}/acme/app")
    sim = TrustSimulator(gun, datetime.now(UTC), common_name=f"{consumer.served.host}/*")
    hub = RoleName("targets/customhouse")
    for role in (RELEASES, hub):
        sim.delegate(role)
        digest = sim.sign_tag("1", b"certified", role)
    with consumer.served.store.write() as tx:
        sim.use_server_keys(service.server_keys(tx, gun))
        service.commit(tx, gun, sim.upload(), {ROOT: 0})
    shown = json.loads(consumer.run("docker", "trust", "inspect", gun))[0]
    assert shown["SignedTags"] == [{"SignedTag": "1", "Digest": digest.hex, "Signers": ["customhouse"]}]
    key = sim.keys[hub][0].public.canonical_id
    assert shown["Signers"] == [{"Name": "customhouse", "Keys": [{"ID": key}]}]
    root = next(each for each in shown["AdministrativeKeys"] if each["Name"] == "Root")
    assert root["Keys"] == [{"ID": sim.keys[ROOT][0].public.key_id}]
    assert digest.hex in consumer.notary("list", gun)


@pytest.mark.needs("notary")
def test_a_go_client_signs_on_where_our_builder_began(alice: Client, consumer: Client) -> None:
    service, gun = alice.served.service, Gun(alice.gun)
    sim = TrustSimulator(gun, datetime.now(UTC))
    sim.use_server_keys({role: service.key(gun, role, "alice") for role in (SNAPSHOT, TIMESTAMP)})
    sim.delegate(RELEASES)
    sim.sign_tag("a<b>&c", b"odd", RELEASES)
    sim.sign_tag("1", b"one")
    service.publish(gun, sim.upload(), "alice")
    alice.notary("list", gun)
    folder = alice.home / "trust" / "private"
    folder.mkdir(parents=True, exist_ok=True)
    for role, name in ((RELEASES, "delegation"), (TARGETS, "targets")):
        file = KeyFile(sim.keys[role][0], name, gun if role == TARGETS else "")
        (folder / file.filename).write_bytes(write_key_file(file, PASSPHRASE.encode()))
        (folder / file.filename).chmod(0o600)
    alice.notary("add", "-p", gun, "2", alice.target("two", "two"))
    alice.notary("add", "-p", gun, "3", alice.target("three", "three"), "--roles", "targets/releases")
    listed = consumer.notary("list", gun)
    for tag in ("a<b>&c", "1 ", "2 ", "3 "):
        assert tag in listed
    assert alice.served.listener.accepted_updates[-1].changed == ("3",)


def _pem(key: PrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.crypto.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
