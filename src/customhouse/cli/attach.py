"""`customhouse image attach`: a run profile and structure tests for an image in the registry, as its referrers."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import click

from customhouse.cli.hub_api import Connections, connected
from customhouse.cli.output import Output, reporting
from customhouse.errors import CustomhouseError
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import OCI_EMPTY, OCI_MANIFEST
from customhouse.oci.reference import Reference
from customhouse.registry.client import RegistryClient

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EMPTY = b"{}"
CREATED = "org.opencontainers.image.created"


def documents(profile: Path | None, structure_tests: Path | None) -> dict[str, bytes]:
    """The publisher's documents by media type. Raises InvalidSetup, InvalidStructureTests."""
    from customhouse.certification.structure_tests import StructureTests
    from customhouse.sandbox.setup import MEDIA_TYPE, TESTS_MEDIA_TYPE, Setup

    found = {}
    if profile is not None:
        found[MEDIA_TYPE] = profile.read_bytes()
        Setup.parse(found[MEDIA_TYPE])
    if structure_tests is not None:
        found[TESTS_MEDIA_TYPE] = structure_tests.read_bytes()
        StructureTests.parse(found[TESTS_MEDIA_TYPE])
    return found


class NothingToAttach(CustomhouseError):
    """Neither document was named."""

    def __init__(self) -> None:
        super().__init__("there is nothing to attach", hint="Name --profile FILE or --structure-tests FILE.")


@click.command()
@click.argument("reference")
@click.option("--profile", type=FILE, help="How the image is to be run (TOML).")
@click.option("--structure-tests", type=FILE, help="What it must be: container-structure-test 2.0.0 (YAML).")
@reporting
@connected
def attach(
    out: Output, connections: Connections, reference: str, profile: Path | None, structure_tests: Path | None
) -> None:
    """Attach a run profile, or structure tests, to an image in the registry; the newest of each counts.

    Attach before you sign: the hub looks at them when it examines.
    """
    target = Reference.parse(reference)
    found = documents(profile, structure_tests)
    if not found:
        raise NothingToAttach
    client = RegistryClient(connections.content(str(target.registry)))
    image = client.manifest(target.repository, str(target.digest or target.tag or "latest"))
    created = connections.environment.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = []
    for media_type, raw in found.items():
        for blob in (EMPTY, raw):
            client.push_blob(target.repository, Digest.of(blob), len(blob), _opener(blob))
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": media_type,
            "config": {"mediaType": OCI_EMPTY, "digest": str(Digest.of(EMPTY)), "size": len(EMPTY)},
            "layers": [{"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw)}],
            "subject": {"mediaType": image.media_type, "digest": str(image.digest), "size": len(image.raw)},
            "annotations": {CREATED: created},
        }
        sent = json.dumps(manifest, separators=(",", ":")).encode()
        digest = client.put_referrer(
            target.repository, image.digest, sent, OCI_MANIFEST, media_type, {CREATED: created}
        )
        rows.append({"subject": str(image.digest), "artifact_type": media_type, "digest": str(digest)})
    out.result(rows, [f"{row['artifact_type']} {row['digest']}" for row in rows])


def _opener(raw: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(raw)
