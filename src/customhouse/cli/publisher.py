"""`customhouse publisher`: owners of a namespace, their members, and the root keys that are believed."""

from pathlib import Path

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting

PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def publisher() -> None:
    """Publishers, their members and their root keys."""


@publisher.command()
@click.argument("name")
@click.option("--member", "members", multiple=True, help="A user who may push for it; may be repeated.")
@reporting
@connected
def add(out: Output, connections: Connections, name: str, members: tuple[str, ...]) -> None:
    """Add a publisher: the owner of staging/NAME/… and NAME/…"""
    made = connections.hub().post("/publishers", {"name": name, "members": list(members)})
    out.result(made, f"publisher {made['name']} added")


@publisher.command("list")
@reporting
@connected
def list_publishers(out: Output, connections: Connections) -> None:
    """List publishers."""
    found = connections.hub().pages("/publishers", "publishers")
    out.result({"publishers": found}, out.table(found, ("name", "members", "created")))


@publisher.command()
@click.argument("name")
@reporting
@connected
def show(out: Output, connections: Connections, name: str) -> None:
    """Show a publisher with its members and enrolled root keys."""
    hub = connections.hub()
    found = hub.get(f"/publishers/{name}")
    found["roots"] = hub.get(f"/publishers/{name}/roots").get("keys", [])
    lines = [f"{found['name']}: members {', '.join(found['members']) or '-'}"]
    lines += [f"  root {key['id']}  {key['subject']}" for key in found["roots"]] or ["  no root key is enrolled"]
    out.result(found, lines)


@publisher.command()
@click.argument("name")
@click.option("--root-cert", type=PEM, help="The certificate or public key, PEM.")
@click.option("--from-staging", "repository", help="Confirm the root that a first push brought, e.g. staging/acme/web.")
@reporting
@connected
def enrol(out: Output, connections: Connections, name: str, root_cert: Path | None, repository: str | None) -> None:
    """Believe a publisher's root key from now on."""
    if (root_cert is None) == (repository is None):
        raise click.UsageError("give one of --root-cert and --from-staging")
    body = {"certificate": root_cert.read_text()} if root_cert else {"repository": repository}
    made = connections.hub().post(f"/publishers/{name}/roots", body)
    out.result(made, [f"enrolled for {name}: {key['id']}  {key['subject']}" for key in made["keys"]])


@publisher.command()
@click.argument("name")
@click.argument("key")
@reporting
@connected
def unenrol(out: Output, connections: Connections, name: str, key: str) -> None:
    """Believe a root key (by its id) no longer."""
    connections.hub().delete(f"/publishers/{name}/roots/{key}")
    out.result({"publisher": name, "key": key, "removed": True}, f"{key} is no root of {name} any more")


@publisher.group()
def member() -> None:
    """Who may push for a publisher."""


@member.command("add")
@click.argument("name")
@click.argument("user")
@reporting
@connected
def add_member(out: Output, connections: Connections, name: str, user: str) -> None:
    """Let a user push for the publisher."""
    changed = connections.hub().post(f"/publishers/{name}/members", {"user": user})
    out.result(changed, f"members of {name}: {', '.join(changed['members'])}")


@member.command("remove")
@click.argument("name")
@click.argument("user")
@reporting
@connected
def remove_member(out: Output, connections: Connections, name: str, user: str) -> None:
    """Let a user push no more."""
    connections.hub().delete(f"/publishers/{name}/members/{user}")
    out.result({"publisher": name, "user": user, "removed": True}, f"{user} is no member of {name} any more")
