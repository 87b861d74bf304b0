"""The doors of people: docker's token door /token, and users, publishers, tokens and logins under /api/v1.

1. /token speaks docker: GET with Basic, POST with a form; refusals are {"errors":[{"code","message"}]}, which docker
   prints. Fewer rights than asked is 200; only wrong credentials are 401.
   https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/
2. The rest speaks JSON, refusals are problem+json.
3. What hashes a password or touches the database runs in a thread, never in the loop.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.authentication import NotSignedIn, credentials
from customhouse.accounts.clients import ClientWatch
from customhouse.accounts.people import AccessToken, Principal, Publisher, User
from customhouse.accounts.service import AccountsService
from customhouse.accounts.throttle import Throttled
from customhouse.accounts.tokens import Issued, parse_scopes
from customhouse.errors import CustomhouseError, Invalid
from customhouse.problem import (
    Handler,
    Page,
    Statuses,
    address_of,
    decode,
    read_body,
    read_json,
    refusal_headers,
    reply,
    routes_of_api,
    status_of,
    unexpected,
    with_handlers,
)

T = TypeVar("T")

STATUSES: Statuses = {Throttled: 429}
_CODES = {400: "UNSUPPORTED", 401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS", 503: "UNAVAILABLE"}
# Logins wait for each other's hashes; they get threads of their own, so that they hold up nothing else.
_LOGINS_AT_ONCE = 16


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/users"""

    name: str
    role: str
    password: str


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PATCH /api/v1/users/{name}: one change at a time, so that none is left half done."""

    role: str | None = None
    disabled: bool | None = None
    password: str | None = None
    current_password: str | None = None


class NewPublisher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/publishers"""

    name: str
    members: list[str] = []


class NewMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/publishers/{name}/members"""

    user: str


class NewTokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/tokens"""

    name: str
    scope: list[str]
    publisher: str | None = None
    expires_seconds: int | None = None


class TokenNamed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """DELETE /api/v1/tokens: by user name, or by publisher and name."""

    username: str = ""
    name: str = ""
    publisher: str | None = None


def routes(service: AccountsService, host: str, clients: ClientWatch) -> list[Route]:
    """All routes of this room; `host` is the hub's public host[:port], as GUNs begin with it."""
    docker, people = _TokenDoor(service, host, clients), _PeopleDoor(service)
    api = [
        Route("/api/v1/login", people.login, methods=["POST"]),
        Route("/api/v1/logout", people.logout, methods=["POST"]),
        Route("/api/v1/whoami", people.whoami, methods=["GET"]),
        Route("/api/v1/users", people.users, methods=["GET"]),
        Route("/api/v1/users", people.add_user, methods=["POST"]),
        Route("/api/v1/users/{name}", people.user, methods=["GET"]),
        Route("/api/v1/users/{name}", people.change_user, methods=["PATCH"]),
        Route("/api/v1/users/{name}", people.remove_user, methods=["DELETE"]),
        Route("/api/v1/users/{name}/sessions", people.end_sessions, methods=["DELETE"]),
        Route("/api/v1/publishers", people.publishers, methods=["GET"]),
        Route("/api/v1/publishers", people.add_publisher, methods=["POST"]),
        Route("/api/v1/publishers/{name}", people.publisher, methods=["GET"]),
        Route("/api/v1/publishers/{name}/members", people.add_member, methods=["POST"]),
        Route("/api/v1/publishers/{name}/members/{user}", people.remove_member, methods=["DELETE"]),
        Route("/api/v1/tokens", people.tokens, methods=["GET"]),
        Route("/api/v1/tokens", people.create_token, methods=["POST"]),
        Route("/api/v1/tokens", people.revoke_token, methods=["DELETE"]),
        Route("/api/v1/tokens/{username}", people.revoke_token, methods=["DELETE"]),
    ]
    token = [Route("/token", docker.get, methods=["GET"]), Route("/token", docker.post, methods=["POST"])]
    return [*with_handlers(token, _docker_handlers()), *routes_of_api(api, STATUSES)]


