"""Import of advisories and look-up among them, on both databases; needs CUSTOMHOUSE_TEST_CORPUS for the real dumps.

1. `corpus`: every dump of the corpus into an empty database, records a second.
2. `full`: synthetic records into an empty database (`--records`), the rate of the first and last tenth, the size,
   and a look-up of 1,000 packages when nearly nothing and when everything is held.
"""

import argparse
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text
from tests.advisories.records import Installed
from tests.peers.postgresql import PostgreSQL, find

from customhouse.accounts.people import HUB
from customhouse.advisories.service import AdvisoriesService
from customhouse.advisories.updates import Plan, open_advisories
from customhouse.audit import Audit
from customhouse.db import Database

CORPUS = Path(os.environ.get("CUSTOMHOUSE_TEST_CORPUS", "/nonexistent"))
ECOSYSTEMS = ("npm", "PyPI", "Maven", "Go", "Debian:12")


def clock() -> datetime:
    return datetime(2026, 11, 23, 12, tzinfo=UTC)


def synthetic(first: int, number: int) -> Iterator[tuple[str, bytes]]:
    """Records of the shape and size of true ones: 2.5 packages, 12 versions, two names."""
    for each in range(first, first + number):
        ecosystem = ECOSYSTEMS[each % len(ECOSYSTEMS)]
        affected = [
            {
                "package": {"ecosystem": ecosystem, "name": f"package-{(each * 7 + part) % 60_000}"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": f"{each % 9}.{part}.1"}]}],
                "versions": [f"{each % 9}.0.{minor}" for minor in range(12)],
            }
            for part in range(2 + each % 2)
        ]
        name = f"GHSA-{each:08}"
        document = {
            "id": name, "modified": "2026-11-01T00:00:00Z", "published": "2026-01-01T00:00:00Z",
            "aliases": [f"CVE-2026-{each:08}"], "summary": f"A flaw of number {each} in a package that many use",
            "details": "What happens, and why it is bad. " * 20, "affected": affected,
            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}],
        }  # fmt: skip
        yield f"{name}.json", json.dumps(document).encode()


def packed(folder: Path, first: int, number: int) -> Path:
    """A dump of synthetic records."""
    path = folder / f"dump-{first}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, raw in synthetic(first, number):
            archive.writestr(name, raw)
    return path


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[tuple[Database, AdvisoriesService]]:
    """An empty hub's database."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        url = f"sqlite:///{folder}/hub.db"
        if kind == "postgresql":
            server = PostgreSQL(folder / "postgresql", durable=True)
            stack.callback(server.stop)
            url = server.url()
        database = Database(url)
        stack.callback(database.close)
        database.create()
        yield database, open_advisories(database, Audit(database), clock, Plan())[0]


def look_up(service: AdvisoriesService) -> float:
    """Milliseconds for what 1,000 packages of five ecosystems are told, without judging versions."""
    best = float("inf")
    for turn in range(5):
        began = time.perf_counter()
        with service.source() as source:
            for number, ecosystem in enumerate(ECOSYSTEMS):
                names = [f"package-{(number + turn * 977 + each * 37) % 60_000}" for each in range(200)]
                sum(1 for _ in source.statements(ecosystem, names))
        best = min(best, time.perf_counter() - began)
    return best * 1000


def matching(service: AdvisoriesService) -> tuple[float, int]:
    """(milliseconds, matches): 1,000 packages of five ecosystems judged, the second time they are asked about."""
    packages = [
        Installed(ecosystem, name, "2.0.1", name, "2.0.1", f"pkg:generic/{name}@2.0.1")
        for number, ecosystem in enumerate(ECOSYSTEMS)
        for name in (f"package-{(number + each * 37) % 60_000}" for each in range(200))
    ]
    best, found = float("inf"), 0
    for _ in range(6):
        began = time.perf_counter()
        found = len(service.match(packages).matches)
        best = min(best, time.perf_counter() - began)
    return best * 1000, found


def _size(database: Database) -> float:
    if database.path:
        return sum(file.stat().st_size for file in database.path.parent.glob("hub.db*")) / 1e6
    with database.read() as tx:
        return float(tx.execute(text("SELECT pg_database_size(current_database())")).scalar_one()) / 1e6


def advisories(records: int = 500_000, kinds: tuple[str, ...] = ("sqlite", "postgresql")) -> None:
    """Measure and print."""
    for kind in kinds:
        if kind == "postgresql" and find("initdb") is None:
            continue
        with tempfile.TemporaryDirectory(prefix="customhouse-bench-") as place:
            folder = Path(place)
            folder.chmod(0o755)
            if CORPUS.is_dir():
                with opened(kind, folder / "corpus") as (_, service):
                    began, busy, count = time.perf_counter(), time.process_time(), 0
                    for path in sorted((CORPUS / "osv").glob("*/all.zip")):
                        count += service.import_feed(path, HUB, name=f"{path.parent.name}/all.zip").records
                    rate = count / (time.perf_counter() - began)
                    own = count / (time.process_time() - busy)
                    print(f"advisories {kind}: {count} real records, {rate:,.0f} a second, {own:,.0f} a CPU second")
            if not records:
                continue
            with opened(kind, folder / "full") as (database, service):
                rates, tenth = [], records // 10
                for part in range(10):
                    path = packed(folder, part * tenth, tenth)
                    began = time.perf_counter()
                    service.import_feed(path, HUB, name=path.name)
                    rates.append(tenth / (time.perf_counter() - began))
                    path.unlink()
                    if part == 0:
                        few = look_up(service)
                print(
                    f"advisories {kind}: {records} records, first tenth {rates[0]:,.0f}/s, last {rates[-1]:,.0f}/s, "
                    f"{_size(database):,.0f} MB; 1,000 packages looked up in {few:.1f} ms with a tenth, "
                    f"{look_up(service):.1f} ms with all"
                )
                spent, found = matching(service)
                print(f"matching {kind}: 1,000 packages, {found} matches among {records} records in {spent:.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "postgresql"])
    given = parser.parse_args()
    advisories(given.records, tuple(given.kinds))
