"""`customhouse image signer`: who else may sign the tags of a staging repository; works where docker's own does not."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.signing_keys import keys_option, open_publisher
from customhouse.oci.reference import Reference

if TYPE_CHECKING:
    from customhouse.trust.names import Gun

PUBLIC_KEY = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def signer() -> None:
    """Who else may sign the tags of a staging repository."""


@signer.command("add")
@click.argument("repository", metavar="HOST/REPOSITORY")
@click.argument("name")
@click.option("--key", type=PUBLIC_KEY, required=True, help="Public key of the signer, PEM.")
@keys_option
@reporting
@connected
def add_signer(
    out: Output, connections: Connections, repository: str, name: str, key: Path, keys: Path | None
) -> None:
    """Let a key sign tags; signed with the repository's targets key."""
    from customhouse.keys import PublicKey

    gun, added = _gun(repository), PublicKey.of_pem(key.read_bytes())
    open_publisher(connections, gun.host, keys).add_signer(gun, name, added)
    document = {"repository": str(gun), "signer": name, "key_id": added.canonical_id}
    out.result(document, f"{name} may sign tags of {gun} with key {added.canonical_id}")


@signer.command("remove")
@click.argument("repository", metavar="HOST/REPOSITORY")
@click.argument("name")
@keys_option
@reporting
@connected
def remove_signer(out: Output, connections: Connections, repository: str, name: str, keys: Path | None) -> None:
    """Let a signer sign no more."""
    gun = _gun(repository)
    open_publisher(connections, gun.host, keys).remove_signer(gun, name)
    out.result({"repository": str(gun), "signer": name, "removed": True}, f"{name} signs tags of {gun} no more")


def _gun(repository: str) -> "Gun":
    from customhouse.trust.names import Gun

    return Gun.parse(Reference.parse(repository).name)
