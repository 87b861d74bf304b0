"""What a publisher attached to an image in staging, and the official images that may stand beside it in a run.

1. A run profile and structure tests are referrers of the signed digest: artifacts with one blob, of the type in
   sandbox.setup. Of several the newest counts, by its annotation `org.opencontainers.image.created`.
2. They are not signed: who may push to a publisher's staging may attach. So they add nothing that could make an image
   official (no wall gets lower), and the verdict names their digests among its inputs.
3. A companion is official at this hub, by digest, and not withdrawn; nothing is fetched for a run.
"""

import io
from typing import BinaryIO

from customhouse.accounts.access import Kind, kind_of
from customhouse.certification.examination import Material
from customhouse.errors import Invalid, NotFound
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import parse_manifest
from customhouse.registry.content import ManifestRefused
from customhouse.registry.service import RegistryService
from customhouse.sandbox.setup import MEDIA_TYPE, TESTS_MEDIA_TYPE, Companion

CREATED = "org.opencontainers.image.created"
MOST_BYTES = 256 * 1024
MOST_REFERRERS = 100


def attached(registry: RegistryService, repository: str, digest: Digest) -> dict[str, bytes]:
    """The publisher's documents by type. One that cannot be read is there as empty bytes, which its parser refuses."""
    found = {}
    for kind in (MEDIA_TYPE, TESTS_MEDIA_TYPE):
        listed = registry.referrers(repository, digest, kind, limit=MOST_REFERRERS)
        if listed:
            newest = max(listed, key=lambda one: (one.annotations.get(CREATED, ""), str(one.digest)))
            found[kind] = _document(registry, repository, newest.digest)
    return found


def _document(registry: RegistryService, repository: str, digest: Digest) -> bytes:
    try:
        layers = parse_manifest(registry.manifest(repository, digest).raw, None).layers
        if len(layers) != 1 or layers[0].size > MOST_BYTES:
            return b""
        with registry.open_blob(repository, layers[0].digest) as blob:
            return blob.read(MOST_BYTES)
    except (Invalid, NotFound):
        return b""


def companion_of(registry: RegistryService, host: str, companion: Companion) -> Material | None:
    """An official image to stand beside another; None where it is none of this hub's, or withdrawn."""
    repository = companion.repository.removeprefix(f"{host}/")
    if kind_of(repository) is not Kind.OFFICIAL:
        return None
    try:
        stored = registry.resolve(repository, str(companion.digest))
    except (NotFound, ManifestRefused):
        return None
    return Material(
        name=companion.name,
        content=lambda digest: opened(registry, repository, digest),
        manifest=stored.raw,
        media_type=stored.media_type,
        reference=f"{host}/{companion.reference}",
        tag="",
    )


def opened(registry: RegistryService, repository: str, digest: Digest) -> BinaryIO:
    """A blob of a repository, or a manifest of it."""
    try:
        return registry.open_blob(repository, digest)
    except NotFound:  # manifests of an index are not blobs
        return io.BytesIO(registry.manifest(repository, digest).raw)
