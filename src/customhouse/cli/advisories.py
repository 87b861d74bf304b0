"""`customhouse advisories`: bring OSV dumps and KEV lists to the hub, and see how fresh they are there.

A folder is sent as one archive of its JSON files; archives and lists in it are sent as they are.
"""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from customhouse.cli.hub_api import JSON, Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.errors import NotFound
from customhouse.transport import Patience

SLOW = Patience(read=3600, total=3600)
_ARCHIVES = (".zip", ".gz")


@click.group()
def advisories() -> None:
    """Import advisories and see how fresh they are."""


@advisories.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@reporting
@connected
def import_paths(out: Output, connections: Connections, paths: tuple[Path, ...]) -> None:
    """Import OSV dumps (zip or folder), OSV records and KEV lists."""
    hub = connections.hub(patience=SLOW)
    reports: list[JSON] = []
    for path in paths:
        with _files(path) as files:
            for name, file in files:
                out.note(f"sending {name} ({file.stat().st_size} bytes)")
                report = hub.upload("/advisories", partial(_open, file), file.stat().st_size, name=name)
                reports.append({"name": name, **report})
    out.result({"imports": reports}, [_line(report) for report in reports])


@advisories.command()
@reporting
@connected
def status(out: Output, connections: Connections) -> None:
    """What the hub knows, and how old it is."""
    found = connections.hub().get("/advisories/status")
    out.result(found, _status_lines(out, found))


@contextmanager
def _files(path: Path) -> Iterator[list[tuple[str, Path]]]:
    """What is sent for a path: (name, file)."""
    if path.is_file():
        yield [(path.name, path)]
        return
    archives = sorted(file for file in path.rglob("*") if file.suffix in _ARCHIVES and file.is_file())
    records = sorted(file for file in path.rglob("*.json") if file.is_file() and not file.is_symlink())
    if not archives and not records:
        raise NotFound(f"there are no advisories in {path}", hint="It should hold .zip or .json files.")
    named = [("-".join(file.relative_to(path).parts), file) for file in archives]
    with tempfile.TemporaryDirectory(prefix="customhouse-") as folder:
        if records:
            packed = Path(folder, f"{path.resolve().name}.zip")
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in records:
                    archive.write(file, file.relative_to(path).as_posix())
            named.append((packed.name, packed))
        yield named


def _open(file: Path) -> BinaryIO:
    return file.open("rb")


def _line(report: JSON) -> str:
    told = [f"{key} {value}" for key, value in report.items() if isinstance(value, int) and not isinstance(value, bool)]
    return f"{report['name']}: " + (f"KEV {report['kev']}" if report.get("kev") else ", ".join(told))


def _status_lines(out: Output, found: JSON) -> list[str]:
    kev = found.get("kev") or {}
    lines = [f"{found.get('records', 0)} records; stale after {found.get('max_age_days')} days"]
    lines.append(f"KEV: {kev.get('version') or 'none'}, {kev.get('coverage')}, {kev.get('records', 0)} entries")
    ecosystems = found.get("ecosystems") or []
    columns = ("ecosystem", "coverage", "records", "newest", "imported")
    return lines + (out.table(ecosystems, columns) if ecosystems else [])
