"""`customhouse rule`: which tags stay on their image, and which may move to another one."""

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting

_COLUMNS = ("repositories", "tags", "state", "added_by", "added")


@click.group()
def rule() -> None:
    """Which tags are locked and which may move.

    A locked tag stays on its image until it is withdrawn. In patterns `*` stands for any characters but /, and `**` for
    any. Of the rules that match, the one that was added last counts.
    """


@rule.command()
@click.argument("repositories")
@click.argument("tags")
@click.option("--locked/--movable", default=None, help="What such tags are from now on.")
@reporting
@connected
def add(out: Output, connections: Connections, repositories: str, tags: str, locked: bool | None) -> None:
    """Lock the tags that match TAGS in the repositories that match REPOSITORIES, or let them move.

    For example: rule add 'acme/*' 'nightly-*' --movable
    """
    if locked is None:
        raise click.UsageError("give one of --locked and --movable")
    wanted = {"repositories": repositories, "tags": tags, "locked": locked}
    made = connections.hub().post("/rules", wanted)
    out.result(made, f"{repositories}:{tags} {'is locked' if locked else 'may move'}")


@rule.command("list")
@reporting
@connected
def list_rules(out: Output, connections: Connections) -> None:
    """List the rules; of those that match a tag, the last counts."""
    found = connections.hub().get("/rules")
    rows = [{**each, "state": "locked" if each["locked"] else "movable"} for each in found.get("rules", [])]
    out.result(found, out.table(rows, _COLUMNS))


@rule.command()
@click.argument("repositories")
@click.argument("tags")
@reporting
@connected
def remove(out: Output, connections: Connections, repositories: str, tags: str) -> None:
    """End a rule, named by its patterns."""
    connections.hub().delete("/rules", repositories=repositories, tags=tags)
    out.result(
        {"repositories": repositories, "tags": tags, "removed": True}, f"there is no rule of {repositories}:{tags} now"
    )
