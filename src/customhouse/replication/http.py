"""The API of mirrors: GET|POST /api/v1/mirrors, GET|DELETE /api/v1/mirrors/{name}, POST …/run, POST …/rotate,
GET …/bundle.

For administrators only. Secrets never come back.
"""

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.problem import read_json, reply, routes_of_api
from customhouse.replication.plan import PLACE
from customhouse.replication.runner import Runner
from customhouse.replication.service import ReplicationService


class NewMirror(msgspec.Struct):
    """A target: `trust_url` may be absent, `ca` is PEM; `username` and `secret` go together."""

    name: str
    url: str
    trust_url: str = ""
    ca: str = ""
    username: str = ""
    secret: str = ""
    repositories: list[str] = []
    tags: list[str] = []
    target: str = PLACE

    def __repr__(self) -> str:
        return f"NewMirror({self.name!r}, {self.url!r})"


class Rotation(msgspec.Struct):
    """Which key of the mirror's host: root or targets."""

    role: str


def routes(mirrors: ReplicationService, runner: Runner, principal_of: PrincipalOf) -> list[Route]:
    """The door, answering errors as problem+json."""

    async def listed(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply({"mirrors": await run_in_threadpool(mirrors.list, who)})

    async def add(request: Request) -> Response:
        who, body = await signed_in(request, principal_of), await read_json(request, NewMirror, 128 * 1024)
        made = await run_in_threadpool(
            lambda: mirrors.add(
                who, body.name, body.url, trust_url=body.trust_url, ca=body.ca, username=body.username,
                secret=body.secret, repositories=tuple(body.repositories), tags=tuple(body.tags), target=body.target,
            )
        )
        return reply(made, 201)

    async def show(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply(await run_in_threadpool(mirrors.show, who, request.path_params["name"]))

    async def run(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply(await run_in_threadpool(mirrors.ask, who, request.path_params["name"]), 202)

    async def rotate(request: Request) -> Response:
        who, body = await signed_in(request, principal_of), await read_json(request, Rotation, 1024)
        return reply(await run_in_threadpool(mirrors.rotate, who, request.path_params["name"], body.role), 202)

    async def remove(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        await run_in_threadpool(mirrors.remove, who, request.path_params["name"])
        return Response(status_code=204)

    async def bundle(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply((await run_in_threadpool(runner.bundle, who, request.path_params["name"])).document())

    return routes_of_api(
        [
            Route("/api/v1/mirrors", listed),
            Route("/api/v1/mirrors", add, methods=["POST"]),
            Route("/api/v1/mirrors/{name:str}", show),
            Route("/api/v1/mirrors/{name:str}", remove, methods=["DELETE"]),
            Route("/api/v1/mirrors/{name:str}/run", run, methods=["POST"]),
            Route("/api/v1/mirrors/{name:str}/rotate", rotate, methods=["POST"]),
            Route("/api/v1/mirrors/{name:str}/bundle", bundle),
        ]
    )
