"""The trust server beside Debian's notary-server, both over TLS: reading, new connections, publishing, 100,000 tags.

1. Both hold the same repositories, made by the trust simulator. notary-server keeps all in memory, and asks nobody for
   a token: it does less.
2. A new connection for each request: connections.go, with the HTTP client that docker's own is made of. (wrk turns in
   circles while it waits for a hand-shake, and takes the processor from whom it measures.) Beside each rate stands what
   the server itself took of a processor.
3. The names that fill a large file lie outside its role's paths, so that what is measured is the trust server and not
   100,000 submissions; the one name that is added is a tag, and makes one.
"""

import base64
import json
import statistics
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import urllib3

from benchmarks.measure import MB, connections, memory, seconds, table, wrk
from benchmarks.servers import Bench, cpu_seconds, run
from customhouse.keys import PublicKey
from customhouse.testing.trust_simulator import TrustSimulator, multipart
from customhouse.trust.canonical import published
from customhouse.trust.metadata import FileMeta, Targets
from customhouse.trust.names import RELEASES, SNAPSHOT, TIMESTAMP, Gun, RoleName

ALICE = RoleName("targets/alice")


@dataclass
class TrustServer:
    """One of the two; `bench` gives tokens where they are asked for."""

    name: str
    host: str
    pid: int
    bench: Bench
    ca: Path
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(cert_reqs="CERT_NONE"))

    def headers(self, repository: str) -> dict[str, str]:
        """What goes along with each request for a repository."""
        return self.bench.bearer(self.bench.hub, "https", repository) if "customhouse" in self.name else {}

    def base(self, repository: str) -> str:
        """Where its metadata is."""
        return f"https://{self.host}/v2/{self.host}/{repository}/_trust/tuf/"

    def get(self, repository: str, file: str, headers: dict[str, str]) -> bytes:
        """A file, whole."""
        answer = self.pool.request("GET", self.base(repository) + file, headers=headers)
        assert answer.status == 200, answer.data[:300]
        return answer.data

    def simulator(self, repository: str, headers: dict[str, str]) -> TrustSimulator:
        """A new repository with releases and one signer."""
        sim = TrustSimulator(Gun(f"{self.host}/{repository}"), datetime.now(UTC))
        for role in (SNAPSHOT, TIMESTAMP):
            key = json.loads(self.get(repository, f"{role}.key", headers))
            sim.use_server_keys({role: PublicKey.parse(key["keytype"], key["keyval"]["public"])})
        for role in (RELEASES, ALICE):
            sim.delegate(role)
            sim.sign_tag("1.0.0", role=role)
        return sim

    def publish(self, repository: str, files: dict[RoleName, bytes], headers: dict[str, str]) -> float:
        """All in one request; returns the seconds until it is accepted."""
        body, kind = multipart(files)
        began = time.monotonic()
        answer = self.pool.request(
            "POST", self.base(repository), body=body, headers={**headers, "content-type": kind}, retries=False
        )
        took = time.monotonic() - began
        assert answer.status == 200, answer.data[:1000]
        return took


def measure(bench: Bench, runs: int, length: int, tags: int) -> None:
    """Every row; `length` is the seconds of each run of requests."""
    servers = [
        TrustServer("customhouse TLS", bench.hub.host, bench.hub.process.pid, bench, bench.hub.ca),  # type: ignore[union-attr]
        TrustServer("notary-server TLS", bench.notary.host, bench.notary.pid, bench, bench.tls.ca),
    ]
    reading(servers, runs, length)
    publishing(servers, runs)
    large(servers, runs, tags)


def reading(servers: list[TrustServer], runs: int, length: int) -> None:
    """GET of current and hash-addressed metadata, over connections that stay and over new ones."""
    repository = "staging/acme/read"
    files: dict[str, dict[str, str]] = {}
    for server in servers:
        headers = server.headers(repository)
        server.publish(repository, server.simulator(repository, headers).upload(), headers)
        targets = sha256(server.get(repository, "targets.json", headers)).hexdigest()
        files[server.name] = {"timestamp.json": "timestamp.json", "targets by hash": f"targets.{targets}.json"}
    program = str(servers[0].bench.folder / "connections")
    run(["go", "build", "-o", program, str(Path(__file__).with_name("connections.go"))])
    for title, file, workers in (
        ("GET timestamp.json over TLS, 32 connections", "timestamp.json", 0),
        ("GET targets by hash over TLS, 32 connections", "targets by hash", 0),
        ("GET timestamp.json, a new TLS connection each, one by one", "timestamp.json", 1),
        ("GET timestamp.json, a new TLS connection each, 8 at once", "timestamp.json", 8),
    ):
        rates: dict[str, list[float]] = {server.name: [] for server in servers}
        costs: dict[str, list[float]] = {server.name: [] for server in servers}
        for number in range(runs + 1):
            for server in servers:
                headers, url = server.headers(repository), server.base(repository) + files[server.name][file]
                before = cpu_seconds(server.pid)
                if workers:
                    load = connections(program, url, server.ca, headers, length, workers)
                else:
                    load = wrk(url, headers, length)
                cost = (cpu_seconds(server.pid) - before) / load.requests * 1e6
                if number:
                    rates[server.name].append(load.rate)
                    costs[server.name].append(cost)
        notes = [(name, f"{statistics.median(values):.0f} µs of CPU each") for name, values in costs.items()]
        table(title, "requests/s", rates, notes)


