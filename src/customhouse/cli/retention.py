"""`customhouse retention`: what staging keeps, and what would go."""

from typing import Any

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting

_COLUMNS = ("repositories", "newest", "days", "never", "untagged_days", "added_by")
_SHOWN = 20


@click.group()
def retention() -> None:
    """What staging keeps, and for how long.

    In patterns `*` stands for any characters but /, and `**` for any. Of the rules that match a repository, the one
    that was set last counts. What is official goes by withdrawal only.
    """


@retention.command("set")
@click.argument("repositories")
@click.option("--newest", type=int, help="Keep so many tags, the newest.")
@click.option("--days", type=int, help="Keep tags that were set within so many days.")
@click.option("--never", multiple=True, metavar="TAGS", help="Keep tags that match, always; may be repeated.")
@click.option("--untagged-days", type=int, help="Keep manifests without a tag so many days; without this, always.")
@reporting
@connected
def set_rule(
    out: Output, connections: Connections, repositories: str, newest: int | None, days: int | None,
    never: tuple[str, ...], untagged_days: int | None,
) -> None:
    """Keep in staging repositories that match what one of the options keeps; other tags go.

    For example: retention set 'staging/acme/*' --newest 10 --days 30 --never 'v*' --untagged-days 7
    """
    wanted = {
        "repositories": repositories, "newest": newest, "days": days, "never": never, "untagged_days": untagged_days
    }
    made = connections.hub().put("/retention", wanted)
    out.result(made, f"retention of {repositories} is set; see what would go: customhouse retention run --dry-run")


@retention.command("list")
@reporting
@connected
def list_rules(out: Output, connections: Connections) -> None:
    """List the rules; of those that match a repository, the last counts."""
    found = connections.hub().get("/retention")
    rows = [{**each, "never": ",".join(each["never"])} for each in found.get("rules", [])]
    out.result(found, out.table(rows, _COLUMNS))


@retention.command()
@click.argument("repositories")
@reporting
@connected
def remove(out: Output, connections: Connections, repositories: str) -> None:
    """End a rule, named by its pattern."""
    connections.hub().delete("/retention", repositories=repositories)
    out.result({"repositories": repositories, "removed": True}, f"there is no retention of {repositories} now")


@retention.command()
@click.option("--dry-run", is_flag=True, help="Show what would go, and let nothing go.")
@reporting
@connected
def run(out: Output, connections: Connections, dry_run: bool) -> None:
    """Let go now of what the rules do not keep; the hub does so every ten minutes."""
    hub = connections.hub()
    answer = hub.get("/retention/run") if dry_run else hub.change("/retention/run")
    gone: list[Any] = list(answer["gone"])
    while answer["more"] and not dry_run:
        answer = hub.change("/retention/run")
        gone += answer["gone"]
    lines = [f"{each['repository']}: {_names(each['tags'])}, {len(each['manifests'])} manifests" for each in gone]
    lines += ["and more"] if answer["more"] else []
    out.result({"dry_run": dry_run, "gone": gone, "more": answer["more"]}, lines or ["nothing goes"])


def _names(tags: list[str]) -> str:
    shown = " ".join(tags[:_SHOWN]) + (" …" if len(tags) > _SHOWN else "")
    return f"{len(tags)} tags" + (f" ({shown})" if tags else "")
