"""The OCI distribution-spec conformance suite against a hub as it is run: TLS, tokens, both databases.

1. The newest specification (`dev` turns on what 1.1 leaves optional: cancel, digest headers, tags as parameters).
   Every API and every kind of data is on, and no case fails or is skipped.
2. One kind of data is off, as it is in the suite unless somebody asks: sparse manifests. A manifest here never names
   what its repository does not hold (invariant R4), which the specification leaves to the registry.
"""

import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_process import PASSWORD, HubProcess
from tests.peers.gotools import go_tool
from tests.peers.postgresql import PostgreSQL

pytestmark = [pytest.mark.needs("go"), pytest.mark.timeout(300)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubProcess]:
    """A hub with one publisher, on each database in turn."""
    settings = {}
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgres")
        settings["database"] = server.url()
    hub = HubProcess(tmp_path / "hub" / "data", settings=settings)
    try:
        hub.start().add_publisher("acme", "paula")
        yield hub
        assert hub.doctor() == []
    finally:
        hub.close()


def test_the_suite_passes_in_full(hub: HubProcess, tmp_path: Path) -> None:
    check_conformance(hub, tmp_path)


def check_conformance(hub: HubProcess, tmp_path: Path) -> None:
    """The whole suite against a hub whose publisher acme has the member paula."""
    settings = {
        "OCI_VERSION": "dev", "OCI_REGISTRY": hub.host, "OCI_TLS": "enabled", "SSL_CERT_FILE": str(hub.ca),
        "OCI_REPO1": "staging/acme/one", "OCI_REPO2": "staging/acme/two", "OCI_RESULTS_DIR": str(tmp_path / "results"),
        "OCI_USERNAME": "paula", "OCI_PASSWORD": PASSWORD, "PATH": os.environ["PATH"], "HOME": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [go_tool("conformance")], env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    cases = list(ET.parse(tmp_path / "results" / "junit.xml").iter("testcase"))
    assert [case.attrib for case in cases if case.attrib["status"] != "passed"] == []
    assert done.returncode == 0 and len(cases) >= 790, f"{len(cases)}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert [line.split()[0] for line in done.stdout.splitlines() if line.endswith("Disabled")] == ["Sparse"]
