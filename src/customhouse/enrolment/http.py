"""The API of enrolment: GET|POST /api/v1/publishers/{name}/roots, DELETE /api/v1/publishers/{name}/roots/{key}."""

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.enrolment.service import EnrolmentService
from customhouse.errors import Denied, Invalid
from customhouse.problem import read_json, reply, routes_of_api


class NewRoot(msgspec.Struct):
    """Either a certificate in PEM form, or the staging repository whose root is confirmed."""

    certificate: str | None = None
    repository: str | None = None


def routes(enrolment: EnrolmentService, principal_of: PrincipalOf) -> list[Route]:
    """The door, answering errors as problem+json."""

    async def roots(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        publisher = request.path_params["name"]
        if request.method == "GET":
            if not (who.certifies or who.works_for(publisher, "pull")):
                raise Denied(f"you are not of publisher {publisher}")
            keys = await run_in_threadpool(enrolment.roots, publisher)
        else:
            body = await read_json(request, NewRoot)
            if body.certificate is not None and body.repository is None:
                pem = body.certificate.encode()
                keys = await run_in_threadpool(enrolment.enrol_certificate, who, publisher, pem)
            elif body.repository is not None and body.certificate is None:
                keys = await run_in_threadpool(enrolment.enrol_from_staging, who, publisher, body.repository)
            else:
                raise Invalid("give either `certificate` or `repository`")
        return reply({"publisher": publisher, "keys": [{"id": key.id, "subject": key.subject} for key in keys]})

    async def remove(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        await run_in_threadpool(enrolment.remove, who, request.path_params["name"], request.path_params["key"])
        return Response(status_code=204)

    path = "/api/v1/publishers/{name:str}/roots"
    return routes_of_api(
        [
            Route(path, roots, methods=["GET", "POST"]),
            Route(path + "/{key:str}", remove, methods=["DELETE"]),
        ]
    )
