"""The API of submissions: reading them, following them live, deciding about them, waiving findings.

GET  /api/v1/submissions[?repository=&state=&publisher=&limit=&after=]   /api/v1/submissions/latest?reference=
POST /api/v1/submissions {"source", "trust_server", "repository", "tag"}
GET  /api/v1/submissions/{id}   /api/v1/submissions/{id}/events?after=N&wait=SECONDS
POST /api/v1/submissions/{id}/{approve|reject|retry} {"reason"}
GET /api/v1/policy   POST /api/v1/policy/test {"document", "after", "limit"}
GET|POST /api/v1/waivers   DELETE /api/v1/waivers/{id}   POST /api/v1/waivers/{id}/approve
"""

import asyncio
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.accounts.people import Principal
from customhouse.certification.grade import letter_at
from customhouse.certification.rehearsal import Rehearsal
from customhouse.certification.service import CertificationService
from customhouse.certification.submission import FINAL, RESTING, State, Submission
from customhouse.enrolment.origin import Origin
from customhouse.errors import Invalid
from customhouse.oci.reference import Reference
from customhouse.problem import Page, read_json, reply, routes_of_api
from customhouse.review.service import NotAReviewer, ReviewService

LONGEST_WAIT, POLL = 25.0, 0.25
MOST_REHEARSED = 100
READERS = 4  # who submits from another server at the same time


class Decision(msgspec.Struct):
    """The body of approve, reject, retry and withdraw."""

    reason: str = ""


class NewSubmission(msgspec.Struct):
    """An image that is signed elsewhere: `source` is REGISTRY/NAME:TAG, `repository` the name it gets here."""

    source: str
    repository: str
    tag: str | None = None
    trust_server: str = ""


class OtherPolicy(msgspec.Struct):
    """The body of POST /api/v1/policy/test: a policy document, and which page of the certifications."""

    document: str
    after: str = ""
    limit: int = 50


class NewWaiver(msgspec.Struct):
    """The body of POST /api/v1/waivers; `days` is how long it lasts."""

    repository: str
    reason: str
    days: int
    fingerprint: str | None = None
    check: str | None = None
    path: str | None = None
    purl: str | None = None


def as_json(
    row: Submission, host: str, approvals: list[str], now: datetime, *, findings: bool = True
) -> dict[str, Any]:
    """A submission as the API and `--json` give it; the grade is that of `now`, `grade_steps` say when it drops."""
    verdict = row.verdict or {}
    value: dict[str, Any] = {
        "id": row.id,
        "reference": row.reference(host),
        "digest": str(row.digest),
        "state": row.state.value,
        "verdict": verdict.get("value"),
        "grade": letter_at(verdict["grade"], verdict.get("grade_steps", []), now) if verdict.get("grade") else None,
        "official_reference": row.official_reference(host),
        "reason": row.reason,
        "publisher": row.publisher,
        "author": row.author,
        "source": row.source or None,
        "trust_server": row.trust_server or None,
        "quarantine": f"{host}/{row.quarantine}:{row.tag}",
        "created": row.created.isoformat(),
        "updated": row.updated.isoformat(),
        "approvals": approvals,
        "required_approvals": verdict.get("approvals", 0),
    }
    if findings:
        value["findings"] = verdict.get("findings", [])
        value["score"], value["grade_steps"] = verdict.get("score"), verdict.get("grade_steps", [])
        value["inputs"] = verdict.get("inputs", {})
    return value


