"""The API of sources: GET|POST /api/v1/sources, DELETE /api/v1/sources/{publisher}/{host}. Secrets never come back."""

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.problem import read_json, reply, routes_of_api
from customhouse.sources.service import Source, SourcesService


class NewSource(msgspec.Struct):
    """A server for a publisher: `ca` is PEM; `username` and `secret` go together."""

    publisher: str
    url: str
    ca: str = ""
    username: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"NewSource({self.publisher!r}, {self.url!r})"


def routes(sources: SourcesService, principal_of: PrincipalOf) -> list[Route]:
    """The door, answering errors as problem+json."""

    async def listed(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply({"sources": [_json(each) for each in await run_in_threadpool(sources.visible, who)]})

    async def add(request: Request) -> Response:
        who, body = await signed_in(request, principal_of), await read_json(request, NewSource, 128 * 1024)
        made = await run_in_threadpool(
            lambda: sources.add(
                who, body.publisher, body.url, ca=body.ca, username=body.username, secret=body.secret
            )
        )
        return reply(_json(made), 201)

    async def remove(request: Request) -> Response:
        who, named = await signed_in(request, principal_of), request.path_params
        await run_in_threadpool(sources.remove, who, named["publisher"], named["host"])
        return Response(status_code=204)

    return routes_of_api(
        [
            Route("/api/v1/sources", listed),
            Route("/api/v1/sources", add, methods=["POST"]),
            Route("/api/v1/sources/{publisher:str}/{host:str}", remove, methods=["DELETE"]),
        ]
    )


def _json(source: Source) -> dict[str, object]:
    return {
        "publisher": source.publisher,
        "host": source.host,
        "url": source.url,
        "ca": source.ca or None,
        "username": source.username or None,
        "added_by": source.added_by,
        "added": source.added.isoformat(),
    }
