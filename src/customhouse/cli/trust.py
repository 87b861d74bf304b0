"""`customhouse trust`: the hub's bundle for consumers, and what is signed in a repository."""

import json
from pathlib import Path

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.signing_keys import keys_option, open_keys
from customhouse.errors import Invalid, NotFound
from customhouse.oci.reference import Reference

OUTPUT = click.Path(dir_okay=False, path_type=Path)
BUNDLE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def trust() -> None:
    """What is signed in a repository; the hub's trust bundle."""


@trust.command()
@click.option("--out", "target", type=OUTPUT, help="File to write; stdout if not given.")
@click.option("--ca-out", type=OUTPUT, help="File for the hub's CA, as docker's certificate folders want it.")
@reporting
@connected
def export(out: Output, connections: Connections, target: Path | None, ca_out: Path | None) -> None:
    """Write the trust bundle that consumers pin: the hub's root certificates and CA."""
    from customhouse.cli.consumer import Bundle

    transport = connections.transport()
    answer = transport.request("GET", "/api/v1/trust/bundle")
    bundle = Bundle.parse(answer.body)
    if ca_out and not bundle.ca_pem:
        raise NotFound(f"{bundle.host} has no CA of its own", hint="Clients believe its certificate as it is.")
    if ca_out:
        ca_out.write_text(bundle.ca_pem)
    if target is None:
        out.result(answer.json(), json.dumps(answer.json(), indent=2))
        return
    target.write_bytes(answer.body)
    document = {"file": str(target), "host": bundle.host, "root_keys": sorted(bundle.roots)}
    keys = [f"  root key {key}" for key in sorted(bundle.roots)]
    out.result(document, [f"{target}: trust bundle of {bundle.host}", *keys])


@trust.command("list")
@click.argument("repository", metavar="HOST/REPOSITORY")
@reporting
@connected
def list_tags(out: Output, connections: Connections, repository: str) -> None:
    """List signed tags with their signers; the metadata is verified, its root taken as it is."""
    from customhouse.settings import system_clock
    from customhouse.trust.client import Anchor, TrustClient
    from customhouse.trust.names import Gun

    gun = Gun.parse(Reference.parse(repository).name)
    found = TrustClient(connections.content(gun.host)).fetch(gun, Anchor(), system_clock())
    rows = [
        {"tag": tag.tag, "digest": str(tag.digest), "length": tag.length, "role": str(tag.role),
         "signers": found.signers(tag.tag)}
        for tag in found.tags.values()
    ]
    document = {
        "gun": str(gun),
        "root_key_ids": sorted(found.root_keys),
        "expires": found.timestamp.expires.isoformat(),
        "versions": {str(role): number for role, number in found.versions.items()},
        "tags": rows,
    }
    out.result(document, out.table(rows, ("tag", "digest", "role", "signers")))


@trust.command()
@click.argument("repository", metavar="HOST/REPOSITORY")
@click.option("--bundle", type=BUNDLE, required=True, help="Trust bundle to believe.")
@keys_option
@reporting
@connected
def pin(out: Output, connections: Connections, repository: str, bundle: Path, keys: Path | None) -> None:
    """Give docker the root of an official repository, so that it trusts nothing at first sight."""
    from customhouse.cli.consumer import Bundle
    from customhouse.settings import system_clock
    from customhouse.trust.client import Anchor, TrustClient
    from customhouse.trust.names import Gun

    pinned, gun = Bundle.parse(bundle.read_bytes()), Gun.parse(Reference.parse(repository).name)
    if pinned.host != gun.host:
        raise Invalid(f"the bundle is of {pinned.host}, not of {gun.host}")
    transport = connections.content(gun.host, ca_pem=pinned.ca_pem)
    found = TrustClient(transport).fetch(gun, Anchor(enrolled=pinned.roots), system_clock())
    open_keys(connections.environment, keys).remember_root(gun, found.root.raw)
    document = {"gun": str(gun), "root_key_ids": sorted(found.root_keys), "version": found.root.version}
    out.result(document, f"{gun} is pinned to root key {', '.join(sorted(found.root_keys))}")
