"""`customhouse hub-key`: the hub's own signing keys, on the hub's machine and while it is stopped."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from customhouse.cli.output import Output, reporting

if TYPE_CHECKING:
    from customhouse.hub import Hub
    from customhouse.hub_keys import HubKey

ROLES = ("root", "targets", "release")
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
data_option = click.option("--data", type=FOLDER, required=True, help="Data of a stopped hub.")


@click.group("hub-key")
def hub_key() -> None:
    """The hub's own signing keys."""


@hub_key.command("list")
@data_option
@reporting
def list_keys(out: Output, data: Path) -> None:
    """List the hub's keys, the present and the former ones."""
    hub = _open(data)
    try:
        rows = [_row(key) for role in ROLES for key in hub.keys.keys(role)]
    finally:
        hub.close(1)
    out.result({"keys": rows}, out.table(rows, ("role", "number", "present", "place", "key_id")))


@hub_key.command()
@click.argument("role", type=click.Choice(ROLES))
@data_option
@click.option("--pkcs11", "device", help="On a token: pkcs11:token=T;object=O?module-path=LIBRARY&pin-source=file:PATH")
@reporting
def rotate(out: Output, role: str, data: Path, device: str | None) -> None:
    """Make a new key of a role, and sign every official repository anew with it."""
    from customhouse.pkcs11 import Uri

    uri = Uri.parse(device) if device else None
    hub = _open(data)
    try:
        hub.rotate_key(role, uri)
    finally:
        hub.close(1)
    hub = _open(data)  # with the new key
    try:
        signed = hub.publication.align_all(hub.clock())
        key = hub.keys.keys(role)[-1]
    finally:
        hub.close(1)
    lines = [f"the {role} key is now {key.signer.public.canonical_id}", f"  {signed} official repositories signed anew"]
    if role == "root":
        lines.append("  hand out a new trust bundle: repositories that begin from now on need it")
    out.result({**_row(key), "repositories": signed}, lines)


def _open(data: Path) -> "Hub":
    from customhouse.cli.doctor import signed_url
    from customhouse.hub import Hub
    from customhouse.settings import load

    return Hub(load(data, url=signed_url(data)))


def _row(key: "HubKey") -> dict[str, object]:
    return {
        "role": key.role, "number": key.number, "present": key.present, "place": key.place,
        "key_id": key.signer.public.canonical_id,
    }
