"""`customhouse audit`: the hash-chained log of every write that matters."""

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting


@click.group()
def audit() -> None:
    """Read and prove the audit log."""


@audit.command()
@click.option("--checkpoint", help="What an earlier verification printed: the log must still contain it.")
@reporting
@connected
def verify(out: Output, connections: Connections, checkpoint: str | None) -> None:
    """Prove the chain; prints a checkpoint to keep elsewhere."""
    proof = connections.hub().get("/audit/verify", checkpoint=checkpoint)
    out.result(proof, f"{proof['entries']} entries, unbroken; checkpoint {proof['checkpoint']}")


@audit.command("list")
@click.option("--after", type=int, default=0, show_default=True, help="Entries after this number.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@reporting
@connected
def list_entries(out: Output, connections: Connections, after: int, limit: int) -> None:
    """List entries, oldest first."""
    found = connections.hub().get("/audit", after=after, limit=limit)
    out.result(found, out.table(found.get("entries", []), ("seq", "at", "actor", "action", "subject", "digest")))
