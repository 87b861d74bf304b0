"""The API of publication: POST /api/v1/submissions/{id}/withdraw {"reason"}; GET /api/v1/trust/bundle."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.certification.submission import Submission
from customhouse.problem import read_json, reply, routes_of_api
from customhouse.publication.service import PublicationService


class Withdrawal(msgspec.Struct):
    """Why; consumers who pull the digest read it."""

    reason: str = ""


def routes(
    publication: PublicationService,
    principal_of: PrincipalOf,
    as_json: Callable[[Submission], dict[str, Any]],
    bundle: Callable[[], dict[str, Any]],
) -> list[Route]:
    """The door; `as_json` is the form a submission has in the API, `bundle` what consumers pin."""

    async def withdraw(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        body = await read_json(request, Withdrawal)
        row = await run_in_threadpool(publication.withdraw, who, request.path_params["id"], body.reason)
        return reply(await run_in_threadpool(as_json, row))

    async def trust_bundle(_request: Request) -> Response:
        return reply(await run_in_threadpool(bundle))

    return routes_of_api(
        [
            Route("/api/v1/submissions/{id:str}/withdraw", withdraw, methods=["POST"]),
            Route("/api/v1/trust/bundle", trust_bundle),
        ]
    )
