"""`customhouse waiver`: a finding that is accepted, by whom, why, and until when."""

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.token import Duration

_COLUMNS = ("id", "repository", "check", "fingerprint", "author", "approvals", "expires", "reason")


@click.group()
def waiver() -> None:
    """Accept a finding, with a reason and until a day."""


@waiver.command()
@click.argument("repository")
@click.option("--fingerprint", help="The one finding, as `submission show` names it.")
@click.option("--check", help="All findings of a check …")
@click.option("--path", help="… at this path")
@click.option("--purl", help="… or in this package.")
@click.option("--reason", required=True, help="Why; it is kept and shown.")
@click.option("--expires", type=Duration(), required=True, help="How long, e.g. 30d.")
@reporting
@connected
def add(
    out: Output, connections: Connections, repository: str, fingerprint: str | None, check: str | None,
    path: str | None, purl: str | None, reason: str, expires: int,
) -> None:
    """Accept findings in a repository, e.g. staging/acme/web."""
    if (fingerprint is None) == (check is None):
        raise click.UsageError("give one of --fingerprint and --check")
    wanted = {
        "repository": repository, "reason": reason, "days": max(1, expires // 86400), "fingerprint": fingerprint,
        "check": check, "path": path, "purl": purl,
    }
    made = connections.hub().post("/waivers", wanted)
    needed = made["required_approvals"]
    more = f"; it counts when approved: customhouse waiver approve {made['id']} ({needed} needed)" if needed else ""
    out.result(made, f"waiver {made['id']} until {made['expires']}{more}")


@waiver.command()
@click.argument("identifier", metavar="ID")
@reporting
@connected
def approve(out: Output, connections: Connections, identifier: str) -> None:
    """Approve somebody else's waiver, where the policy wants that."""
    made = connections.hub().change(f"/waivers/{identifier}/approve")
    out.result(made, f"waiver {identifier}: {len(made['approvals'])} of {made['required_approvals']} approvals")


@waiver.command("list")
@reporting
@connected
def list_waivers(out: Output, connections: Connections) -> None:
    """List the waivers in force."""
    found = connections.hub().get("/waivers")
    out.result(found, out.table(found.get("waivers", []), _COLUMNS))


@waiver.command()
@click.argument("identifier", metavar="ID")
@reporting
@connected
def remove(out: Output, connections: Connections, identifier: str) -> None:
    """End a waiver now."""
    connections.hub().delete(f"/waivers/{identifier}")
    out.result({"id": identifier, "removed": True}, f"waiver {identifier} ended")
