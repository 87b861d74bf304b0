"""Fixtures that every room shares, and the rule for what cannot run here.

A test marked `needs("program")` drives a real program. Under CI a missing program is a failure; on a developer's
machine the test is left out, and the last line of the run says how many were, and what to install.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from customhouse.db import Database
from tests.peers import postgresql

if TYPE_CHECKING:
    from tests.rooms import Rooms

PACKAGES = {
    "postgresql": "postgresql", "dockerd": "docker.io", "docker": "docker.io", "notary": "notary",
    "notary-server": "notary", "docker-registry": "docker-registry", "skopeo": "skopeo", "busybox": "busybox-static",
    "openssl": "openssl", "softhsm2-util": "softhsm2", "podman": "podman", "go": "golang-go", "ip": "iproute2",
    "clamd": "clamav-daemon", "buildah": "buildah", "runc": "runc",
    "sqlite3": "sqlite3", "ceph": "ceph-common", "ceph-mon": "ceph-mon", "ceph-osd": "ceph-osd",
    "radosgw": "radosgw", "rpm": "rpm", "rpmbuild": "rpm",
}
MODULES = {"atheris": "pip install 'customhouse[dev]'; there is none for this Python or machine"}
REQUIRED = bool(os.environ.get("CI"))
_left_out: dict[str, int] = {}


def present(program: str) -> bool:
    """Is this real program on the machine (and, for an engine, are we allowed to start it)?"""
    if program == "postgresql":
        return postgresql.find("initdb") is not None
    if program == "dockerd" and os.getuid() != 0:
        return False
    if program in MODULES:
        return find_spec(program) is not None
    return shutil.which(program) is not None or Path("/usr/sbin", program).exists()


def remedy(program: str) -> str:
    """What to do about its absence."""
    return MODULES.get(program) or f"apt-get install {PACKAGES.get(program, program)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept, dropped = [], []
    for item in items:
        wanted = [name for mark in item.iter_markers("needs") for name in mark.args]
        missing = [name for name in wanted if not present(name)]
        if missing and not REQUIRED:
            dropped.append(item)
            for name in missing:
                _left_out[name] = _left_out.get(name, 0) + 1
        else:
            kept.append(item)
    if dropped:
        items[:] = kept
        config.hook.pytest_deselected(items=dropped)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if not present(name):
                pytest.fail(f"{name} is not installed: {remedy(name)}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, count in sorted(_left_out.items()):
        terminalreporter.write_line(
            f"NOT RUN: {count} tests need {name} ({remedy(name)})", yellow=True
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgresql.PostgreSQL]:
    folder = Path(tempfile.mkdtemp(prefix="customhouse-pg-"))
    server = postgresql.PostgreSQL(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each engine in turn."""
    if request.param == "sqlite":
        path = tmp_path / "hub.db"
        if "database" in request.fixturenames:
            shutil.copy(request.getfixturevalue("blank"), path)
        return f"sqlite:///{path}"
    server: postgresql.PostgreSQL = request.getfixturevalue("postgres")
    return server.emptied() if "database" in request.fixturenames else server.url()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that has the tables already: copying it takes a tenth of the time of making them."""
    path = tmp_path_factory.mktemp("blank") / "hub.db"
    made = Database(f"sqlite:///{path}")
    made.create()
    made.close()
    return path


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with every imported room's tables, on each engine in turn; nothing is in it."""
    made = Database(database_url)
    made.create()
    yield made
    made.close()


class Clock:
    """The hub's clock in tests: it stands still until it is moved."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **delta: float) -> datetime:
        self.at += timedelta(**delta)
        return self.at


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def rooms(database: Database, tmp_path: Path, clock: Clock) -> "Rooms":
    """Every room put together on each database, without engine and workflows."""
    from tests.rooms import Rooms

    return Rooms(database, tmp_path / "data", clock)
