"""Mirrors at Debian's docker-registry and notary-server, as those find them who pull there: docker with content trust,
crane and oras. And as the administrator sees them, when a server is down, a login wrong, a hub dead.
"""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from customhouse.oci.digest import Digest
from customhouse.testing.images import BuiltImage, index
from tests.hub_process import HubProcess
from tests.journeys.people import Done, Person
from tests.journeys.test_foreign_pushers import attested
from tests.peers.certificates import LoopbackCertificate, loopback_certificate
from tests.peers.dockerd import Dockerd, dockerd
from tests.peers.gotools import go_tool
from tests.peers.vendor import SECRET, USER, Vendor, clock, hub
from tests.publisher import image
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
