"""docker, notary and ours write the same repository in turns, on our server and on Debian's; after every turn all
three read the same, and every file that is served is one that each of them would write byte for byte.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from customhouse.db import Database
from customhouse.keyfiles import KeyFile
from customhouse.keys import PrivateKey, PublicKey
from customhouse.oci.digest import Digest
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.transport import Tls, Transport
from customhouse.trust import signers
from customhouse.trust.canonical import published
from customhouse.trust.certificates import root_certificate
from customhouse.trust.client import Anchor, Reading, TrustClient
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.metadata import parse_file
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun
from customhouse.trust.publish import TrustPublisher
from tests.peers.certificates import loopback_certificate
from tests.peers.servers import notary_server
from tests.trust.serving import serving

pytestmark = pytest.mark.needs("docker", "notary", "notary-server")
PASSPHRASE = "a passphrase of everybody"


def clock() -> datetime:
    return datetime.now(UTC)


class Team:
    """One directory of keys that docker, notary and ours share, and a consumer beside it."""

    def __init__(self, host: str, ca: Path, home: Path, repository: str) -> None:
        self.host, self.ca, self.home, self.gun = host, ca, home, Gun(f"{host}/{repository}")
        self.keys = KeyDirectory(home / "docker" / "trust", lambda role, key, new: PASSPHRASE.encode())
        transport = Transport(f"https://{host}", tls=Tls(ca_file=ca))
        self.ours, self._client = TrustPublisher(transport, self.keys, clock), TrustClient(transport)
        self.anchor = Anchor()
        self.turns = 0

    def run(self, home: Path, *words: str) -> str:
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home / "docker"),
            "NOTARY_AUTH": "YWxpY2U6c2VjcmV0", "DOCKER_CONTENT_TRUST": "1", "DOCKER_HOST": f"unix://{home}/no.sock",
            **{f"NOTARY_{role}_PASSPHRASE": PASSPHRASE for role in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")},
            **{f"DOCKER_CONTENT_TRUST_{kind}_PASSPHRASE": PASSPHRASE for kind in ("ROOT", "REPOSITORY")},
        }  # fmt: skip
        done = subprocess.run(
            words, env=environment, cwd=home, input="yes\n", capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def docker(self, *words: str) -> str:
        return self.run(self.home, "docker", "trust", *words)

    def notary(self, *words: str, home: Path | None = None) -> str:
        base = ["notary", "-s", f"https://{self.host}", "--tlscacert", str(self.ca), "-d"]
        return self.run(home or self.home, *base, str((home or self.home) / "docker" / "trust"), *words)

    def addhash(self, tag: str, *roles: str) -> None:
        """notary signs."""
        which = [word for role in roles for word in ("--roles", role)]
        self.notary("addhash", "-p", self.gun, tag, "7", "--sha256", Digest.of(tag.encode()).hex, *which)

    def sign(self, *tags: str) -> None:
        """Ours signs."""
        self.ours.sign_tags(self.gun, {tag: (Digest.of(tag.encode()), 7) for tag in tags})

    def agree(self, *tags: str, signed_by: dict[str, set[str]] | None = None) -> Reading:
        """All three read these tags and no others; ours goes on from what it read before, consumers too."""
        found = self._client.read(self.gun, self.anchor, clock())
        self.anchor = Anchor(known_root=found.files[ROOT], seen=self.seen(found))
        assert found.repository.skipped == {}
        ours = {name: tag.digest.hex for name, tag in found.repository.tags.items()}
        assert ours == {tag: Digest.of(tag.encode()).hex for tag in tags}
        self.turns += 1
        for home in (self.home / "consumer", self.home / f"new{self.turns}"):
            shown = json.loads(self.run(home, "docker", "trust", "inspect", self.gun))[0]
            assert {each["SignedTag"]: each["Digest"] for each in shown["SignedTags"]} == ours
            by = {each["SignedTag"]: set(each["Signers"]) - {"Repo Admin"} for each in shown["SignedTags"]}
            assert by == {tag: set(found.repository.signers(tag)) for tag in ours}
            assert all(by[tag] == names for tag, names in (signed_by or {}).items()), by
            listed = self.notary("list", self.gun, home=home)
            assert set(re.findall(r"^(\S+) +[0-9a-f]{64} ", listed, re.M)) - {"only-deep"} == set(ours), listed
        for role, raw in found.files.items():
            file = parse_file(role, raw)
            assert published(file.payload, file.signatures) == raw
        return found

    def seen(self, found: Reading) -> dict[str, int]:
        """Versions to hold on to: of the top roles, since a delegation may begin anew."""
        versions = found.repository.versions
        return {role: versions[role] for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)}

    def public(self, name: str, key: PublicKey) -> str:
        path = self.home / f"{name}.pem"
        path.write_bytes(key.crypto.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return str(path)


@pytest.fixture(params=["ours", "notary-server"])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Team]:
    home = tmp_path / "home"
    if request.param == "ours":
        database = Database(f"sqlite:///{tmp_path / 'hub.db'}")
        database.create()
        with serving(database, tmp_path) as served:
            yield Team(served.host, served.ca, home, "staging/acme/app")
        database.close()
    else:
        tls = loopback_certificate(tmp_path / "tls")
        peer = notary_server(tmp_path / "peer", tls)
        yield Team(peer.host, tls.ca, home, "staging/acme/app")
        peer.stop()


@pytest.mark.checklist("7.ours-first")
def test_ours_begins_and_docker_and_notary_go_on(team: Team) -> None:
    gun = team.gun
    team.sign("1")
    team.agree("1")
    team.addhash("2")
    team.agree("1", "2")
    team.sign("3")
    team.agree("1", "2", "3")
    team.docker("revoke", "--yes", f"{gun}:2")
    team.agree("1", "3")

    team.docker("key", "generate", "alice")
    team.docker("signer", "add", "--key", "alice.pub", "alice", gun)
    team.agree("1", "3")
    team.sign("4")
    team.agree("1", "3", "4", signed_by={"4": {"alice"}})
    bob = team.keys.create("bob")
    signers.add(team.ours, gun, "bob", [bob.public])
    team.agree("1", "3", "4", signed_by={"4": {"alice"}})
    team.addhash("5", "targets/releases", "targets/bob")
    team.agree("1", "3", "4", "5", signed_by={"5": {"bob"}})
    team.docker("sign", f"{gun}:5")
    team.agree("1", "3", "4", "5", signed_by={"5": {"alice", "bob"}})
    team.docker("revoke", "--yes", f"{gun}:4")
    team.sign("6")
    team.agree("1", "3", "5", "6", signed_by={"6": {"alice", "bob"}})

    signers.remove(team.ours, gun, "bob")
    team.sign("7")
    team.addhash("8", "targets/releases", "targets/alice")
    team.docker("sign", f"{gun}:8")
    team.agree("1", "3", "5", "6", "7", "8", signed_by={"8": {"alice"}, "5": {"alice"}})
    team.notary("key", "rotate", gun, "timestamp", "-r")
    team.notary("key", "rotate", gun, "snapshot", "-r")
    team.notary("key", "rotate", gun, "targets")
    team.notary("key", "rotate", gun, "root")
    team.sign("9")
    last = team.agree("1", "3", "5", "6", "7", "8", "9", signed_by={"9": {"alice"}})
    assert last.repository.root.version == 5


@pytest.mark.checklist("7.theirs-first")
@pytest.mark.parametrize("first", ["docker", "notary"])
def test_docker_or_notary_begins_and_ours_goes_on(team: Team, first: str) -> None:
    gun = team.gun
    if first == "docker":
        team.docker("key", "generate", "alice")
        team.docker("signer", "add", "--key", "alice.pub", "alice", gun)
    else:
        team.notary("init", "-p", gun)  # its snapshot key stays with the publisher
        team.addhash("1")
        team.agree("1")
        team.sign("2")
        team.agree("1", "2")
        team.notary("key", "rotate", gun, "snapshot", "-r")
        signers.add(team.ours, gun, "alice", [team.keys.create("alice").public])
    before = ["1", "2"] if first == "notary" else []
    team.sign("3", "4")
    team.agree(*before, "3", "4", signed_by={"3": {"alice"}})
    team.addhash("5", "targets/releases", "targets/alice")
    team.sign("6")
    team.docker("sign", f"{gun}:6")
    team.docker("revoke", "--yes", f"{gun}:3")
    team.agree(*before, "4", "5", "6")
    team.notary("key", "rotate", gun, "root")
    deep = PrivateKey.generate()
    public = team.public("deep", deep.public)
    team.notary("delegation", "add", "-p", gun, "targets/releases/deep", public, "--all-paths")
    team.keys.add(KeyFile(deep, "deep"), PASSPHRASE.encode())
    team.addhash("only-deep", "targets/releases/deep")
    team.sign("7")
    team.agree(*before, "4", "5", "6", "7")


@pytest.mark.checklist("7.kinds-of-keys")
def test_keys_of_every_kind_are_read_and_signed_with_by_everybody(team: Team) -> None:
    """A root in an RSA certificate; delegations of Ed25519, RSA and P-384, which docker itself never makes."""
    gun = team.gun
    key = PrivateKey(rsa.generate_private_key(65537, 2048))
    root = key.with_certificate(root_certificate(key, gun, clock()))
    sim = TrustSimulator(gun, clock(), root_key=root)
    sim.use_server_keys({role: team.ours.server_key(gun, role) for role in (SNAPSHOT, TIMESTAMP)})
    kinds = {
        "ed": PrivateKey(ed25519.Ed25519PrivateKey.generate()),
        "rsa": PrivateKey(rsa.generate_private_key(65537, 2048)),
        "p384": PrivateKey(ec.generate_private_key(ec.SECP384R1())),
    }  # fmt: skip
    for name, made in kinds.items():
        sim.delegate(f"targets/{name}", signers=[made])
    sim.delegate(RELEASES, signers=list(kinds.values()))
    sim.sign_tag("1", b"1", RELEASES)
    team.ours.post(gun, sim.upload())
    team.agree("1")
    team.keys.add(KeyFile(sim.keys[TARGETS][0], "targets", gun), PASSPHRASE.encode())
    for number, (name, made) in enumerate(kinds.items(), 2):
        file = team.keys.add(KeyFile(made, name), PASSPHRASE.encode())
        assert file.public == made.public
        team.addhash(str(number), "targets/releases", f"targets/{name}")
        team.agree(*map(str, range(1, number + 1)), signed_by={str(number): {name}})
    team.sign("5")
    team.agree("1", "2", "3", "4", "5", signed_by={"5": set(kinds)})
    team.docker("revoke", "--yes", f"{gun}:2")
    team.agree("1", "3", "4", "5")
