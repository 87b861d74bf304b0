"""A real hub as a process of its own: started as an operator starts it, stopped, killed, started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

PASSWORD = "a-made-up-password"
START_SECONDS = 60


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Refused(AssertionError):
    """The API answered with an error: `.status` and the problem document `.problem`."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem}")
        self.status, self.problem = status, problem


@dataclass
class HubProcess:
    """One hub over its whole life. `settings` become CUSTOMHOUSE_… variables; `data` survives restarts."""

    data: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    more_environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (str(Path(sys.executable).with_name("customhouse")),)
    process: subprocess.Popen[str] | None = None
    sessions: dict[tuple[str, str], str] = field(default_factory=dict)
    name: str = "localhost"
    address: str = "127.0.0.1"

    @property
    def host(self) -> str:
        return f"{self.name}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    @property
    def ca(self) -> Path:
        """The local authority, made at first start."""
        return self.data / "tls" / "ca.crt"

    def environment(self, **more: str) -> dict[str, str]:
        fixed = {"PATH": os.environ["PATH"], "HOME": str(self.data.parent), "CUSTOMHOUSE_ADMIN_PASSWORD": PASSWORD}
        named = {f"CUSTOMHOUSE_{name.upper()}": value for name, value in {**self.settings, **more}.items()}
        return {"CUSTOMHOUSE_ENGINE": "none", **fixed, **self.more_environment, **named}

    def start(self, *, fault: str = "", wait: bool = True) -> "HubProcess":
        """Start and wait for the `ready` line; with `fault`, the process dies at that point."""
        self.data.mkdir(parents=True, exist_ok=True)
        command = [
            *self.program, "serve", "--data", str(self.data),
            "--listen", f"{self.address}:{self.port}", "--url", self.url, *self.arguments,
        ]
        environment = self.environment(**({"fault": fault} if fault else {}))
        self.log = self.data.parent / "hub.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
            )
        if wait:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line.startswith("ready "), f"the hub did not start: {line!r}\n{self.log.read_text()[-4000:]}"
        return self

    def stop(self, seconds: float = 12) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        """SIGKILL, as in a power cut."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def wait_dead(self, seconds: float = 60) -> int:
        """Wait until a fault point killed it; returns the exit code (-9)."""
        assert self.process is not None
        return self.process.wait(timeout=seconds)

    def close(self) -> None:
        """Whatever state it is in, it is gone afterwards."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)

    # ---- the API

    def api(
        self, method: str, path: str, body: Any = None, *, user: str = "admin", password: str = PASSWORD
    ) -> Any:
        """One call; raises Refused for an answer that is no success. Each person signs in once: hashing is slow."""
        content = None if body is None else json.dumps(body)
        basic = urllib3.make_headers(basic_auth=f"{user}:{password}")
        pool = urllib3.PoolManager(ca_certs=str(self.ca), retries=False, timeout=30)
        try:
            if (user, password) not in self.sessions:
                login = pool.request("POST", f"{self.url}/api/v1/login", headers=basic)
                if login.status == 200:
                    self.sessions[user, password] = json.loads(login.data)["token"]
            session = self.sessions.get((user, password))
            identity = {"authorization": f"Bearer {session}"} if session else basic
            headers = {**identity, "content-type": "application/json"}
            answer = pool.request(method, f"{self.url}{path}", body=content, headers=headers)
            if answer.status == 401 and session:
                del self.sessions[user, password]
                headers = {**basic, "content-type": "application/json"}
                answer = pool.request(method, f"{self.url}{path}", body=content, headers=headers)
        finally:
            pool.clear()
        value = json.loads(answer.data) if answer.data else None
        if answer.status >= 300:
            raise Refused(answer.status, value or {})
        return value

    def let_move(self, repositories: str, tags: str = "*") -> None:
        """Official tags that match are not locked any more."""
        self.api("POST", "/api/v1/rules", {"repositories": repositories, "tags": tags, "locked": False})

    def add_publisher(self, name: str, member: str) -> None:
        """A publisher with one member, whose password is PASSWORD."""
        self.api("POST", "/api/v1/users", {"name": member, "role": "publisher", "password": PASSWORD})
        self.api("POST", "/api/v1/publishers", {"name": name, "members": [member]})

    def add_user(self, name: str, role: str) -> None:
        self.api("POST", "/api/v1/users", {"name": name, "role": role, "password": PASSWORD})

    def latest(self, reference: str) -> dict[str, Any]:
        """The newest submission of `staging/acme/web:1`."""
        found: dict[str, Any] = self.api("GET", f"/api/v1/submissions/latest?reference={self.host}/{reference}")
        return found

    def wait_for(self, reference: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until the newest submission of a reference is in one of the states."""
        deadline = time.monotonic() + seconds
        found: dict[str, Any] = {}
        while time.monotonic() < deadline:
            try:
                found = self.latest(reference)
            except Refused as error:
                if error.status != 404:
                    raise
            if found.get("state") in states:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{reference} is {found.get('state')}, not {states}: {found.get('reason')}")

    def doctor(self) -> list[dict[str, str]]:
        """Every broken invariant; [] for a sound hub."""
        return list(self.api("GET", "/api/v1/doctor?rehash=true")["breaks"])
