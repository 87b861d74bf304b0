"""`customhouse serve` with a clock that is CUSTOMHOUSE_AHEAD seconds ahead."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from customhouse import app
from customhouse.settings import load

if __name__ == "__main__":
    ahead = timedelta(seconds=int(os.environ.pop("CUSTOMHOUSE_AHEAD")))
    _, _, data, _, listen, _, url = sys.argv[1:8]
    settings = load(Path(data), listen=listen, url=url)
    sys.exit(app.serve(settings, lambda: datetime.now(UTC) + ahead))
