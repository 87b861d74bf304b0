"""`customhouse trust`: the hub's bundle for consumers, what is signed in a repository, and docker's pins."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from customhouse.cli.bundles import fetch_bundle, read_bundle, write_bundle, write_folder
from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.program import DONE, REFUSED
from customhouse.cli.signing_keys import keys_option, open_keys
from customhouse.errors import Conflict, CustomhouseError, Invalid, NotFound
from customhouse.oci.reference import Reference

if TYPE_CHECKING:
    from customhouse.trust.bundle import Bundle
    from customhouse.trust.key_directory import KeyDirectory
    from customhouse.trust.metadata import Root, Signed
    from customhouse.trust.names import Gun

OUTPUT = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
BUNDLE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def trust() -> None:
    """What is signed in a repository; the hub's trust bundle."""


@trust.command()
@click.option("--out", "target", type=OUTPUT, help="File to write; stdout if not given.")
@click.option("--directory", type=FOLDER, help="New folder with everything to hand out; its README.txt explains it.")
@click.option("--ca-out", type=OUTPUT, help="File for the hub's CA, as docker's certificate folders want it.")
@click.option("--repository", "named", multiple=True, help="Only this official repository; may be repeated.")
@click.option("--metadata", is_flag=True, help="With all signed metadata, for verify --offline.")
@reporting
@connected
def export(
    out: Output, connections: Connections, target: Path | None, directory: Path | None, ca_out: Path | None,
    named: tuple[str, ...], metadata: bool,
) -> None:
    """Write the trust bundle that consumers pin: root certificates, CA, and the roots of official repositories."""
    bundle = fetch_bundle(connections.hub(), named, metadata=metadata)
    if ca_out and not bundle.ca_pem:
        raise NotFound(f"{bundle.host} has no CA of its own", hint="Clients believe its certificate as it is.")
    if ca_out:
        ca_out.write_text(bundle.ca_pem)
    if target is None and directory is None:
        out.result(bundle.document(), json.dumps(bundle.document(), indent=2))
        return
    names = write_folder(bundle, directory) if directory else []
    if target:
        write_bundle(bundle, target)
    until = _good_until(bundle)
    document = {
        "file": str(target) if target else None,
        "directory": str(directory) if directory else None,
        "files": names,
        "host": bundle.host,
        "root_keys": sorted(bundle.root_keys),
        "repositories": [each.gun for each in bundle.repositories],
        "metadata_until": until,
    }
    lines = [f"{target or directory}: trust bundle of {bundle.host}, {len(bundle.repositories)} repositories"]
    lines += [f"  root key {key}" for key in sorted(bundle.root_keys)]
    lines += [f"  verifies offline until {until}"] if until else []
    out.result(document, lines)


@trust.command("list")
@click.argument("repository", metavar="HOST/REPOSITORY")
@reporting
@connected
def list_tags(out: Output, connections: Connections, repository: str) -> None:
    """List signed tags with their signers; the metadata is verified, its root taken as it is."""
    from customhouse.settings import system_clock
    from customhouse.trust.client import Anchor, TrustClient
    from customhouse.trust.names import ROOT, TARGETS, Gun

    gun = Gun.parse(Reference.parse(repository).name)
    found = TrustClient(connections.content(gun.host)).fetch(gun, Anchor(), system_clock())
    administrative = {str(role): sorted(found.root.body.roles[role].key_ids) for role in (ROOT, TARGETS)}
    rows = [
        {"tag": tag.tag, "digest": str(tag.digest), "length": tag.length, "role": str(tag.role),
         "signers": found.signers(tag.tag)}
        for tag in found.tags.values()
    ]
    document = {
        "gun": str(gun),
        "root_key_ids": sorted(found.root_keys),
        "administrative_keys": administrative,  # by the ids that `docker trust inspect` shows
        "expires": found.timestamp.expires.isoformat(),
        "versions": {str(role): number for role, number in found.versions.items()},
        "tags": rows,
    }
    keys = [f"{role} key {', '.join(ids)}" for role, ids in administrative.items()]
    out.result(document, [*out.table(rows, ("tag", "digest", "role", "signers")), *keys])


