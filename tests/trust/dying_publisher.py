"""A process that publishes once and dies where it is told to: python -m tests.trust.dying_publisher URL POINT FILE."""

import json
import sys
from base64 import b64decode
from datetime import datetime
from pathlib import Path
from typing import Any

from customhouse import faults
from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.signing import Vault
from customhouse.trust.names import Gun, RoleName
from customhouse.trust.service import TrustService
from customhouse.trust.store import TrustStore
from tests.trust.serving import MASTER


def act(service: TrustService, order: dict[str, Any]) -> None:
    """Do what the order says."""
    gun = Gun(order["gun"])
    if order["act"] == "publish":
        service.publish(gun, {RoleName(role): b64decode(raw) for role, raw in order["files"].items()}, "alice")
    elif order["act"] == "resign":
        service.current(gun, RoleName("timestamp"))
    elif order["act"] == "key":
        service.key(gun, RoleName("timestamp"), "alice", rotate=True)
    else:
        service.delete(gun, "alice")


def serve(database: Database, order: dict[str, Any]) -> TrustService:
    """A service whose clock stands at the order's moment."""
    now = datetime.fromisoformat(order["now"])
    return TrustService(TrustStore(database), Vault(MASTER), Audit(database), lambda: now)


if __name__ == "__main__":
    url, point, file = sys.argv[1:]
    told = json.loads(Path(file).read_text())
    faults.arm(point)
    act(serve(Database(url), told), told)
