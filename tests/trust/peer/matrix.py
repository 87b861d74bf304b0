"""The three servers of the comparison, and what every case sees on each.

    python -m tests.trust.peer.matrix

writes `recorded.json` again: the cases in which ours answers otherwise than notary-server does, over its two kinds of
storage. What each of them is good for stands in `differences.py`; nothing may be recorded that is not meant.
"""

import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from customhouse.db import Database
from tests.peers.certificates import loopback_certificate
from tests.peers.postgresql import PostgreSQL
from tests.peers.servers import notary_server
from tests.trust.peer import delegation_cases, form_cases, key_cases, publish_cases, upload_cases, wire_cases
from tests.trust.peer.sides import CASES, Side, seen
from tests.trust.serving import serving

# importing them fills CASES
MODULES = (wire_cases, upload_cases, publish_cases, form_cases, delegation_cases, key_cases)
RECORDED = Path(__file__).with_name("recorded.json")
OURS, THEIRS = "ours", ("memory", "postgresql")

Sides = dict[str, Side]


@contextmanager
def sides(folder: Path, postgres: PostgreSQL) -> Iterator[Sides]:
    """Ours, and notary-server with its metadata in memory and in PostgreSQL."""
    tls = loopback_certificate(folder / "tls")
    database = Database(f"sqlite:///{folder / 'hub.db'}")
    database.create()
    peers = {
        "memory": notary_server(folder / "memory", tls, prefix="staging/"),
        "postgresql": notary_server(folder / "postgresql", tls, prefix="staging/", database=postgres.url()),
    }
    try:
        with serving(database, folder) as served:
            found = {name: Side(peer.host, tls.ca) for name, peer in peers.items()}
            yield {OURS: Side(served.host, served.ca), **found}
    finally:
        for peer in peers.values():
            peer.stop()
        database.close()


def compare(among: Sides, name: str) -> dict[str, str]:
    """What each side showed of a case; all at once, since some cases wait."""
    place = f"case{list(CASES).index(name)}"
    with ThreadPoolExecutor(len(among)) as pool:
        shown = pool.map(lambda side: seen(CASES[name], side, place), among.values())
        return dict(zip(among, shown, strict=True))


def recorded() -> dict[str, dict[str, str]]:
    """The cases that differ, as they were written down."""
    found: dict[str, dict[str, str]] = json.loads(RECORDED.read_text())
    return found


def differs(found: dict[str, str]) -> bool:
    """Is ours unlike one of theirs?"""
    return len(set(found.values())) > 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        server = PostgreSQL(Path(made) / "database")
        try:
            with sides(Path(made), server) as three:
                everything = {name: compare(three, name) for name in CASES}
        finally:
            server.stop()
    kept = {name: found for name, found in everything.items() if differs(found)}
    RECORDED.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(kept)} of {len(CASES)} cases differ")
