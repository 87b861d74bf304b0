"""`customhouse image`: the publisher's client. Pushes the bytes that were built and signs any digest, an index too.

1. Content first, then the manifest under its tag, then the signature: what is signed is always there.
2. The key directory is docker's, so docker and notary go on with the same keys.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.signer import signer
from customhouse.cli.signing_keys import keys_option, open_keys, open_publisher
from customhouse.errors import Invalid
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import Manifest, parse_manifest
from customhouse.oci.reference import InvalidReference, Reference
from customhouse.registry.client import RegistryClient
from customhouse.settings import client_environment, system_clock
from customhouse.transport import Transport
from customhouse.trust.names import Gun
from customhouse.trust.publish import Published, TrustPublisher

OUTPUT = click.Path(dir_okay=False, path_type=Path)


@click.group()
def image() -> None:
    """Push images and sign them."""


image.add_command(signer)


@image.command()
@click.argument("source", metavar="PATH|oci-layout:DIR[:TAG]|docker-archive:FILE")
@click.argument("reference")
@click.option("--sign", is_flag=True, help="Sign the tag; without it the image stays in staging, unsubmitted.")
@keys_option
@reporting
@connected
def push(out: Output, connections: Connections, source: str, reference: str, sign: bool, keys: Path | None) -> None:
    """Push an image, byte for byte, and sign its tag."""
    from customhouse.cli.sources import open_image

    target = full_reference(reference)
    local = open_image(source)
    transport = connections.content(str(target.registry))
    with out.meter() as meter:
        client = RegistryClient(transport, progress=meter)
        parsed = parse_manifest(local.manifest, local.media_type)
        _push_tree(client, target.repository, parsed, local.content)
        digest = client.put_manifest(target.repository, str(target.tag), local.manifest, parsed.media_type)
    document = {"reference": str(target), "digest": str(digest), "size": len(local.manifest), "signed": sign}
    if not sign:
        out.note("not signed: it is not submitted until it is; run customhouse image sign")
        out.result(document, f"{target.name}:{target.tag}@{digest}")
        return
    published = _sign(connections, transport, target, digest, len(local.manifest), keys)
    _result(out, document, target, digest, published)


@image.command()
@click.argument("reference", metavar="REFERENCE[@DIGEST]")
@keys_option
@reporting
@connected
def sign(out: Output, connections: Connections, reference: str, keys: Path | None) -> None:
    """Sign a tag whose image is in the registry already, an index too; nothing is pulled."""
    target = full_reference(reference)
    transport = connections.content(str(target.registry))
    manifest = RegistryClient(transport).manifest(target.repository, target.digest or str(target.tag))
    published = _sign(connections, transport, target, manifest.digest, manifest.size, keys)
    document = {"reference": str(target), "digest": str(manifest.digest), "size": manifest.size, "signed": True}
    _result(out, document, target, manifest.digest, published)


@image.command()
@click.argument("reference")
@keys_option
@reporting
@connected
def revoke(out: Output, connections: Connections, reference: str, keys: Path | None) -> None:
    """Sign that a tag is gone, with the publisher's keys; from every role they may sign."""
    target = full_reference(reference)
    publisher = open_publisher(connections, str(target.registry), keys)
    done = publisher.remove_tag(Gun.parse(target.name), str(target.tag))
    document = {"reference": reference, "roles": [str(role) for role in done.roles]}
    out.result(document, f"{reference} is signed no more in {', '.join(done.roles)}")


@image.command("root-cert")
@click.option("--out", "target", type=OUTPUT, help="File to write; stdout if not given.")
@keys_option
@reporting
def root_cert(out: Output, target: Path | None, keys: Path | None) -> None:
    """Print the public part of the root key, made at first use, for `publisher enrol --root-cert`."""
    from cryptography.hazmat.primitives import serialization

    key = open_keys(client_environment(), keys).root_key().public
    pem = key.crypto.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    if target:
        target.write_text(pem)
    document = {"key_id": key.canonical_id, "pem": pem, "file": str(target) if target else None}
    out.result(document, pem.rstrip() if target is None else f"root key {key.canonical_id} written to {target}")


def full_reference(text: str) -> Reference:
    """A reference with its registry and tag; anything less is wrong usage."""
    try:
        found = Reference.parse(text)
    except InvalidReference as error:
        raise click.UsageError(f"{error.message}. {error.hint}") from error
    if not found.registry or not found.tag:
        raise click.UsageError(f"{text} does not name a registry and a tag, such as localhost:5443/staging/acme/web:1")
    return found


def _push_tree(
    client: RegistryClient, repository: str, manifest: Manifest, content: Callable[[Digest], BinaryIO], depth: int = 0
) -> None:
    """All that a manifest needs, so that the registry takes it."""
    if depth > 4:
        raise Invalid("the index holds indexes more than four deep")
    for member in manifest.manifests:
        with content(member.digest) as stream:
            raw = stream.read(member.size + 1)
        if Digest.of(raw, member.digest.algorithm) != member.digest:
            raise Invalid(f"the manifest {member.digest} is damaged on this machine")
        _push_tree(client, repository, parse_manifest(raw, member.media_type), content, depth + 1)
        client.put_manifest(repository, member.digest, raw, member.media_type)
    for blob in (*((manifest.config,) if manifest.config else ()), *manifest.layers):
        if not blob.foreign:
            client.push_blob(repository, blob.digest, blob.size, partial(content, blob.digest))


def _sign(
    connections: Connections, transport: Transport, target: Reference, digest: Digest, size: int, keys: Path | None
) -> Published:
    publisher = TrustPublisher(transport, open_keys(connections.environment, keys), system_clock)
    return publisher.sign_tag(Gun.parse(target.name), str(target.tag), digest, size)


def _result(out: Output, document: dict[str, object], target: Reference, digest: Digest, published: Published) -> None:
    if published.created:
        out.note(f"a new repository of trust was made for {target.name}; back its keys up")
    document |= {
        "created": published.created,
        "changed": published.changed,
        "roles": [str(role) for role in published.roles],
        "root_key_ids": list(published.root_key_ids),
    }
    out.result(document, f"{target.name}:{target.tag}@{digest}")
    sys.stdout.flush()
