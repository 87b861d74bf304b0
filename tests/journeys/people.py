"""The people of a journey: each has a home, a docker client and a `customhouse` command of his own.

What they type is what a user types. `Done` is what a command said and how it ended; a journey asserts on the words.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.hub_process import PASSWORD, HubProcess
from tests.peers.dockerd import DockerCLI, Dockerd

PASSPHRASE = "correct horse battery"
SECRETS = {
    "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE": PASSPHRASE,
    "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE": PASSPHRASE,
}
TRUST = {"DOCKER_CONTENT_TRUST": "1"}
WAIT_SECONDS = 90


@dataclass(frozen=True)
class Done:
    """One finished command."""

    command: str
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Everything the user saw, in one line however the client broke it."""
        return " ".join(f"{self.out} {self.err}".split())

    def document(self) -> Any:
        return json.loads(self.out)

    def refused(self, *sentences: str) -> "Done":
        """It ended with an error, and the user was told each of these."""
        assert self.code != 0, f"{self.command} succeeded:\n{self.out}\n{self.err}"
        return self.told(*sentences)

    def told(self, *sentences: str) -> "Done":
        for sentence in sentences:
            assert sentence in self.said, f"{self.command} -> {self.code} did not say {sentence!r}:\n{self.said}"
        return self


@dataclass(frozen=True)
class Person:
    """Somebody at one hub and one engine."""

    name: str
    hub: HubProcess
    home: Path
    engine: str
    password: str = PASSWORD
    publisher: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    client: str = "docker"
    prefix: Sequence[str] = ()

    def docker(self, *words: str | Path, trust: bool = False, stdin: str | None = None, **settings: str) -> Done:
        """Run docker; `trust` sets DOCKER_CONTENT_TRUST=1."""
        settings_of_mine = {"DOCKER_BUILDKIT": "0", **SECRETS, **self.settings}
        cli = DockerCLI(self.engine, self.home, settings_of_mine, self.client, self.prefix)
        done = cli(*words, check=False, stdin=stdin, **(TRUST if trust else {}), **settings)
        return Done(f"docker {' '.join(map(str, words))}", done.returncode, done.stdout, done.stderr)

    def docker_does(self, *words: str | Path, trust: bool = False, stdin: str | None = None, **settings: str) -> Done:
        """The same, and it succeeds."""
        return _succeeded(self.docker(*words, trust=trust, stdin=stdin, **settings))

    def customhouse(self, *words: str | Path, stdin: str | None = None) -> Done:
        """Run customhouse as this person."""
        program = Path(sys.executable).with_name("customhouse")
        return self._run([str(program), *map(str, words)], stdin, {})

    def customhouse_does(self, *words: str | Path, stdin: str | None = None) -> Any:
        """The same with --json, and it succeeds; returns its document."""
        return _succeeded(self.customhouse(*words, "--json", stdin=stdin)).document()

    def notary(self, *words: str) -> Done:
        """Run Debian's notary on docker's own trust directory."""
        kinds = {f"NOTARY_{role}_PASSPHRASE": PASSPHRASE for role in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")}
        base = ["notary", "-s", self.hub.url, "--tlscacert", str(self.hub.ca), "-d", str(self.home / ".docker/trust")]
        return self._run([*base, *words], "yes\n", kinds | {"NOTARY_AUTH": _basic(self.name, self.password)})

    def staging(self, name: str) -> str:
        """localhost:PORT/staging/PUBLISHER/NAME."""
        return f"{self.hub.host}/staging/{self.publisher}/{name}"

    def official(self, name: str) -> str:
        return f"{self.hub.host}/{self.publisher}/{name}"

    def sign_in(self) -> "Person":
        """docker login and customhouse login, with the password on standard input."""
        self.docker_login()
        self.customhouse_does(
            "login", self.hub.url, "-u", self.name, "--password-stdin", "--ca-file", self.hub.ca, stdin=self.password
        )
        return self

    def docker_login(self, username: str = "", password: str = "") -> Done:
        name, secret = username or self.name, password or self.password
        done = self.docker("login", "-u", name, "--password-stdin", self.hub.host, stdin=secret)
        return _succeeded(done).told("Login Succeeded")

    def root_certificate(self) -> Path:
        """Make the root key in docker's trust directory and write its public part."""
        target = self.home / "root.pem"
        self.customhouse_does("image", "root-cert", "--out", target)
        return target

    def build(self, reference: str, context: Path) -> str:
        """`docker build` by the classic builder; returns the image's id."""
        self.docker_does("build", "--network", "none", "-t", reference, context)
        return self.docker_does("image", "inspect", "--format", "{{.Id}}", reference).out.strip()

    def push(self, reference: str, *, trust: bool = True) -> str:
        """`docker push`, signed; returns the digest that docker names."""
        done = self.docker_does("push", reference, trust=trust)
        if trust:
            done.told("Successfully signed")
        return "sha256:" + done.out.split("digest: sha256:")[1][:64]

    def wait(self, reference: str, seconds: int = WAIT_SECONDS) -> Done:
        """`customhouse submission wait`, for its words and exit code."""
        return self.customhouse("submission", "wait", reference, "--timeout", str(seconds))

    def outcome(self, reference: str, state: str, seconds: int = WAIT_SECONDS) -> dict[str, Any]:
        """Wait with --json; the submission is in this state, and the exit code says so."""
        done = self.customhouse("submission", "wait", reference, "--timeout", str(seconds), "--json")
        assert done.out, done.said
        found: dict[str, Any] = done.document()
        failed = [item for item in found.get("findings", []) if item["outcome"] not in ("pass", "not_applicable")]
        how = f"{reference}: {found.get('state')} {found.get('reason')} {failed} {done.err}"
        assert found.get("state") == state, how
        assert done.code == (0 if state == "published" else 1), done.said
        return found

    def forget(self, *references: str) -> None:
        """Take images out of the engine, so that the next pull is one."""
        self.docker("rmi", "-f", *references)

    def _run(self, command: list[str], stdin: str | None, more: Mapping[str, str]) -> Done:
        self.home.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "DOCKER_CONFIG": str(self.home / ".docker"),
            "DOCKER_HOST": self.engine, **SECRETS, **self.settings, **more,
        }  # fmt: skip
        done = subprocess.run(
            [*self.prefix, *command], env=environment, cwd=self.home, input=stdin, capture_output=True, text=True,
            timeout=150, stdin=subprocess.DEVNULL if stdin is None else None, check=False,
        )  # fmt: skip
        return Done(" ".join(command), done.returncode, done.stdout, done.stderr)


