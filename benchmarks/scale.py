"""Many at once, and much in one hub: memory during parallel uploads, and rates with a million manifests.

1. Memory is the most that the server's processes held since the uploads began (VmHWM, which Linux lets one reset).
2. The full hub's rows are written through the store's tables; the bytes of their blobs are not there, and nobody asks
   for them. The empty hub holds the first thousand tags of the same repository and nothing else; both run at once.
3. Each is asked for one tag again and again, for a thousand tags in turn, and to take pushes of new images.
"""

import os
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy import Connection, insert, text
from tests.hub_process import HubProcess
from tests.peers.postgresql import PostgreSQL

from benchmarks.measure import MB, memory, seconds, table, wrk
from benchmarks.registry import MANIFEST, push_blob, put_blob, put_manifest
from benchmarks.servers import Bench, Target, add_publisher, children, pid_of
from customhouse.db import Database
from customhouse.registry.store import tables

FEW = 1000
SIZE = 40  # of each configuration
_IN_ONE_REPOSITORY = 10_000
_AT_ONCE = 50_000
_FILLED = (tables.blob, tables.link, tables.content, tables.need, tables.manifest, tables.tag)
_IN_TURN = """
local asked = 0
request = function()
  asked = asked + 1
  return wrk.format("GET", string.format("{path}/manifests/tag-%d", (asked * 7) % {few}))
end
"""


def uploads(bench: Bench, options: Namespace) -> None:
    """The most memory that a server held during parallel uploads, in MB."""
    path, hashed = bench.folder / "large", sha256()
    with path.open("wb") as file:
        for _ in range(options.upload_size):
            piece = os.urandom(MB)
            hashed.update(piece)
            file.write(piece)
    several = HubProcess(bench.folder / "several" / "data", settings={"processes": "2"}).start()
    add_publisher(several)
    most: dict[str, list[float]] = {}
    notes = []
    try:
        for number in range(5):
            target = [*bench.targets(), _target("2 processes TLS", bench, several)][number]
            pids = [target.pid, *children(target.pid)]
            for pid in pids:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            digest = f"sha256:{hashed.hexdigest()}"
            push = partial(push_blob, target, path, digest)
            with ThreadPoolExecutor(options.uploads) as threads:
                began = monotonic()
                for pushing in [threads.submit(push) for _ in range(options.uploads)]:
                    pushing.result()
                took = monotonic() - began
            most[target.name] = [sum(memory(pid)[1] for pid in pids)]
            notes.append((target.name, f"{options.uploads * options.upload_size / took:.0f} MB/s together"))
    finally:
        several.close()
        path.unlink()
    title = f"memory of the server, at most, during {options.uploads} parallel uploads of {options.upload_size} MB"
    table(title, "MB", most, notes)


def million(bench: Bench, options: Namespace) -> None:
    """Rates of a hub that is full beside one that is empty, with and without TLS, on SQLite and on PostgreSQL."""
    server = PostgreSQL(bench.folder / "postgresql-full", durable=True)
    try:
        for name in ("SQLite", "PostgreSQL"):
            hubs = {}
            for kind, count in (("empty", FEW), ("full", options.manifests)):
                data = bench.folder / f"{kind}-{name}" / "data"
                url = server.url() if name == "PostgreSQL" else f"sqlite:///{data}/hub.db"
                hub = hubs[kind] = HubProcess(data, settings={"database": url}).start()
                add_publisher(hub)
                hub.stop()
                took = seconds(partial(fill, Database(url), count))
                print(f"{name}: {count:,} manifests written in {took:.0f} s", flush=True)
            for tls in (False, True):
                _rates(bench, hubs, options, f"{options.manifests:,} manifests and tags, {name}", tls)
    finally:
        server.stop()


