"""`customhouse user`: who may sign in to the hub, and as what."""

import click

from customhouse.cli.hub_api import Connections, connected, password_from
from customhouse.cli.output import Output, reporting

ROLES = click.Choice(["administrator", "certifier", "publisher", "consumer"])
_COLUMNS = ("name", "role", "disabled", "publishers", "created")


@click.group()
def user() -> None:
    """Add, list and change users."""


@user.command()
@click.argument("name")
@click.option("--role", type=ROLES, required=True, help="What the user may do.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")
@reporting
@connected
def add(out: Output, connections: Connections, name: str, role: str, password_stdin: bool) -> None:
    """Add a user."""
    made = connections.hub().post(
        "/users", {"name": name, "role": role, "password": password_from(password_stdin, f"Password of {name}")}
    )
    out.result(made, f"user {made['name']} added as {made['role']}")


@user.command("list")
@reporting
@connected
def list_users(out: Output, connections: Connections) -> None:
    """List users."""
    found = connections.hub().pages("/users", "users")
    out.result({"users": found}, out.table(found, _COLUMNS))


@user.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the new password from the first line of stdin.")
@reporting
@connected
def password(out: Output, connections: Connections, name: str, password_stdin: bool) -> None:
    """Set a user's password."""
    change = {"password": password_from(password_stdin, f"New password of {name}")}
    hub = connections.hub()
    if hub.get("/whoami")["username"] == name and not password_stdin:
        change["current_password"] = password_from(False, "Current password")
    out.result(hub.patch(f"/users/{name}", change), f"the password of {name} is changed")


@user.command()
@click.argument("name")
@click.argument("role", type=ROLES)
@reporting
@connected
def role(out: Output, connections: Connections, name: str, role: str) -> None:
    """Give a user another role."""
    out.result(connections.hub().patch(f"/users/{name}", {"role": role}), f"{name} is {role} now")


@user.command()
@click.argument("name")
@reporting
@connected
def disable(out: Output, connections: Connections, name: str) -> None:
    """Let a user in no more; sessions and tokens end too."""
    out.result(connections.hub().patch(f"/users/{name}", {"disabled": True}), f"user {name} is disabled")


@user.command()
@click.argument("name")
@reporting
@connected
def enable(out: Output, connections: Connections, name: str) -> None:
    """Let a disabled user in again."""
    out.result(connections.hub().patch(f"/users/{name}", {"disabled": False}), f"user {name} is enabled")


@user.command()
@click.argument("name")
@reporting
@connected
def remove(out: Output, connections: Connections, name: str) -> None:
    """Remove a user; what he did stays in the audit log."""
    connections.hub().delete(f"/users/{name}")
    out.result({"name": name, "removed": True}, f"user {name} removed")