class Town:
    """One hub, one engine, and the people who come."""

    def __init__(self, hub: HubProcess, engine: Dockerd, homes: Path) -> None:
        self.hub, self.engine, self.homes = hub, engine, homes
        self.admin = self._person("admin")
        self.brief, self.brief_ends = self.admin, 0.0  # a machine whose token soon ends, and when (monotonic)

    def opened(self) -> "Town":
        self.admin.sign_in()
        return self

    def anonymous(self, name: str = "nobody") -> Person:
        return replace(self._person(name), password="")

    def person(self, name: str, role: str, publisher: str = "") -> Person:
        """A new user, signed in."""
        self.admin.customhouse_does("user", "add", name, "--role", role, "--password-stdin", stdin=PASSWORD)
        return replace(self._person(name), publisher=publisher).sign_in()

    def _person(self, name: str) -> Person:
        engine = self.engine
        return Person(name, self.hub, self.homes / name, engine.url, client=engine.client, prefix=engine.prefix)

    def at(self, engine: Dockerd) -> "Town":
        """The same hub, for people who come with another engine and its client."""
        return Town(self.hub, engine, self.homes)

    def publisher(self, name: str, *, enrolled: bool = True) -> Person:
        """A new publisher with one member, whose root key is enrolled."""
        member = self.person(f"{name}-dev", "publisher", name)
        self.admin.customhouse_does("publisher", "add", name, "--member", member.name)
        if enrolled:
            self.admin.customhouse_does("publisher", "enrol", name, "--root-cert", member.root_certificate())
        return member

    def consumer(self, name: str) -> Person:
        return self.person(name, "consumer")

    def certifier(self, name: str) -> Person:
        return self.person(name, "certifier")


def _succeeded(done: Done) -> Done:
    assert done.code == 0, f"{done.command} -> {done.code}\n{done.out}\n{done.err}"
    return done


def _basic(name: str, password: str) -> str:
    import base64

    return base64.b64encode(f"{name}:{password}".encode()).decode()