class _TokenDoor:
    def __init__(self, service: AccountsService, host: str, clients: ClientWatch) -> None:
        self._service = service
        self._host = host
        self._clients = clients
        self._threads = CapacityLimiter(_LOGINS_AT_ONCE)

    async def get(self, request: Request) -> Response:
        authorization, address = request.headers.get("authorization"), address_of(request)
        query = request.query_params
        offline = query.get("offline_token", "").lower() in ("true", "1")

        def issue() -> Response:
            scopes = parse_scopes(query.getlist("scope"), self._host)
            principal = self._service.principal_of(authorization, address)
            issued = self._service.issue_registry_token(principal, scopes)
            refresh = None
            if offline and not principal.anonymous:
                refresh = self._service.issue_refresh_token(principal, credentials(authorization or "")[1])
            return _issued(issued, refresh)

        return self._warned(request, await to_thread.run_sync(issue, limiter=self._threads))

    async def post(self, request: Request) -> Response:
        address = address_of(request)
        form = _form(await read_body(request))

        def issue() -> Response:
            scopes = parse_scopes(form.get("scope", []), self._host)
            grant, refresh = _one(form, "grant_type"), None
            if grant == "refresh_token":
                principal = self._service.refresh(_one(form, "refresh_token"))
            elif grant == "password":
                password = _one(form, "password")
                principal = self._service.authenticate(_one(form, "username"), password, address)
                if _one(form, "access_type") == "offline":
                    refresh = self._service.issue_refresh_token(principal, password)
            else:
                raise Invalid("grant_type must be password or refresh_token")
            return _issued(self._service.issue_registry_token(principal, scopes), refresh)

        return self._warned(request, await to_thread.run_sync(issue, limiter=self._threads))

    def _warned(self, request: Request, response: Response) -> Response:
        if text := self._clients.warning(request.headers.get("user-agent", "")):
            response.headers["warning"] = text
        return response


