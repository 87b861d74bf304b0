"""What docker asks when consumers pull, and which role it believes. Repositories that docker's own commands cannot
make come from the simulator, published by the hub's rules.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customhouse.keys import PublicKey
from customhouse.oci.digest import Digest
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust.names import RELEASES, SNAPSHOT, TARGETS, TIMESTAMP, RoleName
from tests.hub_process import free_port
from tests.journeys import wire
from tests.journeys.contexts import context
from tests.journeys.meddler import between
from tests.journeys.people import Person, Town
from tests.peers.dockerd import Dockerd

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")
UNKNOWN = "No valid trust data for"


@dataclass
class Workshop:
    """A staging repository whose every role is the test's own, and images in it that are not signed yet."""

    owner: Person
    name: str
    folder: Path

    def __post_init__(self) -> None:
        self.gun = self.owner.staging(self.name)
        self.simulator = TrustSimulator(self.gun, datetime.now(UTC))
        keys = {}
        for role in (SNAPSHOT, TIMESTAMP):
            found = self._ask("GET", f"{role}.key").json()
            keys[role] = PublicKey.parse(found["keytype"], found["keyval"]["public"])
        self.simulator.use_server_keys(keys)

    def image(self, page: str) -> bytes:
        """Push an image; its manifest."""
        reference = f"{self.gun}:made-{page}"
        self.owner.build(reference, context(self.folder / page, page=f"{self.name} {page}"))
        self.owner.push(reference, trust=False)
        raw = wire.manifest(self.owner, f"staging/{self.owner.publisher}/{self.name}", f"made-{page}").body
        self.owner.forget(reference)
        return raw

    def publish(self, *roles: RoleName) -> wire.Answer:
        body, content_type = multipart(self.simulator.upload(*roles))
        return self._ask("POST", "", body=body, content_type=content_type)

    def _ask(self, method: str, file: str, body: bytes | None = None, **headers: str) -> wire.Answer:
        scope = f"repository:{self.gun}:push,pull"
        return wire.request(self.owner, method, f"/v2/{self.gun}/_trust/tuf/{file}", scope, body=body, **headers)


def pulls(person: Person, reference: str) -> str:
    """`docker pull` with trust of an image that is not there; the digest that it names."""
    done = person.docker_does("pull", reference, trust=True)
    person.forget(reference)
    return "sha256:" + done.out.split("Digest: sha256:")[1][:64]


def listed(person: Person, gun: str) -> dict[str, str]:
    """The same from our client, which must believe what docker believes."""
    return {row["tag"]: row["digest"] for row in person.customhouse_does("trust", "list", gun)["tags"]}


@pytest.fixture(scope="module")
def dealer(village: Town) -> Person:
    return village.publisher("dealer")


@pytest.mark.checklist("3.first", "3.cached")
def test_a_first_pull_reads_every_role_and_the_next_one_the_timestamp_only(
    village: Town, dealer: Person, tmp_path: Path
) -> None:
    staging, official = f"{dealer.staging('web')}:1", f"{dealer.official('web')}:1"
    dealer.build(staging, context(tmp_path / "web", page="pulled twice"))
    digest = dealer.push(staging)
    dealer.outcome(staging, "published")
    dealer.forget(staging)
    with between(village.hub) as (meddler, server):
        first = replace(village.anonymous("first"), settings={"DOCKER_CONTENT_TRUST_SERVER": server})
        assert pulls(first, official) == digest
        asked = [request.partition(".")[0] for request in meddler.asked]
        own = ["GET targets/customhouse", "GET targets/releases"]
        assert asked[:5] == ["GET /v2/", "GET root", "GET timestamp", "GET snapshot", "GET targets"]
        assert sorted(asked[5:]) == own
        meddler.asked.clear()
        assert pulls(first, official) == digest
        assert meddler.asked == ["GET /v2/", "GET timestamp.json"]


