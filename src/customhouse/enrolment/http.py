"""The API of enrolment: whose root keys and whose signing keys are believed.

GET|POST /api/v1/publishers/{name}/roots, DELETE …/roots/{key} · GET|POST …/signers, DELETE …/signers/{signer}?key=ID ·
POST /api/v1/trust/reset.
"""

from collections.abc import Callable

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.accounts.people import Principal
from customhouse.enrolment.delegation import EnrolledSigner
from customhouse.enrolment.service import EnrolledKey, EnrolmentService
from customhouse.enrolment.signers import SignersService
from customhouse.errors import Denied, Invalid
from customhouse.problem import read_json, reply, routes_of_api


class NewRoot(msgspec.Struct):
    """A certificate in PEM form; or the staging repository whose root is confirmed; or ids of keys. With both of the
    latter, the root is confirmed only if it is of those keys."""

    certificate: str | None = None
    repository: str | None = None
    key_ids: list[str] = []


class NewSigner(msgspec.Struct):
    """A signer's name and public key in PEM form."""

    name: str
    key: str


class Reset(msgspec.Struct):
    """The staging repository that begins anew, and why."""

    repository: str
    reason: str = ""


def routes(enrolment: EnrolmentService, signers: SignersService, principal_of: PrincipalOf) -> list[Route]:
    """The door, answering errors as problem+json."""

    async def roots(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        publisher = request.path_params["name"]
        if request.method == "GET":
            _may_see(who, publisher)
            keys = await run_in_threadpool(enrolment.roots, publisher)
        else:
            body = await read_json(request, NewRoot)
            keys = await run_in_threadpool(_asked(enrolment, who, publisher, body))
        return reply({"publisher": publisher, "keys": [{"id": key.id, "subject": key.subject} for key in keys]})

    async def remove(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        await run_in_threadpool(enrolment.remove, who, request.path_params["name"], request.path_params["key"])
        return Response(status_code=204)

    async def signing(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        publisher = request.path_params["name"]
        if request.method == "GET":
            _may_see(who, publisher)
            found = await run_in_threadpool(signers.signers, publisher)
        else:
            body = await read_json(request, NewSigner)
            added = await run_in_threadpool(signers.add, who, publisher, body.name, body.key.encode())
            found = [added]
        return reply({"publisher": publisher, "signers": [_signer(each) for each in found]})

    async def remove_signer(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        publisher, name = request.path_params["name"], request.path_params["signer"]
        gone = await run_in_threadpool(signers.remove, who, publisher, name, request.query_params.get("key", ""))
        return reply({"publisher": publisher, "signers": [_signer(each) for each in gone]})

    async def reset(request: Request) -> Response:
        who = await signed_in(request, principal_of)
        body = await read_json(request, Reset)
        await run_in_threadpool(enrolment.reset, who, body.repository, body.reason)
        return Response(status_code=204)

    path = "/api/v1/publishers/{name:str}"
    return routes_of_api(
        [
            Route(path + "/roots", roots, methods=["GET", "POST"]),
            Route(path + "/roots/{key:str}", remove, methods=["DELETE"]),
            Route(path + "/signers", signing, methods=["GET", "POST"]),
            Route(path + "/signers/{signer:str}", remove_signer, methods=["DELETE"]),
            Route("/api/v1/trust/reset", reset, methods=["POST"]),
        ]
    )


def _may_see(who: Principal, publisher: str) -> None:
    if not (who.certifies or who.works_for(publisher, "pull")):
        raise Denied(f"you are not of publisher {publisher}")


def _signer(signer: EnrolledSigner) -> dict[str, str]:
    return {"name": signer.name, "key_id": signer.key.key_id}


def _asked(
    enrolment: EnrolmentService, who: Principal, publisher: str, body: NewRoot
) -> Callable[[], list[EnrolledKey]]:
    """Which of the ways to enrol a root; raises Invalid where it is none, or two."""
    if body.certificate is not None and body.repository is None and not body.key_ids:
        pem = body.certificate.encode()
        return lambda: enrolment.enrol_certificate(who, publisher, pem)
    repository = body.repository
    if body.certificate is None and repository is not None:
        return lambda: enrolment.enrol_from_staging(who, publisher, repository, body.key_ids)
    if body.certificate is None and body.key_ids:
        return lambda: enrolment.enrol_key_ids(who, publisher, body.key_ids)
    raise Invalid("give either `certificate`, or `repository` or `key_ids` or both")
