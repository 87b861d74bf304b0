"""`customhouse image signer`: who else may sign the tags of a staging repository; works where docker's own does not."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.signing_keys import open_publisher, with_keys
from customhouse.oci.reference import Reference
from customhouse.settings import system_clock
from customhouse.trust.key_directory import KeyDirectory

if TYPE_CHECKING:
    from customhouse.trust.names import Gun
    from customhouse.trust.signers import SignersChanged

PUBLIC_KEY = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def signer() -> None:
    """Who else may sign the tags of a staging repository."""


@signer.command("add")
@click.argument("repository", metavar="HOST/REPOSITORY")
@click.argument("name")
@click.option("--key", "files", type=PUBLIC_KEY, required=True, multiple=True, help="Public key of the signer, PEM.")
@click.option("--path", "paths", multiple=True, help="Only tags that begin like this; may be repeated.")
@click.option("--threshold", type=click.IntRange(1, 64), help="So many signers must sign a tag; docker cannot then.")
@with_keys
@reporting
@connected
def add_signer(
    out: Output, connections: Connections, repository: str, name: str, files: tuple[Path, ...],
    paths: tuple[str, ...], threshold: int | None, keys: KeyDirectory,
) -> None:
    """Let a key sign tags; signed with the repository's targets key."""
    from customhouse.keys import PublicKey
    from customhouse.trust import signers

    gun, added = _gun(repository), [PublicKey.of_pem(file.read_bytes()).bare for file in files]
    publisher = open_publisher(connections, gun.host, keys)
    done = signers.add(publisher, gun, name, added, paths=paths, threshold=threshold)
    ids = [key.canonical_id for key in added]
    document = {"repository": str(gun), "signer": name, "key_ids": ids, **_lost(out, done)}
    out.result(document, [f"{name} may sign tags of {gun} with key {key_id}" for key_id in ids])


@signer.command("remove")
@click.argument("repository", metavar="HOST/REPOSITORY")
@click.argument("name")
@with_keys
@reporting
@connected
def remove_signer(out: Output, connections: Connections, repository: str, name: str, keys: KeyDirectory) -> None:
    """Let a signer sign no more; releases are signed anew where another signer's key is here."""
    from customhouse.trust import signers

    gun = _gun(repository)
    done = signers.remove(open_publisher(connections, gun.host, keys), gun, name)
    document = {"repository": str(gun), "signer": name, "removed": True, **_lost(out, done)}
    out.result(document, f"{name} signs tags of {gun} no more")


@signer.command("list")
@click.argument("repository", metavar="HOST/REPOSITORY")
@with_keys
@reporting
@connected
def list_signers(out: Output, connections: Connections, repository: str, keys: KeyDirectory) -> None:
    """List the signers of a repository with their keys, and which of these are here."""
    from customhouse.trust import signers
    from customhouse.trust.client import Anchor, TrustClient

    gun = _gun(repository)
    anchor = Anchor(known_root=keys.known_root(gun))
    found = TrustClient(connections.content(gun.host)).fetch(gun, anchor, system_clock())
    rows, lines = [], []
    for entry in signers.listed(found):
        here = [key_id for key_id in entry.key_ids if keys.has(key_id)]
        rest = {"threshold": entry.threshold, "tags": entry.tags}
        rows.append({"signer": entry.name, "keys": entry.key_ids, "paths": entry.paths, **rest, "here": here})
        short = {"keys": [key_id[:12] for key_id in entry.key_ids], "paths": [path or "*" for path in entry.paths]}
        lines.append({"signer": entry.name, **short, **rest, "here": f"{len(here)} of {len(entry.key_ids)}"})
    columns = ("signer", "keys", "paths", "threshold", "tags", "here")
    out.result({"repository": str(gun), "signers": rows}, out.table(lines, columns))


def _lost(out: Output, done: "SignersChanged") -> dict[str, object]:
    """Say which tags nothing signs any more, and how they are signed again."""
    gun = done.published.gun
    for tag in done.lost:
        out.note(f"{tag.tag} lost its signature; sign it again: customhouse image sign {gun}:{tag.tag}@{tag.digest}")
    return {"lost": [{"tag": tag.tag, "digest": str(tag.digest)} for tag in done.lost]}


def _gun(repository: str) -> "Gun":
    from customhouse.trust.names import Gun

    return Gun.parse(Reference.parse(repository).name)
