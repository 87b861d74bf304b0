"""`customhouse source`: the other registries and trust servers that the hub may read from, each for one publisher."""

from pathlib import Path
from urllib.parse import quote

import click

from customhouse.cli.hub_api import Connections, connected, password_from
from customhouse.cli.output import Output, reporting

PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def source() -> None:
    """Other registries and trust servers that images may come from."""


@source.command()
@click.argument("address", metavar="https://HOST[:PORT]")
@click.option("--publisher", required=True, help="Whose images come from there.")
@click.option("--authority", type=PEM, help="CA of that server, PEM, if it has one of its own.")
@click.option("--username", help="Who the hub is there; with --password-stdin, or asked for.")
@click.option("--password-stdin", is_flag=True, help="Read that user's password from standard input.")
@reporting
@connected
def add(
    out: Output, connections: Connections, address: str, publisher: str, authority: Path | None,
    username: str | None, password_stdin: bool,
) -> None:
    """Let the hub read from a server for a publisher, or change how."""
    if password_stdin and not username:
        raise click.UsageError("--password-stdin is for the password of --username")
    asked = {"publisher": publisher, "url": address, "ca": authority.read_text() if authority else ""}
    if username:
        asked |= {"username": username, "secret": password_from(password_stdin, f"Password of {username} there")}
    made = connections.hub().post("/sources", asked)
    out.result(made, f"the hub may read from {made['url']} for {made['publisher']}")


@source.command("list")
@reporting
@connected
def list_sources(out: Output, connections: Connections) -> None:
    """List the servers that the hub may read from."""
    found = connections.hub().get("/sources")
    out.result(found, out.table(found["sources"], ("publisher", "host", "url", "username", "added_by", "added")))


@source.command()
@click.argument("host", metavar="HOST[:PORT]")
@click.option("--publisher", required=True, help="Whose images came from there.")
@reporting
@connected
def remove(out: Output, connections: Connections, host: str, publisher: str) -> None:
    """Let the hub read from a server for a publisher no more."""
    connections.hub().delete(f"/sources/{quote(publisher, safe='')}/{quote(host, safe=':')}")
    out.result(
        {"publisher": publisher, "host": host, "removed": True}, f"the hub reads from {host} for {publisher} no more"
    )
