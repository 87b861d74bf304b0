"""`customhouse repository`: what repositories there are and what they hold; one of staging can be deleted whole."""

from urllib.parse import quote

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED

_SHOWN = ("repository", "kind", "tags", "manifests", "blobs", "bytes")


@click.group()
def repository() -> None:
    """Repositories: list, show and delete them."""


@repository.command("list")
@click.argument("prefix", default="")
@reporting
@connected
def list_repositories(out: Output, connections: Connections, prefix: str) -> None:
    """List the repositories that you may read, or those whose names begin with PREFIX."""
    names = connections.hub().pages("/repositories", "repositories", prefix=prefix)
    out.result({"repositories": names}, "\n".join(map(str, names)) or "none")


@repository.command()
@click.argument("name")
@reporting
@connected
def show(out: Output, connections: Connections, name: str) -> None:
    """Show how much a repository holds."""
    found = connections.hub().get(_path(name))
    out.result(found, out.table([found], _SHOWN))


@repository.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reporting
@connected
def delete(out: Output, connections: Connections, name: str, yes: bool) -> int:
    """Delete a repository of staging with all its tags; what is official or being examined stays."""
    hub = connections.hub()
    found = hub.get(_path(name))
    asked = f"Delete {name} with {found['tags']} tags and {found['manifests']} manifests?"
    if not yes and not click.confirm(asked, err=True):
        out.result({**found, "deleted": False}, "nothing is deleted")
        return REFUSED
    hub.delete(_path(name))
    out.result({**found, "deleted": True}, f"{name} is deleted: {found['tags']} tags, {found['manifests']} manifests")
    return DONE


def _path(name: str) -> str:
    return f"/repositories/{quote(name, safe='/')}"
