"""The API of publication: withdrawal, and what consumers pin.

1. Root certificates and CA are for everybody, also where reading needs a login: whoever logs in must trust before.
2. Repositories with their metadata are for who may read them, official ones only; what one may not see is not there.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.accounts.people import Principal
from customhouse.certification.submission import Submission
from customhouse.errors import Unauthenticated
from customhouse.problem import Page, address_of, read_json, reply, routes_of_api
from customhouse.publication.service import LARGEST_PAGE, PublicationService
from customhouse.trust.bundle import Bundle, BundledRepository

ANY_OFFICIAL = "official/any"  # stands for all of them: what a caller may read does not depend on the name


class Withdrawal(msgspec.Struct):
    """Why; consumers who pull the digest read it."""

    reason: str = ""


def routes(
    publication: PublicationService,
    principal_of: PrincipalOf,
    as_json: Callable[[Submission], dict[str, Any]],
    bundle: Callable[[], Bundle],
    allowed: Callable[[Principal, str], AbstractSet[str]],
) -> list[Route]:
    """The door; `as_json` is the form a submission has in the API, `bundle` what consumers pin without repositories."""

    async def withdraw(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        body = await read_json(request, Withdrawal)
        row = await run_in_threadpool(publication.withdraw, who, request.path_params["id"], body.reason)
        return reply(await run_in_threadpool(as_json, row))

    async def trust_bundle(_request: Request) -> Response:
        return reply((await run_in_threadpool(bundle)).document())

    def listed(request: Request, page: Page) -> list[BundledRepository]:
        who = principal_of(request.headers.get("authorization"), address_of(request))

        def may_read(repository: str) -> bool:
            return "pull" in allowed(who, repository)

        if who.anonymous and not may_read(ANY_OFFICIAL):
            raise Unauthenticated("this hub lets nobody read without a login", hint="Run `customhouse login`.")
        query = request.query_params
        return publication.bundled(
            may_read, page.after, page.limit + 1,
            repository=query.get("repository", ""), metadata=query.get("metadata") == "true",
        )

    async def repositories(request: Request) -> Response:
        page = Page.parse(request)
        found = await run_in_threadpool(listed, request, page)
        kept, following = page.cut(found, lambda each: str(each.gun))
        cut_short = len(found) <= page.limit and sum(each.size for each in found) > LARGEST_PAGE
        return reply(
            {
                "repositories": [each.document() for each in kept],
                "next": str(found[-1].gun) if cut_short else following,
            }
        )

    return routes_of_api(
        [
            Route("/api/v1/submissions/{id:str}/withdraw", withdraw, methods=["POST"]),
            Route("/api/v1/trust/bundle", trust_bundle),
            Route("/api/v1/trust/repositories", repositories),
        ]
    )
