"""One duty of the hub, done once by a process of its own whose clock is ahead: `upkeep.py
sweep|renew|rotate DATA URL`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from customhouse.hub import Hub
from customhouse.settings import load

AHEAD = {"sweep": timedelta(days=8), "renew": timedelta(days=8), "rotate": timedelta(0)}


def main(verb: str, data: str, url: str) -> None:
    now = datetime.now(UTC) + AHEAD[verb]
    hub = Hub(load(Path(data), url=url), clock=lambda: now)
    if verb == "sweep":
        print(hub.registry.sweep(now))
        print(hub.registry.sweep(now))  # what a first one made unused goes with the next
    elif verb == "renew":
        print(hub.trust.renew_all(now))
    else:
        for role in ("release", "root"):
            hub.rotate_key(role)
        hub.close(1)
        print(Hub(load(Path(data), url=url), clock=lambda: now).publication.align_all(now))


if __name__ == "__main__":
    main(*sys.argv[1:4])