@pytest.mark.checklist("3.releases-or-targets", "3.paths")
def test_docker_believes_releases_before_targets_within_its_paths_and_nobody_else(
    dealer: Person, tmp_path: Path
) -> None:
    shop = Workshop(dealer, "roles", tmp_path)
    mine, theirs = shop.image("targets"), shop.image("releases")
    simulator = shop.simulator
    bob = simulator.delegate("targets/bob")
    simulator.delegate(RELEASES, paths=("v", "both"))
    for tag, content, role in (
        ("both", mine, TARGETS), ("both", theirs, RELEASES), ("only-targets", mine, TARGETS),
        ("v1", theirs, RELEASES), ("outside", theirs, RELEASES), ("only-bob", theirs, bob),
    ):  # fmt: skip
        simulator.sign_tag(tag, content, role)
    assert shop.publish().status == 200
    assert pulls(dealer, f"{shop.gun}:both") == str(Digest.of(theirs))
    assert pulls(dealer, f"{shop.gun}:only-targets") == str(Digest.of(mine))
    assert pulls(dealer, f"{shop.gun}:v1") == str(Digest.of(theirs))
    dealer.docker("pull", f"{shop.gun}:outside", trust=True).refused(f"{UNKNOWN} outside")
    dealer.docker("pull", f"{shop.gun}:only-bob", trust=True).refused("No trust data for only-bob")
    assert listed(dealer, shop.gun) == {
        "both": str(Digest.of(theirs)), "only-targets": str(Digest.of(mine)), "v1": str(Digest.of(theirs)),
    }  # fmt: skip


@pytest.mark.checklist("3.threshold")
def test_of_two_needed_signatures_two_are_enough_and_one_is_refused(dealer: Person, tmp_path: Path) -> None:
    shop = Workshop(dealer, "threshold", tmp_path)
    simulator = shop.simulator
    simulator.delegate(RELEASES, keys=2, threshold=2)
    simulator.sign_tag("1", shop.image("one"), RELEASES)
    assert shop.publish().status == 200
    digest = pulls(dealer, f"{shop.gun}:1")

    simulator.bump(RELEASES)
    simulator.sign_tag("1", shop.image("two"), RELEASES)
    simulator.drop_signature(RELEASES)
    refused = shop.publish(RELEASES)
    assert refused.status == 400
    assert "targets/releases version 2 has 1 of 2 needed signatures" in refused.body.decode()
    assert pulls(dealer, f"{shop.gun}:1") == digest


@pytest.mark.checklist("3.expired-delegation")
def test_a_delegation_that_is_over_counts_no_more(dealer: Person, tmp_path: Path) -> None:
    shop = Workshop(dealer, "fading", tmp_path)
    mine, theirs = shop.image("targets"), shop.image("releases")
    simulator = shop.simulator
    simulator.delegate(RELEASES)
    simulator.sign_tag("both", mine, TARGETS)
    for tag in ("both", "only"):
        simulator.sign_tag(tag, theirs, RELEASES)
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=15)
    simulator.bodies[RELEASES] = replace(simulator.bodies[RELEASES], expires=end)
    assert shop.publish().status == 200
    early = pulls(dealer, f"{shop.gun}:both")
    assert datetime.now(UTC) < end, "this machine is too slow to see it before its end"
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds() + 1))
    late = pulls(dealer, f"{shop.gun}:both")
    assert [early, late] == [str(Digest.of(theirs)), str(Digest.of(mine))]
    dealer.docker("pull", f"{shop.gun}:only", trust=True).refused(f"{UNKNOWN} only")
    assert listed(dealer, shop.gun) == {"both": str(Digest.of(mine))}


