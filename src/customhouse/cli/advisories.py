"""`customhouse advisories`: bring OSV dumps, KEV, EPSS and VEX to the hub, and see what is held and how fresh it is.

A folder is sent as one archive of its JSON files; archives and lists in it are sent as they are.
"""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import click

from customhouse.cli.hub_api import JSON, Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED
from customhouse.errors import NotFound
from customhouse.transport import Patience

SLOW = Patience(read=3600, total=3600)
_ARCHIVES = (".zip", ".gz", ".csv")
_NO_RECORDS = "modified_id.csv"  # a mirror's own list


@click.group()
def advisories() -> None:
    """Import advisories and see how fresh they are."""


@advisories.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@reporting
@connected
def import_paths(out: Output, connections: Connections, paths: tuple[Path, ...]) -> None:
    """Import OSV dumps (zip or folder), OSV records, the KEV list, EPSS tables, OpenVEX and CSAF documents."""
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
def update(out: Output, connections: Connections) -> int:
    """Have the hub follow its mirror now: only what changed is fetched."""
    reports: list[JSON] = connections.hub(patience=SLOW).post("/advisories/update")["updates"]
    out.result({"updates": reports}, [_update_line(report) for report in reports])
    return REFUSED if any("error" in report for report in reports) else DONE


@advisories.command("list")
@click.argument("ecosystem", default="")
@click.argument("package", default="")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@reporting
@connected
def list_records(out: Output, connections: Connections, ecosystem: str, package: str, limit: int) -> None:
    """Records of an ecosystem, or of one package in it; the latest change first."""
    found = connections.hub().get("/advisories", ecosystem=ecosystem, package=package, limit=limit)
    out.result(found, out.table(found["records"], ("id", "severity", "modified", "aliases", "summary")))


@advisories.command()
@click.argument("id")
@reporting
@connected
def show(out: Output, connections: Connections, id: str) -> None:
    """One record, by its id or an alias: who is affected, fixed versions, KEV, EPSS and VEX."""
    found = connections.hub().get(f"/advisories/records/{quote(id, safe='')}")
    out.result(found, _record_lines(found))


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
        # `all.zip` says nothing: a later dump of one name takes the place of the former.
        folder = path.resolve().parent.name
        yield [(f"{folder}-{path.name}" if path.name == "all.zip" and folder else path.name, path)]
        return
    archives = sorted(
        file
        for file in path.rglob("*")
        if file.suffix in _ARCHIVES and file.name != _NO_RECORDS and file.is_file()
    )
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
    lists = [f"{key.upper()} {report[key]}" for key in ("kev", "epss") if report.get(key)]
    doubted = [f"not believed, it lost too much: {', '.join(report['doubted'])}"] if report.get("doubted") else []
    return f"{report['name']}: " + ", ".join([*lists, *([] if lists else told), *doubted])


def _update_line(report: JSON) -> str:
    name = report.get("ecosystem") or report.get("name")
    if "error" in report:
        return f"{name}: {report['error']} {report.get('hint', '')}".rstrip()
    told = ("new", "changed", "withdrawn", "vanished", "refused")
    return f"{name}: " + ", ".join(f"{key} {report.get(key, 0)}" for key in told)


def _record_lines(found: JSON) -> list[str]:
    lines = [f"{found['id']} ({found['severity']}, {found['rated_by'] or 'no source'}): {found['summary']}"]
    lines.append(f"modified {found['modified']}" + (f", withdrawn {found['withdrawn']}" if found["withdrawn"] else ""))
    if found["names"] or found["upstream"]:
        lines.append("also " + ", ".join(dict.fromkeys([*found["names"], *found["upstream"]])))
    lines += [f"known to be exploited: {', '.join(found['kev'])}"] if found["kev"] else []
    lines += [f"{cve}: EPSS {score:.3f}, above {share:.1%} of all" for cve, (score, share) in found["epss"].items()]
    for entry in found["affected"]:
        events = [f"{kind} {version}" for each in entry["ranges"] for event in each for kind, version in event.items()]
        said = ", ".join(events) or f"{entry['versions']} versions"
        lines.append(f"{entry['ecosystem']} {entry['package']}: {said}")
    lines += [f"VEX of {each['author']}: {each['status']} {each['justification']}".rstrip() for each in found["vex"]]
    return lines


def _status_lines(out: Output, found: JSON) -> list[str]:
    kev = found.get("kev") or {}
    lines = [f"{found.get('records', 0)} records; stale after {found.get('max_age_days')} days"]
    lines.append(f"KEV: {kev.get('version') or 'none'}, {kev.get('coverage')}, {kev.get('records', 0)} entries")
    epss = found.get("epss") or {}
    lines.append(f"EPSS: {epss.get('version') or 'none'}, {epss.get('coverage')}, {epss.get('records', 0)} scores")
    if vex := found.get("vex"):
        lines.append(f"VEX: {len(vex)} documents")
    ecosystems = found.get("ecosystems") or []
    columns = ("ecosystem", "coverage", "records", "newest", "imported")
    return lines + (out.table(ecosystems, columns) if ecosystems else [])
