"""One key directory for three programs: each signs with the keys that another made or took in."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from customhouse.db import Database
from customhouse.errors import Invalid, NotFound
from customhouse.keyfiles import KeyFile
from customhouse.keys import CryptoPrivateKey, PrivateKey
from customhouse.trust import signers
from customhouse.trust.key_directory import KeyDirectory, KeyMissing, NoPassphrase
from customhouse.trust.names import RELEASES
from tests.trust.serving import Served, serving
from tests.trust.signing_people import ONE, PASSPHRASE, THREE, TWO, Signatory

KINDS: dict[str, CryptoPrivateKey] = {
    "p256": ec.generate_private_key(ec.SECP256R1()), "p384": ec.generate_private_key(ec.SECP384R1()),
    "rsa": rsa.generate_private_key(65537, 2048), "ed25519": ed25519.Ed25519PrivateKey.generate(),
}  # fmt: skip


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    database = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    database.create()
    with serving(database, tmp_path) as running:
        yield running
    database.close()


@pytest.fixture
def owner(served: Served, tmp_path: Path) -> Signatory:
    made = Signatory(served, tmp_path / "owner")
    made.publisher.sign_tag(made.gun, "1", ONE, 3)
    return made


def run(owner: Signatory, *words: str | Path) -> str:
    """notary or docker with the owner's trust directory."""
    names = [f"NOTARY_{role}_PASSPHRASE" for role in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")]
    names += [f"DOCKER_CONTENT_TRUST_{role}_PASSPHRASE" for role in ("ROOT", "REPOSITORY")]
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(owner.home), "DOCKER_CONFIG": str(owner.home),
        **{name: PASSPHRASE.decode() for name in names},
    }  # fmt: skip
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False, input="")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def notary(owner: Signatory, *words: str | Path) -> str:
    base = ["notary", "-s", f"https://{owner.served.host}", "--tlscacert", str(owner.served.ca)]
    return run(owner, *base, "-d", str(owner.home / "trust"), *words)


@pytest.mark.needs("notary", "docker")
@pytest.mark.parametrize("kind", KINDS)
def test_notary_and_docker_sign_with_keys_of_every_kind_that_we_took_in(owner: Signatory, kind: str) -> None:
    gun = owner.gun
    key = owner.keys.add(KeyFile(PrivateKey(KINDS[kind]), "ann"))
    signers.add(owner.publisher, gun, "ann", [key.public])
    assert key.public.canonical_id[:12] in notary(owner, "key", "list").replace("\n", "")
    notary(owner, "addhash", "-p", gun, "2", "3", "--sha256", TWO.hex, "--roles", "targets/ann", "-r", RELEASES)
    assert owner.fresh().signers("2") == ["ann"]
    run(owner, "docker", "trust", "revoke", "--yes", f"{gun}:2")
    assert set(owner.fresh().tags) == {"1"}
    owner.publisher.sign_tag(gun, "3", THREE, 3)
    assert owner.fresh().signers("3") == ["ann"]


@pytest.mark.needs("notary", "docker")
def test_we_sign_with_keys_that_docker_and_notary_made(owner: Signatory) -> None:
    gun = owner.gun
    run(owner, "docker", "trust", "key", "generate", "dora", "--dir", owner.home)
    run(owner, "docker", "trust", "signer", "add", "--key", owner.home / "dora.pub", "dora", gun)
    owner.publisher.sign_tag(gun, "2", TWO, 3)
    assert owner.fresh().signers("2") == ["dora"]

    made = Signatory(owner.served, owner.home, name="noted")
    notary(owner, "init", "-p", made.gun)  # with our root key, and a targets key of notary's
    made.publisher.sign_tag(made.gun, "1", ONE, 3)
    assert made.fresh().root_keys == owner.fresh().root_keys
    assert {entry.role for entry in owner.keys.entries()} == {"root", "targets", "snapshot", "dora"}


@pytest.mark.needs("docker", "openssl")
def test_docker_takes_our_public_files_and_openssl_reads_them(owner: Signatory) -> None:
    key = owner.key("eve")
    file = owner.home / "eve.pub"
    file.write_bytes(key.pem)
    run(owner, "docker", "trust", "signer", "add", "--key", file, "eve", owner.gun)
    assert [entry.name for entry in signers.listed(owner.fresh())] == ["eve", "releases"]
    assert "NIST CURVE: P-256" in run(owner, "openssl", "pkey", "-pubin", "-noout", "-text", "-in", file)