@trust.command()
@click.argument("repository", metavar="[HOST/REPOSITORY]", required=False)
@click.option("--bundle", type=BUNDLE, required=True, help="Trust bundle to believe.")
@click.option("--replace", is_flag=True, help="Also where a root of another key, or a newer one, is pinned.")
@keys_option
@reporting
@connected
def pin(
    out: Output, connections: Connections, repository: str | None, bundle: Path, replace: bool, keys: Path | None
) -> int:
    """Give docker the roots of official repositories, so that it trusts nothing at first sight.

    Without a repository: all of the bundle, and nothing is asked of the hub.
    """
    from customhouse.trust.names import Gun

    believed = read_bundle(bundle)
    if repository:
        gun = Gun.parse(Reference.parse(repository).name)
        if believed.host != gun.host:
            raise Invalid(f"the bundle is of {believed.host}, not of {gun.host}")
        roots = {gun: _roots_of(connections, believed, gun)}
    else:
        roots = {each.gun: each.chain for each in believed.repositories}
        if not roots:
            raise NotFound("the bundle holds no repository", hint="Name one, or export the bundle anew.")
    directory = open_keys(connections.environment, keys)
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    for gun, chain in roots.items():
        row: dict[str, Any] = {"gun": str(gun), "result": "", "reason": "", "root_key_ids": [], "version": None}
        try:
            row |= _pin(directory, believed, gun, chain, replace=replace)
            lines.append(f"{gun} is {row['result']} to root key {', '.join(row['root_key_ids'])}")
        except CustomhouseError as error:
            row |= {"result": "refused", "reason": error.message}
            lines.append(f"{gun} is not pinned: {error.message}")
            lines += [f"  {error.hint}"] if error.hint else []
        rows.append(row)
    out.result({"host": believed.host, "repositories": rows}, lines)
    return REFUSED if any(row["result"] == "refused" for row in rows) else DONE


def _roots_of(connections: Connections, believed: "Bundle", gun: "Gun") -> tuple[bytes, ...]:
    """The repository's roots at the hub, from one that the bundle's keys signed to the one of now."""
    from customhouse.settings import system_clock
    from customhouse.trust.client import Anchor, TrustClient

    transport = connections.content(gun.host, ca_pem=believed.ca_pem)
    return TrustClient(transport).read(gun, Anchor(enrolled=believed.root_keys), system_clock()).roots


def _pin(
    directory: "KeyDirectory", believed: "Bundle", gun: "Gun", chain: Sequence[bytes], *, replace: bool
) -> dict[str, Any]:
    from customhouse.settings import system_clock
    from customhouse.trust.names import ROOT
    from customhouse.trust.verify import canonical_ids, verify_root_chain

    root = verify_root_chain(chain, gun, enrolled=believed.root_keys, now=system_clock())
    known = directory.known_root(gun)
    if known not in (None, root.raw):
        if not replace:
            _require_step(gun, known or b"", root, chain, believed.root_keys)
        known = None
    if known is None:
        directory.remember_root(gun, root.raw)
    result = "pinned already" if known else "pinned"
    return {"result": result, "root_key_ids": sorted(canonical_ids(root.body, ROOT)), "version": root.version}


def _require_step(
    gun: "Gun", known: bytes, root: "Signed[Root]", chain: Sequence[bytes], believed: frozenset[str]
) -> None:
    """A pin is moved forward, and only within the keys that are believed. Raises Conflict."""
    from customhouse.trust.metadata import parse_root
    from customhouse.trust.names import ROOT
    from customhouse.trust.verify import TrustError, canonical_ids, verify_root_step

    again = "With --replace it is taken all the same."
    try:
        pinned = parse_root(known)
    except Invalid as error:
        raise Conflict(f"what is pinned cannot be read: {error.message}", hint=again) from error
    if pinned.version > root.version:
        what = f"root version {pinned.version} is pinned, and the bundle has version {root.version}"
        raise Conflict(what, hint=f"Export the bundle anew. {again}")
    later = sorted((one for one in map(parse_root, chain) if one.version > pinned.version), key=lambda one: one.version)
    try:
        for before, step in zip([pinned, *later], later, strict=False):
            verify_root_step(before, step, gun)
    except TrustError:
        later = []
    other = canonical_ids(pinned.body, ROOT) - believed - canonical_ids(root.body, ROOT)
    if other and not later:
        raise Conflict(
            f"the root that is pinned is of another key, {', '.join(sorted(other))}",
            hint=f"Was it taken at first sight? Ask the hub's administrator whose key that is. {again}",
        )


def _good_until(bundle: "Bundle") -> str | None:
    from customhouse.trust.metadata import format_expires, parse_file

    ends = [parse_file(role, raw).expires for each in bundle.repositories for role, raw in each.files.items()]
    return format_expires(min(ends)) if ends else None
