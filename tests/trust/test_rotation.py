"""Keys are rotated while a repository is in use: docker, notary and our client follow from what they trusted before.

Each runs against this server and against Debian's notary-server.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from customhouse.db import Database
from customhouse.errors import Invalid
from customhouse.trust import rotation, signers
from customhouse.trust.client import Anchor, TrustClient
from customhouse.trust.key_directory import KeyMissing
from customhouse.trust.known import known_uses
from customhouse.trust.metadata import parse_root
from customhouse.trust.names import RELEASES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Gun
from tests.peers.certificates import LoopbackCertificate, loopback_certificate
from tests.peers.servers import Peer, notary_server
from tests.trust.serving import serving
from tests.trust.signing_people import ONE, PASSPHRASE, THREE, TWO, Signatory, real_clock

pytestmark = pytest.mark.needs("notary", "notary-server", "docker")


@dataclass
class Place:
    """A trust server as people see it."""

    host: str
    ca: Path


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackCertificate:
    return loopback_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory, tls: LoopbackCertificate) -> Iterator[Peer]:
    server = notary_server(tmp_path_factory.mktemp("notary"), tls)
    yield server
    server.stop()


@pytest.fixture(params=["ours", "debian"])
def place(request: pytest.FixtureRequest, tmp_path: Path, tls: LoopbackCertificate) -> Iterator[Place]:
    if request.param == "debian":
        yield Place(request.getfixturevalue("peer").host, tls.ca)
        return
    database = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    database.create()
    with serving(database, tmp_path) as served:
        yield Place(served.host, served.ca)
    database.close()


class Reader:
    """A consumer who looks with docker, notary and our client, and keeps what he saw."""

    def __init__(self, place: Place, home: Path, gun: Gun) -> None:
        self.place, self.home, self.gun = place, home, gun
        home.mkdir(parents=True)
        self.known: bytes | None = None
        self.passphrases = {
            f"NOTARY_{name}_PASSPHRASE": PASSPHRASE.decode() for name in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")
        }

    def run(self, *words: str) -> str:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "DOCKER_CONFIG": str(self.home / "docker"),
            "DOCKER_CONTENT_TRUST_SERVER": f"https://{self.place.host}", **self.passphrases,
        }  # fmt: skip
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False, input="")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def notary(self, *words: str, keys: Path | None = None) -> str:
        folder = str(keys or self.home / "notary")
        base = ["notary", "-s", f"https://{self.place.host}", "--tlscacert", str(self.place.ca), "-d", folder]
        return self.run(*base, *words)

    def sees(self, client: TrustClient) -> set[str]:
        """Tags; all three must see the same, from what each trusted the last time."""
        shown = json.loads(self.run("docker", "trust", "inspect", self.gun))[0]["SignedTags"]
        docker = {(tag["SignedTag"], tag["Digest"]) for tag in shown}
        found = client.fetch(self.gun, Anchor(known_root=self.known), real_clock())
        self.known = found.root.raw
        ours = {(tag.tag, tag.digest.hex) for tag in found.tags.values()}
        listed = self.notary("list", self.gun)
        assert docker == ours
        assert all(digest in listed for _, digest in ours)
        return {tag for tag, _ in ours}


@pytest.fixture
def owner(place: Place, tmp_path: Path) -> Signatory:
    made = Signatory(place, tmp_path / "owner", name=f"r{abs(hash(str(tmp_path))) % 10**9}")  # Debian's keeps all
    made.publisher.sign_tag(made.gun, "1", ONE, 3)
    return made


@pytest.fixture
def reader(place: Place, tmp_path: Path, owner: Signatory) -> Reader:
    """Has looked once, so root version 1 is what he trusts."""
    made = Reader(place, tmp_path / "reader", owner.gun)
    assert made.sees(TrustClient(owner.publisher.transport)) == {"1"}
    return made


def test_everybody_follows_every_rotation_step_by_step_and_all_at_once(
    owner: Signatory, reader: Reader, place: Place, tmp_path: Path
) -> None:
    gun, client = owner.gun, TrustClient(owner.publisher.transport)
    sleeper = Reader(place, tmp_path / "sleeper", gun)
    sleeper.sees(client)
    first = owner.fresh()
    version = 1
    for number, rotate in enumerate((
        lambda: rotation.rotate_root(owner.publisher, gun),
        lambda: rotation.rotate_targets(owner.publisher, gun),
        lambda: rotation.rotate_server(owner.publisher, gun, SNAPSHOT),
        lambda: rotation.rotate_server(owner.publisher, gun, TIMESTAMP),
        lambda: rotation.rotate_root(owner.publisher, gun),
    ), start=2):  # fmt: skip
        done = rotate()
        version += 1
        assert done.root_version == version and done.new not in done.old
        assert reader.sees(client) == {str(each) for each in range(1, number)}
        owner.publisher.sign_tag(gun, str(number), TWO, 3)
        assert reader.sees(client) == {str(each) for each in range(1, number + 1)}
        # With notary too, and with the new keys as they lie in the directory.
        reader.notary("addhash", "-p", gun, "noted", str(number), "--sha256", THREE.hex, keys=owner.home / "trust")
        assert "noted" in reader.sees(client)
        owner.publisher.remove_tag(gun, "noted")
    last = owner.fresh()
    for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
        assert not set(first.root.body.roles[role].key_ids) & set(last.root.body.roles[role].key_ids)
    # Who looked at version 1 only gets to version 6 in one go, and what was enrolled then still leads there.
    assert sleeper.sees(client) == {"1", "2", "3", "4", "5", "6"}
    assert client.fetch(gun, Anchor(enrolled=first.root_keys), real_clock()).root.version == 6


def test_one_new_root_key_serves_all_repositories_and_those_left_are_named(owner: Signatory, place: Place) -> None:
    other = Signatory(place, owner.home, name=f"{owner.name}b")
    other.publisher.sign_tag(other.gun, "1", ONE, 3)
    done = rotation.rotate_root(owner.publisher, owner.gun)
    assert done.elsewhere == (other.gun,)
    second = rotation.rotate_root(other.publisher, other.gun)
    assert (second.new, second.old, second.elsewhere) == (done.new, done.old, ())
    uses = known_uses(owner.keys.directory)
    assert {use["repository"] for use in uses[done.new] if use["role"] == "root"} == {owner.gun, other.gun}
    assert done.old[0] not in uses
    third = Signatory(place, owner.home, name=f"{owner.name}c")
    assert third.publisher.sign_tag(third.gun, "1", ONE, 3).root_key_ids == (done.new,)
    assert owner.fresh().root_keys == {done.new} == other.fresh().root_keys


def test_a_signers_key_is_replaced_where_it_stands_and_nothing_loses_its_signature(
    owner: Signatory, reader: Reader, place: Place, tmp_path: Path
) -> None:
    gun, client = owner.gun, TrustClient(owner.publisher.transport)
    for name in ("ann", "ben"):
        signers.add(owner.publisher, gun, name, [owner.key(name)])
    owner.publisher.sign_tag(gun, "2", TWO, 3)
    done = rotation.rotate_signer(owner.publisher, gun, "ann", None)
    assert done.lost == () and owner.keys.has(done.new)
    assert reader.sees(client) == {"1", "2"}
    fresh = owner.fresh()
    assert sorted(fresh.signers("2")) == ["ann", "ben"]
    keys = {entry.name: set(entry.key_ids) for entry in signers.listed(fresh)}
    assert keys["ann"] == {done.new} and not set(done.old) & keys["releases"] and done.new in keys["releases"]

    # A key that is elsewhere: its public part is enough, and releases keep the signature that ben's key here gives.
    away = Signatory(place, tmp_path / "away", name=owner.name)
    moved = rotation.rotate_signer(owner.publisher, gun, "ann", away.key("ann"))
    assert moved.lost == () and not owner.keys.has(moved.new)
    assert reader.sees(client) == {"1", "2"}
    assert owner.fresh().signers("2") == ["ben"]
    away.publisher.sign_tag(gun, "3", THREE, 3)
    assert reader.sees(client) == {"1", "2", "3"}
    with pytest.raises(signers.NoSuchSigner):
        rotation.rotate_signer(owner.publisher, gun, "nobody", None)


def test_a_snapshot_key_that_notary_keeps_at_the_publisher_becomes_the_servers(
    owner: Signatory, reader: Reader, place: Place
) -> None:
    theirs = Signatory(place, owner.home, name=f"{owner.name}n")
    reader.notary("init", "-p", theirs.gun, keys=owner.home / "trust")
    theirs.publisher.sign_tag(theirs.gun, "1", ONE, 3)
    assert theirs.publisher.may_sign(theirs.publisher.read(theirs.gun), SNAPSHOT)
    rotation.rotate_server(theirs.publisher, theirs.gun, TIMESTAMP)
    rotation.rotate_root(theirs.publisher, theirs.gun)
    rotation.rotate_server(theirs.publisher, theirs.gun, SNAPSHOT)
    assert not theirs.publisher.may_sign(theirs.publisher.read(theirs.gun), SNAPSHOT)
    theirs.publisher.sign_tag(theirs.gun, "2", TWO, 3)
    assert set(theirs.fresh().tags) == {"1", "2"}


def test_without_the_root_key_nothing_is_rotated_and_no_key_is_made(owner: Signatory) -> None:
    gun = owner.gun
    root = next(entry for entry in owner.keys.entries() if entry.role == "root")
    root.path.rename(owner.home / "safe")
    before = owner.keys.entries()
    for rotate in (
        lambda: rotation.rotate_root(owner.publisher, gun), lambda: rotation.rotate_targets(owner.publisher, gun),
        lambda: rotation.rotate_server(owner.publisher, gun, TIMESTAMP),
    ):
        with pytest.raises(KeyMissing, match=f"no key that may sign the root of {gun}"):
            rotate()
    assert owner.keys.entries() == before


def test_a_rotation_that_was_cut_off_goes_on_with_the_key_that_it_made(database: Database, tmp_path: Path) -> None:
    """The publish is refused after the key was made: as after a kill, the key is there, and the next try takes it."""
    with serving(database, tmp_path) as served:
        owner = Signatory(served, tmp_path / "owner")
        gun = owner.gun
        owner.publisher.sign_tag(gun, "1", ONE, 3)
        for rotate in (rotation.rotate_root, rotation.rotate_targets):
            served.listener.refusal = Invalid("cut off")
            before = {entry.key_id for entry in owner.keys.entries()}
            with pytest.raises(Exception, match="cut off"):
                rotate(owner.publisher, gun)
            (left,) = {entry.key_id for entry in owner.keys.entries()} - before
            served.listener.refusal = None
            assert owner.fresh().tags.keys() == {"1"}
            done = rotate(owner.publisher, gun)
            assert done.new == left
        assert owner.fresh().root.version == 3


def test_a_key_that_was_given_up_never_comes_back_by_itself(owner: Signatory, place: Place) -> None:
    """As after a backup was copied back: the files' times say nothing any more."""
    gun, given_up = owner.gun, set[str]()
    for _ in range(3):
        given_up.update(rotation.rotate_root(owner.publisher, gun).old)
        given_up.update(rotation.rotate_targets(owner.publisher, gun).old)
        for entry in owner.keys.entries():
            age = 0 if entry.key_id in given_up else -1000  # what was given up looks newest
            os.utime(entry.path, (real_clock().timestamp() + age,) * 2)
        for rotate in (rotation.rotate_root, rotation.rotate_targets):
            done = rotate(owner.publisher, gun)
            assert done.new not in given_up
            given_up.update(done.old)
    assert len(given_up) == 12
    other = Signatory(place, owner.home, name=f"{owner.name}o")
    assert other.publisher.sign_tag(other.gun, "1", ONE, 3).root_key_ids == tuple(owner.fresh().root_keys)