def _rates(bench: Bench, hubs: dict[str, HubProcess], options: Namespace, title: str, tls: bool) -> None:
    found: dict[str, dict[str, list[float]]] = {}
    notes, suffix = [], " TLS" if tls else ""
    script = bench.folder / "in-turn.lua"
    script.write_text(_IN_TURN.format(path=f"/v2/{_repository(0)}", few=FEW))
    try:
        for kind, hub in hubs.items():
            hub.settings["plain_http"] = "false" if tls else "true"
            took = seconds(hub.start)
            notes.append((kind + suffix, f"ready in {took:.1f} s, "))
        for number in range(options.runs + 1):
            for kind, hub in hubs.items():
                target = _target(kind + suffix, bench, hub, _repository(0))
                one = wrk(f"{target.url}/v2/{_repository(0)}/manifests/tag-1", target.headers, options.seconds)
                turn = wrk(target.url, target.headers, options.seconds, script)
                for what, rate in (
                    ("GET of one manifest", one.rate), ("GET of 1,000 manifests in turn", turn.rate),
                    ("pushes", _pushes(target, options.seconds)),
                ):  # fmt: skip
                    if number:
                        found.setdefault(what, {}).setdefault(target.name, []).append(rate)
        most = [memory(pid_of(hub))[1] for hub in hubs.values()]
        held = [(name, f"{told}{amount:.0f} MB") for (name, told), amount in zip(notes, most, strict=True)]
    finally:
        for hub in hubs.values():
            hub.close()
    for what, rates in found.items():
        table(f"{what}: empty hub and {title}", "1/s", rates, held)


def _pushes(target: Target, length: float) -> float:
    """New images, one after the other, each a configuration and a manifest."""
    count, began = 0, monotonic()
    while monotonic() - began < length:
        config = os.urandom(20).hex().encode()
        put_blob(target, config, _repository(0))
        put_manifest(target, _manifest(f"sha256:{sha256(config).hexdigest()}"), "pushed", _repository(0))
        count += 1
    return count / (monotonic() - began)


def _target(name: str, bench: Bench, hub: HubProcess, repository: str = "staging/acme/bench") -> Target:
    scheme = "http" if hub.settings.get("plain_http") == "true" else "https"
    return Target(name, f"{scheme}://{hub.host}", bench.bearer(hub, scheme, repository), pid_of(hub))


def fill(database: Database, count: int) -> None:
    """So many images of one configuration each, under a tag each, in repositories of ten thousand."""
    with database.write() as tx:
        if database.dialect == "sqlite":
            tx.execute(text("PRAGMA cache_size = -1000000"))
        # Made anew at the end: sorted once, which is far quicker than to keep them in order meanwhile.
        indexes = [index for one in _FILLED for index in one.indexes]
        for index in indexes:
            index.drop(tx)
        now = datetime.now(UTC)
        for start in range(0, count, _AT_ONCE):
            _insert_images(tx, range(start, min(start + _AT_ONCE, count)), now)
        for index in indexes:
            index.create(tx)
    if database.dialect == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    database.close()


def _insert_images(tx: Connection, numbers: range, now: datetime) -> None:
    images = []
    for number in numbers:
        config = f"sha256:{sha256(b'%d' % number).hexdigest()}"
        raw = _manifest(config)
        images.append((f"sha256:{sha256(raw).hexdigest()}", raw, config, _repository(number), f"tag-{number}"))
    images.sort()
    configs = sorted(config for _, _, config, _, _ in images)
    _insert(tx, tables.blob, ((config, SIZE, now) for config in configs), ("digest", "size", "stored_at"))
    links = sorted((repository, config, now) for _, _, config, repository, _ in images)
    _insert(tx, tables.link, links, ("repository", "digest", "linked_at"))
    content = ("digest", "media_type", "raw", "size", "artifact_type", "annotations")
    _insert(tx, tables.content, ((it, MANIFEST, raw, len(raw), "", {}) for it, raw, *_ in images), content)
    _insert(tx, tables.need, ((it, config, "blob") for it, _, config, _, _ in images), ("parent", "child", "kind"))
    held = sorted((repository, it, now) for it, _, _, repository, _ in images)
    _insert(tx, tables.manifest, held, ("repository", "digest", "pushed_at"))
    tags = sorted((repository, tag, it, now) for it, _, _, repository, tag in images)
    _insert(tx, tables.tag, tags, ("repository", "name", "digest", "set_at"))


def _insert(tx: Connection, into: Any, rows: Any, columns: tuple[str, ...]) -> None:
    """By COPY where there is such a thing."""
    if tx.dialect.name == "sqlite":
        tx.execute(insert(into), [dict(zip(columns, row, strict=True)) for row in rows])
        return
    from psycopg.types.json import Json

    cursor = tx.connection.driver_connection.cursor()  # type: ignore[union-attr]
    with cursor.copy(f"COPY {into.name} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([Json(value) if isinstance(value, dict) else value for value in row])


def _manifest(config: str) -> bytes:
    return (
        f'{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json"'
        f',"digest":"{config}","size":{SIZE}}},"layers":[]}}'
    ).encode()


def _repository(number: int) -> str:
    return f"staging/acme/many-{number // _IN_ONE_REPOSITORY}"
