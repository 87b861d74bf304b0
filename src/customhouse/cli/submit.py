"""`customhouse submit`: an image that another registry and its trust server have is offered for certification."""

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.submission import submission_lines
from customhouse.transport import Patience

READING = Patience(read=180)  # the hub asks the other server before it answers


@click.command()
@click.argument("source", metavar="REGISTRY/NAME:TAG")
@click.option("--as", "name", required=True, metavar="PUBLISHER/NAME[:TAG]", help="What it is to be called here.")
@click.option("--trust-server", default="", metavar="URL", help="Who serves its trust data; else the registry's host.")
@reporting
@connected
def submit(out: Output, connections: Connections, source: str, name: str, trust_server: str) -> None:
    """Offer an image that another registry and its trust server have, signed by your enrolled key."""
    repository, _, tag = name.partition(":")
    asked = {"source": source, "trust_server": trust_server, "repository": repository, "tag": tag or None}
    row = connections.hub(patience=READING).post("/submissions", asked)
    out.result(row, submission_lines(row))
