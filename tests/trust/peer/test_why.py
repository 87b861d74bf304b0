"""Why ours refuses what notary-server stores: a client of its own, notary, cannot read the repository afterwards."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from customhouse.keys import PrivateKey
from customhouse.trust.names import ROOT, TARGETS, RoleName
from tests.peers.certificates import LoopbackCertificate, loopback_certificate
from tests.peers.servers import Peer, notary_server
from tests.trust.peer.form_cases import FORMS
from tests.trust.peer.sides import Repository, Side, resigned

pytestmark = pytest.mark.needs("notary", "notary-server")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> LoopbackCertificate:
    return loopback_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory, tls: LoopbackCertificate) -> Iterator[Peer]:
    server = notary_server(tmp_path_factory.mktemp("notary"), tls)
    yield server
    server.stop()


def new_targets_key(repository: Repository) -> dict[RoleName, bytes]:
    sim = repository.published()
    sim.bump(ROOT)
    sim.keys[TARGETS] = [PrivateKey.generate()]
    return sim.upload(ROOT)


def targets_as(form: str) -> Callable[[Repository], dict[RoleName, bytes]]:
    def files(repository: Repository) -> dict[RoleName, bytes]:
        sim = repository.sim
        raw = FORMS[form](sim.upload(TARGETS)[TARGETS])
        raw = raw if "pretty" in form or "line feed" in form else resigned(raw, sim.keys[TARGETS])
        return {ROOT: sim.build_root(), TARGETS: raw}

    return files


UNREADABLE = [
    "that is pretty-printed", "with a line feed at its end", "whose fields are not in order", "without delegations",
    "with a field that nobody knows", "that expires at …00.100Z",
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "files", "says"),
    [
        (0, new_targets_key, "valid signatures did not meet threshold"),
        *((number, targets_as(form), "trust data unavailable") for number, form in enumerate(UNREADABLE, 1)),
    ],
)
def test_what_it_stores_its_own_client_cannot_read(
    peer: Peer, tls: LoopbackCertificate, tmp_path: Path, number: int,
    files: Callable[[Repository], dict[RoleName, bytes]], says: str,
) -> None:
    repository = Repository(Side(peer.host, tls.ca), f"why{number}")
    assert str(repository.publish(files(repository))) == "200"
    base = ["notary", "-s", f"https://{peer.host}", "--tlscacert", str(tls.ca), "-d", str(tmp_path)]
    done = subprocess.run([*base, "list", repository.gun], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and says in done.stdout + done.stderr, done