@pytest.mark.needs("docker")
def test_of_several_root_keys_docker_begins_with_the_first_by_id_and_we_with_the_newest(owner: Signatory) -> None:
    """What keys.md tells people to expect: docker does not know which key is the newer one."""
    for _ in range(3):
        owner.key("root")
    public = owner.home / "eve.pub"
    public.write_bytes(owner.key("eve").pem)
    roots = [entry.key_id for entry in owner.keys.entries() if entry.role == "root"]
    made = Signatory(owner.served, owner.home, name="dockers")
    run(owner, "docker", "trust", "signer", "add", "--key", public, "eve", made.gun)
    assert made.fresh().root_keys == {min(roots)}
    ours = Signatory(owner.served, owner.home, name="ours")
    ours.publisher.sign_tag(ours.gun, "1", ONE, 3)
    assert ours.fresh().root_keys == {roots[-1]}


def test_a_key_is_found_by_role_or_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path, lambda role, key_id, new: PASSPHRASE)
    first, second = keys.create("ann").public.canonical_id, keys.create("ben").public.canonical_id
    assert (keys.entry("ann").key_id, keys.entry(second[:6]).key_id) == (first, second)
    with pytest.raises(NotFound, match="there is no key eve"):
        keys.entry("eve")
    with pytest.raises(NotFound):
        keys.entry(first[:5])
    keys.create("ann")
    with pytest.raises(Invalid, match="several keys are called ann"):
        keys.entry("ann")
    with pytest.raises(KeyMissing):
        keys.open("0" * 64)


@pytest.mark.parametrize("role", ["", "Ann", "a/b", "-a", "a b", "a" * 101, "x\ngun: y"])
def test_a_role_that_would_break_file_or_wire_is_refused_before_a_key_is_made(tmp_path: Path, role: str) -> None:
    keys = KeyDirectory(tmp_path, lambda role, key_id, new: PASSPHRASE)
    with pytest.raises(Invalid, match="cannot be the name of a key"):
        keys.create(role)
    assert keys.entries() == []


def test_without_a_passphrase_nothing_is_written_and_nothing_is_opened(tmp_path: Path) -> None:
    given = [PASSPHRASE]
    keys = KeyDirectory(tmp_path, lambda role, key_id, new: given[0])
    key_id = keys.create("ann").public.canonical_id
    given[0] = b""
    with pytest.raises(NoPassphrase, match="the new ben key needs a passphrase, and there is no terminal"):
        keys.create("ben")
    with pytest.raises(NoPassphrase, match=f"the ann key {key_id[:12]} needs a passphrase"):
        KeyDirectory(tmp_path, lambda role, key_id, new: b"").open(key_id)
    assert [entry.key_id for entry in keys.entries()] == [key_id]


def test_a_passphrase_is_changed_and_the_file_is_never_gone_or_half(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path, lambda role, key_id, new: PASSPHRASE)
    entry = keys.entry(keys.create("ann").public.canonical_id)
    made = entry.path.stat().st_mtime_ns
    keys.change_passphrase(entry, lambda: b"another")
    assert entry.path.stat().st_mtime_ns == made
    assert entry.path.stat().st_mode & 0o777 == 0o600
    assert list(entry.path.parent.iterdir()) == [entry.path]
    with pytest.raises(Invalid, match="the passphrase does not open the ann key"):
        KeyDirectory(tmp_path, lambda role, key_id, new: PASSPHRASE).open(entry.key_id)
    assert KeyDirectory(tmp_path, lambda *_: b"another").open(entry.key_id).public.canonical_id == entry.key_id


def test_a_key_that_is_here_is_not_taken_in_twice(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path, lambda role, key_id, new: PASSPHRASE)
    key = PrivateKey.generate()
    keys.add(KeyFile(key, "ann"))
    before = keys.entries()[0].path.read_bytes()
    with pytest.raises(Invalid, match="is here already"):
        keys.add(KeyFile(key, "ben"))
    assert keys.entries()[0].path.read_bytes() == before


def test_a_file_under_another_keys_name_is_found_out(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path, lambda role, key_id, new: PASSPHRASE)
    first, second = keys.create("ann").public.canonical_id, keys.create("ben").public.canonical_id
    (keys.private / f"{second}.key").replace(keys.private / f"{first}.key")
    with pytest.raises(Invalid, match="holds another key than its name says"):
        KeyDirectory(tmp_path, lambda *_: PASSPHRASE).open(first)


def test_unencrypted_files_need_no_passphrase_and_what_is_no_key_file_is_passed_over(tmp_path: Path) -> None:
    keys = KeyDirectory(tmp_path, lambda role, key_id, new: PASSPHRASE)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file, secret = KeyDirectory(tmp_path, lambda *_: b"").open_file(pem, "ann", "a file")
    assert (file.key.public, secret) == (PrivateKey(key).public, b"")
    keys.private.mkdir(parents=True)
    for name in ("README", "root.key", f"{'a' * 64}.pub", f"{'g' * 64}.key"):
        (keys.private / name).write_text("x")
    assert keys.entries() == []
