"""kill -9 between any two steps of a write: the repository is the one from before, and the same act then works."""

import json
import signal
import subprocess
import sys
from base64 import b64encode
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.signing import Vault
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.names import RELEASES, SNAPSHOT, TARGETS, TIMESTAMP, Gun
from customhouse.trust.service import TrustService
from customhouse.trust.store import TrustStore
from customhouse.trust.verify import verify_repository
from tests.trust.dying_publisher import act as act_again
from tests.trust.dying_publisher import serve
from tests.trust.serving import MASTER

GUN = Gun("localhost:5443/staging/acme/web")
ROOT_FOLDER = Path(__file__).parents[2]


def die(database: Database, folder: Path, order: dict[str, object], point: str) -> int:
    file = folder / "order.json"
    file.write_text(json.dumps(order))
    words = [sys.executable, "-m", "tests.trust.dying_publisher", database.url, point, str(file)]
    return subprocess.run(words, cwd=ROOT_FOLDER, check=False, timeout=60).returncode


@pytest.mark.parametrize(
    ("act", "point"),
    [
        ("publish", "trust.publish.store"), ("publish", "trust.store.file:2"), ("publish", "trust.publish.accepted"),
        ("publish", "trust.publish.commit"), ("resign", "trust.resign.store"), ("resign", "trust.resign.commit"),
        ("key", "trust.key.commit"), ("delete", "trust.delete.change"), ("delete", "trust.delete.commit"),
    ],
)  # fmt: skip
def test_a_killed_act_never_was_and_can_be_done_again(
    database: Database, tmp_path: Path, now: datetime, act: str, point: str
) -> None:
    moment = now
    service = TrustService(TrustStore(database), Vault(MASTER), Audit(database), lambda: moment)
    sim = TrustSimulator(GUN, now)
    sim.use_server_keys({role: service.key(GUN, role, "alice") for role in (SNAPSHOT, TIMESTAMP)})
    sim.sign_tag("1")
    service.publish(GUN, sim.upload(), "alice")
    sim.bump(TARGETS)
    sim.delegate(RELEASES)
    sim.sign_tag("1", b"new", RELEASES)
    later = now + timedelta(days=9 if act == "resign" else 0)
    files = {str(role): b64encode(raw).decode() for role, raw in sim.upload(TARGETS, RELEASES).items()}
    order: dict[str, object] = {"act": act, "gun": GUN, "now": later.isoformat(), "files": files}

    def state() -> object:
        with TrustStore(database).read() as tx:
            keys = [key.key_id for key in TrustStore(database).keys(tx, GUN, TIMESTAMP)]
        return service.repository_files(GUN), service.changefeed(GUN, None, 100), keys

    before = state()
    assert die(database, tmp_path, order, point) == -signal.SIGKILL
    assert state() == before
    verify_repository(service.repository_files(GUN), [], gun=GUN, enrolled=None, seen={}, now=later)
    act_again(serve(database, order), order)
    assert state() != before
    with database.read() as tx:
        Audit(database).verify(tx)
