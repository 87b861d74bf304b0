"""Our trust client and publisher with Debian's notary-server and notary client: each reads what the other wrote."""

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.keyfiles import KeyFile
from customhouse.oci.digest import Digest
from customhouse.remote import Unreachable
from customhouse.transport import Tls, Transport
from customhouse.trust.client import Anchor, NoTrustData, TrustClient
from customhouse.trust.key_directory import KeyDirectory, KeyMissing
from customhouse.trust.names import TARGETS, TIMESTAMP, Gun, RoleName
from customhouse.trust.publish import NotSignedHere, TrustPublisher
from customhouse.trust.verify import RolledBack, RootNotEnrolled
from tests.peers.certificates import LoopbackCertificate, loopback_certificate
from tests.peers.servers import Peer, notary_server

pytestmark = pytest.mark.needs("notary", "notary-server")
ONE, TWO, THREE = (Digest.of(text) for text in (b"one", b"two", b"three"))


def real_clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackCertificate:
    return loopback_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory, tls: LoopbackCertificate) -> Iterator[Peer]:
    server = notary_server(tmp_path_factory.mktemp("notary"), tls)
    yield server
    server.stop()


@pytest.fixture
def transport(peer: Peer, tls: LoopbackCertificate) -> Transport:
    return Transport(f"https://{peer.host}", tls=Tls(ca_file=tls.ca))


@pytest.fixture
def keys(tmp_path: Path) -> KeyDirectory:
    return KeyDirectory(tmp_path / "trust", lambda role, key, new: b"a passphrase")


@pytest.fixture
def publisher(transport: Transport, keys: KeyDirectory) -> TrustPublisher:
    return TrustPublisher(transport, keys, real_clock)


@pytest.fixture
def client(transport: Transport) -> TrustClient:
    return TrustClient(transport)


@pytest.fixture
def gun(peer: Peer, request: pytest.FixtureRequest) -> Gun:
    return Gun.parse(f"{peer.host}/acme/t{abs(hash(request.node.name)) % 10**9}")


