"""The Notary v1 door: `/v2/<gun>/_trust/...`, `/v2/_trust/changefeed`, `/_notary_server/health`.

1. Every request but health is authorised for the GUN's repository (its path without the host) and an action.
2. One table says which class of error is which status and code. A refusal of an update is 400 with the one form of
   detail that docker and notary print; the whole body stays under 1 KiB, which is all they read.
3. Nobody writes to an official or quarantined repository here, and the answer says where to push instead.
4. Answers are never for shared caches: staging is private, and a stale timestamp would delay a withdrawal.
5. What clients ask for most, current files and files by hash, is answered in the loop, again and again (ready.py).
Notary v1 wire: HTTP API, errors, changefeed.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import URLPath
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from customhouse.accounts.access import why_not_writable
from customhouse.accounts.authorizer import NotWritable, TokenRequired
from customhouse.errors import (
    Conflict,
    CustomhouseError,
    Denied,
    Invalid,
    NotFound,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from customhouse.ready import Ready, ReadyAnswers, authorization
from customhouse.trust.multipart import MalformedUpload, NoFilename, UploadParser
from customhouse.trust.names import ROOT, TIMESTAMP, Gun, InvalidGun, InvalidRole, RoleName
from customhouse.trust.service import FOREVER, MetadataUnknown, TrustService
from customhouse.trust.store import Change, StoredFile
from customhouse.trust.update import UpdateRefused, VersionConflict

log = logging.getLogger(__name__)

CATALOG = "catalog"  # the name under which the changefeed of all repositories is authorised, with `*`
MAXIMUM_MESSAGE = 640
MAXIMUM_RECORDS = 1000
DEFAULT_RECORDS = 100


Answer = Response | Ready


class Bearer(Protocol):
    """Whoever was authorised."""

    @property
    def subject(self) -> str:
        """A name, empty for anonymous."""

    @property
    def owner(self) -> str:
        """The person behind a machine's token, who is the author of what it signs; may be empty."""

    @property
    def expires(self) -> datetime:
        """From when on he has to prove it anew."""


class Authorizer(Protocol):
    """Says whether a request may do something, or raises Unauthenticated or Denied."""

    def authorize(self, authorization: str | None, repository: str, action: str) -> Bearer:
        """`repository` without the host; `action` is pull, push or `*`."""


class InvalidParameters(Invalid):
    """A query that cannot be answered."""


class UnknownPath(NotFound):
    """Nothing is served there."""


# class -> (status, code, message); the nearest class of an error's ancestry counts
ERRORS: Mapping[type[CustomhouseError], tuple[int, str, str]] = {
    VersionConflict: (400, "VERSION", "A newer version of metadata is already available."),
    UpdateRefused: (400, "INVALID_UPDATE", "Update sent by the client is invalid."),
    MalformedUpload: (400, "MALFORMED_UPLOAD", "The body of your request is malformed."),
    NoFilename: (400, "NO_FILENAME", "No file/role name provided."),
    InvalidRole: (400, "INVALID_ROLE", "The role you are attempting to operate on is invalid."),
    InvalidGun: (400, "INVALID_GUN", "The server does not support actions on images of this name."),
    InvalidParameters: (400, "INVALID_PARAMETERS", "The parameters provided are not valid."),
    MetadataUnknown: (404, "METADATA_NOT_FOUND", "You have requested metadata that does not exist."),
    NotFound: (404, "METADATA_NOT_FOUND", "You have requested metadata that does not exist."),
    NotWritable: (400, "INVALID_UPDATE", "Update sent by the client is invalid."),
    TokenRequired: (401, "UNAUTHORIZED", "authentication required"),
    Unauthenticated: (401, "UNAUTHORIZED", "authentication required"),
    Denied: (403, "DENIED", "requested access to the resource is denied"),
    TooLarge: (400, "INVALID_UPDATE", "Update sent by the client is invalid."),
    Invalid: (400, "INVALID_UPDATE", "Update sent by the client is invalid."),
    Conflict: (400, "INVALID_UPDATE", "Update sent by the client is invalid."),
    StorageFull: (507, "UPDATING", "An error has occurred while updating the TUF repository."),
    Unavailable: (503, "UPDATING", "An error has occurred while updating the TUF repository."),
    CustomhouseError: (500, "UNKNOWN", "unknown error"),
}