def publishing(servers: list[TrustServer], runs: int) -> None:
    """Root, targets and two delegations of a new repository in one request, until it is stored."""
    found: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(4 * runs + 1):
        for server in servers:
            repository = f"staging/acme/published-{number}"
            headers = server.headers(repository)
            files = server.simulator(repository, headers).upload()
            assert len(files) == 4
            took = server.publish(repository, files, headers)
            if number:
                found[server.name].append(took * 1000)
    table("publish of four files over TLS", "ms", found, [("notary-server TLS", "in memory, nothing durable")])


def large(servers: list[TrustServer], runs: int, tags: int) -> None:
    """One more tag in a repository of so many, in two roles; and its largest file read."""
    repository = "staging/acme/large"
    digests = [sha256(b"%d" % number).digest() for number in range(tags - runs - 1)]
    listed = {f"v1.0.0-build-{number:06}": FileMeta(1000, {"sha256": it}) for number, it in enumerate(digests)}
    first: dict[str, list[float]] = {}
    more: dict[str, list[float]] = {server.name: [] for server in servers}
    read: dict[str, list[float]] = {server.name: [] for server in servers}
    sims: dict[str, TrustSimulator] = {}
    size = 0
    for server in servers:
        headers = server.headers(repository)
        sim = server.simulator(repository, headers)
        for role in (RELEASES, ALICE):
            sim.delegate(role, paths=("new-",))
            sim.bodies[role] = replace(sim.bodies[role], targets=listed)
        files = {role: raw for role, raw in sim.upload().items() if role not in (RELEASES, ALICE)}
        files |= {role: _signed(sim, role) for role in (RELEASES, ALICE)}
        first[server.name] = [server.publish(repository, files, headers)]
        sims[server.name] = sim
    for number in range(runs + 1):
        for server in servers:
            sim, headers = sims[server.name], server.headers(repository)
            for role in (RELEASES, ALICE):
                sim.sign_tag(f"new-{number}", role=role)
                sim.bump(role)
            files = {role: _signed(sim, role) for role in (RELEASES, ALICE)}
            took = server.publish(repository, files, headers)
            size = len(files[RELEASES])
            file = f"{RELEASES}.{sha256(files[RELEASES]).hexdigest()}.json"
            assert server.get(repository, file, headers) == files[RELEASES]
            again = seconds(lambda s=server, f=file, h=headers: s.get(repository, f, h))  # type: ignore[misc]
            if number:
                more[server.name].append(took)
                read[server.name].append(size / MB / again)
    notes = []
    for server in servers:
        now, most = memory(server.pid)
        notes.append((server.name, f"memory {now:.0f} MB, at most {most:.0f} MB"))
    table(f"first publish of {tags:,} tags in two roles", "s", first)
    table(f"one more tag in {tags:,}, in two roles of {size / MB:.1f} MB each", "s", more, notes)
    table(f"GET of the role of {size / MB:.1f} MB by hash over TLS", "MB/s", read)


def _signed(sim: TrustSimulator, role: RoleName) -> bytes:
    """As the simulator signs it, written by the encoder of the standard library: its own would take longer than what
    is measured."""
    payload = json.dumps(_document(sim.bodies[role]), sort_keys=True, separators=(",", ":")).encode()
    return published(payload, [key.sign(payload) for key in sim.keys[role]])


def _document(body: Targets) -> dict[str, object]:
    assert not body.delegations
    targets = {
        name: {"hashes": {"sha256": base64.b64encode(meta.hashes["sha256"]).decode()}, "length": meta.length}
        for name, meta in body.targets.items()
    }
    return {
        "_type": "Targets", "delegations": {"keys": {}, "roles": []}, "targets": targets, "version": body.version,
        "expires": body.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip
