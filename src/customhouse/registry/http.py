"""The registry's door: OCI distribution-spec 1.1 under /v2/, for docker schema 2 and OCI content.

1. One ASGI endpoint; `wire.Target` reads the path, `Door._table` names the right and the handler of each request.
2. Every request is authorised by repository name and action before anything is looked up.
3. Errors are classes; `dialect.ERRORS` alone says what each is on the wire, and one place writes it.
4. No thread hop for what is short: rights from memory, SQLite's rows, manifests and small blobs are read in the loop.
5. A manifest that was given lies ready for the same question (ready.py): who asks, what he takes and which program he
   uses are the whole of the question.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from customhouse import errors as e
from customhouse.accounts.access import siblings
from customhouse.accounts.authorizer import Authorizer
from customhouse.accounts.clients import ClientWatch
from customhouse.accounts.tokens import Claims
from customhouse.oci.digest import Digest, InvalidDigest
from customhouse.oci.manifest import LARGEST_MANIFEST, OCI_INDEX
from customhouse.oci.reference import valid_repository
from customhouse.ready import Headers, Ready, ReadyAnswers
from customhouse.registry import content as c
from customhouse.registry import wire
from customhouse.registry.call import Call
from customhouse.registry.dialect import (
    Answer,
    MethodNotAllowed,
    NotAcceptable,
    encoded,
    error_answer,
    json_body,
    respond,
)
from customhouse.registry.service import RegistryService
from customhouse.registry.store import Referrer
from customhouse.registry.transfer import (
    ClientGone,
    WrongLength,
    has_files,
    let_go,
    open_blob,
    receive_into,
    receive_whole,
    send_content,
)

T = TypeVar("T")
MOST_TAGS = 10_000
MOST_REPOSITORIES = 1_000
MOST_REFERRERS = 500
LARGEST_REFERRERS = LARGEST_MANIFEST
_UNTYPED = ("", "application/json", "application/octet-stream", "text/plain")
_log = logging.getLogger("customhouse.registry")


Handler = Callable[[Call, Claims], Awaitable[Answer | None]]


class Door:
    """The ASGI endpoint of one registry."""

    def __init__(
        self, service: RegistryService, authorizer: Authorizer, clients: ClientWatch | None = None, threads: int = 48
    ) -> None:
        self.answered: Counter[int] = Counter()
        self._clients = clients or ClientWatch("")
        self._service = service
        self._authorizer = authorizer
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="registry")
        self._in_loop = service.store.local
        self._ready = ReadyAnswers(
            service.moment, (b"authorization", b"accept", b"user-agent"), (b"if-none-match", b"if-modified-since")
        )
        self._files = has_files(service.blobs)
        self._table: dict[str, dict[str, tuple[str, Handler]]] = {
            "base": {"GET": ("", self._base), "HEAD": ("", self._base)},
            "catalog": {"GET": ("*", self._catalog)},
            "tags": {"GET": ("pull", self._tags)},
            "manifest": {
                "GET": ("pull", self._manifest), "HEAD": ("pull", self._manifest),
                "PUT": ("push", self._put_manifest), "DELETE": ("delete", self._delete_manifest),
            },
            "blob": {
                "GET": ("pull", self._blob), "HEAD": ("pull", self._blob), "DELETE": ("delete", self._delete_blob),
            },
            "uploads": {"POST": ("push", self._begin)},
            "upload": {
                "GET": ("push", self._status), "PATCH": ("push", self._chunk),
                "PUT": ("push", self._finish), "DELETE": ("push", self._cancel),
            },
            "referrers": {"GET": ("pull", self._referrers)},
        }  # fmt: skip

    def methods(self) -> dict[str, list[str]]:
        """The methods of each kind of path (wire.Target), as the reference lists them."""
        return {kind: sorted(methods) for kind, methods in self._table.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            answer = await self._answer(scope, receive, watched)
        except ClientGone:
            return
        except Exception as error:
            if started:
                raise
            answer = error_answer(error)
            if answer.status == 500:
                _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        if answer is not None:
            self.answered[answer.status] += 1
            await respond(send, answer, head=scope["method"] == "HEAD")

    def prepared(self, target: bytes, headers: Headers) -> tuple[bytes, bytes] | None:
        """Header lines and body of a manifest that lies ready for a GET (shortcut.py)."""
        found = self._ready.prepared(target, headers) if b"/manifests/" in target else None
        if found is not None:
            self.answered[200] += 1
        return found

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        target = wire.Target.parse(scope["path"])
        if target is None:
            raise e.NotFound("there is no such path in a registry")
        methods = self._table[target.kind]
        if scope["method"] not in methods:
            raise MethodNotAllowed(scope["method"], sorted(methods))
        action, handler = methods[scope["method"]]
        call = Call(scope, receive, send, target)
        if target.kind == "base":
            return await handler(call, self._authorizer.authenticate(call.authorization))
        if not valid_repository(target.repository):  # that of the catalogue is the accounts' word for it
            raise c.InvalidName(target.repository)
        return await handler(call, self._authorizer.authorize(call.authorization, target.repository, action))

    async def _look(self, question: Callable[..., T], *about: Any) -> T:
        """A short read: in the loop where the rows are local, else in a thread."""
        return question(*about) if self._in_loop else await self._do(question, *about)

    async def _do(self, act: Callable[..., T], *about: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act, *about)

    # Pull

    async def _base(self, call: Call, claims: Claims) -> Answer:
        return Answer(200, {"content-type": "application/json", **self._warning(call)}, b"{}")

    def _warning(self, call: Call) -> dict[str, str]:
        text = self._clients.warning(call.header("user-agent"))
        return {"warning": text} if text else {}

    async def _manifest(self, call: Call, claims: Claims) -> Answer:
        stamp = self._ready.stamp()
        resolve = partial(self._service.resolve, call.repository, call.reference)
        recalled = await self._service.store.answers.recall(resolve)
        found = await self._look(resolve) if recalled is None else recalled
        counted = self._clients.tag_asked(call.header("user-agent"), call.repository, call.reference)
        if not wire.accepts(call.header("accept"), found.media_type):
            raise NotAcceptable(call.repository, call.reference, found.media_type)
        headers = {"docker-content-digest": str(found.digest), "etag": f'"{found.digest}"', "vary": "Accept"}
        headers |= self._warning(call)
        if wire.tag_matches(call.header("if-none-match"), headers["etag"]):
            return Answer(304, headers)
        headers["content-type"] = found.media_type
        if call.method == "GET":
            sent = encoded({**headers, "content-length": str(found.size)})
            given = partial(self._clients.pulls.update, (counted,)) if counted else None
            self._ready.keep(call.scope, Ready(sent, found.raw, claims.expires, given), stamp)
        return Answer(200, headers, found.raw)

    async def _blob(self, call: Call, claims: Claims) -> Answer | None:
        digest = Digest.parse(call.reference)
        look = self._look if self._files else self._do
        blob = await look(self._service.blob, call.repository, digest)
        etag = f'"{digest}"'
        headers = {
            "docker-content-digest": str(digest), "etag": etag, "accept-ranges": "bytes",
            "cache-control": "private, max-age=31536000, immutable",
        }  # fmt: skip
        if wire.tag_matches(call.header("if-none-match"), etag):
            return Answer(304, headers)
        status, span = 200, wire.Span(0, blob.size)
        if call.method == "GET" and call.header("if-range") in ("", etag):
            part = wire.parse_range(call.header("range"), blob.size)
            if part is not None:
                status, span = 206, part
                headers["content-range"] = f"bytes {span.start}-{span.last}/{blob.size}"
        headers |= {"content-type": "application/octet-stream", "content-length": str(span.count)}
        if call.method == "HEAD":
            return Answer(status, headers)
        if address := None if self._files else await self._do(self._service.blobs.address, digest):
            return Answer(307, {"docker-content-digest": str(digest), "location": address, "cache-control": "no-store"})
        with await open_blob(self._service.blobs, blob, self._files, self._threads) as content:
            await call.send({"type": "http.response.start", "status": status, "headers": encoded(headers)})
            await send_content(call.scope, call.send, content, span, self._threads)
        return None

    async def _catalog(self, call: Call, claims: Claims) -> Answer:
        names, headers = await self._page(call, MOST_REPOSITORIES, "/v2/_catalog", self._service.repositories)
        return Answer(200, headers, json_body({"repositories": names}))

    async def _tags(self, call: Call, claims: Claims) -> Answer:
        tags, headers = await self._page(
            call, MOST_TAGS, f"/v2/{call.repository}/tags/list", partial(self._service.tags, call.repository)
        )
        return Answer(200, headers, json_body({"name": call.repository, "tags": tags}))

    async def _page(
        self, call: Call, most: int, path: str, listed: Callable[..., list[str]]
    ) -> tuple[list[str], dict[str, str]]:
        """Names from `last` on and where the next page is: by name, so that what comes and goes moves no page."""
        limit, after = wire.parse_page(call.query("n"), most), wire.plain(call.query("last"))
        found = await self._look(lambda: listed(after=after, limit=limit + 1))
        page, headers = found[:limit], {"content-type": "application/json"}
        if page and len(found) > limit:
            headers["link"] = f'<{path}?{urlencode({"n": limit, "last": page[-1]})}>; rel="next"'
        return page, headers

    async def _referrers(self, call: Call, claims: Claims) -> Answer:
        subject, kind, after = Digest.parse(call.reference), call.query("artifactType"), wire.plain(call.query("last"))
        kind = None if kind is None else wire.plain(kind)
        found = await self._look(
            lambda: self._service.referrers(call.repository, subject, kind, after=after, limit=MOST_REFERRERS + 1)
        )
        page: list[bytes] = []
        held = 0
        for referrer in found[:MOST_REFERRERS]:
            descriptor = json_body(_descriptor(referrer))
            held += len(descriptor)
            if page and held > LARGEST_REFERRERS:
                break
            page.append(descriptor)
        headers = {"content-type": OCI_INDEX}
        if kind is not None:
            headers["oci-filters-applied"] = "artifactType"
        if len(page) < len(found):
            query = {"last": found[len(page) - 1].digest, **({} if kind is None else {"artifactType": kind})}
            headers["link"] = f'</v2/{call.repository}/referrers/{subject}?{urlencode(query)}>; rel="next"'
        opening = b'{"schemaVersion":2,"mediaType":"' + OCI_INDEX.encode() + b'","manifests":['
        return Answer(200, headers, opening + b",".join(page) + b"]}")

    # Push

    async def _put_manifest(self, call: Call, claims: Claims) -> Answer:
        if (call.length or 0) > LARGEST_MANIFEST:
            raise e.TooLarge(f"the manifest is larger than {LARGEST_MANIFEST} bytes")
        raw = await receive_whole(call.receive, LARGEST_MANIFEST)
        declared = call.header("content-type").partition(";")[0].strip().lower()
        media_type = None if declared in _UNTYPED else declared
        tags = tuple(dict.fromkeys(call.queries("tag"))) if ":" in call.reference else ()
        stored = await self._do(self._service.push_manifest, call.repository, call.reference, raw, media_type, tags)
        headers = {
            "location": f"/v2/{call.repository}/manifests/{stored.digest}", "docker-content-digest": str(stored.digest),
        }  # fmt: skip
        if tags:
            headers["oci-tag"] = ", ".join(tags)
        if stored.subject:
            headers["oci-subject"] = str(stored.subject)
        return Answer(201, headers)

    async def _begin(self, call: Call, claims: Claims) -> Answer:
        mounted = await self._mounted(call)
        if mounted is not None:
            return _created(call, mounted)
        expected = call.query("digest")
        digest = Digest.parse(expected) if expected is not None else None
        upload = await self._do(self._service.uploads.begin, call.repository)
        call.reference = upload
        if digest is not None:
            return await self._received(call, digest, call.length)
        return Answer(202, _upload_headers(call, 0))

    async def _mounted(self, call: Call) -> c.StoredBlob | None:
        """A mount that cannot be done, or may not be, is an ordinary upload: the caller learns nothing of others."""
        try:
            digest = Digest.parse(call.query("mount") or "")
        except InvalidDigest:
            return None
        source = call.query("from")
        if source is None:  # nobody is asked about those of others: how many there are must not show either
            sources = await self._look(self._service.sources, digest, call.repository)
        else:
            sources = [source]
        for name in sources:
            readable = siblings(name, call.repository) or self._authorizer.may(call.authorization, name, "pull")
            if valid_repository(name) and readable:
                blob = await self._do(self._service.mount, call.repository, digest, name)
                if blob is not None:
                    return blob
        return None

    async def _status(self, call: Call, claims: Claims) -> Answer:
        offset = await self._do(self._service.uploads.offset, call.repository, call.reference)
        return Answer(204, _upload_headers(call, offset))

    async def _chunk(self, call: Call, claims: Claims) -> Answer:
        upload = await self._do(self._service.uploads.resume, call.repository, call.reference)
        try:
            await receive_into(call.scope, call.receive, upload, self._threads, _expected(call, upload.offset))
        finally:
            await let_go(upload, self._files, self._threads)
        return Answer(202, _upload_headers(call, upload.offset))

    async def _finish(self, call: Call, claims: Claims) -> Answer:
        return await self._received(call, Digest.parse(call.query("digest") or ""), None)

    async def _received(self, call: Call, digest: Digest, length: int | None) -> Answer:
        uploads = self._service.uploads
        upload = await self._do(uploads.resume, call.repository, call.reference)
        try:
            declared = _expected(call, upload.offset)
            expected = length if declared is None else declared
            await receive_into(call.scope, call.receive, upload, self._threads, expected)
            blob = await self._do(uploads.finish, call.repository, call.reference, upload, digest)
        finally:
            await let_go(upload, self._files, self._threads)
        return _created(call, blob)

    async def _cancel(self, call: Call, claims: Claims) -> Answer:
        uploads = self._service.uploads
        upload = await self._do(uploads.resume, call.repository, call.reference)
        await self._do(uploads.abandon, call.reference, upload)
        return Answer(204)

    # Deletion

    async def _delete_manifest(self, call: Call, claims: Claims) -> Answer:
        if ":" in call.reference:
            digest = Digest.parse(call.reference)
            await self._do(self._service.delete_manifest, call.repository, digest, claims.subject)
        else:
            await self._do(self._service.delete_tag, call.repository, call.reference, claims.subject)
        return Answer(202)

    async def _delete_blob(self, call: Call, claims: Claims) -> Answer:
        digest = Digest.parse(call.reference)
        await self._do(self._service.delete_blob, call.repository, digest, claims.subject)
        return Answer(202)


def routes(service: RegistryService, authorizer: Authorizer) -> list[Route]:
    """Everything under /v2/ that is the registry's; `…/_trust/…` has to be dispatched before it."""
    door = Door(service, authorizer)
    return [Route("/v2", door, name="registry-base"), Route("/v2/{path:path}", door, name="registry")]


def _expected(call: Call, offset: int) -> int | None:
    """How many bytes the body must have, by Content-Range and Content-Length; None where neither was sent."""
    text = call.header("content-range")
    if not text:
        return call.length
    chunk = wire.parse_chunk(text)
    if chunk.start != offset:
        raise c.ChunkOutOfOrder(call.repository, call.reference, offset)
    if call.length is not None and call.length != chunk.count:
        raise WrongLength(chunk.count, str(call.length))
    return chunk.count


def _upload_headers(call: Call, offset: int) -> dict[str, str]:
    return {"location": call.upload_location, "range": wire.progress(offset), "docker-upload-uuid": call.reference}


def _created(call: Call, blob: c.StoredBlob) -> Answer:
    location = f"/v2/{call.repository}/blobs/{blob.digest}"
    return Answer(201, {"location": location, "docker-content-digest": str(blob.digest)})


def _descriptor(referrer: Referrer) -> dict[str, Any]:
    descriptor: dict[str, Any] = {
        "mediaType": referrer.media_type, "digest": referrer.digest, "size": referrer.size,
        "artifactType": referrer.artifact_type,
    }  # fmt: skip
    return {**descriptor, "annotations": dict(referrer.annotations)} if referrer.annotations else descriptor