_GUN_PATH = re.compile(r"/v2/(?P<gun>[^*]+)/_trust/(?P<rest>tuf/.*|changefeed)")
_ALL_CHANGES = "/v2/_trust/changefeed"
_HEALTH = "/_notary_server/health"
_KEY = re.compile(r"(snapshot|timestamp)\.key")
_BY_HASH = re.compile(r"(?P<role>[^.]+)\.(?P<hash>[0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128})\.json")
_BY_VERSION = re.compile(r"(?P<version>[1-9][0-9]{0,9})\.(?P<role>[^.]+)\.json")
_CURRENT = re.compile(r"(?P<role>[^.]+)\.json")
_METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE")


def owns(path: str) -> bool:
    """Is this path one of the trust door? To be asked before the registry's routes."""
    if "/_trust/tuf/" in path:
        return path.startswith("/v2/")
    return path in (_ALL_CHANGES, _HEALTH) or _GUN_PATH.fullmatch(path) is not None


def routes(service: TrustService, authorizer: Authorizer, host: str) -> list[BaseRoute]:
    """Routes for the app, to stand before the registry's. `host` is the hub's public host[:port]."""
    return [TrustRoute(TrustDoor(service, authorizer, host))]


class TrustDoor:
    """The trust server as an ASGI application."""

    def __init__(
        self, service: TrustService, authorizer: Authorizer, host: str,
        begin: Callable[[Gun, str], bool] = lambda gun, actor: False,
    ) -> None:
        """`begin` makes the trust data of a GUN for an actor who may push there, where the hub keeps its root."""
        self._service = service
        self._authorizer = authorizer
        self._host = host
        self._begin = begin
        self.answered: Counter[int] = Counter()
        self._ready = ReadyAnswers(service.moment)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] == "GET":
                ready = self._ready.get(scope, lambda: self._at_once(scope))
                if ready is None and "/_trust/tuf/" in scope["path"]:
                    ready = await self._service.recall(self._at_once, scope)
                if ready is not None:
                    self.answered[200] += 1
                    await ready.send(send)
                    return
            response = await self._answer(Request(scope, receive))
        except ClientDisconnect:
            return
        except CustomhouseError as error:
            response = _refusal(error)
        except Exception:
            log.exception("a trust request failed")
            response = _refusal(CustomhouseError("the trust server failed"))
        if isinstance(response, Ready):
            self.answered[200] += 1
            await response.send(send)
        else:
            self.answered[response.status_code] += 1
            await response(scope, receive, send)

    def prepared(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
        """Header lines and body of an answer that lies ready for a GET (shortcut.py)."""
        found = self._ready.prepared(target, headers) if b"/_trust/tuf/" in target else None
        if found is not None:
            self.answered[200] += 1
        return found

    async def _answer(self, request: Request) -> Answer:
        path, method = request.url.path, request.method
        if method not in _METHODS:
            return Response(status_code=405)
        if path == _HEALTH and method == "GET":
            return await run_in_threadpool(self._health)
        if path == _ALL_CHANGES and method == "GET":
            return await run_in_threadpool(self._changes, request, None)
        found = _GUN_PATH.fullmatch(path)
        if found is None:
            raise UnknownPath("nothing is served there")
        rest = found["rest"]
        if rest == "tuf/" and method == "POST":
            gun = self._writable(found["gun"])
            actor = await run_in_threadpool(self._authorize, request, gun, "push")
            return await self._publish(request, gun, actor)
        return await run_in_threadpool(self._rest, request, found["gun"], rest)

    def _at_once(self, scope: Scope) -> Ready | None:
        """What can be answered without leaving the loop: the files that clients ask for most."""
        found = _GUN_PATH.fullmatch(scope["path"])
        target = found["rest"].removeprefix("tuf/") if found else ""
        by_hash = _BY_HASH.fullmatch(target)
        asked = by_hash or _CURRENT.fullmatch(target)
        if found is None or asked is None:
            return None
        gun, role = self._readable(found["gun"]), _role(asked["role"])
        sent = authorization(scope).decode("latin-1")
        bearer = self._authorizer.authorize(sent or None, gun.repository, "pull")
        given = self._service.at_once(gun, role, by_hash["hash"] if by_hash else "")
        if given is None:
            return None
        file, until = given
        return _file(file, immutable=by_hash is not None, until=min(until, bearer.expires))

    def _rest(self, request: Request, name: str, rest: str) -> Answer:
        method = request.method
        if rest == "changefeed" and method == "GET":
            return self._changes(request, self._readable(name))
        target = rest.removeprefix("tuf/")
        if target == "" and method == "DELETE":
            gun = self._writable(name)
            self._service.delete(gun, self._authorize(request, gun, "*"))
            return Response(status_code=200)
        key = _KEY.fullmatch(target)
        if key and method in ("GET", "POST"):
            return self._key(request, self._writable(name), RoleName(key[1]), rotate=method == "POST")
        if method == "GET":
            return self._metadata(request, self._readable(name), target)
        raise UnknownPath("nothing is served there")

    async def _publish(self, request: Request, gun: Gun, actor: str) -> Response:
        parser = UploadParser(request.headers.get("content-type", ""))
        async for chunk in request.stream():
            parser.feed(chunk)
        files = parser.files()
        await run_in_threadpool(self._service.publish, gun, files, actor)
        return Response(status_code=200)

    def _key(self, request: Request, gun: Gun, role: RoleName, *, rotate: bool) -> Response:
        # A client asks for `*` to rotate; the right to push is enough: a new key is in use when a root names it.
        actor = self._authorize(request, gun, "push")
        public = self._service.key(gun, role, actor, rotate=rotate)
        return _json(public.document(), {"Cache-Control": "no-store"})

    def _metadata(self, request: Request, gun: Gun, target: str) -> Ready:
        self._authorize(request, gun, "pull")
        if found := _BY_HASH.fullmatch(target):
            return _file(self._service.by_hash(gun, _role(found["role"]), found["hash"]), immutable=True)
        if found := _BY_VERSION.fullmatch(target):
            version = int(found["version"])
            if version >= 2**31:
                raise MetadataUnknown(gun, target)
            return _file(self._service.by_version(gun, _role(found["role"]), version))
        if found := _CURRENT.fullmatch(target):
            return _file(self._current(request, gun, _role(found["role"])))
        raise UnknownPath("nothing is served there")

    def _current(self, request: Request, gun: Gun, role: RoleName) -> StoredFile:
        try:
            return self._service.current(gun, role)
        except MetadataUnknown:
            if role not in (ROOT, TIMESTAMP):  # what clients ask for first
                raise
            try:
                actor = self._authorize(request, gun, "push")
            except (Unauthenticated, Denied):
                actor = ""
            if not actor or not self._begin(gun, actor):
                raise
        return self._service.current(gun, role)

    def _changes(self, request: Request, gun: Gun | None) -> Response:
        if gun is None:
            self._authorizer.authorize(request.headers.get("authorization"), CATALOG, "*")
        else:
            self._authorize(request, gun, "pull")
        records = _integer(request, "records", required=True) or DEFAULT_RECORDS
        after = _integer(request, "change_id")
        if records < 0 and not after:
            after = None
        records = max(-MAXIMUM_RECORDS, min(records, MAXIMUM_RECORDS))
        if after is not None and after < 0:  # the newest page
            records, after = -abs(records), None
        changes = self._service.changefeed(gun, after, records)
        body = {"count": len(changes), "records": [_change(change) for change in changes]}
        return _json(body, {"Cache-Control": "no-store"})

    def _health(self) -> Response:
        try:
            self._service.changefeed(None, None, 1)
        except CustomhouseError as error:
            return _json({"database": error.message}, status=503)
        return _json({})

    def _authorize(self, request: Request, gun: Gun, action: str) -> str:
        bearer = self._authorizer.authorize(request.headers.get("authorization"), gun.repository, action)
        return bearer.owner or bearer.subject or "anonymous"

    def _readable(self, name: str) -> Gun:
        try:
            return Gun.parse(name, self._host)
        except InvalidGun as error:
            raise UnknownPath(error.message) from None

    def _writable(self, name: str) -> Gun:
        gun = Gun.parse(name, self._host)
        why = why_not_writable(gun.repository)
        if why:
            raise NotWritable(gun.repository, why)
        return gun


class TrustRoute(BaseRoute):
    """Sends the paths of the trust door to it, whatever slashes a repository's name holds."""

    def __init__(self, door: TrustDoor) -> None:
        self.door = door

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Only by path: the door answers wrong methods in its own dialect."""
        mine = scope["type"] == "http" and owns(scope["path"])
        return (Match.FULL if mine else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        """These routes have no names."""
        raise NoMatchFound(name, dict(path_params))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self.door(scope, receive, send)


def _role(text: str) -> RoleName:
    try:
        return RoleName.parse(text)
    except InvalidRole as error:
        raise UnknownPath(error.message) from None


def _integer(request: Request, name: str, *, required: bool = False) -> int | None:
    text = request.query_params.get(name, "")
    if not text and not required:
        return None
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise InvalidParameters(f"{name} should be a whole number", hint=f"Ask with ?{name}=100.")
    return int(text)


def _change(change: Change) -> dict[str, object]:
    return {
        "ID": str(change.id),
        "CreatedAt": change.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "GUN": change.gun,
        "Version": change.version,
        "SHA256": change.sha256,
        "Category": change.category,
    }


def _file(file: StoredFile, *, immutable: bool = False, until: datetime = FOREVER) -> Ready:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(file.content)).encode()),
        (b"cache-control", b"private, max-age=2592000, immutable" if immutable else b"no-cache, no-store"),
        (b"last-modified", format_datetime(file.created.astimezone(UTC), usegmt=True).encode()),
    ]
    return Ready(headers, file.content, until)


def _json(body: object, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Response:
    content = json.dumps(body, separators=(",", ":")) + "\n"
    return Response(content, status, headers=dict(headers or {}), media_type="application/json; charset=utf-8")


def _refusal(error: CustomhouseError) -> Response:
    status, code, message = next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)
    entry: dict[str, object] = {"code": code, "message": message}
    if status in (400, 503, 507):
        entry["detail"] = _detail(error)
    headers = {"Retry-After": str(error.wait_seconds)} if isinstance(error, Unavailable) else {}
    challenge = getattr(error, "challenge", None)
    if status == 401 and challenge is not None:
        headers["WWW-Authenticate"] = str(challenge)
    return _json({"errors": [entry]}, headers, status=status)


def _detail(error: CustomhouseError) -> dict[str, object]:
    """The one form that clients print, short enough that they read it whole."""
    text = ". ".join(part for part in (error.message, error.hint) if part)
    text = re.sub(r"[^ -~]", "?", text).replace('"', "'").replace("\\", "/")  # no escapes: the length is the length
    if len(text) > MAXIMUM_MESSAGE:
        text = text[: MAXIMUM_MESSAGE - 3] + "..."
    inner: dict[str, object] = {"Msg": text}
    if isinstance(error, UpdateRefused):
        if error.missing:
            inner["Missing"] = error.missing
        return {"Name": error.kind, "Error": inner}
    return {"Name": "ErrValidation", "Error": inner}
