"""The plumbing of the API's doors: errors as problem+json, bodies with a budget, typed decoding, pages.

1. One table class -> status; an error's nearest ancestor in it decides. A room's own classes that need another status
   than their ancestor's are given to `handlers(extra)`.
2. `routes_of_api` puts the handlers around each route, so that a door answers in its dialect wherever it is mounted.
3. What is unexpected is logged here and answered with 500 and no detail: nothing of it reaches the client.
RFC 9457 (problem details), RFC 9110 §15 (statuses).
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

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
    Undetermined,
)

T = TypeVar("T")
Handler = Callable[[Request, Exception], Awaitable[Response]]
Statuses = Mapping[type[CustomhouseError], int]

STATUSES: Statuses = {
    Invalid: 400,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    StorageFull: 507,
    Unavailable: 503,
    Undetermined: 503,
    CustomhouseError: 500,
}
_TITLES = {
    400: "Bad request",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    429: "Too many attempts",
    500: "Internal error",
    503: "Not available now",
    507: "No room left",
}
LONGEST_BODY = 64 * 1024
LONGEST_PAGE = 1000
_log = logging.getLogger("customhouse.api")


def status_of(error: CustomhouseError, extra: Statuses | None = None) -> int:
    """The HTTP status of an error, by the nearest class in the table."""
    table = {**STATUSES, **(extra or {})}
    return next(table[kind] for kind in type(error).__mro__ if kind in table)


def problem(status: int, detail: str, hint: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """An application/problem+json response."""
    title = _TITLES.get(status, "Error")
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "hint": hint}
    return Response(
        msgspec.json.encode(body),
        status,
        headers={"cache-control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )


def handlers(extra: Statuses | None = None) -> dict[Any, Handler]:
    """Exception handlers for a Starlette app or an ExceptionMiddleware."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, CustomhouseError)
        status = status_of(error, extra)
        if status == 500:
            _log.error("%s %s: %s", request.method, request.url.path, error.message)
        return problem(status, error.message, error.hint, refusal_headers(error, status))

    async def routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, error.detail, headers=error.headers)

    return {CustomhouseError: refused, HTTPException: routing, Exception: unexpected}


async def unexpected(request: Request, error: Exception) -> Response:
    """500 for a defect of ours: the log has it, the client has one sentence."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "the hub met an error of its own", "The hub's log tells more.")


def refusal_headers(error: CustomhouseError, status: int) -> dict[str, str]:
    """Headers that go with a refusal: how to sign in, or when to come back."""
    if status == 401:
        return {"www-authenticate": 'Bearer realm="customhouse"'}
    wait = getattr(error, "wait_seconds", None)
    return {"retry-after": str(wait)} if wait is not None else {}


def routes_of_api(routes: Sequence[Route], extra: Statuses | None = None) -> list[Route]:
    """The same routes, answering errors as problem+json by themselves."""
    return with_handlers(routes, handlers(extra))


def with_handlers(routes: Sequence[Route], table: Mapping[Any, Handler]) -> list[Route]:
    """The same routes inside an ExceptionMiddleware with these handlers: one door, one dialect."""
    wrapped = Middleware(ExceptionMiddleware, handlers=table)
    return [
        Route(one.path, one.endpoint, methods=sorted(one.methods or ()), name=one.name, middleware=[wrapped])
        for one in routes
    ]


def address_of(request: Request) -> str:
    """The client's address, empty where there is none."""
    return request.client.host if request.client else ""


async def read_body(request: Request, limit: int = LONGEST_BODY) -> bytes:
    """The whole body, at most `limit` bytes. Raises TooLarge before more than that is held."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and (len(said) > 18 or int(said) > limit):
        raise TooLarge(f"the body is larger than {limit} bytes")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request, kind: type[T], limit: int = LONGEST_BODY) -> T:
    """The body as a value of `kind` (a msgspec Struct). Raises Invalid naming the field, or TooLarge."""
    return decode(await read_body(request, limit), kind)


def decode(raw: bytes, kind: type[T]) -> T:
    """JSON bytes as a value of `kind`. Raises Invalid."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"the request does not fit: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid("the body is not JSON", hint="Send one JSON object in UTF-8.") from None


def reply(value: Any, status: int = 200) -> Response:
    """A JSON response, never kept by a cache."""
    return Response(
        msgspec.json.encode(value), status, headers={"cache-control": "no-store"}, media_type="application/json"
    )


@dataclass(frozen=True)
class Page:
    """What part of a list is asked for: at most `limit` items, those after the key `after`."""

    limit: int
    after: str

    @classmethod
    def parse(cls, request: Request, default: int = 100) -> "Page":
        """From ?limit=&after=. Raises Invalid."""
        text = request.query_params.get("limit", str(default))
        if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 6 and 1 <= int(text) <= LONGEST_PAGE):
            raise Invalid(f"limit must be a number from 1 to {LONGEST_PAGE}")
        after = request.query_params.get("after", "")
        if len(after) > 512 or "\x00" in after:
            raise Invalid("after must be the `next` of an earlier answer")
        return cls(int(text), after)

    def cut(self, items: Sequence[T], key: Callable[[T], str]) -> tuple[list[T], str | None]:
        """Of `limit + 1` items: those of this page, and the `next` to ask for, if there are more."""
        kept = list(items[: self.limit])
        return kept, key(kept[-1]) if len(items) > self.limit else None
