"""The runner that uses a Docker engine; engine.py speaks with it, container_runner.py does the rest."""

from dataclasses import dataclass

from customhouse.sandbox.container_runner import ContainerRunner
from customhouse.sandbox.engine import Engine
from customhouse.sandbox.runtime import Runtime


@dataclass(frozen=True)
class DockerEngine(ContainerRunner):
    """A runner on the engine at `url` (unix:///var/run/docker.sock, tcp://…); `runtime` names another OCI runtime of
    the engine (such as runsc)."""

    url: str = "unix:///var/run/docker.sock"
    runtime: str = ""

    def open(self, load_seconds: float, words: frozenset[str]) -> Runtime:
        return Engine(self.url, runtime=self.runtime, load_seconds=load_seconds, untrusted=words)