def test_a_role_that_needs_several_signatures_is_not_weakened(database: Database, tmp_path: Path) -> None:
    with serving(database, tmp_path) as served:
        owner = Signatory(served, tmp_path / "owner")
        gun = owner.gun
        owner.publisher.sign_tag(gun, "1", ONE, 3)
        from dataclasses import replace

        from customhouse.keys import certified
        from customhouse.trust import documents
        from customhouse.trust.certificates import root_certificate
        from customhouse.trust.metadata import RoleKeys

        repository, now = owner.publisher.read(gun), real_clock()
        (root_id,) = repository.root.body.roles[ROOT].key_ids
        first = owner.keys.signer(repository.root.body.keys[root_id])
        fresh = owner.keys.create("root")
        second = certified(fresh, root_certificate(fresh, gun, now))
        ids = tuple(sorted((first.public.key_id, second.public.key_id)))
        body = replace(
            repository.root.body, version=2, keys={**repository.root.body.keys, second.public.key_id: second.public},
            roles={**repository.root.body.roles, ROOT: RoleKeys(ids, 2)},
        )
        owner.publisher.send(repository, {ROOT: documents.sign_root(body, [first, second]).raw}, now)
        with pytest.raises(rotation.SeveralNeeded, match="root of .* needs 2 signatures"):
            rotation.rotate_root(owner.publisher, gun)
        assert owner.fresh().root.version == 2


