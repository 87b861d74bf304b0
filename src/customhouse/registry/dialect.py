"""How the registry speaks: answers, and what each error is on the wire.

`ERRORS` is the one table, an error's nearest ancestor in it decides. OCI distribution-spec 1.1 §Error Codes; the codes
TAG_INVALID, UNAVAILABLE, UNKNOWN and PAGINATION_NUMBER_INVALID are those of docker's registry.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Send

from customhouse import errors as e
from customhouse.blobs import BlobMissing, DigestMismatch, UploadBusy
from customhouse.oci.digest import InvalidDigest
from customhouse.oci.manifest import InvalidManifest
from customhouse.registry import content as c
from customhouse.registry import wire
from customhouse.registry.transfer import WrongLength


class MethodNotAllowed(e.Invalid):
    """A path that is known and a method that it has not."""

    def __init__(self, method: str, allowed: list[str]) -> None:
        super().__init__(f"{method[:20]} is not possible here")
        self.allowed = allowed


Wire = tuple[int, str]
ERRORS: Mapping[type[Exception], Wire] = {
    InvalidDigest: (400, "DIGEST_INVALID"),
    DigestMismatch: (400, "DIGEST_INVALID"),
    InvalidManifest: (400, "MANIFEST_INVALID"),
    c.ContentMissing: (400, "MANIFEST_BLOB_UNKNOWN"),
    c.SizeMismatch: (400, "MANIFEST_INVALID"),
    c.InvalidName: (400, "NAME_INVALID"),
    MethodNotAllowed: (405, "UNSUPPORTED"),
    c.InvalidTag: (400, "TAG_INVALID"),
    c.RepositoryUnknown: (404, "NAME_UNKNOWN"),
    c.ManifestUnknown: (404, "MANIFEST_UNKNOWN"),
    c.BlobUnknown: (404, "BLOB_UNKNOWN"),
    BlobMissing: (404, "BLOB_UNKNOWN"),
    c.UploadUnknown: (404, "BLOB_UPLOAD_UNKNOWN"),
    UploadBusy: (409, "BLOB_UPLOAD_INVALID"),
    c.ContentInUse: (405, "UNSUPPORTED"),  # the specification's answer of a registry that will not delete this
    c.ChunkOutOfOrder: (416, "BLOB_UPLOAD_INVALID"),
    wire.InvalidContentRange: (416, "BLOB_UPLOAD_INVALID"),
    wire.RangeNotSatisfiable: (416, "BLOB_UPLOAD_INVALID"),
    wire.InvalidPage: (400, "PAGINATION_NUMBER_INVALID"),
    WrongLength: (400, "SIZE_INVALID"),
    e.TooLarge: (413, "SIZE_INVALID"),
    e.Unauthenticated: (401, "UNAUTHORIZED"),
    e.Denied: (403, "DENIED"),
    e.NotFound: (404, "NAME_UNKNOWN"),
    e.Conflict: (409, "UNSUPPORTED"),
    e.Invalid: (400, "UNSUPPORTED"),
    e.StorageFull: (507, "STORAGE_FULL"),
    e.Unavailable: (503, "UNAVAILABLE"),
    Exception: (500, "UNKNOWN"),
}
_API = (b"docker-distribution-api-version", b"registry/2.0")
_MOST_MISSING = 100


@dataclass(frozen=True)
class Answer:
    """A whole response; a HEAD request gets its headers only."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class NotAcceptable(c.ManifestUnknown):
    """The manifest is there, but of a type that the client does not take."""

    def __init__(self, repository: str, reference: str, media_type: str) -> None:
        super().__init__(repository, reference)
        self.message = f"{repository} has {reference[:160]} as {media_type}, which the Accept header leaves out"


def error_answer(error: Exception) -> Answer:
    """The response that tells an error; the body has one entry, or one for each missing piece of content."""
    status, code = next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)
    headers = {"content-type": "application/json", **_headers_of(error)}
    if not isinstance(error, e.CustomhouseError):
        return Answer(status, headers, _errors({"code": code, "message": "the hub met an error of its own"}))
    entry: dict[str, Any] = {"code": code, "message": f"{error.message}. {error.hint}" if error.hint else error.message}
    if isinstance(error, c.ContentMissing):
        return Answer(
            status, headers, _errors(*({**entry, "detail": {"digest": d}} for d in error.missing[:_MOST_MISSING]))
        )
    return Answer(status, headers, _errors(entry))


def _headers_of(error: Exception) -> dict[str, str]:
    match error:
        case e.Unauthenticated():
            # The accounts' error brings its challenge; without one the client would have nowhere to go.
            return {"www-authenticate": str(getattr(error, "challenge", "Bearer"))}
        case MethodNotAllowed():
            return {"allow": ", ".join(error.allowed)}
        case wire.RangeNotSatisfiable():
            return {"content-range": f"bytes */{error.size}"}
        case c.ChunkOutOfOrder():
            location = f"/v2/{error.repository}/blobs/uploads/{error.upload}"
            return {"location": location, "range": wire.progress(error.offset), "docker-upload-uuid": error.upload}
        case e.Unavailable():
            return {"retry-after": str(error.wait_seconds)}
        case _:
            return {}


def _errors(*entries: Mapping[str, Any]) -> bytes:
    return json_body({"errors": entries})


def json_body(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI sends them, with the one that every answer of a registry has."""
    return [_API, *((name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items())]


async def respond(send: Send, answer: Answer, *, head: bool) -> None:
    """Send a whole answer; to HEAD its headers alone, with the length that the body would have."""
    headers = dict(answer.headers)
    if answer.status not in (204, 304):
        headers.setdefault("content-length", str(len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded(headers)})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
