"""The servers that are compared, each on a free loopback port and stopped by its process id."""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import urllib3
from tests.hub_process import PASSWORD, HubProcess
from tests.peers.certificates import loopback_certificate
from tests.peers.servers import docker_registry, notary_server

urllib3.disable_warnings()


@dataclass
class Target:
    """One server to be measured: where, and what goes along with each request."""

    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)


class Bench:
    """Everything that runs during one measurement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tls = loopback_certificate(folder)
        tls = f"  tls: {{certificate: {self.tls.certificate}, key: {self.tls.key}}}\n"
        self.registry = docker_registry(folder / "registry")
        self.registry_tls = docker_registry(folder / "registry-tls", tls)
        self.notary = notary_server(folder / "notary", self.tls)
        self.hub = HubProcess(folder / "hub" / "data").start()
        self.hub_plain = HubProcess(folder / "hub-plain" / "data", settings={"plain_http": "true"}).start()
        for hub, scheme in ((self.hub, "https"), (self.hub_plain, "http")):
            _call(hub, scheme, "POST", "/api/v1/users", {"name": "alice", "role": "publisher", "password": PASSWORD})
            _call(hub, scheme, "POST", "/api/v1/publishers", {"name": "acme", "members": ["alice"]})

    def targets(self, repository: str = "staging/acme/bench") -> list[Target]:
        """The registries: ours and the peer, each with and without TLS."""
        return [
            Target("customhouse", f"http://{self.hub_plain.host}", self.bearer(self.hub_plain, "http", repository)),
            Target("docker-registry", f"http://{self.registry.host}"),
            Target("customhouse TLS", self.hub.url, self.bearer(self.hub, "https", repository)),
            Target("docker-registry TLS", f"https://{self.registry_tls.host}"),
        ]

    def bearer(self, hub: HubProcess, scheme: str, repository: str) -> dict[str, str]:
        """A token of alice for a repository; it lives 5 minutes."""
        pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
        answer = pool.request(
            "GET", f"{scheme}://{hub.host}/token?service=customhouse&scope=repository:{repository}:pull,push",
            headers=urllib3.make_headers(basic_auth=f"alice:{PASSWORD}"),
        )
        return {"authorization": f"Bearer {json.loads(answer.data)['token']}"}

    def close(self) -> None:
        """Stop all of them."""
        for hub in (self.hub, self.hub_plain):
            hub.close()
        for peer in (self.registry, self.registry_tls, self.notary):
            peer.stop()


def _call(hub: HubProcess, scheme: str, method: str, path: str, body: object) -> None:
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
    answer = pool.request(
        method, f"{scheme}://{hub.host}{path}", body=json.dumps(body),
        headers={**urllib3.make_headers(basic_auth=f"admin:{PASSWORD}"), "content-type": "application/json"},
    )
    assert answer.status < 300, answer.data


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / 100


def run(command: list[str]) -> str:
    """A measuring program; its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    return done.stdout
