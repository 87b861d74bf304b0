"""`customhouse storage`: what is stored, as a whole. Export and import work on the data, on the hub's machine."""

from pathlib import Path

import click

from customhouse.cli.doctor import signed_url
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED

FOLDER = click.Path(file_okay=False, path_type=Path)
THERE = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def storage() -> None:
    """What the hub stores: verify it, move it, back it up."""


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
