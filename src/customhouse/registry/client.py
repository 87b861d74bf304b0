"""The client's side of a registry: OCI distribution-spec 1.1, for pushing and pulling bytes unchanged.

1. What is fetched by digest is compared with it; what is fetched by tag is given its digest from the bytes, never from
   a header. Nothing is decoded and written again.
2. A blob is not sent when the registry has it or can mount it. Large blobs go in chunks; after a broken connection the
   registry is asked how far it came (§"Resuming"), and the rest is sent.
3. A download that broke goes on where it stopped, by Range; the whole is hashed before it gets its name.
4. A registry without the referrers API is read and written through its fallback tags (§"Referrers tag schema").
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import urljoin

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest
from customhouse.oci.manifest import INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, Descriptor, parse_manifest
from customhouse.remote import AnswerTooLarge, RemoteDenied, RemoteFailed, RemoteInvalid, RemoteNotFound, Unreachable
from customhouse.transport import Answer, Stream, Transport

ACCEPT = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))
LARGEST_MANIFEST = 4 * 1024 * 1024
CHUNK = 16 * 1024 * 1024
TRIES = 4
MOST_TAGS = 100_000
_PIECE = 1024 * 1024
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*rel="?next"?')

Progress = Callable[[Digest, int, int], None]
Opener = Callable[[], BinaryIO]
Sent = Literal["present", "mounted", "uploaded"]


class ContentMismatch(Invalid):
    """The registry sent other bytes than those that were named."""

    def __init__(self, what: str, wanted: str, got: str) -> None:
        super().__init__(
            f"{what} should be {wanted} and the registry sent {got}",
            hint="The content was altered or damaged: do not use it, and tell the registry's administrator.",
        )
        self.wanted, self.got = wanted, got


@dataclass(frozen=True)
class RemoteManifest:
    """A manifest as the registry has it; `digest` is computed from `raw`."""

    digest: Digest
    media_type: str
    raw: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.raw)


class RegistryClient:
    """One registry; repository names come without its host. `progress(digest, done, total)` is called in bytes."""

    def __init__(self, transport: Transport, *, progress: Progress | None = None, chunk: int = CHUNK) -> None:
        self.transport = transport
        self._progress = progress or (lambda digest, done, total: None)
        self._chunk = chunk

    # -- manifests --------------------------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> RemoteManifest:
        """By tag or digest. Raises RemoteNotFound, ContentMismatch."""
        answer = self.transport.request(
            "GET", f"/v2/{repository}/manifests/{reference}", scopes=_pull(repository), headers={"Accept": ACCEPT},
            budget=LARGEST_MANIFEST,
        )
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        wanted = Digest.parse(reference) if ":" in reference else None
        found = Digest.of(answer.body, wanted.algorithm if wanted else "sha256")
        if wanted and found != wanted:
            raise ContentMismatch(f"manifest {repository}@{wanted}", wanted, found)
        return RemoteManifest(found, media_type, answer.body)

    def has_manifest(self, repository: str, reference: str) -> bool:
        """Is it there?"""
        answer = self.transport.request(
            "HEAD", f"/v2/{repository}/manifests/{reference}", scopes=_pull(repository), headers={"Accept": ACCEPT},
            expect=(200, 404),
        )
        return answer.status == 200

    def put_manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> Digest:
        """Send a manifest under a tag or its digest, byte for byte; everything it names must be there already."""
        return self._put(repository, reference, raw, media_type)[0]

    def put_referrer(
        self, repository: str, subject: Digest, raw: bytes, media_type: str, artifact_type: str,
        annotations: Mapping[str, str],
    ) -> Digest:
        """Send a manifest that refers to `subject`; where the registry does not note that, list it in the fallback tag.

        Nobody else may be writing that list: a registry without the API knows no conditional write either.
        """
        wanted = Digest.of(raw, subject.algorithm)
        digest, answer = self._put(repository, str(wanted), raw, media_type)
        if answer.headers.get("oci-subject") == str(subject):
            return digest
        entry = {"mediaType": media_type, "digest": str(digest), "size": len(raw)}
        if artifact_type:
            entry["artifactType"] = artifact_type
        if annotations:
            entry["annotations"] = dict(annotations)
        _, listed = self._listed(repository, subject)
        if entry not in listed:
            kept = [each for each in listed if each.get("digest") != digest]
            self._put_list(repository, subject, [*kept, entry])
        return digest

    def unlist(self, repository: str, subject: Digest, digests: Collection[Digest]) -> None:
        """Take manifests out of the fallback tag of a subject; the tag goes with its last entry."""
        found, listed = self._listed(repository, subject)
        kept = [each for each in listed if each.get("digest") not in digests]
        if found and not kept:
            self.delete_manifest(repository, found)
        elif len(kept) < len(listed):
            self._put_list(repository, subject, kept)

    def _listed(self, repository: str, subject: Digest) -> tuple[Digest | None, list[dict[str, Any]]]:
        try:
            found = self.manifest(repository, _fallback(subject))
        except RemoteNotFound:
            return None, []
        parse_manifest(found.raw, found.media_type or None)
        return found.digest, list(json.loads(found.raw).get("manifests") or [])

    def _put_list(self, repository: str, subject: Digest, entries: list[dict[str, Any]]) -> None:
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        raw = json.dumps(document, separators=(",", ":")).encode()
        self._put(repository, _fallback(subject), raw, OCI_INDEX)

    def _put(self, repository: str, reference: str, raw: bytes, media_type: str) -> tuple[Digest, Answer]:
        answer = self.transport.request(
            "PUT", f"/v2/{repository}/manifests/{reference}", scopes=_push(repository), body=raw,
            headers={"Content-Type": media_type}, expect=(201,),
        )
        digest = Digest.of(raw, Digest.parse(reference).algorithm if ":" in reference else "sha256")
        told = answer.headers.get("docker-content-digest", digest)
        if told.startswith("sha256:") and told != digest:
            raise ContentMismatch(f"manifest {repository}:{reference}", digest, told)
        return digest, answer

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Remove a manifest by digest, or a tag where the registry knows that."""
        self.transport.request(
            "DELETE", f"/v2/{repository}/manifests/{reference}", scopes=_scope(repository, "delete"), expect=(202,)
        )

    # -- lists ------------------------------------------------------------------------------------------------------

    def tags(self, repository: str) -> list[str]:
        """All tags, over all pages."""
        found: list[str] = []
        for answer in self._pages(f"/v2/{repository}/tags/list", repository):
            document = answer.json()
            page = (document.get("tags") if isinstance(document, dict) else None) or []
            found += [tag for tag in page if isinstance(tag, str)]
            if len(found) > MOST_TAGS:
                raise AnswerTooLarge(f"{repository} has more than {MOST_TAGS} tags")
        return found

    def referrers(self, repository: str, digest: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        """What points at this manifest: signatures, attestations."""
        found: list[Descriptor] = []
        try:
            for answer in self._pages(f"/v2/{repository}/referrers/{digest}", repository):
                found += parse_manifest(answer.body, None).manifests
        except (RemoteNotFound, RemoteInvalid):
            try:
                fallback = self.manifest(repository, _fallback(digest))
            except RemoteNotFound:
                return []
            found = list(parse_manifest(fallback.raw, fallback.media_type or None).manifests)
        return [each for each in found if artifact_type in (None, each.artifact_type)]

    def _pages(self, path: str, repository: str) -> Iterator[Answer]:
        url: str | None = path
        while url:
            answer = self.transport.request("GET", url, scopes=_pull(repository))
            yield answer
            link = _NEXT.search(answer.headers.get("link", ""))
            url = urljoin(answer.url, link[1]) if link else None
            if url and not url.startswith(self.transport.url + "/"):
                raise RemoteFailed(f"{self.transport.host} continues its list at another server")

    # -- blobs out of the registry ----------------------------------------------------------------------------------

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Bytes, or None when it is not there."""
        answer = self.transport.request(
            "HEAD", f"/v2/{repository}/blobs/{digest}", scopes=_pull(repository), expect=(200, 404)
        )
        return int(answer.headers.get("content-length", "0")) if answer.status == 200 else None

    def blob(self, repository: str, digest: Digest, budget: int = LARGEST_MANIFEST) -> bytes:
        """A small blob, such as a config, checked. Raises AnswerTooLarge, ContentMismatch."""
        answer = self.transport.request(
            "GET", f"/v2/{repository}/blobs/{digest}", scopes=_pull(repository), budget=budget
        )
        found = Digest.of(answer.body, digest.algorithm)
        if found != digest:
            raise ContentMismatch(f"blob {repository}@{digest}", digest, found)
        return answer.body

    def open_blob(self, repository: str, digest: Digest, offset: int = 0) -> Stream:
        """The bytes from `offset` on, unchecked: the caller hashes them. Status 200 means that they begin at 0."""
        return self.transport.open(
            "GET", f"/v2/{repository}/blobs/{digest}", scopes=_pull(repository),
            headers={"Range": f"bytes={offset}-"} if offset else {}, expect=(200, 206),
        )

    def download(self, repository: str, digest: Digest, size: int, target: Path) -> None:
        """Fetch a blob into `target`. What a broken download left in `target.part` is used again."""
        part = target.with_name(target.name + ".part")
        for attempt in range(1, TRIES + 1):
            before = part.stat().st_size if part.exists() else 0
            try:
                self._fetch(repository, digest, size, part)
                break
            except Unreachable:
                moved = part.exists() and part.stat().st_size > before
                if attempt == TRIES and not moved:
                    raise
        found = _hash_file(part, digest)
        if found != digest:
            part.unlink()
            raise ContentMismatch(f"blob {repository}@{digest}", digest, found)
        part.replace(target)

    def _fetch(self, repository: str, digest: Digest, size: int, part: Path) -> None:
        done = part.stat().st_size if part.exists() else 0
        if done >= size > 0:
            return
        with self.open_blob(repository, digest, done) as stream, part.open("ab") as out:
            if stream.status == 200 and done:
                out.truncate(0)
                done = 0
            for piece in stream.pieces(_PIECE):
                done += len(piece)
                if done > size:
                    raise ContentMismatch(f"blob {repository}@{digest}", f"{size} bytes", "more")
                out.write(piece)
                self._progress(digest, done, size)
            out.flush()
            os.fsync(out.fileno())
        if done < size:
            raise Unreachable(f"{self.transport.host} sent {done} of {size} bytes of {digest}", hint="Try again.")

    # -- blobs into the registry ------------------------------------------------------------------------------------

    def push_blob(
        self, repository: str, digest: Digest, size: int, opener: Opener, *, mount_from: str | None = None
    ) -> Sent:
        """Make sure that the blob is in the repository; `opener` opens its `size` bytes, perhaps more than once."""
        if self.blob_size(repository, digest) is not None:
            self._progress(digest, size, size)
            return "present"
        query = {"mount": str(digest), "from": mount_from} if mount_from else {}
        scopes = (*_push(repository), *(_pull(mount_from) if mount_from else ()))
        try:
            begun = self.transport.request(
                "POST", f"/v2/{repository}/blobs/uploads/", scopes=scopes, query=query, body=b"",
                headers={"Content-Length": "0"}, expect=(201, 202),
            )
        except (RemoteDenied, RemoteNotFound):
            if not mount_from:
                raise
            return self.push_blob(repository, digest, size, opener)  # the source is none of our business: send it
        if begun.status == 201:
            self._progress(digest, size, size)
            return "mounted"
        if size <= self._chunk:
            self._whole(repository, digest, size, opener, self._location(begun))
        else:
            self._chunks(repository, digest, size, opener, self._location(begun))
        return "uploaded"

    def _whole(self, repository: str, digest: Digest, size: int, opener: Opener, location: str) -> None:
        with opener() as source:
            content = source.read(size + 1)
        _require_size(digest, size, len(content))
        self.transport.request(
            "PUT", location, scopes=_push(repository), query={"digest": str(digest)}, body=content,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)}, expect=(201,),
        )
        self._progress(digest, size, size)

    def _chunks(self, repository: str, digest: Digest, size: int, opener: Opener, location: str) -> None:
        offset, broken = 0, 0
        with opener() as source:
            while offset < size:
                source.seek(offset)
                piece = source.read(min(self._chunk, size - offset))
                _require_size(digest, size, offset + len(piece), more=bool(piece))
                try:
                    answer = self.transport.request(
                        "PATCH", location, scopes=_push(repository), body=piece, expect=(202,),
                        headers={
                            "Content-Type": "application/octet-stream",
                            "Content-Length": str(len(piece)),
                            "Content-Range": f"{offset}-{offset + len(piece) - 1}",
                        },
                    )
                    offset += len(piece)
                except (Unreachable, RemoteFailed):
                    broken += 1
                    if broken >= TRIES:
                        raise
                    answer, offset = self._progress_of(repository, location)
                location = self._location(answer)
                self._progress(digest, offset, size)
        self.transport.request(
            "PUT", location, scopes=_push(repository), query={"digest": str(digest)}, body=b"",
            headers={"Content-Length": "0"}, expect=(201,),
        )

    def _progress_of(self, repository: str, location: str) -> tuple[Answer, int]:
        """How far the registry came: `Range: 0-N`, N the last byte it has."""
        answer = self.transport.request("GET", location, scopes=_push(repository), expect=(204,))
        _, _, last = answer.headers.get("range", "0-").partition("-")
        end = int(last) if last.isdigit() else 0
        return answer, end + 1 if end else 0

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("location", "")
        if not location:
            raise RemoteFailed(f"{self.transport.host} began an upload and named no address for it")
        return urljoin(answer.url, location)


def _fallback(subject: Digest) -> str:
    return f"{subject.algorithm}-{subject.hex}"


def _scope(repository: str, actions: str) -> tuple[str, ...]:
    return (f"repository:{repository}:{actions}",)


def _pull(repository: str) -> tuple[str, ...]:
    return _scope(repository, "pull")


def _push(repository: str) -> tuple[str, ...]:
    return _scope(repository, "pull,push")


def _require_size(digest: Digest, size: int, got: int, *, more: bool = False) -> None:
    if (got > size) if more else (got != size):
        raise Invalid(f"the content of {digest} has {got} bytes where {size} were announced")


def _hash_file(path: Path, digest: Digest) -> Digest:
    hasher = digest.hasher()
    with path.open("rb") as source:
        while piece := source.read(_PIECE):
            hasher.update(piece)
    return Digest(f"{digest.algorithm}:{hasher.hexdigest()}")
