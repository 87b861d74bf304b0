"""Bringing an image in from another registry: by the digest that was signed, every byte compared with its own.

1. Sizes come first: what the manifests announce is added up before a blob is asked for, and refused where it is more
   than is taken. No blob gets more bytes than were announced, and a source that sends too slowly is given up.
2. A blob is fetched unless this repository holds it: that another one does gives no right to it (R3).
   One that was cut, by the network or by a crash of ours, is found again and goes on where it stopped.
3. Blobs, then the manifests of an index, then the top: each with the rules of a push. A repeat fetches what is missing.
4. What is to be fetched from elsewhere (foreign layers), and an index of indexes, is refused: no check could see it.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from customhouse import faults
from customhouse.blobs import DigestMismatch, Upload, UploadBusy
from customhouse.errors import Invalid, NotFound, TooLarge, Unavailable
from customhouse.oci.digest import Digest
from customhouse.oci.image import MOST_PLATFORMS
from customhouse.oci.manifest import INDEX_TYPES, Descriptor, InvalidManifest, Manifest, parse_manifest
from customhouse.registry.client import ContentMismatch, RegistryClient, RemoteManifest
from customhouse.registry.content import UploadUnknown
from customhouse.registry.service import RegistryService
from customhouse.remote import RemoteFailed, Unreachable

TRIES = 4
PATIENCE_SECONDS, SLOWEST = 300.0, 500_000  # for a whole image: these seconds, and so many bytes a second
_PIECE = 1024 * 1024


class TooMuch(TooLarge):
    """The image is larger than any that is taken from elsewhere."""

    def __init__(self, name: str, size: int, most: int) -> None:
        super().__init__(
            f"{name} has {size} bytes, and at most {most} are fetched from another registry",
            hint="Make it smaller, or ask an administrator for a larger source_gigabytes.",
        )


@dataclass(frozen=True)
class Fetched:
    """What one run brought that was not there before."""

    pieces: int = 0
    size: int = 0

    def __add__(self, other: "Fetched") -> "Fetched":
        return Fetched(self.pieces + other.pieces, self.size + other.size)


class Importer:
    """Brings images into one registry, each of at most `most` bytes; `slowest` is in bytes a second."""

    def __init__(
        self, registry: RegistryService, most: int, *, seconds: float = PATIENCE_SECONDS, slowest: float = SLOWEST
    ) -> None:
        self._registry, self._most, self._seconds, self._slowest = registry, most, seconds, slowest

    def bring(self, client: RegistryClient, source: str, target: str, digest: Digest, length: int) -> Fetched:
        """Make the repository `target` hold the image that `source` has there. Raises ContentMismatch, TooMuch,
        InvalidManifest, Invalid, NotFound, and Unavailable for what is the network's fault."""
        top = self._manifest(client, source, target, digest, length)
        parsed = parse_manifest(top.raw, top.media_type or None)
        members = [
            self._manifest(client, source, target, each.digest, each.size) for each in _members(parsed)
        ]
        images = [parse_manifest(each.raw, each.media_type or None) for each in members] or [parsed]
        sizes = _blobs(images)
        total = sum(sizes.values()) + sum(each.size for each in (top, *members))
        if total > self._most:
            raise TooMuch(f"{source}@{digest}", total, self._most)
        client.transport.deadline = time.monotonic() + self._seconds + total / self._slowest
        done = Fetched()
        for blob, size in sizes.items():
            done += self._blob(client, source, target, blob, size)
        for each in (*members, top):
            done += self._keep(target, each)
        return done

    def _manifest(
        self, client: RegistryClient, source: str, target: str, digest: Digest, size: int
    ) -> RemoteManifest:
        try:
            held = self._registry.manifest(target, digest)
            found = RemoteManifest(digest, held.media_type, held.raw)
        except NotFound:
            found = client.manifest(source, digest)
        if found.size != size:
            raise Invalid(f"{source}@{digest} has {found.size} bytes, and {size} were announced")
        return found

    def _keep(self, target: str, manifest: RemoteManifest) -> Fetched:
        try:
            self._registry.manifest(target, manifest.digest)
        except NotFound:
            self._registry.push_manifest(target, manifest.digest, manifest.raw, manifest.media_type or None)
            faults.point("import.manifest")
            return Fetched(1, manifest.size)
        return Fetched()

    def _blob(self, client: RegistryClient, source: str, target: str, digest: Digest, size: int) -> Fetched:
        try:
            self._registry.blob(target, digest)
            return Fetched()
        except NotFound:
            pass
        uploads = self._registry.uploads
        name = sha256(f"{target}@{digest}".encode()).hexdigest()[:32]
        try:
            upload = uploads.resume(target, name)
        except UploadUnknown:
            upload = uploads.resume(target, uploads.begin(target, name))
        except UploadBusy as error:
            raise Unavailable(f"{digest} is being fetched already", hint="It is tried again.") from error
        try:
            self._fetch(client, source, digest, size, upload)
            faults.point("import.blob.fetched")
            uploads.finish(target, name, upload, digest)
        except DigestMismatch as error:  # and with it the upload is over
            raise ContentMismatch(f"blob {source}@{digest}", digest, error.found) from error
        except (Unreachable, RemoteFailed):
            upload.close()  # to go on from there; a sweep has it if nobody does
            raise
        except BaseException:
            uploads.abandon(name, upload)
            raise
        faults.point("import.blob")
        return Fetched(1, size)

    def _fetch(self, client: RegistryClient, source: str, digest: Digest, size: int, upload: Upload) -> None:
        failures = 0
        while upload.offset < size:
            before = upload.offset
            try:
                self._read_on(client, source, digest, size, upload)
                return
            except Unreachable:
                failures = 1 if upload.offset > before else failures + 1
                if failures >= TRIES or time.monotonic() > client.transport.deadline:
                    raise

    def _read_on(self, client: RegistryClient, source: str, digest: Digest, size: int, upload: Upload) -> None:
        """Go on where a broken answer ended."""
        with client.open_blob(source, digest, upload.offset) as stream:
            known = upload.offset if stream.status == 200 else 0
            while piece := stream.read_some(_PIECE):
                fresh = memoryview(piece)[known:]
                known = max(0, known - len(piece))
                if upload.offset + len(fresh) > size:
                    raise ContentMismatch(f"blob {source}@{digest}", f"{size} bytes", "more")
                upload.write(fresh)
        if upload.offset < size:
            raise Unreachable(f"{client.transport.host} sent {upload.offset} of {size} bytes of {digest}")


def _members(parsed: Manifest) -> tuple[Descriptor, ...]:
    if len(parsed.manifests) > MOST_PLATFORMS:
        raise Invalid(f"the index names {len(parsed.manifests)} images; at most {MOST_PLATFORMS} are taken")
    for member in parsed.manifests:
        if member.media_type in INDEX_TYPES:
            raise InvalidManifest("is an index of indexes", hint="Name one index with the images of all platforms.")
    return parsed.manifests


def _blobs(images: Iterable[Manifest]) -> dict[Digest, int]:
    """Every config and layer with its size."""
    sizes: dict[Digest, int] = {}
    for image in images:
        if image.kind == "index":
            raise InvalidManifest("is an index where an image was announced")
        for blob in image.references():
            if blob.foreign:
                hint = "Build the image so that its registry keeps every layer."
                raise InvalidManifest(f"names {blob.digest}, which is to be fetched from elsewhere", hint=hint)
            if sizes.setdefault(blob.digest, blob.size) != blob.size:
                raise InvalidManifest(f"gives two sizes of {blob.digest}")
    return sizes
