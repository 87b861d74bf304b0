"""Keys on devices, with SoftHSM 2: what is made, found, signed with, and what is said when it cannot be."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.db import Database
from customhouse.errors import Invalid
from customhouse.pkcs11 import KINDS, DeviceSigner, InvalidUri, NoSuchKey, Uri, WrongPin, find, generate
from customhouse.signing import signer_for
from customhouse.trust import rotation, signers
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.names import ROOT, TARGETS
from tests.cli.conftest import Person
from tests.cli.test_key import typed
from tests.peers.softhsm import PIN, Tokens
from tests.trust.serving import serving
from tests.trust.signing_people import ONE, PASSPHRASE, THREE, TWO, Signatory

device = pytest.mark.needs("softhsm2-util")


def pin(token: str) -> str:
    return PIN


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    made = Tokens(tmp_path_factory.mktemp("softhsm")).prepared()
    for label in ("desk", "safe"):
        made.initialise(label)
    os.environ |= made.environment  # the library is opened once in this process, and reads it then
    yield made
    for name in made.environment:
        del os.environ[name]


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=a%20b;object=k?module-path=/usr/lib/x.so",
        "pkcs11:serial=0123;id=%01%FF?module-path=/x.so&pin-source=file:/run/pin",
        "pkcs11:token=a;object=%C3%A9%3B%25",
    ],
)
def test_a_uri_is_written_as_it_was_read(text: str) -> None:
    assert str(Uri.parse(text)) == text
    assert Uri.parse(text.replace(";object", ";type=private;object")) == Uri.parse(text)


@given(
    st.text(min_size=1, max_size=40), st.text(max_size=40), st.binary(max_size=20), st.text(max_size=20),
    st.text(max_size=40), st.text(max_size=40),
)  # fmt: skip
def test_any_uri_comes_back_as_it_was(
    token: str, label: str, key_id: bytes, serial: str, module: str, source: str
) -> None:
    uri = Uri(token, label, key_id, serial, module, f"/{source}" if source else "")
    assert Uri.parse(str(uri)) == uri


@given(st.text(max_size=200))
def test_any_text_is_a_uri_or_refused(text: str) -> None:
    for each in (text, f"pkcs11:{text}", f"pkcs11:token={text}", f"pkcs11:token=a?{text}"):
        try:
            again = str(Uri.parse(each))
        except InvalidUri:
            continue
        assert Uri.parse(again) == Uri.parse(each)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file:/x", "should begin with pkcs11:"),
        ("pkcs11:" + "x" * 3000, "be short"),
        ("pkcs11:object=k", "should say token=LABEL"),
        ("pkcs11:token=a;token=b", "'token' is not known, or is there twice"),
        ("pkcs11:token=a;slot-id=1", "'slot-id' is not known"),
        ("pkcs11:token", "'token' is not known"),
        ("pkcs11:token=a;type=cert", "type should be private"),
        ("pkcs11:token=a?pin-value=1234", "it holds the PIN itself"),
        ("pkcs11:token=a?pin-source=|cat", "pin-source should be file:/path"),
        ("pkcs11:token=a%2", "not percent-encoded"),
        ("pkcs11:token=a b", "not percent-encoded"),
        ("pkcs11:token=%FF", "not UTF-8"),
        ("pkcs11:token=a\nrole: root", "not percent-encoded"),
    ],
)
def test_what_is_no_uri_of_a_key_is_refused_and_the_pin_not_repeated(text: str, reason: str) -> None:
    with pytest.raises(InvalidUri, match=reason) as refused:
        Uri.parse(text)
    assert "1234" not in str(refused.value)


@device
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_each_kind_is_made_found_again_and_signs(tokens: Tokens, kind: str) -> None:
    made = generate(Uri.parse(tokens.uri("desk", more=f";object={kind}")), kind, pin)
    exact = Uri.parse(str(made.uri))
    assert exact.id and find(exact, pin) == made
    for uri in (tokens.uri("desk", more=f";object={kind}"), str(exact)):
        signer = signer_for(uri, lambda _: PIN.encode())
        made_with = signer.sign(b"payload")
        assert made_with.key_id == made.public.key_id
        assert made.public.verify(b"payload", made_with.method, made_with.value)
    with pytest.raises(Invalid, match=f"has a key '{kind}' already"):
        generate(Uri.parse(tokens.uri("desk", more=f";object={kind}")), kind, pin)
    # It cannot be taken out.
    said = subprocess.run(
        [sys.executable, "-c", OUTSIDE, tokens.module, kind, PIN], capture_output=True, text=True, timeout=60,
        env=os.environ | tokens.environment,
    )  # fmt: skip
    assert said.stdout.split() == ["True", "False"], said.stderr


OUTSIDE = """
import sys, pkcs11
from pkcs11 import Attribute, ObjectClass
token = pkcs11.lib(sys.argv[1]).get_token(token_label="desk")
with token.open(user_pin=sys.argv[3]) as session:
    (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: sys.argv[2]})
    print(key[Attribute.SENSITIVE], key[Attribute.EXTRACTABLE])