@pytest.mark.checklist("3.all", "3.run", "3.create")
def test_pull_all_run_and_create_use_what_is_signed_and_nothing_else(dealer: Person, tmp_path: Path) -> None:
    gun, official = dealer.staging("tools"), dealer.official("tools")
    digests = {}
    for tag in ("1", "2", "unsigned"):
        dealer.build(f"{gun}:{tag}", context(tmp_path / tag, page=f"tool {tag}"))
        digests[tag] = dealer.push(f"{gun}:{tag}", trust=tag != "unsigned")
        if tag != "unsigned":
            dealer.outcome(f"{gun}:{tag}", "published")
        dealer.forget(f"{gun}:{tag}")
    mate = replace(dealer, home=tmp_path / "home")
    mate.docker_login()
    done = mate.docker_does("pull", "-a", gun, trust=True)
    for tag in ("1", "2"):
        done.told(f"{gun}@{digests[tag]} as {gun}:{tag}")
    assert digests["unsigned"] not in done.said
    mate.forget(f"{gun}:1", f"{gun}:2")

    visitor = Person("tools-visitor", dealer.hub, tmp_path / "visitor", dealer.engine)
    cat = ("/bin/cat", "/www/page.html")
    ran = visitor.docker_does("run", "--rm", "--network", "none", f"{official}:1", *cat, trust=True)
    assert ran.out == "tool 1"
    created = visitor.docker_does("create", "--pull", "always", "--network", "none", f"{official}:2", *cat, trust=True)
    container = created.out.split()[-1]
    assert visitor.docker_does("start", "--attach", container).out == "tool 2"
    visitor.docker_does("rm", container)
    for words in (("run", "--rm"), ("create", "--pull", "always")):
        visitor.docker(*words, f"{official}:3", trust=True).refused(f"{UNKNOWN} 3")
    # A local image under a name that is not signed is none.
    visitor.docker_does("tag", f"{official}:1", f"{official}:mine")
    visitor.docker("run", "--rm", f"{official}:mine", trust=True).refused(f"{UNKNOWN} mine")


@pytest.fixture
def swarm(village: Town) -> Iterator[Person]:
    """Somebody at an engine of his own, which is a swarm of one."""
    folder = Path(tempfile.mkdtemp(prefix="ch-swarm-", dir="/tmp"))
    engine = Dockerd(folder)
    captain = village.at(engine).anonymous("captain")
    try:
        listen = ("--listen-addr", f"127.0.0.1:{free_port()}")
        captain.docker_does("swarm", "init", "--advertise-addr", "127.0.0.1", *listen)
        yield captain
    finally:
        captain.docker("swarm", "leave", "--force")
        captain.docker("network", "rm", "docker_gwbridge")
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.checklist("3.service")
def test_a_service_is_created_and_updated_with_the_digest_that_is_signed(
    dealer: Person, swarm: Person, tmp_path: Path
) -> None:
    digests = {}
    for tag in ("1", "2"):
        staging = f"{dealer.staging('service')}:{tag}"
        dealer.build(staging, context(tmp_path / tag, page=f"service {tag}"))
        digests[tag] = dealer.push(staging)
        dealer.outcome(staging, "published")
    official = dealer.official("service")
    create = ("service", "create", "--detach", "--network", "host", "--name", "web")
    unsigned = "failed to resolve image digest using content trust"
    swarm.docker(*create, f"{official}:3", trust=True).refused(unsigned, f"{UNKNOWN} 3")
    swarm.docker_does(*create, f"{official}:1", trust=True)
    assert served(swarm) == f"{official}:1@{digests['1']}"
    deadline = time.monotonic() + 60
    while "Running" not in swarm.docker_does("service", "ps", "web", "--format", "{{.CurrentState}}").out:
        assert time.monotonic() < deadline, swarm.docker("service", "ps", "web", "--no-trunc").said
        time.sleep(0.5)
    update = ("service", "update", "--detach", "--image")
    swarm.docker(*update, f"{official}:3", "web", trust=True).refused(unsigned, f"{UNKNOWN} 3")
    swarm.docker_does(*update, f"{official}:2", "web", trust=True)
    assert served(swarm) == f"{official}:2@{digests['2']}"
    swarm.docker_does("service", "rm", "web")


def served(person: Person) -> str:
    return person.docker_does(
        "service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "web"
    ).out.strip()
