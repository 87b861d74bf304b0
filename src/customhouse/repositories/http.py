"""The API of repositories: GET /api/v1/repositories, GET|DELETE /api/v1/repositories/{name}."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.errors import Invalid
from customhouse.problem import Page, reply, routes_of_api
from customhouse.repositories.service import RepositoriesService, Repository


def routes(repositories: RepositoriesService, principal_of: PrincipalOf) -> list[Route]:
    """The door, answering errors as problem+json."""

    async def listed(request: Request) -> Response:
        who, page = await signed_in(request, principal_of), Page.parse(request)
        prefix = request.query_params.get("prefix", "")
        if len(prefix) > 255 or "\x00" in prefix:
            raise Invalid("prefix is the beginning of a repository's name")
        names, following = await run_in_threadpool(repositories.page, who, prefix, page.after, page.limit)
        return reply({"repositories": names, "next": following})

    async def show(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply(_json(await run_in_threadpool(repositories.show, who, request.path_params["name"])))

    async def delete(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply(_json(await run_in_threadpool(repositories.delete, who, request.path_params["name"])))

    return routes_of_api(
        [
            Route("/api/v1/repositories", listed),
            Route("/api/v1/repositories/{name:path}", show),
            Route("/api/v1/repositories/{name:path}", delete, methods=["DELETE"]),
        ]
    )


def _json(found: Repository) -> dict[str, object]:
    return {
        "repository": found.name, "kind": found.kind.value, "tags": found.tags, "manifests": found.manifests,
        "blobs": found.blobs, "bytes": found.size,
    }  # fmt: skip
