"""What the registry keeps and how it refuses: values and errors, and which content a manifest needs.

OCI distribution-spec 1.1. Nothing here reads or writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from customhouse.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import FOREIGN_LAYERS, Manifest
from customhouse.registry.rules import Used


@dataclass(frozen=True)
class StoredManifest:
    """A manifest as its publisher sent it; `size` in bytes."""

    digest: Digest
    media_type: str
    size: int
    raw: bytes
    subject: Digest | None = None


@dataclass(frozen=True)
class StoredBlob:
    """A blob that a repository holds; `size` in bytes."""

    digest: Digest
    size: int


class InvalidName(Invalid):
    """A repository name that the grammar does not allow."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:255]!r} is not a repository name", hint="Use lower-case letters, digits and . _ - /")


class InvalidTag(Invalid):
    """A tag that the grammar does not allow."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:128]!r} is not a tag", hint="Use up to 128 letters, digits and . _ -")


class RepositoryUnknown(NotFound):
    """Nothing is kept under this name."""

    def __init__(self, repository: str) -> None:
        super().__init__(f"the repository {repository} holds nothing")
        self.repository = repository


class ManifestUnknown(NotFound):
    """The repository has no such tag or manifest."""

    def __init__(self, repository: str, reference: str) -> None:
        super().__init__(f"{repository} has no manifest {reference[:160]}")
        self.repository, self.reference = repository, reference


class BlobUnknown(NotFound):
    """The repository holds no such blob; whether another one does is not said."""

    def __init__(self, repository: str, digest: str) -> None:
        super().__init__(f"{repository} has no blob {digest}")
        self.repository, self.digest = repository, digest


class UploadUnknown(NotFound):
    """No such upload, or it is over."""

    def __init__(self, upload: str) -> None:
        super().__init__("this upload is not known or is over", hint="Begin a new one with POST.")
        self.upload = upload


class ChunkOutOfOrder(Invalid):
    """A chunk that does not begin where the upload stands, at `offset` bytes."""

    def __init__(self, repository: str, upload: str, offset: int) -> None:
        super().__init__(f"the upload stands at {offset} bytes; the chunk begins elsewhere", hint="Go on from there.")
        self.repository, self.upload, self.offset = repository, upload, offset


class BlobDamaged(Unavailable):
    """The store has fewer or more bytes of a blob than were stored."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"the bytes of {digest} are damaged", hint="Push it again; `customhouse doctor` tells more.")
        self.digest = digest


class ManifestRefused(Denied):
    """The manifest was withdrawn and is not handed out any more."""

    def __init__(self, repository: str, digest: Digest, reason: str) -> None:
        super().__init__(f"{repository}@{digest} was withdrawn: {reason}")
        self.repository, self.digest, self.reason = repository, digest, reason


class ContentMissing(Invalid):
    """A manifest needs content that the repository does not hold."""

    def __init__(self, repository: str, missing: tuple[Digest, ...]) -> None:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        super().__init__(f"{repository} does not hold what the manifest needs: {shown}", hint="Push that first.")
        self.repository, self.missing = repository, missing


class SizeMismatch(Invalid):
    """A manifest says another size of its content than the content has."""

    def __init__(self, digest: Digest, said: int, found: int) -> None:
        super().__init__(f"the manifest says that {digest} has {said} bytes, but it has {found}")
        self.digest = digest


class ContentInUse(Conflict):
    """It cannot be deleted while a manifest of the repository needs it."""

    def __init__(self, digest: Digest, user: Digest) -> None:
        super().__init__(f"{digest} is needed by the manifest {user}", hint="Delete that manifest first.")
        self.digest, self.user = digest, user


class TagLocked(Denied):
    """The tag stands on another digest and stays there."""

    def __init__(self, repository: str, tag: str, held: Digest) -> None:
        super().__init__(
            f"the tag {repository}:{tag} is locked and stays on {held}",
            hint="Push it as another tag, or ask an administrator for a rule (`customhouse rule add`).",
        )
        self.repository, self.tag, self.held = repository, tag, held

    def for_submission(self, submission: str) -> str:
        """What its publisher reads."""
        again = f"`customhouse submission retry {submission}`"
        return (
            f"{self.message}. Push this image as another tag and sign that. Or ask an administrator for a rule "
            f"(`customhouse rule add`), or withdraw the tag, and then: {again}"
        )


class QuotaExceeded(Denied):
    """The publisher's staging may not hold this as well."""

    def __init__(self, used: Used, more: int = 0) -> None:
        what = f"{sized(more)} more would pass the quota" if more else "the quota is used up"
        super().__init__(
            f"{what}: publisher {used.publisher} holds {sized(used.used)} of {sized(used.most or 0)} in staging",
            hint="Delete in staging what nobody needs, or ask an administrator for more.",
        )
        self.used, self.more = used, more


def sized(count: int) -> str:
    """Bytes for people: "1.5 GB"."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def needs_of(manifest: Manifest) -> Mapping[Digest, str]:
    """Each piece of content that it is made of, by digest: "blob", "manifest", or "foreign" for a layer that may be
    kept elsewhere (image-spec layer.md, Non-Distributable Layers) and stays while the manifest does if it is here."""
    needed: dict[Digest, str] = {child.digest: "manifest" for child in manifest.manifests}
    elsewhere = {layer.digest: "foreign" for layer in manifest.layers if layer.media_type in FOREIGN_LAYERS}
    here = [layer for layer in manifest.layers if layer.digest not in elsewhere]
    for child in (*((manifest.config,) if manifest.config else ()), *here):
        needed[child.digest] = "blob"
    return {**elsewhere, **needed}


def check_quota(used: Used | None) -> None:
    """`used` counts already what this transaction links. Raises QuotaExceeded."""
    if used is not None and used.over():
        raise QuotaExceeded(replace(used, used=used.used - used.grown), used.grown)


def check_held(repository: str, manifest: Manifest, held: Mapping[Digest, int]) -> None:
    """`held` is what the repository has of the references, with sizes. Raises ContentMissing, SizeMismatch."""
    needs = needs_of(manifest)
    missing = tuple(digest for digest, kind in needs.items() if kind != "foreign" and digest not in held)
    if missing:
        raise ContentMissing(repository, missing)
    for child in manifest.references():
        if held.get(child.digest, child.size) != child.size:
            raise SizeMismatch(child.digest, child.size, held[child.digest])
