"""`customhouse serve` with a clock that is CUSTOMHOUSE_AHEAD seconds ahead, or as many as a file says (`@PATH`)
whenever the clock is read."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from customhouse import app
from customhouse.settings import load

if __name__ == "__main__":
    named = os.environ.pop("CUSTOMHOUSE_AHEAD")

    def clock() -> datetime:
        seconds = Path(named[1:]).read_text() if named.startswith("@") else named
        return datetime.now(UTC) + timedelta(seconds=int(seconds))

    _, _, data, _, listen, _, url = sys.argv[1:8]
    sys.exit(app.serve(load(Path(data), listen=listen, url=url), clock))
