"""A real hub process for the package, and people who use it: each a home directory and a `customhouse` command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from customhouse.keys import PrivateKey
from customhouse.trust.bundle import BundledRoot
from customhouse.trust.certificates import root_certificate
from tests.hub_process import PASSWORD, HubProcess

PROGRAM = Path(sys.executable).with_name("customhouse")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Person:
    """Runs the program in a home of their own."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str | Path, stdin: str = "", code: int | None = 0, **environment: str) -> Done:
        """Run; `code` is the exit code that must come, None for any."""
        self.home.mkdir(parents=True, exist_ok=True)
        known = {"PATH": os.environ["PATH"], "HOME": str(self.home), "CUSTOMHOUSE_ROOT_PASSPHRASE": "root words",
                 "CUSTOMHOUSE_REPOSITORY_PASSPHRASE": "repository words"}
        ran = subprocess.run(
            [PROGRAM, *words], input=stdin, capture_output=True, text=True, timeout=120,
            env=known | self.environment | environment,
        )
        assert "Traceback" not in ran.stderr + ran.stdout, ran.stderr
        assert code is None or ran.returncode == code, f"{ran.returncode}: {ran.stdout}\n{ran.stderr}"
        return Done(ran.returncode, ran.stdout, ran.stderr)


def foreign_bundle(bundle: Path, target: Path) -> Path:
    """The same bundle with a root that is not the hub's."""
    document, key = json.loads(bundle.read_text()), PrivateKey.generate()
    made = root_certificate(key, f"{document['host']}/*", datetime.now(UTC))
    target.write_text(json.dumps(document | {"roots": [BundledRoot(made.decode()).document()]}))
    return target


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("hub") / "data").start()
    yield process
    process.close()


@pytest.fixture(scope="package")
def admin(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Person:
    person = Person(tmp_path_factory.mktemp("admin"))
    person("login", hub.url, "-u", "admin", "--password-stdin", "--ca-file", hub.ca, stdin=PASSWORD + "\n")
    return person


@pytest.fixture
def signed_in(hub: HubProcess, admin: Person, tmp_path: Path) -> Callable[[str, str], Person]:
    """Makes a user of this role and signs in as them."""

    def make(name: str, role: str) -> Person:
        admin("user", "add", name, "--role", role, "--password-stdin", stdin="their-password\n")
        person = Person(tmp_path / name)
        person(
            "login", hub.url, "-u", name, "--password-stdin", "--ca-file", hub.ca, stdin="their-password\n"
        )
        return person

    return make


@pytest.fixture
def stranger(hub: HubProcess, tmp_path: Path) -> Person:
    """Not signed in; believes the hub's CA."""
    return Person(tmp_path / "stranger", {"CUSTOMHOUSE_CA_FILE": str(hub.ca)})
