"""One duty of the hub, done once by a process of its own whose clock is ahead: `upkeep.py sweep|renew DATA URL`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from customhouse.hub import Hub
from customhouse.settings import load

AHEAD = {"sweep": timedelta(days=3), "renew": timedelta(days=8)}


def main(verb: str, data: str, url: str) -> None:
    now = datetime.now(UTC) + AHEAD[verb]
    hub = Hub(load(Path(data), url=url), clock=lambda: now)
    if verb == "sweep":
        print(hub.registry.sweep(now))
        print(hub.registry.sweep(now))  # what a first one made unused goes with the next
    else:
        print(hub.trust.renew_all(now))


if __name__ == "__main__":
    main(*sys.argv[1:4])