def notary(peer: Peer, tls: LoopbackCertificate, keys: KeyDirectory, *words: str) -> str:
    environment = os.environ | {
        f"NOTARY_{name}_PASSPHRASE": "a passphrase" for name in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")
    }
    done = subprocess.run(
        ["notary", "-s", f"https://{peer.host}", "--tlscacert", str(tls.ca), "-d", str(keys.directory), *words],
        capture_output=True, text=True, env=environment, timeout=60, input="yes\n",  # a root is rotated after a yes
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_what_we_publish_notary_lists_and_what_notary_adds_we_read(
    peer: Peer, tls: LoopbackCertificate, keys: KeyDirectory, publisher: TrustPublisher, client: TrustClient, gun: Gun
) -> None:
    made = publisher.sign_tag(gun, "1", ONE, 3)
    assert (made.created, made.changed, made.roles) == (True, True, (TARGETS,))
    assert ONE.hex in notary(peer, tls, keys, "list", gun)
    notary(peer, tls, keys, "addhash", "-p", gun, "2", "77", "--sha256", TWO.hex)  # with our key files
    read = client.fetch(gun, Anchor(enrolled=frozenset(made.root_key_ids)), real_clock())
    assert {name: (tag.digest, tag.length) for name, tag in read.tags.items()} == {"1": (ONE, 3), "2": (TWO, 77)}
    again = publisher.sign_tag(gun, "3", THREE, 5)
    assert (again.created, again.changed) == (False, True)
    listed = notary(peer, tls, keys, "list", gun)
    assert all(digest.hex in listed for digest in (ONE, TWO, THREE))


def test_signing_the_same_again_changes_nothing(publisher: TrustPublisher, gun: Gun) -> None:
    publisher.sign_tag(gun, "1", ONE, 3)
    assert not publisher.sign_tag(gun, "1", ONE, 3).changed


def test_a_tag_is_taken_away_for_everybody(
    peer: Peer, tls: LoopbackCertificate, keys: KeyDirectory, publisher: TrustPublisher, client: TrustClient, gun: Gun
) -> None:
    publisher.sign_tag(gun, "1", ONE, 3)
    publisher.sign_tag(gun, "2", TWO, 3)
    publisher.remove_tag(gun, "1")
    assert set(client.fetch(gun, Anchor(), real_clock()).tags) == {"2"}
    assert ONE.hex not in notary(peer, tls, keys, "list", gun)
    with pytest.raises(NotSignedHere):
        publisher.remove_tag(gun, "1")


def test_a_repository_that_notary_made_with_its_own_snapshot_key_can_be_signed(
    peer: Peer, tls: LoopbackCertificate, keys: KeyDirectory, publisher: TrustPublisher, client: TrustClient, gun: Gun
) -> None:
    notary(peer, tls, keys, "init", "-p", gun)
    publisher.sign_tag(gun, "1", ONE, 3)
    assert client.fetch(gun, Anchor(), real_clock()).tags["1"].digest == ONE
    assert ONE.hex in notary(peer, tls, keys, "list", gun)


def test_with_delegations_the_delegations_sign_and_targets_does_not(
    peer: Peer, tls: LoopbackCertificate, keys: KeyDirectory, publisher: TrustPublisher, client: TrustClient,
    gun: Gun, tmp_path: Path,
) -> None:
    publisher.sign_tag(gun, "1", ONE, 3)
    key = keys.create("alice")
    from cryptography.hazmat.primitives import serialization

    public = tmp_path / "alice.pub"
    public.write_bytes(key.public.crypto.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    for role in ("targets/alice", "targets/releases"):
        notary(peer, tls, keys, "delegation", "add", "-p", gun, role, str(public), "--all-paths")
    made = publisher.sign_tag(gun, "2", TWO, 3)
    assert set(made.roles) == {RoleName("targets/alice"), RoleName("targets/releases")}
    read = client.fetch(gun, Anchor(), real_clock())
    assert read.tags["2"].role == RoleName("targets/releases")
    assert read.signers("2") == ["alice"]
    assert "2" not in read.targets[TARGETS].body.targets
    assert TWO.hex in notary(peer, tls, keys, "list", gun)


def test_after_rotations_by_notary_the_enrolled_root_still_leads_to_the_newest(
    peer: Peer, tls: LoopbackCertificate, keys: KeyDirectory, publisher: TrustPublisher, client: TrustClient, gun: Gun
) -> None:
    made = publisher.sign_tag(gun, "1", ONE, 3)
    first = client.fetch(gun, Anchor(), real_clock())
    for _ in range(2):
        notary(peer, tls, keys, "key", "rotate", gun, "root")
    newest = client.fetch(gun, Anchor(enrolled=frozenset(made.root_key_ids)), real_clock())
    assert newest.root.version > first.root.version and newest.root_keys != first.root_keys
    assert client.fetch(gun, Anchor(known_root=first.root.raw), real_clock()).root.raw == newest.root.raw
    with pytest.raises(RootNotEnrolled):
        client.fetch(gun, Anchor(enrolled=frozenset({"0" * 64})), real_clock())


def test_versions_below_those_seen_are_a_rollback(publisher: TrustPublisher, client: TrustClient, gun: Gun) -> None:
    publisher.sign_tag(gun, "1", ONE, 3)
    with pytest.raises(RolledBack):
        client.fetch(gun, Anchor(seen={TIMESTAMP: 9}), real_clock())


def test_a_publisher_signs_again_what_has_expired(
    transport: Transport, keys: KeyDirectory, client: TrustClient, gun: Gun
) -> None:
    long_ago = TrustPublisher(transport, keys, lambda: real_clock() - timedelta(days=1095) + timedelta(seconds=3))
    long_ago.sign_tag(gun, "1", ONE, 3)
    later = real_clock() + timedelta(seconds=10)
    with pytest.raises(Exception, match="targets version 1 expired"):
        client.fetch(gun, Anchor(), later)
    assert TrustPublisher(transport, keys, lambda: later).sign_tag(gun, "1", ONE, 3).changed
    assert client.fetch(gun, Anchor(), later).tags["1"].digest == ONE


def test_nobody_signs_without_the_key_and_the_hint_names_it(
    publisher: TrustPublisher, transport: Transport, tmp_path: Path, gun: Gun
) -> None:
    publisher.sign_tag(gun, "1", ONE, 3)
    stranger = KeyDirectory(tmp_path / "other", lambda role, key, new: b"x")
    with pytest.raises(KeyMissing) as caught:
        TrustPublisher(transport, stranger, real_clock).sign_tag(gun, "2", TWO, 3)
    assert caught.value.wanted[0][:12] in caught.value.hint


def test_a_racing_publish_is_made_again_on_top_of_the_other(
    transport: Transport, keys: KeyDirectory, client: TrustClient, gun: Gun
) -> None:
    rival = TrustPublisher(transport, keys, real_clock)
    rival.sign_tag(gun, "1", ONE, 3)
    raced: list[str] = []

    def clock_with_a_rival() -> datetime:
        # asked after the repository was read and before the change is sent: the rival comes in between, once
        if len(raced) == 1:
            rival.sign_tag(gun, "2", TWO, 3)
        raced.append("asked")
        return real_clock()

    TrustPublisher(transport, keys, clock_with_a_rival).sign_tag(gun, "3", THREE, 3)
    assert set(client.fetch(gun, Anchor(), real_clock()).tags) == {"1", "2", "3"}


def test_no_trust_data_and_no_answer_are_different_errors(client: TrustClient, peer: Peer) -> None:
    with pytest.raises(NoTrustData):
        client.fetch(Gun.parse(f"{peer.host}/acme/nothing"), Anchor(), real_clock())
    with pytest.raises(Unreachable, match="could not prove who it is"):
        TrustClient(Transport(f"https://{peer.host}")).fetch(
            Gun.parse(f"{peer.host}/acme/nothing"), Anchor(), real_clock()
        )


def test_key_files_are_private_and_open_only_with_their_passphrase(keys: KeyDirectory) -> None:
    key = keys.create("root")
    entry = keys.entries()[0]
    assert (entry.key_id, entry.role, entry.path.stat().st_mode & 0o777) == (key.public.canonical_id, "root", 0o600)
    assert KeyFile(key, "root").filename == entry.path.name
    wrong = KeyDirectory(keys.directory, lambda role, key_id, new: b"wrong")
    with pytest.raises(Exception, match="the passphrase does not open the root key") as caught:
        wrong.open(entry.key_id)
    assert "wrong" not in str(caught.value).split()
