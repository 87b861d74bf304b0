"""`customhouse publisher`: owners of a namespace, their members, and the keys that are believed."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.registry.content import sized

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


class Size(click.ParamType[int]):
    """A number of bytes such as 500MB or 1.5GiB; -1 for `none`."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s?([A-Za-z]{0,3})", value)
        if value == "none":
            return -1
        if not found or found[2].upper() not in _UNITS:
            self.fail(f"{value[:40]!r} is no size; for example: 500MB, 1.5TB, none", param, ctx)
        return int(Decimal(found[1]) * _UNITS[found[2].upper()])


@click.group()
def publisher() -> None:
    """Publishers, their members and their keys."""


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
    """Show a publisher with its members, enrolled root keys and signers, and what its staging holds."""
    hub = connections.hub()
    found = hub.get(f"/publishers/{name}")
    found["roots"] = hub.get(f"/publishers/{name}/roots").get("keys", [])
    found["signers"] = hub.get(f"/publishers/{name}/signers").get("signers", [])
    found["quota"] = hub.get(f"/publishers/{name}/quota")
    lines = [f"{found['name']}: members {', '.join(found['members']) or '-'}"]
    lines += [f"  root {key['id']}  {key['subject']}" for key in found["roots"]] or ["  no root key is enrolled"]
    lines += [f"  signer {signer['name']}  {signer['key_id']}" for signer in found["signers"]]
    lines.append(f"  staging {_told(found['quota'])}")
    out.result(found, lines)


@publisher.command()
@click.argument("name")
@click.option("--root-cert", type=PEM, help="The certificate or public key, PEM.")
@click.option("--from-staging", "repository", help="Confirm the root that a first push brought, e.g. staging/acme/web.")
@click.option(
    "--key-id", "key_ids", multiple=True,
    help="The key's id, as the publisher told it. With --from-staging: only if it is that key. May be repeated.",
)
@reporting
@connected
def enrol(
    out: Output, connections: Connections, name: str, root_cert: Path | None, repository: str | None,
    key_ids: tuple[str, ...],
) -> None:
    """Believe a publisher's root key from now on."""
    if bool(root_cert) == bool(repository or key_ids):
        raise click.UsageError("give --root-cert, or --from-staging or --key-id or both of these")
    body: dict[str, Any] = {"key_ids": list(key_ids)} if key_ids else {}
    if root_cert:
        body["certificate"] = root_cert.read_text()
    if repository:
        body["repository"] = repository
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


@publisher.command()
@click.argument("repository", metavar="staging/PUBLISHER/NAME|PUBLISHER@REGISTRY/NAME")
@click.option("--reason", required=True, help="Why; it stands in the audit log.")
@reporting
@connected
def reset(out: Output, connections: Connections, repository: str, reason: str) -> None:
    """Let a repository begin anew after its keys were lost: what was seen of it, here or elsewhere, is forgotten."""
    connections.hub().post("/trust/reset", {"repository": repository, "reason": reason})
    said = f"{repository} may begin anew: its next signed push makes new trust data"
    out.result({"repository": repository, "reset": True}, said)


@publisher.group()
def signer() -> None:
    """People and machines who sign with one key of their own; the hub keeps root and targets for them."""


@signer.command("add")
@click.argument("publisher_name", metavar="PUBLISHER")
@click.argument("name")
@click.option("--key", type=PEM, required=True, help="Public key of the signer, PEM, e.g. of key generate.")
@reporting
@connected
def add_signer(out: Output, connections: Connections, publisher_name: str, name: str, key: Path) -> None:
    """Let a public key sign in every repository of a publisher whose root the hub keeps."""
    made = connections.hub().post(f"/publishers/{publisher_name}/signers", {"name": name, "key": key.read_text()})
    lines = [f"{each['name']} signs for {publisher_name} with key {each['key_id']}" for each in made["signers"]]
    out.result(made, lines)


@signer.command("remove")
@click.argument("publisher_name", metavar="PUBLISHER")
@click.argument("name")
@click.option("--key-id", default="", help="Only this one of the signer's keys.")
@reporting
@connected
def remove_signer(out: Output, connections: Connections, publisher_name: str, name: str, key_id: str) -> None:
    """Let a signer sign no more, in any repository of the publisher."""
    query = f"?{urlencode({'key': key_id})}" if key_id else ""
    connections.hub().delete(f"/publishers/{publisher_name}/signers/{quote(name, safe='')}{query}")
    document = {"publisher": publisher_name, "signer": name, "removed": True}
    out.result(document, f"{name} signs for {publisher_name} no more")


@publisher.command()
@click.argument("name")
@click.argument("most", metavar="SIZE|none", type=Size())
@reporting
@connected
def quota(out: Output, connections: Connections, name: str, most: int) -> None:
    """Limit what a publisher's staging may hold, e.g. 50GB: bytes of layers and configs, each once."""
    found = connections.hub().put(f"/publishers/{name}/quota", {"bytes": None if most < 0 else most})
    out.result(found, f"{name}: staging {_told(found)}")


def _told(found: dict[str, Any]) -> str:
    limit = "no quota" if found["quota"] is None else f"the quota is {sized(found['quota'])}"
    return f"holds {sized(found['used'])}, {limit}"


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
