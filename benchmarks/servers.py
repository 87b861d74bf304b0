"""The servers that are compared, each on a free loopback port and stopped by its process id."""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import urllib3
from tests.hub_process import PASSWORD, HubProcess, free_port
from tests.peers.certificates import loopback_certificate
from tests.peers.servers import Peer, docker_registry, notary_server

urllib3.disable_warnings()


@dataclass
class Target:
    """One server to be measured: where, and what goes along with each request."""

    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    pid: int = 0

    @property
    def curl(self) -> list[str]:
        """curl's arguments for a request to it; without progress, and without a look at the certificate."""
        sent = [word for name, value in self.headers.items() for word in ("-H", f"{name}: {value}")]
        return ["curl", "-sk", "--http1.1", *sent]


class Bench:
    """Everything that runs during one measurement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._nginx: Peer | None = None
        self._nginx_ports = (0, 0)
        self.tls = loopback_certificate(folder)
        tls = f"  tls: {{certificate: {self.tls.certificate}, key: {self.tls.key}}}\n"
        self.registry = docker_registry(folder / "registry")
        self.registry_tls = docker_registry(folder / "registry-tls", tls)
        self.notary = notary_server(folder / "notary", self.tls)
        self.hub = HubProcess(folder / "hub" / "data").start()
        self.hub_plain = plain_hub(folder / "hub-plain" / "data")
        add_publisher(self.hub)
        add_publisher(self.hub_plain, "http")

    def targets(self, repository: str = "staging/acme/bench") -> list[Target]:
        """The registries: ours and the peer, each with and without TLS."""
        return [
            Target("customhouse", f"http://{self.hub_plain.host}", self.bearer(self.hub_plain, "http", repository),
                   pid_of(self.hub_plain)),
            Target("docker-registry", f"http://{self.registry.host}", pid=self.registry.pid),
            Target("customhouse TLS", self.hub.url, self.bearer(self.hub, "https", repository), pid_of(self.hub)),
            Target("docker-registry TLS", f"https://{self.registry_tls.host}", pid=self.registry_tls.pid),
        ]  # fmt: skip

    def nginx(self, files: Path) -> list[Target]:
        """A web server of these files, with and without TLS, with as many processes as it takes by itself."""
        if self._nginx is None:
            self._nginx, self._nginx_ports = nginx(self.folder / "nginx", files, self.hub.data / "tls")
        plain, tls = self._nginx_ports
        pid = self._nginx.pid
        return [
            Target("nginx", f"http://127.0.0.1:{plain}", pid=pid),
            Target("nginx TLS", f"https://127.0.0.1:{tls}", pid=pid),
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
        if self._nginx is not None:
            self._nginx.stop()


def nginx(folder: Path, files: Path, tls: Path) -> tuple[Peer, tuple[int, int]]:
    """nginx as a distribution sets it up for large files; `tls` has server.crt and server.key."""
    folder.mkdir(parents=True)
    plain, encrypted = free_port(), free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;\n"
        "events { worker_connections 768; }\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; root {files};\n"
        f"  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n"
        f"  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; default_type application/octet-stream;\n"
        f"  ssl_certificate {tls / 'server.crt'}; ssl_certificate_key {tls / 'server.key'};\n"
        f"  server {{ listen 127.0.0.1:{plain}; }} server {{ listen 127.0.0.1:{encrypted} ssl; }} }}\n"
    )
    return Peer(["nginx", "-c", str(configuration)], plain, folder / "nginx.log"), (plain, encrypted)


def plain_hub(data: Path, **settings: str) -> HubProcess:
    """One that speaks plain HTTP, as behind a proxy."""
    return HubProcess(data, settings={"plain_http": "true", **settings}).start()


def pid_of(hub: HubProcess) -> int:
    """Of its process."""
    assert hub.process is not None
    return hub.process.pid


def add_publisher(hub: HubProcess, scheme: str = "https") -> None:
    """alice of acme."""
    _call(hub, scheme, "POST", "/api/v1/users", {"name": "alice", "role": "publisher", "password": PASSWORD})
    _call(hub, scheme, "POST", "/api/v1/publishers", {"name": "acme", "members": ["alice"]})


def children(pid: int) -> list[int]:
    """Processes that a process started and that still run."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _call(hub: HubProcess, scheme: str, method: str, path: str, body: object) -> None:
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
    answer = pool.request(
        method, f"{scheme}://{hub.host}{path}", body=json.dumps(body),
        headers={**urllib3.make_headers(basic_auth=f"admin:{PASSWORD}"), "content-type": "application/json"},
    )
    assert answer.status < 300, answer.data


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children so far."""
    used = 0
    for one in (pid, *children(pid)):
        parts = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        used += int(parts[11]) + int(parts[12])
    return used / 100


def run(command: list[str]) -> str:
    """A measuring program; its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    return done.stdout
