"""`customhouse image`: the publisher's client. Pushes the bytes that were built and signs any digest, an index too.

1. Content first, then the manifest under its tag, then the signature: what is signed is always there.
2. The key directory is docker's, so docker and notary go on with the same keys.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from customhouse.cli.attach import attach
from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.cli.signer import signer
from customhouse.cli.signing_keys import open_publisher, with_keys
from customhouse.errors import Conflict, Invalid, NotFound
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import DOCKER_CONFIG, OCI_CONFIG, InvalidManifest, Manifest, parse_manifest
from customhouse.oci.reference import InvalidReference, Reference, valid_tag
from customhouse.registry.client import LARGEST_MANIFEST, RegistryClient, RemoteManifest
from customhouse.remote import AnswerTooLarge, RemoteNotFound
from customhouse.settings import system_clock
from customhouse.trust.key_directory import KeyDirectory
from customhouse.trust.names import Gun, RoleName
from customhouse.trust.publish import Published, TrustPublisher

OUTPUT = click.Path(dir_okay=False, path_type=Path)


@click.group()
def image() -> None:
    """Push images and sign them."""


image.add_command(signer)
image.add_command(attach)


@image.command()
@click.argument("source", metavar="PATH|oci-layout:DIR[:TAG]|docker-archive:FILE")
@click.argument("reference")
@click.option("--sign", is_flag=True, help="Sign the tag; without it the image stays in staging, unsubmitted.")
@with_keys
@reporting
@connected
def push(out: Output, connections: Connections, source: str, reference: str, sign: bool, keys: KeyDirectory) -> None:
    """Push an image, byte for byte, and sign its tag."""
    from customhouse.cli.local_images import open_image

    target = full_reference(reference)
    local = open_image(source)
    transport = connections.content(str(target.registry))
    with out.meter() as meter:
        client = RegistryClient(transport, progress=meter)
        parsed = parse_manifest(local.manifest, local.media_type)
        _push_tree(client, target.repository, parsed, local.content)
        digest = client.put_manifest(target.repository, str(target.tag), local.manifest, parsed.media_type)
    document: dict[str, object] = {
        "reference": str(target), "digest": str(digest), "size": len(local.manifest), "signed": sign,
    }  # fmt: skip
    if not sign:
        out.note("not signed: it is not submitted until it is; run customhouse image sign")
        out.result(document, f"{target.name}:{target.tag}@{digest}")
        return
    publisher = TrustPublisher(transport, keys, system_clock)
    published = publisher.sign_tag(Gun.parse(target.name), str(target.tag), digest, len(local.manifest))
    _result(out, [document | {"signed": not published.missing}], published)


@image.command()
@click.argument("reference", metavar="REFERENCE[@DIGEST]")
@click.argument("tags", nargs=-1, metavar="[TAG]...")
@click.option("--dry-run", is_flag=True, help="Say what would be signed, by which role; open no key.")
@with_keys
@reporting
@connected
def sign(
    out: Output, connections: Connections, reference: str, tags: tuple[str, ...], dry_run: bool, keys: KeyDirectory
) -> None:
    """Sign tags whose images are in the registry already, indexes too; nothing is pulled.

    With a digest, the tags are signed as that digest; without, each as what it is in the registry. A digest needs no
    tag in the registry.
    """
    target = full_reference(reference, tag=not tags)
    wanted = [*((target.tag,) if target.tag else ()), *tags]
    publisher = open_publisher(connections, str(target.registry), keys)
    registry = RegistryClient(publisher.transport)
    images = {tag: _signable(registry, target, tag) for tag in wanted}
    gun = Gun.parse(target.name)
    meant = {tag: (manifest.digest, manifest.size) for tag, manifest in images.items()}
    if dry_run:
        roles = publisher.roles(gun, tuple(meant))
        out.note("nothing is signed: --dry-run")
        if not any(roles.values()):
            out.note(f"there is no trust data for {gun} yet: the first signature makes it")
        rows = [
            {"reference": f"{target.name}:{tag}", "digest": str(digest), "size": size, "roles": roles[tag]}
            for tag, (digest, size) in meant.items()
        ]
        out.result(rows, out.table(rows, ("reference", "digest", "size", "roles")))
        return
    published = publisher.sign_tags(gun, meant)
    rows = [
        {"reference": f"{target.name}:{tag}", "digest": str(digest), "size": size, "signed": not published.missing}
        for tag, (digest, size) in meant.items()
    ]
    _result(out, rows, published)


@image.command()
@click.argument("reference")
@with_keys
@reporting
@connected
def revoke(out: Output, connections: Connections, reference: str, keys: KeyDirectory) -> None:
    """Sign that a tag is gone, with the publisher's keys; from every role they may sign."""
    target = full_reference(reference)
    publisher = open_publisher(connections, str(target.registry), keys)
    done = publisher.remove_tag(Gun.parse(target.name), str(target.tag))
    gone = ", ".join(done.roles)
    if done.resolves:
        raise StillSigned(reference, gone, done.left, done.missing)
    if done.left:
        out.note(f"{', '.join(done.left)} lists it still; docker does not look there")
    document = {"reference": reference, "roles": [str(role) for role in done.roles], "left": list(done.left)}
    out.result(document, f"{reference} is signed no more in {gone}")