class _PeopleDoor:
    def __init__(self, service: AccountsService) -> None:
        self._service = service
        self._threads = CapacityLimiter(_LOGINS_AT_ONCE)

    async def login(self, request: Request) -> Response:
        authorization, address = request.headers.get("authorization"), address_of(request)
        session = await self._run(lambda: self._service.login(authorization, address))
        user = session.user
        return reply({"token": session.secret, "username": user.name, "role": user.role, "expires": session.expires})

    async def logout(self, request: Request) -> Response:
        authorization = request.headers.get("authorization")
        await self._run(lambda: self._service.logout(authorization))
        return Response(status_code=204)

    async def whoami(self, request: Request) -> Response:
        who = await self._run(lambda: self._principal(request))
        if who.anonymous:
            raise NotSignedIn
        scope = None if who.scope is None else sorted(who.scope)
        return reply(
            {
                "username": who.name,
                "kind": who.kind,
                "role": who.role,
                "publishers": sorted(who.publishers),
                "scope": scope,
                "owner": who.owner,
            }
        )

    async def users(self, request: Request) -> Response:
        page = Page.parse(request)
        found = await self._run(lambda: self._service.users(self._principal(request), page.after, page.limit + 1))
        kept, following = page.cut(found, lambda one: one.name)
        return reply({"users": [_user(one) for one in kept], "next": following})

    async def add_user(self, request: Request) -> Response:
        new = await read_json(request, NewUser)
        user = await self._run(
            lambda: self._service.add_user(self._principal(request), new.name, new.role, new.password)
        )
        return reply(_user(user), 201)

    async def user(self, request: Request) -> Response:
        name = request.path_params["name"]
        return reply(_user(await self._run(lambda: self._service.user(self._principal(request), name))))

    async def change_user(self, request: Request) -> Response:
        name, change = request.path_params["name"], await read_json(request, UserChange)
        if sum(part is not None for part in (change.role, change.disabled, change.password)) != 1:
            raise Invalid("change one of role, disabled and password at a time")

        def apply() -> User:
            who = self._principal(request)
            self._service.user(who, name)  # exists, and may be seen by whoever asks
            if change.role is not None:
                self._service.set_role(who, name, change.role)
            if change.disabled is not None:
                self._service.set_disabled(who, name, change.disabled)
            if change.password is not None:
                self._service.set_password(who, name, change.password, change.current_password, address_of(request))
            return self._service.user(who, name)

        return reply(_user(await self._run(apply)))

    async def remove_user(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._run(lambda: self._service.remove_user(self._principal(request), name))
        return Response(status_code=204)

    async def end_sessions(self, request: Request) -> Response:
        name = request.path_params["name"]
        ended = await self._run(lambda: self._service.end_sessions(self._principal(request), name))
        return reply({"sessions_ended": ended})

    async def publishers(self, request: Request) -> Response:
        page = Page.parse(request)
        found = await self._run(lambda: self._service.publishers(self._principal(request), page.after, page.limit + 1))
        kept, following = page.cut(found, lambda one: one.name)
        return reply({"publishers": [_publisher(one) for one in kept], "next": following})

    async def add_publisher(self, request: Request) -> Response:
        new = await read_json(request, NewPublisher)
        made = await self._run(lambda: self._service.add_publisher(self._principal(request), new.name, new.members))
        return reply(_publisher(made), 201)

    async def publisher(self, request: Request) -> Response:
        name = request.path_params["name"]
        return reply(_publisher(await self._run(lambda: self._service.publisher(self._principal(request), name))))

    async def add_member(self, request: Request) -> Response:
        name, new = request.path_params["name"], await read_json(request, NewMember)
        changed = await self._run(lambda: self._service.add_member(self._principal(request), name, new.user))
        return reply(_publisher(changed))

    async def remove_member(self, request: Request) -> Response:
        name, user = request.path_params["name"], request.path_params["user"]
        changed = await self._run(lambda: self._service.remove_member(self._principal(request), name, user))
        return reply(_publisher(changed))

    async def tokens(self, request: Request) -> Response:
        page = Page.parse(request)
        found = await self._run(lambda: self._service.tokens(self._principal(request), page.after, page.limit + 1))
        kept, following = page.cut(found, lambda one: one.username)
        return reply({"tokens": [_token(one) for one in kept], "next": following})

    async def create_token(self, request: Request) -> Response:
        new = await read_json(request, NewTokenRequest)
        lifetime = None if new.expires_seconds is None else _lifetime(new.expires_seconds)
        made = await self._run(
            lambda: self._service.create_token(self._principal(request), new.name, new.publisher, new.scope, lifetime)
        )
        return reply({**_token(made.token), "secret": made.secret}, 201)

    async def revoke_token(self, request: Request) -> Response:
        username = request.path_params.get("username") or request.query_params.get("username")
        if not username:
            named = decode(await read_body(request) or b"{}", TokenNamed)
            username = named.username or (f"{named.publisher}-{named.name}" if named.publisher else named.name)
        await self._run(lambda: self._service.revoke_token(self._principal(request), username))
        return Response(status_code=204)

    def _principal(self, request: Request) -> Principal:
        return self._service.principal_of(request.headers.get("authorization"), address_of(request))

    async def _run(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._threads)


def _docker_handlers() -> dict[Any, Handler]:
    """Refusals as docker's clients print them."""

    def answer(status: int, message: str, headers: dict[str, str]) -> Response:
        error = {"code": _CODES.get(status, "UNKNOWN"), "message": message}
        response = reply({"errors": [error]}, status)
        response.headers.update(headers)
        return response

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, CustomhouseError)
        status = status_of(error, STATUSES)
        # Docker prints the message only; what to do next belongs to it.
        message = f"{error.message}. {error.hint}" if error.hint else error.message
        return answer(status, message, refusal_headers(error, status))

    async def routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(error.status_code, error.detail, {})

    async def broken(request: Request, error: Exception) -> Response:
        await unexpected(request, error)
        return answer(500, "the hub met an error of its own", {})

    return {CustomhouseError: refused, HTTPException: routing, Exception: broken}


def _issued(issued: Issued, refresh: str | None) -> Response:
    body = {
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.expires_in,
        "issued_at": issued.issued,
        "scope": issued.scope,
    }
    return reply(body if refresh is None else {**body, "refresh_token": refresh})


def _form(raw: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except (UnicodeError, ValueError):
        raise Invalid("the body is not a form", hint="Send application/x-www-form-urlencoded.") from None
    form: dict[str, list[str]] = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form


def _one(form: dict[str, list[str]], name: str) -> str:
    values = form.get(name, [""])
    if len(values) > 1:
        raise Invalid(f"{name} is given twice")
    return values[0]


def _lifetime(seconds: int) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max


def _user(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "publishers": user.publishers,
        "created": user.created,
    }


def _publisher(publisher: Publisher) -> dict[str, Any]:
    return {"name": publisher.name, "members": publisher.members, "created": publisher.created}


def _token(token: AccessToken) -> dict[str, Any]:
    return {
        "username": token.username,
        "name": token.name,
        "publisher": token.publisher,
        "owner": token.owner,
        "scope": sorted(token.scope),
        "created": token.created,
        "expires": token.expires,
    }
