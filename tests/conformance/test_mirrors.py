"""Mirrors at Debian's docker-registry and notary-server, as those find them who pull there: docker with content trust,
crane and oras. And as the administrator sees them, when a server is down, a login wrong, a hub dead.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from customhouse.oci.digest import Digest
from customhouse.testing.images import BuiltImage, index
from tests.hub_process import PASSWORD, HubProcess
from tests.journeys.people import Done, Person
from tests.journeys.test_foreign_pushers import attested
from tests.peers.certificates import LoopbackCertificate, loopback_certificate
from tests.peers.dockerd import Dockerd, dockerd
from tests.peers.gotools import go_tool
from tests.peers.network import Relay
from tests.peers.postgresql import PostgreSQL
from tests.peers.vendor import SECRET, USER, Vendor, clock, hub
from tests.publisher import Publisher, image
from tests.replication.mirror import SBOM, Mirror, attest
from tests.rooms import ADMIN, Rooms

__all__ = ["clock", "dockerd", "hub"]
pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("docker-registry", "notary-server")]
EAST = "east"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackCertificate:
    return loopback_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, tls: LoopbackCertificate) -> Iterator[Vendor]:
    made = Vendor(tmp_path_factory.mktemp("elsewhere"), tls, login=True)
    yield made
    made.close()


def files_of(layout: Path) -> set[str]:
    return {file.name for file in (layout / "blobs").rglob("*") if file.is_file()}


def official(hub: Rooms, built: BuiltImage, tag: str) -> None:
    """An index is certified platform by platform; here it is enough that it is official."""
    hub.push(built, tag)
    with hub.database.write() as tx:
        hub.registry.link_tree(tx, "staging/acme/web", "acme/web", built.digest)
        hub.registry.set_tag(tx, "acme/web", tag, built.digest, hub.clock())


class Consumer:
    """Somebody who pulls from the mirror with docker."""

    def __init__(self, elsewhere: Vendor, engine: Dockerd, home: Path) -> None:
        self.elsewhere, self.home = elsewhere, home
        settings = {"DOCKER_CONTENT_TRUST_SERVER": elsewhere.trust_server}
        self.person = Person("carol", HubProcess(home), home, engine.url, settings=settings)
        authority = home / ".docker" / "tls" / elsewhere.notary.host / "ca.crt"
        authority.parent.mkdir(parents=True)
        authority.write_text(elsewhere.ca)
        login = ("login", "-u", USER, "--password-stdin", elsewhere.registry.host)
        self.person.docker_does(*login, stdin=SECRET)

    def at(self, tag: str, mirror: str = EAST) -> str:
        return f"{self.elsewhere.registry.host}/{mirror}/acme/web:{tag}"

    def pulls(self, tag: str) -> Done:
        return self.person.docker_does("pull", self.at(tag), trust=True)

    def told(self, tag: str) -> dict[str, Any]:
        said = self.person.docker_does("trust", "inspect", self.at(tag)).document()
        found: dict[str, Any] = said[0]
        return found


@pytest.mark.needs("dockerd", "docker")
def test_docker_with_content_trust_pulls_from_the_mirror_and_names_the_hub_as_signer(
    hub: Rooms, elsewhere: Vendor, dockerd: Dockerd, tmp_path: Path
) -> None:
    one = image("one")
    both = index([image("amd"), image("arm")], platforms=["linux/amd64", "linux/arm64"])
    done = hub.publish(one, "1")
    official(hub, both, "2")
    mirror = Mirror(hub, elsewhere, EAST)
    assert mirror.run() == ""

    carol = Consumer(elsewhere, dockerd, tmp_path / "carol")
    for tag, digest in (("1", one.digest), ("2", both.digest)):
        carol.pulls(tag).told(f"{carol.at(tag)}@{digest}")
        told = carol.told(tag)
        assert told["SignedTags"] == [{"SignedTag": tag, "Digest": digest.hex, "Signers": ["customhouse"]}]
        assert [signer["Name"] for signer in told["Signers"]] == ["customhouse"]

    pinned = Consumer(elsewhere, dockerd, tmp_path / "pinned")
    bundle = tmp_path / "east.json"
    bundle.write_text(json.dumps(hub.mirroring.bundle(ADMIN, EAST).document()))
    pinned.person.customhouse("trust", "pin", "--bundle", bundle).told("is pinned to root key")
    pinned.pulls("1")

    hub.replication.rotate(ADMIN, EAST, "root")
    before = carol.told("1")["AdministrativeKeys"]
    assert mirror.run() == ""
    for person in (carol, pinned):  # both remember the root of before
        person.pulls("1")
        assert person.told("1")["AdministrativeKeys"] != before

    hub.publication.withdraw(ADMIN, done.id, "a flaw")
    assert mirror.run() == ""
    for person in (carol, pinned):
        person.person.docker("pull", carol.at("1"), trust=True).refused("No valid trust data for 1")
    carol.person.docker("pull", carol.at("1")).refused("not found")
    # Docker's engine may keep the manifest itself, so the registry is asked.
    assert not mirror.client().has_manifest(f"{EAST}/acme/web", str(one.digest))
    carol.pulls("2")


@pytest.mark.needs("go")
def test_crane_and_oras_find_all_platforms_and_what_refers_to_them(
    hub: Rooms, elsewhere: Vendor, tmp_path: Path
) -> None:
    built, proved = image("one"), attested("proved")
    hub.publish(built, "1")
    official(hub, proved, "2")
    sbom, signature = attest(hub, built), attest(hub, built, "signature")
    about_index = attest(hub, proved, "of the index")
    mirror = Mirror(hub, elsewhere, "found")
    assert mirror.run() == ""

    home, crane, oras = tmp_path / "home", go_tool("crane"), go_tool("oras")
    home.mkdir()
    login = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {elsewhere.registry.host: {"auth": login}}}))

    def desk(*words: str | Path) -> str:
        settings = {"HOME": str(home), "DOCKER_CONFIG": str(home), "SSL_CERT_FILE": str(elsewhere.tls.ca)}
        done = subprocess.run(words, env=settings, capture_output=True, text=True, timeout=60, cwd=home)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    there = f"{elsewhere.registry.host}/found/acme/web"
    desk(crane, "pull", "--format=oci", f"{there}:2", tmp_path / "out")
    assert files_of(tmp_path / "out") >= {digest.hex for digest in proved.blobs}
    assert desk(crane, "digest", f"{there}:2") == str(proved.digest)
    fallback = json.loads(desk(crane, "manifest", f"{there}:sha256-{built.digest.hex}"))
    assert {each["digest"] for each in fallback["manifests"]} == {sbom, signature}
    assert {each["artifactType"] for each in fallback["manifests"]} == {SBOM}
    for found in (sbom, signature, about_index):
        assert desk(crane, "digest", f"{there}@{found}") == str(found)

    ca = ("--plain-http=false", "--ca-file", elsewhere.tls.ca)  # it takes localhost for plain HTTP
    for tag, expected in (("1", {sbom, signature}), ("2", {about_index})):
        told = json.loads(desk(oras, "discover", *ca, "--format", "json", "--artifact-type", SBOM, f"{there}:{tag}"))
        found = told.get("referrers") or told["manifests"]
        assert {Digest.parse(each["digest"]) for each in found} == expected
        (tmp_path / tag).mkdir()
        for each in expected:
            desk(oras, "copy", "--from-plain-http=false", "--from-ca-file", elsewhere.tls.ca, "--to-oci-layout",
                 f"{there}@{each}", f"{tmp_path / tag}:{each.hex[:12]}")  # fmt: skip
            assert each.hex in files_of(tmp_path / tag)


def test_a_registry_that_deletes_nothing_keeps_content_that_nobody_signs_any_more(
    hub: Rooms, tls: LoopbackCertificate, tmp_path: Path
) -> None:
    firm = Vendor(tmp_path / "firm", tls, login=True, delete=False)
    try:
        kept, gone = image("kept"), image("gone")
        hub.publish(kept, "1")
        done = hub.publish(gone, "2")
        mirror = Mirror(hub, firm, "firm")
        assert mirror.run() == ""
        hub.publication.withdraw(ADMIN, done.id, "a flaw")
        for _ in range(2):
            assert mirror.run() == "" and mirror.states() == {"acme/web:1": "signed", "acme/web:2": "left"}
        assert sorted(mirror.signed().tags) == ["1"]
        assert mirror.client().manifest("firm/acme/web", "2").digest == gone.digest
        again = image("again")
        hub.push(again, "2")
        hub.go(hub.sign(again, "2"))
        assert mirror.run() == "" and mirror.signed().tags["2"].digest == again.digest
        assert mirror.states() == {"acme/web:1": "signed", "acme/web:2": "signed"}
    finally:
        firm.close()


class Office:
    """A hub as a process of its own, its publisher, and the administrator's command line."""

    def __init__(self, folder: Path, elsewhere: Vendor, **settings: str) -> None:
        self.hub, self.elsewhere = HubProcess(folder / "hub" / "data", settings=settings).start(), elsewhere
        self.publisher = Publisher(self.hub, folder / "keys")
        self.publisher.enrol()
        self.admin = Person("admin", self.hub, folder / "admin", "unix:///none")
        sign_in = ("login", self.hub.url, "-u", "admin", "--password-stdin", "--ca-file", self.hub.ca)
        self.admin.customhouse_does(*sign_in, stdin=PASSWORD)

    def publish(self, tag: str) -> BuiltImage:
        built = image(tag)
        self.hub.wait_for(self.publisher.release("web", tag, built), "published")
        return built

    def add(self, name: str, secret: str = SECRET) -> Done:
        there = self.elsewhere
        words = ("mirror", "add", name, there.registry_url, "--trust", there.trust_server, "--username", USER)
        more = ("--password-stdin", "--authority", there.tls.ca, "--as", f"{name}/{{repository}}")
        return self.admin.customhouse(*words, *more, stdin=secret)

    def shown(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.hub.api("GET", f"/api/v1/mirrors/{name}")
        return found

    def states(self, name: str) -> dict[str, str]:
        return {tag["tag"]: tag["state"] for each in self.shown(name)["states"] for tag in each["tags"]}

    def waits(self, name: str, expected: Callable[[dict[str, Any]], bool], seconds: float = 40) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while not expected(shown := self.shown(name)):
            assert time.monotonic() < deadline, shown
            time.sleep(0.1)
        return shown


@pytest.fixture
def office(tmp_path: Path, elsewhere: Vendor) -> Iterator[Office]:
    made = Office(tmp_path, elsewhere)
    yield made
    made.hub.close()


def test_a_wrong_login_and_servers_that_are_down_are_told_and_what_was_meant_is_done_later(
    office: Office, elsewhere: Vendor
) -> None:
    office.publish("1")
    office.add("hard", "wrong")
    done = office.admin.customhouse("mirror", "run", "hard").refused("not accepted", "It is tried again by itself.")
    assert done.code == 3 and "wrong" not in done.said.replace("is wrong", "")
    office.add("hard")
    assert office.admin.customhouse("mirror", "run", "hard").code == 0
    assert office.states("hard") == {"1": "signed"}

    elsewhere.registry.stop()
    office.publish("2")
    shown = office.waits("hard", lambda shown: shown["attempts"] >= 2)
    assert elsewhere.registry.host in shown["error"] and office.states("hard") == {"1": "signed"}
    elsewhere.start_registry(elsewhere.registry.port)
    office.waits("hard", lambda shown: shown["states"][0]["as_wanted"] and not shown["error"])
    assert office.states("hard") == {"1": "signed", "2": "signed"}

    elsewhere.notary.stop()
    office.add("late")
    shown = office.waits("late", lambda shown: shown["attempts"] >= 1)
    assert elsewhere.notary.host in shown["error"]
    assert office.states("late") == {"1": "sent", "2": "sent"}
    elsewhere.start_notary(elsewhere.notary.port)
    office.waits("late", lambda shown: shown["states"][0]["as_wanted"] and not shown["error"])
    assert office.states("late") == {"1": "signed", "2": "signed"}
    assert office.hub.doctor() == []


@pytest.mark.needs("postgresql")
def test_of_two_hubs_one_works_on_a_mirror_and_the_other_takes_over_when_it_dies(
    tmp_path: Path, elsewhere: Vendor, postgres: PostgreSQL
) -> None:
    orders, database, key = tmp_path / "orders", postgres.url(), tmp_path / "master-key"
    key.write_text(os.urandom(32).hex())
    settings = {"database": database, "master_key_file": str(key)}
    office = Office(tmp_path / "one", elsewhere, fault=f"@{orders}", **settings)
    other = HubProcess(tmp_path / "two" / "data", office.hub.port, settings, address="127.0.0.2")
    relay = None
    try:
        built = office.publish("1")
        other.data.mkdir(parents=True)
        (other.data / "blobs").symlink_to(office.hub.data / "blobs")
        orders.write_text("hold mirror.sent:1 once\n")
        office.add("two")
        passed = orders.with_name("orders.passed")
        office.waits("two", lambda shown: "mirror.sent" in passed.read_text())
        other.start()
        time.sleep(5)  # two turns of the other's duties
        shown = office.shown("two")
        assert (shown["running"], office.states("two")) == (True, {})
        office.hub.kill()
        relay = Relay(("127.0.0.1", other.port), ("127.0.0.2", other.port))
        office.waits("two", lambda shown: bool(shown["states"]) and shown["states"][0]["as_wanted"], seconds=60)
        entries = office.hub.api("GET", "/api/v1/audit?after=0&limit=1000")["entries"]
        assert [each["digest"] for each in entries if each["action"] == "mirror.publish"] == [built.digest]
    finally:
        office.hub.close()
        other.close()
        if relay:
            relay.stop()