@image.command("root-cert")
@click.option("--out", "target", type=OUTPUT, help="File to write; stdout if not given.")
@with_keys
@reporting
def root_cert(out: Output, target: Path | None, keys: KeyDirectory) -> None:
    """Print the public part of the root key, made at first use, for `publisher enrol --root-cert`."""
    key = keys.root_key().public
    pem = key.pem.decode()
    if target:
        target.write_text(pem)
    document = {"key_id": key.canonical_id, "pem": pem, "file": str(target) if target else None}
    out.result(document, pem.rstrip() if target is None else f"root key {key.canonical_id} written to {target}")


class StillSigned(Conflict):
    """A tag was taken out of the roles that could be signed here, and clients find it in another one."""

    def __init__(self, reference: str, gone: str, left: Sequence[str], missing: Mapping[RoleName, int]) -> None:
        super().__init__(
            f"{reference} is signed still in {', '.join(left)}, where docker finds it"
            + (f"; it is gone from {gone}" if gone else ""),
            hint="Have other signers run the same command: it is proposed to them."
            if missing else "Run it again where a key of that role is; see: customhouse image signer list",
        )


def full_reference(text: str, *, tag: bool = True) -> Reference:
    """A reference with its registry and, unless it has a digest, its tag; anything less is wrong usage."""
    try:
        found = Reference.parse(text)
    except InvalidReference as error:
        raise click.UsageError(f"{error.message}. {error.hint}") from error
    if not found.registry or not (found.tag or (found.digest and not tag)):
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


def _signable(registry: RegistryClient, target: Reference, tag: str) -> RemoteManifest:
    """The manifest that a tag is to name. Raises NotFound, InvalidManifest."""
    if not valid_tag(tag):
        raise click.UsageError(f"{tag!r} is not a tag")
    try:
        found = registry.manifest(target.repository, target.digest or tag)
    except RemoteNotFound as error:
        what = target.digest or f"tag {tag}"
        raise NotFound(
            f"{target.name} has no {what} in the registry",
            hint="Push the image first: a signature names what is there.",
        ) from error
    except AnswerTooLarge as error:
        raise InvalidManifest(
            f"{target.name}:{tag} is larger than {LARGEST_MANIFEST // 2**20} MiB, which no registry has to take",
            hint="Split the index, or build it anew without what fills it.",
        ) from error
    parsed = parse_manifest(found.raw, found.media_type)
    if parsed.config and parsed.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise InvalidManifest(
            f"{found.digest} is of an artifact ({parsed.referrer_type}), not of an image",
            hint="Sign images and indexes of images; artifacts are no submissions.",
        )
    return found


def _result(out: Output, rows: list[dict[str, object]], published: Published) -> None:
    """One line a tag; a list with --json where several were asked for."""
    if published.created:
        out.note(f"a new repository of trust was made for {published.gun}; back its keys up")
    for role, missing in published.missing.items():
        more = "1 more signature" if missing == 1 else f"{missing} more signatures"
        out.note(f"{role} needs {more}: docker finds the tag when other signers have run the same command")
    done = {
        "created": published.created,
        "changed": published.changed,
        "roles": [str(role) for role in published.roles],
        "missing": {str(role): missing for role, missing in published.missing.items()},
        "root_key_ids": list(published.root_key_ids),
    }
    documents = [row | done for row in rows]
    lines = [f"{row['reference']}".partition("@")[0] + f"@{row['digest']}" for row in rows]
    out.result(documents[0] if len(documents) == 1 else documents, lines)
    sys.stdout.flush()
