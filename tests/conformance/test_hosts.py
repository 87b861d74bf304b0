"""Several hosts are one hub: one database, one store of blobs, one name; any of them answers, none is needed."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3

from customhouse.testing.images import write_oci_layout
from tests.conformance.wire import Wire
from tests.hub_process import HubProcess, free_port
from tests.peers.network import Network, Relay
from tests.peers.postgresql import PostgreSQL
from tests.publisher import Publisher, image

if TYPE_CHECKING:
    from tests.peers.rgw import Rgw

pytestmark = [
    pytest.mark.needs("postgresql"), pytest.mark.needs("ip"),
    pytest.mark.skipif(os.getuid() != 0, reason="network namespaces"),
]  # fmt: skip
MIB = 1024 * 1024
HOSTS = 3


class Cluster:
    """Three machines with a hub's host on each, and before them a balancer at the hub's public name."""

    def __init__(self, folder: Path, postgres: PostgreSQL, blobs: dict[str, str] | None = None) -> None:
        """`blobs`: the settings of a bucket; else a shared folder."""
        self.folder = folder
        self.network = Network(HOSTS)
        self.relays: list[Relay] = []
        self.key, self.port = folder / "master-key", free_port()
        self.key.write_text(os.urandom(32).hex())
        services = {"database": postgres.url(), **(blobs or {})}
        self.settings = {name: self.from_there(value) for name, value in services.items()}
        self.settings["master_key_file"] = str(self.key)
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.hosts = [self.host(f"host{number}", number) for number in range(HOSTS)]
        self.balancer = Relay(("127.0.0.1", self.port), *[(host.address, self.port) for host in self.hosts])
        self.relays.append(self.balancer)

    def from_there(self, url: str) -> str:
        """A service of this machine's loopback, as the others reach it."""
        found = re.search(r"127\.0\.0\.1:([0-9]+)", url)
        if found is None:
            return url
        self.relays.append(Relay((self.network.here, 0), ("127.0.0.1", int(found[1]))))
        return url.replace(found[0], f"{self.network.here}:{self.relays[-1].port}")

    def host(self, name: str, on: int, *, shared: bool = True, **settings: str) -> HubProcess:
        """A host's folder with the shared blobs mounted, and its process on the machine of this number."""
        data = self.folder / name / "data"
        data.mkdir(parents=True)
        if shared:
            (data / "blobs").symlink_to(self.shared)
        made = HubProcess(
            data, port=self.port, address=self.network.addresses[on], settings={**self.settings, **settings}
        )
        made.program = (*self.network.prefix(on), *made.program)
        return made

    def start(self) -> "Cluster":
        """All at once, also the first time."""
        for host in self.hosts:
            host.start(wait=False)
        for host in self.hosts:
            self.ready(host)
        return self

    @staticmethod
    def ready(host: HubProcess) -> None:
        assert host.process is not None and host.process.stdout is not None
        line = host.process.stdout.readline()
        assert line.startswith("ready "), host.log.read_text()[-4000:]

    def only(self, *hosts: HubProcess) -> None:
        """Whom the balancer sends clients to."""
        self.balancer.targets = [(host.address, self.port) for host in hosts]

    def refused(self, host: HubProcess) -> str:
        """What a host says that does not start."""
        host.start(wait=False)
        try:
            assert host.wait_dead(30) not in (0, -9)
        finally:
            host.close()
        return host.log.read_text()

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        for relay in self.relays:
            relay.stop()
        self.network.stop()


@pytest.fixture(scope="module")
def cluster(postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("hosts"), postgres)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def publisher(cluster: Cluster) -> Publisher:
    made = Publisher(cluster.hosts[0], cluster.folder / "keys")
    made.enrol()
    return made