"""


@device
def test_a_device_with_another_key_than_the_one_on_record_is_found_out(tokens: Tokens) -> None:
    first, second = (
        generate(Uri.parse(tokens.uri("desk", more=f";object=swap{number}")), "ecdsa-p256", pin) for number in (1, 2)
    )
    with pytest.raises(NoSuchKey, match="is another one than"):
        DeviceSigner(second.uri, first.public, pin).sign(b"x")


@device
def test_what_does_not_fit_is_said_with_names(tokens: Tokens) -> None:
    for uri, error, reason in (
        (tokens.uri("gone", more=";object=k"), NoSuchKey, "there is no token 'gone'"),
        (tokens.uri("safe", more=";object=k"), NoSuchKey, "the token 'safe' has no private key 'k'"),
        ("pkcs11:token=safe;object=k", InvalidUri, "does not say the device's library"),
    ):
        with pytest.raises(error, match=reason):
            find(Uri.parse(uri), pin)
    for number in (1, 2):
        generate(Uri.parse(tokens.uri("safe", more=f";object=two{number}")), "ecdsa-p256", pin)
    with pytest.raises(InvalidUri, match=r"private keys of the token fit \(.*two1, two2.*\)"):
        find(Uri.parse(tokens.uri("safe")), pin)
    with pytest.raises(WrongPin, match="no PIN was given"):
        find(Uri.parse(tokens.uri("safe", more=";object=two1")), lambda token: "")
    with pytest.raises(Exception, match="failed: OS exception while loading /nowhere.so"):
        find(Uri.parse("pkcs11:token=safe;object=k?module-path=/nowhere.so"), pin)


def on_device(signatory: Signatory, tokens: Tokens, role: str, gun: str = "", kind: str = "ecdsa-p256") -> str:
    uri = Uri.parse(tokens.uri("desk", more=f";object={role}-{os.urandom(4).hex()}"))
    return keys_of(signatory).create_on_device(uri, kind, role, gun).public.canonical_id


def keys_of(signatory: Signatory) -> KeyDirectory:
    def secret(role: str, name: str, new: bool) -> bytes:
        return PIN.encode() if role == "pkcs11" else PASSPHRASE

    return KeyDirectory(signatory.home / "trust", secret)


class OnDevice(Signatory):
    @property
    def keys(self) -> KeyDirectory:
        return keys_of(self)


@device
@pytest.mark.needs("docker", "notary")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ed25519"])  # no certificates of Ed25519 there
def test_root_and_targets_on_a_token_make_and_rotate_a_repository_that_docker_reads(
    tokens: Tokens, tmp_path: Path, kind: str
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    database.create()
    with serving(database, tmp_path) as served:
        owner = OnDevice(served, tmp_path / "owner")
        gun = owner.gun
        root = on_device(owner, tokens, "root", kind=kind)
        on_device(owner, tokens, "targets", gun)
        made = owner.publisher.sign_tag(gun, "1", ONE, 3)
        assert made.root_key_ids == (root,)
        assert not list((owner.home / "trust" / "private").glob("*.key"))  # nothing secret is on this disk

        def shown() -> set[str]:
            environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "reader")}
            words = ["docker", "trust", "inspect", "--pretty", gun]
            done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True)
            return {line.split()[0] for line in done.stdout.splitlines() if line[:1] in "123" and line[:1].strip()}

        assert shown() == {"1"}
        newer = on_device(owner, tokens, "root", kind=kind)
        assert rotation.rotate_root(owner.publisher, gun).new == newer
        rotation.rotate_targets(owner.publisher, gun)
        owner.publisher.sign_tag(gun, "2", TWO, 3)
        assert shown() == {"1", "2"}
        for name, each in (("ann", "ed25519"), ("ben", kind)):
            signers.add(owner.publisher, gun, name, [owner.keys.open(on_device(owner, tokens, name, kind=each)).public])
        owner.publisher.sign_tag(gun, "3", THREE, 3)
        assert owner.fresh().signers("3") == ["ann", "ben"]
        assert shown() == {"1", "2", "3"}
        fresh = owner.fresh().root.body
        assert {fresh.keys[key_id].keytype for key_id in fresh.roles[ROOT].key_ids} == {
            "rsa-x509" if kind.startswith("rsa") else "ecdsa-x509"
        }
        assert len(fresh.roles[TARGETS].key_ids) == 1
        # docker and notary pass over the files of devices.
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NOTARY_TARGETS_PASSPHRASE": "x"}
        listed = subprocess.run(
            ["notary", "-d", str(owner.home / "trust"), "key", "list"], env=environment, capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
        assert newer[:12] not in listed.stdout and "targets" in listed.stdout
    database.close()


@device
def test_a_person_makes_loads_and_signs_with_a_key_on_a_token(tokens: Tokens, tmp_path: Path) -> None:
    person = Person(tmp_path / "home", {**tokens.environment, "CUSTOMHOUSE_PKCS11_PIN": PIN})
    uri = tokens.uri("safe")
    made = person("key", "generate", "carla", "--dir", tmp_path, "--pkcs11", uri, "--type", "ecdsa-p384", "--json").json
    (file,) = (person.home / ".docker/trust/private").iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == (f"{made['key']}.pkcs11", 0o600)
    assert made["type"] == "secp384r1" and made["where"].startswith("pkcs11:token=safe;object=carla;id=")
    assert PIN not in file.read_text()
    assert "carla  token" in person("key", "list").out
    assert person("key", "export", "carla", CUSTOMHOUSE_PKCS11_PIN="").out == (tmp_path / "carla.pub").read_text()

    # On another machine, with the token in it.
    other = Person(tmp_path / "other", tokens.environment)
    none = other("key", "load", tokens.uri("safe", more=";object=carla"), code=1)
    assert "the token 'safe' does not open: no PIN was given" in none.err
    wrong = other("key", "load", tokens.uri("safe", more=";object=carla"), code=1, CUSTOMHOUSE_PKCS11_PIN="000000")
    assert "the token 'safe' does not open: the PIN is not the right one" in wrong.err
    assert "Too many wrong PINs lock a token" in wrong.err and "000000" not in wrong.err
    secret = tmp_path / "pin"
    secret.write_text(PIN + "\n")
    sourced = tokens.uri("safe", more=";object=carla", query=f"&pin-source=file:{secret}")
    loaded = other("key", "load", sourced, "--json").json
    assert (loaded["key"], loaded["role"]) == (made["key"], "carla")
    assert "is here already" in other(
        "key", "load", tokens.uri("safe", more=";object=carla"), "--passphrase-file", f"pkcs11={secret}", code=1
    ).err
    refused = person("key", "passwd", "carla", code=1)
    assert "is on a device" in refused.err
    inline = person("key", "load", f"{uri}&pin-value={PIN}", "--name", "x", code=1)
    assert "it holds the PIN itself" in inline.err and PIN not in inline.err

    asking = Person(tmp_path / "asking", tokens.environment)
    asking.home.mkdir()
    words = ["key", "load", tokens.uri("safe", more=";object=carla")]
    code, shown = typed(asking, words, [("PIN of the token safe", PIN)])
    assert code == 0 and made["key"] in shown and PIN not in shown

    empty = Tokens(tmp_path / "empty").prepared()
    gone = person("key", "load", tokens.uri("safe", more=";object=carla"), code=1, **empty.environment)
    assert "there is no token 'safe'" in gone.err and "Plug it in" in gone.err


def test_without_the_extra_the_sentence_says_what_to_install(tmp_path: Path) -> None:
    words = (
        "import sys; sys.modules['pkcs11'] = None\nfrom customhouse.cli.program import run\n"
        "sys.exit(run(['key', 'load', 'pkcs11:token=a;object=b?module-path=/x.so', '--keys', sys.argv[1]]))"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CUSTOMHOUSE_PKCS11_PIN": PIN}
    done = subprocess.run(
        [sys.executable, "-c", words, tmp_path], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 3
    assert "keys on devices need the library python-pkcs11" in done.stderr
    assert "pip install 'customhouse[hsm]'" in done.stderr