def test_rotating_signers_with_a_threshold_names_what_must_be_signed_again(
    database: Database, tmp_path: Path
) -> None:
    with serving(database, tmp_path) as served:
        owner, ann, ben = (Signatory(served, tmp_path / name) for name in ("owner", "ann", "ben"))
        gun = owner.gun
        owner.publisher.sign_tag(gun, "1", ONE, 3)
        signers.add(owner.publisher, gun, "ann", [ann.key("ann")])
        signers.add(owner.publisher, gun, "ben", [ben.key("ben")], threshold=2)
        for each in (ann, ben):
            each.publisher.sign_tag(gun, "2", TWO, 3)
        done = rotation.rotate_signer(owner.publisher, gun, "ann", ann.keys.create("ann").public)
        assert [tag.tag for tag in done.lost] == ["2"]
        assert next(e.threshold for e in signers.listed(owner.fresh()) if e.name == "releases") == 2
        for each in (ben, ann):
            each.publisher.sign_tag(gun, "2", TWO, 3)
        assert owner.fresh().tags["2"].role == RELEASES



ROTATING = """
import sys
from pathlib import Path
from customhouse.trust import rotation
from tests.trust.signing_people import Signatory
class Place: host, ca = sys.argv[1], Path(sys.argv[2])
owner = Signatory(Place, Path(sys.argv[3]))
print("ready", flush=True)
getattr(rotation, sys.argv[4])(owner.publisher, owner.gun)
"""