@pytest.fixture(autouse=True)
def sound(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test all three run, and every invariant holds on each of them."""
    if "cluster" not in request.fixturenames:
        yield
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    cluster.only(*cluster.hosts)
    yield
    for host in cluster.hosts:
        assert host.process is not None and host.process.poll() is None
        cluster.only(host)
        assert host.doctor() == []


def upload_from_host_to_host(cluster: Cluster, publisher: Publisher) -> None:
    one, two, three = wires(cluster, publisher, "staging/acme/web")
    content = os.urandom(9 * MIB)
    digest = f"sha256:{sha256(content).hexdigest()}"
    place = one.request("POST", "/blobs/uploads/").headers["location"]
    for wire, start, end in ((two, 0, 4), (three, 4, 9)):
        sent = {**wire.authorization, "content-range": f"{start * MIB}-{end * MIB - 1}"}
        told = wire.request("PATCH", place, content[start * MIB : end * MIB], headers=sent)
        assert (told.status, told.headers["range"]) == (202, f"0-{end * MIB - 1}")
        assert one.request("GET", place).headers["range"] == f"0-{end * MIB - 1}"
    assert one.request("PUT", f"{place}?digest={digest}").status == 201
    for wire in (one, two, three):
        assert sha256(wire.request("GET", f"/blobs/{digest}").data).hexdigest() == digest[7:]
        assert wire.request("GET", place).status == 404


def wires(cluster: Cluster, publisher: Publisher, repository: str) -> list[Wire]:
    return [Wire(publisher, repository, host) for host in cluster.hosts]


def test_an_upload_goes_on_at_another_host_with_each_request(cluster: Cluster, publisher: Publisher) -> None:
    upload_from_host_to_host(cluster, publisher)


def test_a_token_of_one_host_is_good_at_all_and_a_tag_is_seen_at_once(cluster: Cluster, publisher: Publisher) -> None:
    one, *others = wires(cluster, publisher, "staging/acme/moved")
    for number in range(12):
        built = image(str(number))
        cluster.only(cluster.hosts[number % HOSTS])
        publisher.push("moved", "latest", built)
        for wire in others:
            told = wire.request("GET", "/manifests/latest", headers=one.authorization)
            assert (told.status, told.headers["docker-content-digest"]) == (200, str(built.digest))


@pytest.mark.needs("skopeo")
def test_a_client_pushes_and_pulls_where_each_connection_goes_elsewhere(
    cluster: Cluster, publisher: Publisher, tmp_path: Path
) -> None:
    assert publisher.login is not None
    layout = write_oci_layout(image("skopeo"), tmp_path / "image", tag="1")
    login = f"{publisher.login.username}:{publisher.login.secret}"
    where = f"docker://localhost:{cluster.port}/staging/acme/skopeo:1"
    for words in (
        ["--dest-creds", login, "--dest-tls-verify=false", f"oci:{layout}", where],
        ["--src-creds", login, "--src-tls-verify=false", where, f"dir:{tmp_path / 'back'}"],
    ):
        done = subprocess.run(["skopeo", "copy", "-q", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    back = sha256((tmp_path / "back" / "manifest.json").read_bytes()).hexdigest()
    for wire in wires(cluster, publisher, "staging/acme/skopeo"):
        assert wire.request("HEAD", "/manifests/1").headers["docker-content-digest"] == f"sha256:{back}"


def test_releases_in_one_repository_at_once_are_all_published(cluster: Cluster, publisher: Publisher) -> None:
    tags = [f"1.{number}" for number in range(6)]
    for tag in tags:
        publisher.push("busy", tag, image(tag))
    with publisher.transport() as transport:
        publisher.trust(transport).sign_tags(
            publisher.gun("busy"), {tag: (image(tag).digest, len(image(tag).manifest_raw)) for tag in tags}
        )
    for tag in tags:
        publisher.hub.wait_for(f"staging/acme/busy:{tag}", "published")
    for host in cluster.hosts:
        cluster.only(host)
        for tag in tags:
            assert host.latest(f"staging/acme/busy:{tag}")["state"] == "published"


def test_what_a_host_had_begun_is_gone_on_with_when_it_dies(cluster: Cluster, publisher: Publisher) -> None:
    dying, *others = cluster.hosts
    dying.stop()
    for host in others:
        _signal(host, signal.SIGSTOP)
    try:
        cluster.only(dying)
        dying.start(fault="judge.commit")
        publisher.release("taken", "1", image("taken"))
        assert dying.wait_dead(60) == -9
    finally:
        for host in others:
            _signal(host, signal.SIGCONT)
    cluster.only(*others)
    assert others[0].wait_for("staging/acme/taken:1", "published")
    dying.start()


def test_a_host_that_only_serves_leaves_the_work_to_others(cluster: Cluster, publisher: Publisher) -> None:
    *others, serving = cluster.hosts
    for host in cluster.hosts:
        host.stop()
    serving.settings["role"] = "api"
    try:
        cluster.only(serving)
        serving.start()
        publisher.release("served", "1", image("served"))
        time.sleep(3)
        assert serving.latest("staging/acme/served:1")["state"] == "received"
        for host in others:
            host.start()
        serving.wait_for("staging/acme/served:1", "published")
    finally:
        del serving.settings["role"]
    serving.stop()
    serving.start()


def test_a_revoked_token_is_refused_by_every_host_at_once(cluster: Cluster, publisher: Publisher) -> None:
    cluster.only(cluster.hosts[0])
    made = publisher.hub.api(
        "POST", "/api/v1/tokens", {"name": "short", "publisher": "acme", "scope": ["pull"], "expires_seconds": 3600},
        user="alice",
    )
    basic = urllib3.make_headers(basic_auth=f"{made['username']}:{made['secret']}")
    asked = f"/token?service=localhost:{cluster.port}&scope=repository:staging/acme/web:pull"

    def ask(wire: Wire) -> int:
        return wire.request("GET", asked, headers=basic, base="").status

    at = wires(cluster, publisher, "staging/acme/web")
    assert [ask(wire) for wire in at] == [200] * HOSTS
    publisher.hub.api("DELETE", f"/api/v1/tokens/{made['username']}", user="alice")
    assert [ask(wire) for wire in at] == [401] * HOSTS


def test_a_key_rotated_on_one_host_is_used_by_all_of_them(cluster: Cluster, publisher: Publisher) -> None:
    publisher.release("keyed", "1", image("keyed"))
    publisher.hub.wait_for("staging/acme/keyed:1", "published")
    first, *others = cluster.hosts
    first.stop()
    cluster.only(*others)
    done = subprocess.run(
        [*first.program, "hub-key", "rotate", "release", "--data", str(first.data)],
        env=first.environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first.start()
    cluster.only(others[0])
    publisher.release("keyed", "2", image("keyed again"))
    publisher.hub.wait_for("staging/acme/keyed:2", "published")
    assert {_keys(host) for host in cluster.hosts} == {_keys(first)}
    assert any("release.2" in name for name, _ in _keys(first))


def test_a_host_that_is_another_hubs_does_not_start(cluster: Cluster) -> None:
    other_key = cluster.folder / "other-key"
    other_key.write_text(os.urandom(32).hex())
    said = cluster.refused(cluster.host("sealed", 0, master_key_file=str(other_key)))
    assert "error:" in said and "does not open" in said and "hint:" in said and "Traceback" not in said
    said = cluster.refused(cluster.host("apart", 0, shared=False))
    assert "the blobs of this hub are not here" in said and "hint:" in said and "Traceback" not in said
    alone = HubProcess(cluster.folder / "alone" / "data").start()
    alone.stop()
    mixed = cluster.host("mixed", 0)
    (alone.data / "keys").rename(mixed.data / "keys")
    said = cluster.refused(mixed)
    assert "hint:" in said and "Traceback" not in said


@pytest.mark.needs("radosgw")
def test_hosts_share_a_bucket(postgres: PostgreSQL, rgw: "Rgw", tmp_path: Path) -> None:
    made = Cluster(tmp_path, postgres, {**rgw.bucket().settings(), "blob_redirect": "false"})
    try:
        made.start()
        publisher = Publisher(made.hosts[0], tmp_path / "keys")
        publisher.enrol()
        upload_from_host_to_host(made, publisher)
        publisher.release("web", "1", image("1"))
        made.hosts[0].wait_for("staging/acme/web:1", "published")
        assert not list(made.shared.iterdir())
        for host in made.hosts:
            made.only(host)
            assert host.doctor() == []
        made.settings["blobs"] += "-elsewhere"
        assert "the blobs of this hub are not here" in made.refused(made.host("apart", 0))
    finally:
        made.close()


def _keys(host: HubProcess) -> frozenset[tuple[str, str]]:
    found = (path for path in (host.data / "keys").iterdir())
    return frozenset((path.name, sha256(path.read_bytes()).hexdigest()) for path in found)


def _signal(host: HubProcess, number: int) -> None:
    assert host.process is not None
    os.kill(host.process.pid, number)
