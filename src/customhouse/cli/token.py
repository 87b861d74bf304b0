"""`customhouse token`: names and secrets for machines, valid for `docker login` too."""

import re

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Duration(click.ParamType[int]):
    """`90d`, `12h`, `4w`, `30m`: in seconds."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", value)
        if not match:
            self.fail(f"{value!r} is not a time such as 90d, 12h or 4w", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


@click.group()
def token() -> None:
    """Access tokens for machines."""


@token.command()
@click.argument("name")
@click.option("--publisher", help="Whose repositories it is for.")
@click.option("--scope", type=click.Choice(["pull", "push"]), multiple=True, required=True, help="May be repeated.")
@click.option("--expires", type=Duration(), help="When it ends, e.g. 90d.")
@reporting
@connected
def create(
    out: Output, connections: Connections, name: str, publisher: str | None, scope: tuple[str, ...], expires: int | None
) -> None:
    """Make a token; its secret is shown once."""
    wanted = {"name": name, "publisher": publisher, "scope": list(scope), "expires_seconds": expires}
    made = connections.hub().post("/tokens", wanted)
    until = made.get("expires") or "never"
    out.result(made, [f"username: {made['username']}", f"secret:   {made['secret']}", f"expires:  {until}"])


@token.command("list")
@reporting
@connected
def list_tokens(out: Output, connections: Connections) -> None:
    """List tokens, without their secrets."""
    found = connections.hub().pages("/tokens", "tokens")
    out.result({"tokens": found}, out.table(found, ("username", "publisher", "scope", "owner", "expires")))


@token.command()
@click.argument("username")
@reporting
@connected
def revoke(out: Output, connections: Connections, username: str) -> None:
    """End a token at once."""
    connections.hub().delete(f"/tokens/{username}")
    out.result({"username": username, "revoked": True}, f"token {username} revoked")