def test_a_rotation_that_is_killed_at_any_moment_leaves_a_repository_that_can_be_rotated(
    database: Database, tmp_path: Path
) -> None:
    with serving(database, tmp_path) as served:
        owner = Signatory(served, tmp_path / "owner")
        gun = owner.gun
        owner.publisher.sign_tag(gun, "1", ONE, 3)
        first = owner.fresh().root_keys
        died = finished = 0
        for number in range(16):
            kind = ("rotate_root", "rotate_targets")[number % 2]
            child = subprocess.Popen(
                [sys.executable, "-c", ROTATING, served.host, str(served.ca), str(owner.home), kind],
                cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True,
            )
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
            try:
                child.wait(timeout=0.004 * (number + 1))
            except subprocess.TimeoutExpired:
                child.kill()
            died, finished = (died + 1, finished) if child.wait() == -9 else (died, finished + 1)
            # Every key that is named opens, and what was enrolled first still leads to the newest root.
            found = TrustClient(owner.publisher.transport).fetch(gun, Anchor(enrolled=first), real_clock())
            assert set(found.tags) == {"1"}
            for role in (ROOT, TARGETS):
                for key_id in found.root.body.roles[role].key_ids:
                    owner.keys.open(found.root.body.keys[key_id].canonical_id)
            for entry in owner.keys.entries():
                owner.keys.open(entry.key_id)
        assert died >= 4, (died, finished)
        version = owner.fresh().root.version
        rotation.rotate_root(owner.publisher, gun)
        rotation.rotate_targets(owner.publisher, gun)
        assert owner.fresh().root.version == version + 2
        # No key was made in vain: one that waits is taken by the next rotation.
        used = {key.canonical_id for raw in served.service.root_versions(gun)
                for key in parse_root(raw).body.keys.values()}  # fmt: skip
        assert {entry.key_id for entry in owner.keys.entries()} <= used