class Door:
    """The handlers, over the two services."""

    def __init__(
        self, certification: CertificationService, review: ReviewService, rehearsal: Rehearsal,
        principal_of: PrincipalOf,
    ) -> None:
        self._certification, self._review, self._principal_of = certification, review, principal_of
        self._rehearsal = rehearsal
        self._readers, self._rehearsing = CapacityLimiter(READERS), CapacityLimiter(1)

    async def _who(self, request: Request) -> Principal:
        return await signed_in(request, self._principal_of)

    def _json(self, row: Submission, *, findings: bool = True) -> dict[str, Any]:
        approvals = self._review.approvals(row) if findings else []
        return as_json(row, self._certification.host, approvals, self._certification.now(), findings=findings)

    async def page(self, request: Request) -> Response:
        """Newest first."""
        who, page = await self._who(request), Page.parse(request)
        query = request.query_params
        try:
            state = State(query["state"]) if query.get("state") else None
        except ValueError:
            raise Invalid(f"{query['state']!r} is not a state", hint=f"States: {', '.join(State)}.") from None
        rows = await run_in_threadpool(
            lambda: self._certification.page(
                who, repository=query.get("repository"), state=state, publisher=query.get("publisher"),
                before=page.after or None, limit=page.limit + 1,
            )
        )
        kept, after = page.cut(rows, lambda row: row.id)
        return reply({"submissions": [self._json(row, findings=False) for row in kept], "next": after})

    async def submit(self, request: Request) -> Response:
        """Offer what is signed at another server; the submission that stands for it."""
        who, body = await self._who(request), await read_json(request, NewSubmission)
        origin = Origin.parse(body.source, body.trust_server)
        name = body.repository.removeprefix(f"{self._certification.host}/")
        name = name if name.startswith("staging/") else f"staging/{name}"
        # A source may be slow: who waits for one must not keep everybody else from the hub.
        row = await to_thread.run_sync(
            self._certification.submit, who, origin, name, body.tag or origin.tag, limiter=self._readers
        )
        return reply(await run_in_threadpool(self._json, row), 201)

    async def show(self, request: Request) -> Response:
        """One, with its findings."""
        who = await self._who(request)
        row = await run_in_threadpool(self._certification.visible, who, request.path_params["id"])
        return reply(await run_in_threadpool(self._json, row))

    async def latest(self, request: Request) -> Response:
        """The newest of a reference."""
        who = await self._who(request)
        reference = Reference.parse(request.query_params.get("reference", ""))
        host = self._certification.host
        if reference.registry not in (None, host):
            raise Invalid(f"{reference} is not of this hub", hint=f"References here begin with {host}/.")
        repository, tag = reference.repository, reference.tag or "latest"
        if not repository.startswith("staging/"):
            repository = f"staging/{repository}"
        row = await run_in_threadpool(self._certification.latest, who, repository, tag)
        return reply(await run_in_threadpool(self._json, row))

    async def events(self, request: Request) -> Response:
        """Progress after `after`; waits up to `wait` seconds for something new."""
        who = await self._who(request)
        row = await run_in_threadpool(self._certification.visible, who, request.path_params["id"])
        after = _number(request, "after", 0, 10**9)
        wait = min(_number(request, "wait", 0, 3600), LONGEST_WAIT)
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            # The state first: an event that comes between the two reads is then given with the next call.
            row = await run_in_threadpool(self._certification.get, row.id)
            events = await run_in_threadpool(self._certification.events, row.id, after)
            if events or row.state in FINAL | RESTING or asyncio.get_running_loop().time() >= deadline:
                return reply({"state": row.state.value, "events": events})
            await asyncio.sleep(POLL)

    async def approve(self, request: Request) -> Response:
        """One approval."""
        who, body = await self._who(request), await read_json(request, Decision)
        row = await run_in_threadpool(self._review.approve, who, request.path_params["id"], body.reason)
        return reply(await run_in_threadpool(self._json, row))

    async def reject(self, request: Request) -> Response:
        """A rejection with its reason."""
        who, body = await self._who(request), await read_json(request, Decision)
        row = await run_in_threadpool(self._review.reject, who, request.path_params["id"], body.reason)
        return reply(await run_in_threadpool(self._json, row))

    async def retry(self, request: Request) -> Response:
        """Examine again."""
        who = await self._who(request)
        row = await run_in_threadpool(self._certification.retry, who, request.path_params["id"])
        return reply(await run_in_threadpool(self._json, row))

    async def policy(self, request: Request) -> Response:
        """The policy of this hub."""
        await self._who(request)
        policy = self._rehearsal.policy
        return reply({"name": policy.name, "digest": str(policy.digest), "document": policy.text})

    async def policy_test(self, request: Request) -> Response:
        """What another policy would say of what is certified."""
        who, body = await self._who(request), await read_json(request, OtherPolicy)
        if not who.certifies:
            raise NotAReviewer
        if not 1 <= body.limit <= MOST_REHEARSED:
            raise Invalid(f"limit must be a number from 1 to {MOST_REHEARSED}")
        page = await to_thread.run_sync(
            self._rehearsal.page, body.document.encode(), body.after or None, body.limit, limiter=self._rehearsing
        )
        return reply(asdict(page))

    async def waivers(self, request: Request) -> Response:
        """All in force; POST adds one."""
        who = await self._who(request)
        if request.method == "GET":
            return reply({"waivers": await run_in_threadpool(self._review.waivers, who), **self._needed()})
        body = await read_json(request, NewWaiver)
        waiver = await run_in_threadpool(
            lambda: self._review.waive(
                who, repository=body.repository, reason=body.reason, days=body.days, fingerprint=body.fingerprint,
                check=body.check, path=body.path, purl=body.purl,
            )
        )
        return reply({"id": waiver.id, "expires": waiver.expires, **self._needed()}, 201)

    async def approve_waiver(self, request: Request) -> Response:
        """One approval of a waiver."""
        who = await self._who(request)
        waiver = await run_in_threadpool(self._review.approve_waiver, who, request.path_params["id"])
        return reply({"id": waiver.id, "approvals": waiver.approvals, **self._needed()})

    def _needed(self) -> dict[str, int]:
        return {"required_approvals": self._rehearsal.policy.waiver_approvals}

    async def end_waiver(self, request: Request) -> Response:
        """Revoke one."""
        who = await self._who(request)
        await run_in_threadpool(self._review.end_waiver, who, request.path_params["id"])
        return Response(status_code=204)


def routes(
    certification: CertificationService, review: ReviewService, rehearsal: Rehearsal, principal_of: PrincipalOf
) -> list[Route]:
    """The door, answering errors as problem+json."""
    door = Door(certification, review, rehearsal, principal_of)
    one = "/api/v1/submissions/{id:str}"
    return routes_of_api(
        [
            Route("/api/v1/submissions", door.page),
            Route("/api/v1/submissions", door.submit, methods=["POST"]),
            Route("/api/v1/submissions/latest", door.latest),
            Route(one, door.show),
            Route(f"{one}/events", door.events),
            Route(f"{one}/approve", door.approve, methods=["POST"]),
            Route(f"{one}/reject", door.reject, methods=["POST"]),
            Route(f"{one}/retry", door.retry, methods=["POST"]),
            Route("/api/v1/policy", door.policy),
            Route("/api/v1/policy/test", door.policy_test, methods=["POST"]),
            Route("/api/v1/waivers", door.waivers, methods=["GET", "POST"]),
            Route("/api/v1/waivers/{id:str}/approve", door.approve_waiver, methods=["POST"]),
            Route("/api/v1/waivers/{id:str}", door.end_waiver, methods=["DELETE"]),
        ]
    )


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise Invalid(f"{name} must be a number from 0 to {most}")
    return int(text)
