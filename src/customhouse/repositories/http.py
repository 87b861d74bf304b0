"""The API of repositories: GET /api/v1/repositories, GET|DELETE /api/v1/repositories/{name}; GET|POST|DELETE
/api/v1/rules, the rules for their tags; GET|PUT /api/v1/publishers/{name}/quota;
GET|PUT|DELETE /api/v1/retention and GET|POST /api/v1/retention/run, what staging keeps."""

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.errors import Invalid
from customhouse.problem import Page, read_json, reply, routes_of_api
from customhouse.registry.retention import RetentionRule
from customhouse.registry.rulebook import Rulebook
from customhouse.registry.rules import TagRule, Used
from customhouse.repositories.service import RepositoriesService, Repository


class NewRule(msgspec.Struct):
    """Tags that match stay on their digest, or may move: patterns with `*`."""

    repositories: str
    tags: str
    locked: bool


class NewRetention(msgspec.Struct):
    """What staging repositories that match keep; null where a number does not matter."""

    repositories: str
    newest: int | None = None
    days: int | None = None
    never: list[str] = []
    untagged_days: int | None = None


class NewQuota(msgspec.Struct):
    """Bytes; null for no limit."""

    bytes: int | None


def routes(repositories: RepositoriesService, rules: Rulebook, principal_of: PrincipalOf) -> list[Route]:
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

    async def all_rules(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply({"rules": [_rule(each) for each in await run_in_threadpool(rules.all, who)]})

    async def add_rule(request: Request) -> Response:
        who, body = await signed_in(request, principal_of), await read_json(request, NewRule)
        made = await run_in_threadpool(
            lambda: rules.add(who, body.repositories, body.tags, locked=body.locked)
        )
        return reply(_rule(made), 201)

    async def remove_rule(request: Request) -> Response:
        who, asked = await signed_in(request, principal_of), request.query_params
        await run_in_threadpool(rules.remove, who, asked.get("repositories", ""), asked.get("tags", ""))
        return Response(status_code=204)

    async def quota(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply(_quota(await run_in_threadpool(repositories.quota, who, request.path_params["name"])))

    async def set_quota(request: Request) -> Response:
        who, body = await signed_in(request, principal_of), await read_json(request, NewQuota)
        name = request.path_params["name"]
        return reply(_quota(await run_in_threadpool(repositories.set_quota, who, name, body.bytes)))

    return routes_of_api(
        [
            *_retention(repositories, principal_of),
            Route("/api/v1/publishers/{name}/quota", quota),
            Route("/api/v1/publishers/{name}/quota", set_quota, methods=["PUT"]),
            Route("/api/v1/rules", all_rules),
            Route("/api/v1/rules", add_rule, methods=["POST"]),
            Route("/api/v1/rules", remove_rule, methods=["DELETE"]),
            Route("/api/v1/repositories", listed),
            Route("/api/v1/repositories/{name:path}", show),
            Route("/api/v1/repositories/{name:path}", delete, methods=["DELETE"]),
        ]
    )


def _retention(repositories: RepositoriesService, principal_of: PrincipalOf) -> list[Route]:
    keeper = repositories.retention

    async def rules(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        return reply({"rules": [_kept(each) for each in await run_in_threadpool(keeper.rules, who)]})

    async def set_rule(request: Request) -> Response:
        who, body = await signed_in(request, principal_of), await read_json(request, NewRetention)
        made = await run_in_threadpool(
            lambda: keeper.set(
                who, body.repositories, newest=body.newest, days=body.days, never=tuple(body.never),
                untagged_days=body.untagged_days,
            )
        )  # fmt: skip
        return reply(_kept(made))

    async def remove_rule(request: Request) -> Response:
        who, asked = await signed_in(request, principal_of), request.query_params
        await run_in_threadpool(keeper.remove, who, asked.get("repositories", ""))
        return Response(status_code=204)

    async def run(request: Request) -> Response:
        """GET tells what would go; POST lets go of it, for some seconds."""
        who = await signed_in(request, principal_of)
        if request.method == "GET":
            going, more = await run_in_threadpool(repositories.would_go, who)
        else:
            going, more = await run_in_threadpool(repositories.let_go, who)
        return reply({"gone": [each.as_json() for each in going], "more": more})

    return [
        Route("/api/v1/retention", rules),
        Route("/api/v1/retention", set_rule, methods=["PUT"]),
        Route("/api/v1/retention", remove_rule, methods=["DELETE"]),
        Route("/api/v1/retention/run", run, methods=["GET", "POST"]),
    ]


def _kept(rule: RetentionRule) -> dict[str, object]:
    return {
        "repositories": rule.repositories, "newest": rule.newest, "days": rule.days, "never": list(rule.never),
        "untagged_days": rule.untagged_days, "added_by": rule.added_by, "added": rule.added.isoformat(),
    }  # fmt: skip


def _json(found: Repository) -> dict[str, object]:
    return {
        "repository": found.name, "kind": found.kind.value, "tags": found.tags, "manifests": found.manifests,
        "blobs": found.blobs, "bytes": found.size,
    }  # fmt: skip


def _rule(rule: TagRule) -> dict[str, object]:
    return {
        "repositories": rule.repositories, "tags": rule.tags, "locked": rule.locked, "added_by": rule.added_by,
        "added": rule.added.isoformat(),
    }  # fmt: skip


def _quota(used: Used) -> dict[str, object]:
    return {"publisher": used.publisher, "used": used.used, "quota": used.most}
