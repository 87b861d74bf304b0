"""`customhouse storage`: what is stored, as a whole.

1. Verification goes piece by piece, of a running hub by its API or of a stopped one by its data; the command counts,
   waits where a rate is given, and says where it stopped.
2. Export and import work on the data, where the hub's settings lead to its database and blobs.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from customhouse.cli.doctor import signed_url
from customhouse.cli.hub_api import JSON, Connections, HubApi, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED
from customhouse.transport import Patience

Read = Callable[[str], JSON]
FOLDER = click.Path(file_okay=False, path_type=Path)
THERE = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def storage() -> None:
    """What the hub stores: verify it, move it, back it up."""


@storage.command()
@click.option("--data", type=THERE, help="Data of a stopped hub; without it, the running hub is asked.")
@click.option("--rate", type=click.FloatRange(min=1), help="Read at most so many megabytes a second.")
@click.option("--after", default="", help="Go on where an interrupted verification stopped, by what it printed.")
@click.option("--discard", is_flag=True, help="Throw altered bytes away, so that the next push stores them.")
@reporting
@connected
def verify(
    out: Output, connections: Connections, data: Path | None, rate: float | None, after: str, discard: bool
) -> int:
    """Hash again all that is stored; names what is wrong, whom it concerns and what to do. Exits 1 if something is."""
    with _reader(connections, data, discard) as read, out.progress("verifying") as progress:
        found = _read_all(out, read, after, rate, progress)
    lines = []
    for item in found["breaks"]:
        lines += [f"{item['invariant']}  {item['subject']}: {item['what']}"]
        lines += [f"    concerns {', '.join(item['concerns'])}"] if item["concerns"] else []
        lines += ["    thrown away"] if item["discarded"] else []
        lines += [f"    {item['remedy']}"]
    lines.append(f"{found['items']} blobs and manifests, {found['bytes']} bytes; {len(found['breaks'])} wrong")
    if found["orphans"]:
        lines.append(f"{found['orphans']} blobs are no longer named by any row: the hub collects them by itself")
    out.result({"sound": not found["breaks"], **found}, lines)
    return REFUSED if found["breaks"] else DONE


@contextmanager
def _reader(connections: Connections, data: Path | None, discard: bool) -> Iterator[Read]:
    if data is None:
        hub = connections.hub(patience=Patience(read=3600, total=3600))
        ask = hub.change if discard else hub.get
        yield lambda after: ask("/storage/verify", after=after)
        return
    from customhouse import doctor
    from customhouse.hub import Hub
    from customhouse.settings import load

    stopped = Hub(load(data, url=signed_url(data)))
    try:
        yield lambda after: doctor.verify_piece(stopped, after, discard=discard)
    finally:
        stopped.close(1)


def _read_all(out: Output, read: Read, after: str, rate: float | None, progress: Callable[[int, int], None]) -> JSON:
    """Every piece. What was found is told when it is found: the rest may take hours, or be interrupted."""
    found: JSON = {"breaks": [], "items": 0, "bytes": 0, "orphans": 0}
    total, began, where = 0, time.monotonic(), after
    try:
        while True:
            piece = read(where)
            total = int(piece.get("total", {}).get("bytes", total))
            for item in piece["breaks"]:
                out.note(f"{item['invariant']}  {item['subject']}: {item['what']}")
            found["breaks"] += piece["breaks"]
            for name in ("items", "bytes", "orphans"):
                found[name] += piece[name]
            progress(found["bytes"], max(total, found["bytes"]))
            if piece["next"] is None:
                return found
            where = piece["next"]
            if rate:
                time.sleep(max(0.0, began + found["bytes"] / (rate * 1e6) - time.monotonic()))
    except BaseException:
        out.note(f"stopped; to go on: --after {where}" if where else "stopped")
        raise


@storage.command()
@click.option("--data", type=THERE, help="Data of a stopped hub; without it, the running hub is asked.")
@click.option("--dry-run", is_flag=True, help="Tell what is unused; collect nothing.")
@click.option("--fast", is_flag=True, help="Without a rest: pushes to the running hub may have to wait.")
@reporting
@connected
def gc(out: Output, connections: Connections, data: Path | None, dry_run: bool, fast: bool) -> None:
    """Collect what nothing has needed for longer than its grace, which the hub does by itself every ten minutes."""
    if data is not None:
        found = _collect_stopped(out, data, dry_run)
    else:
        hub = connections.hub(patience=Patience(read=120, total=24 * 3600))
        found = hub.get("/storage/collect") if dry_run else _collect_running(out, hub, fast)
    found = {name: found[name] for name in _COLLECTED}
    what = "unused" if dry_run else "collected"
    out.result(
        {"dry_run": dry_run, **found},
        f"{what}: {found['blobs'] + found['orphans']} blobs ({found['bytes']} bytes), {found['manifests']} manifests,"
        f" {found['uploads']} uploads",
    )


_COLLECTED = ("links", "manifests", "blobs", "orphans", "uploads", "bytes")


def _collect_stopped(out: Output, data: Path, dry_run: bool) -> JSON:
    from customhouse.hub import Hub
    from customhouse.settings import load

    stopped = Hub(load(data, url=signed_url(data)))
    try:
        survey = stopped.registry.survey(stopped.clock())
        if dry_run:
            return survey.as_json()
        with out.progress("collecting") as progress:
            swept = stopped.registry.sweep(
                stopped.clock(), told=lambda so_far: progress(so_far.freed, max(survey.freed, so_far.freed))
            )
        return swept.as_json()
    finally:
        stopped.close(1)


def _collect_running(out: Output, hub: HubApi, fast: bool) -> JSON:
    """Some seconds a request; each part of the store is looked through after what is unused is collected."""
    found: JSON = dict.fromkeys(_COLLECTED, 0)
    part, parts, expected = 0, 1, int(hub.get("/storage/collect")["bytes"])
    with out.progress("collecting") as progress:
        while part < parts:
            done = hub.change("/storage/collect", part=str(part), fast="true" if fast else "false")
            for name in _COLLECTED:
                found[name] += done[name]
            parts, part = done["parts"], part + (0 if done["more"] else 1)
            progress(found["bytes"], max(expected, found["bytes"]))
    return found


@storage.command("export")
@click.argument("folder", type=FOLDER)
@click.option("--data", type=THERE, required=True, help="Data of the hub, which may go on running.")
@click.option("--with-master-key", is_flag=True, help="Put it in as well: whoever has the folder is the hub.")
@click.option("--damaged", is_flag=True, help="Leave out blobs whose bytes are gone or altered, and name them.")
@reporting
def export_hub(out: Output, folder: Path, data: Path, with_master_key: bool, damaged: bool) -> int:
    """Write a whole hub to FOLDER; run again, it copies only what is new."""
    from customhouse.archive.writing import export
    from customhouse.settings import load, system_clock

    settings = load(data, url=signed_url(data))
    with out.progress("exporting") as progress:
        contents, index = export(
            settings, folder, system_clock(), with_master_key=with_master_key, damaged=damaged, progress=progress
        )
    rows = sum(contents.rows.values())
    lines = [f"{rows} rows and {contents.blobs} blobs ({contents.blob_bytes} bytes) are in {folder}", f"sha256:{index}"]
    lines += [f"left out: {digest}" for digest in contents.damaged]
    document = {
        "folder": str(folder), "index": f"sha256:{index}", "rows": rows, "blobs": contents.blobs,
        "bytes": contents.blob_bytes, "damaged": contents.damaged, "url": contents.url,
    }
    out.result(document, lines)
    if not with_master_key:
        out.note("the master key is not in it: keep a copy of it elsewhere")
    return REFUSED if contents.damaged else DONE


@storage.command("import")
@click.argument("folder", type=THERE)
@click.option("--data", type=FOLDER, required=True, help="Data of the new hub; its settings say which database.")
@click.option(
    "--master-key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The old hub's master key, where the export does not hold it.",
)
@reporting
def import_hub(out: Output, folder: Path, data: Path, master_key_file: Path | None) -> int:
    """Make a hub of an export, where there is none; it does not run the new hub."""
    from customhouse import doctor
    from customhouse.archive import Contents
    from customhouse.archive.reading import take_in
    from customhouse.hub import Hub
    from customhouse.settings import load

    settings = load(data, url=Contents.read(folder).url)
    with out.progress("importing") as progress:
        contents = take_in(settings, folder, key_file=master_key_file, progress=progress)
    hub = Hub(settings)
    try:
        breaks = [item.as_json() for item in doctor.examine(hub)]
    finally:
        hub.close(1)
    rows = sum(contents.rows.values())
    lines = [f"{rows} rows and {contents.blobs} blobs ({contents.blob_bytes} bytes) are in {data}"]
    lines += [f"{item['invariant']}  {item['subject']}: {item['what']}" for item in breaks] or ["every invariant holds"]
    out.result({"rows": rows, "blobs": contents.blobs, "bytes": contents.blob_bytes, "breaks": breaks}, lines)
    if settings.hub_name != contents.hub_name:
        out.note(f"the hub was called {contents.hub_name!r} as a signer; set hub_name to keep that")
    return REFUSED if breaks else DONE


@storage.command()
@click.option("--data", type=THERE, required=True, help="Data of the restored hub, which is stopped.")
@click.option("--versions", default=1000, show_default=True, type=click.IntRange(1, 1000), help="How far to go ahead.")
@reporting
def restored(out: Output, data: Path, versions: int) -> None:
    """After a backup was restored: sign versions that are ahead of what clients have seen, or they refuse the hub."""
    from customhouse.hub import Hub
    from customhouse.settings import load

    hub = Hub(load(data, url=signed_url(data)))
    try:
        guns = hub.publication.go_ahead(versions, hub.clock())
    finally:
        hub.close(1)
    document = {"repositories": [str(gun) for gun in guns], "versions": versions}
    out.result(document, f"{len(guns)} repositories are {versions} versions ahead")
