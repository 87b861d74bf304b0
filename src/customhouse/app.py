"""The ASGI application of one origin, and the process that serves it.

1. `/v2/` is the registry, except what the trust server knows (`…/_trust/…`); `/token`, `/api/v1/`, `/healthz`,
   `/readyz` and `/metrics` are the rest. Each door answers errors in its own dialect.
2. Paths that carry blobs go through no middleware.
3. SIGTERM or SIGINT: no new connections, requests in progress get 5 seconds, steps 3; then the process ends. What
   was cut is resumed at the next start.
"""

import contextlib
import gc
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from customhouse import doctor, processes
from customhouse.accounts import http as accounts_http
from customhouse.accounts.caller import signed_in
from customhouse.accounts.people import Role
from customhouse.advisories import http as advisories_http
from customhouse.certification.submission import Submission
from customhouse.counted import Counted
from customhouse.enrolment import http as enrolment_http
from customhouse.errors import CustomhouseError, Denied, Invalid
from customhouse.http_limits import bounded
from customhouse.hub import SWEEP_PACE, Hub, hold_whole
from customhouse.metrics import CONTENT_TYPE, Numbers, render
from customhouse.problem import Page, handlers, reply, routes_of_api
from customhouse.publication import http as publication_http
from customhouse.registry import http as registry_http
from customhouse.registry.collector import Pace
from customhouse.registry.sweep import ALL_SHARDS
from customhouse.registry.transfer import ZeroCopy
from customhouse.replication import http as replication_http
from customhouse.repositories import http as repositories_http
from customhouse.review import http as review_http
from customhouse.settings import Settings, system_clock
from customhouse.shortcut import protocol
from customhouse.sources import http as sources_http
from customhouse.trust import http as trust_http
from customhouse.trust.bundle import Bundle

REQUEST_SECONDS, STEP_SECONDS = 5, 3
METRICS_SECONDS = 5
COLLECTING_SECONDS, COLLECTED_PARTS = 5.0, 16


def door_of_trust(hub: Hub) -> trust_http.TrustDoor:
    """The trust server's door, to be given to `application`."""
    return trust_http.TrustDoor(hub.trust, hub.authorizer, hub.settings.host, begin=hub.signers.begin)


def door_of_registry(hub: Hub) -> registry_http.Door:
    """The registry's door, likewise."""
    return registry_http.Door(hub.registry, hub.authorizer, hub.clients)


def application(
    hub: Hub, trust_door: trust_http.TrustDoor | None = None, registry_door: registry_http.Door | None = None,
    place: processes.Place | None = None,
) -> ASGIApp:  # fmt: skip
    """Everything behind one origin. `place`: others serve it too."""
    trust_door = trust_door or door_of_trust(hub)
    registry_door = registry_door or door_of_registry(hub)
    answers = {"registry": registry_door.answered, "trust": trust_door.answered, "token": Counter(), "api": Counter()}
    # No path and no such method are told in the API's dialect too, wherever there is no door to tell it.
    counts = Counted(answers, hub.clients.pulls, place)
    routes = api_routes(hub, counts)
    others = ExceptionMiddleware(Router(routes=routes, redirect_slashes=False), handlers=handlers())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = app
        if scope["type"] != "http":
            await others(scope, receive, send)
            return
        path = scope["path"]
        if trust_http.owns(path):
            await trust_door(scope, receive, send)
        elif path == "/v2" or path.startswith("/v2/"):
            await registry_door(scope, receive, send)
        else:
            await others(scope, receive, _counting(send, answers["token" if path == "/token" else "api"]))

    return app


def _counting(send: Send, answered: "Counter[int]") -> Send:
    async def counting(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered[message["status"]] += 1
        await send(message)

    return counting


def api_routes(hub: Hub, counts: Counted | None = None) -> list[Route]:
    """Every route but those of /v2/; docs/reference/api.md lists them."""
    principal_of = hub.accounts.principal_of

    def submission_json(row: Submission) -> dict[str, Any]:
        return review_http.as_json(row, hub.settings.host, hub.review.approvals(row), hub.clock())

    return [
        *accounts_http.routes(hub.accounts, hub.settings.host, hub.clients),
        *advisories_http.routes(hub.advisories, hub.advisory_updates, principal_of, spool=hub.settings.data / "spool"),
        *enrolment_http.routes(hub.enrolment, hub.signers, principal_of),
        *sources_http.routes(hub.sources, principal_of),
        *repositories_http.routes(hub.repositories, hub.registry.rules, principal_of),
        *replication_http.routes(hub.replication, hub.mirroring, principal_of),
        *review_http.routes(hub.certification, hub.review, hub.rehearsal, principal_of),
        *publication_http.routes(
            hub.publication, principal_of, submission_json, lambda: bundle(hub), hub.accounts.allowed
        ),
        *_administration(hub),
        *_collection(hub),
        *routes_of_api(
            [
                Route("/healthz", _healthy),
                Route("/readyz", _ready(hub)),
                Route("/metrics", _metrics(hub, counts or Counted({}, {}))),
            ]
        ),
    ]


async def _healthy(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


def _ready(hub: Hub) -> Callable[[Request], Awaitable[Response]]:
    def look() -> None:
        with hub.database.read() as tx:
            tx.exec_driver_sql("SELECT 1")

    async def ready(_request: Request) -> Response:
        await run_in_threadpool(look)
        return PlainTextResponse("ready\n")

    return ready


def _metrics(hub: Hub, counts: Counted) -> Callable[[Request], Awaitable[Response]]:
    """What Prometheus scrapes; the database is asked once in five seconds. Where others count too, counts are of now:
    no process may tell less than another one told."""
    known, until, asking = b"", 0.0, threading.Lock()
    rows: tuple[bool, Mapping[str, int], datetime | None] = (False, {}, None)

    def look() -> tuple[bool, Mapping[str, int], datetime | None]:
        try:
            with hub.certification.view() as tx:
                return True, hub.certification.numbers(tx), hub.trust.first_timestamp_ends(tx)
        except CustomhouseError:
            return False, {}, None

    def text() -> bytes:
        nonlocal known, until, rows
        with asking:
            over = time.monotonic() >= until
            if over:
                rows, until = look(), time.monotonic() + METRICS_SECONDS
            if over or counts.shared:
                known = render(Numbers(*counts.all(), *rows))
            return known

    async def metrics(_request: Request) -> Response:
        return Response(await run_in_threadpool(text), headers={"cache-control": "no-store"}, media_type=CONTENT_TYPE)

    return metrics


def bundle(hub: Hub) -> Bundle:
    """What a consumer pins, without repositories: the hub's root certificate, and its local authority if it has one."""
    authority = hub.tls.authority
    return Bundle(
        hub.settings.host, hub.settings.url, hub.settings.hub_name, hub.clock(),
        (hub.publication.root_certificate(),), authority.read_text() if authority else "",
        signer_pem=hub.publication.signer_key(),
    )


def _administration(hub: Hub) -> list[Route]:
    """Questions of operators: the audit log and the invariants."""

    async def who_may(request: Request) -> None:
        who = await signed_in(request, hub.accounts.principal_of)
        if not who.certifies:
            raise Denied("only certifiers and administrators may read this")

    def entries(page: Page) -> dict[str, Any]:
        if page.after and not (page.after.isascii() and page.after.isdigit() and len(page.after) < 10):
            raise Invalid("after must be the number of an entry")
        after = int(page.after or "0")
        with hub.database.read() as tx:
            found = list(hub.audit.entries(tx, after=after, limit=page.limit))
        return {"entries": found, "next": str(found[-1].seq) if len(found) == page.limit else None}

    def proof(checkpoint: str | None) -> dict[str, Any]:
        with hub.database.read() as tx:
            seq, digest = hub.audit.verify(tx, checkpoint)
        return {"entries": seq, "checkpoint": f"{seq}:{digest}"}

    async def audit(request: Request) -> Response:
        await who_may(request)
        return reply(await run_in_threadpool(entries, Page.parse(request)))

    async def verify(request: Request) -> Response:
        await who_may(request)
        return reply(await run_in_threadpool(proof, request.query_params.get("checkpoint")))

    async def look(request: Request) -> Response:
        await who_may(request)
        rehash = request.query_params.get("rehash") == "true"
        breaks = await run_in_threadpool(lambda: doctor.examine(hub, rehash=rehash, running=True))
        return reply({"sound": not breaks, "breaks": [item.as_json() for item in breaks]})

    async def stored(request: Request) -> Response:
        """GET reads; POST also throws altered bytes away, which administrators decide."""
        discard = request.method == "POST"
        who = await signed_in(request, hub.accounts.principal_of)
        if not who.certifies or (discard and who.role is not Role.ADMINISTRATOR):
            raise Denied("only administrators may discard bytes" if who.certifies else "only certifiers may read this")
        after = request.query_params.get("after", "")
        return reply(await run_in_threadpool(lambda: doctor.verify_piece(hub, after, discard=discard)))

    return routes_of_api(
        [
            Route("/api/v1/storage/verify", stored, methods=["GET", "POST"]),
            Route("/api/v1/audit", audit),
            Route("/api/v1/audit/verify", verify),
            Route("/api/v1/doctor", look),
        ]
    )


def _collection(hub: Hub) -> list[Route]:
    """Garbage collection on an administrator's word."""

    async def collect(request: Request) -> Response:
        """GET tells what is unused; POST collects it for some seconds, and looks through one 16th of the store."""
        who = await signed_in(request, hub.accounts.principal_of)
        if who.role is not Role.ADMINISTRATOR:
            raise Denied("only administrators may collect")
        if request.method == "GET":
            return reply((await run_in_threadpool(lambda: hub.registry.survey(hub.clock()))).as_json())
        part, fast = request.query_params.get("part", "0"), request.query_params.get("fast") == "true"
        if part not in {str(number) for number in range(COLLECTED_PARTS)}:
            raise Invalid(f"part is a number from 0 to {COLLECTED_PARTS - 1}")
        shards = ALL_SHARDS[int(part) :: COLLECTED_PARTS]
        pace = Pace(seconds=COLLECTING_SECONDS) if fast else replace(SWEEP_PACE, seconds=COLLECTING_SECONDS)
        swept = await run_in_threadpool(lambda: hub.registry.sweep(hub.clock(), shards=shards, pace=pace))
        return reply({**swept.as_json(), "more": swept.more, "parts": COLLECTED_PARTS})

    return routes_of_api([Route("/api/v1/storage/collect", collect, methods=["GET", "POST"])])


def serve(settings: Settings, clock: Callable[[], datetime] = system_clock) -> int:
    """Run a hub until SIGTERM or SIGINT; returns the exit code. Prints one `ready` line on standard output."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for quiet in ("alembic", "dbos"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each broken upload, from anybody
    _as_many_files_as_allowed()

    def announce() -> None:
        print(f"ready {settings.url}", flush=True)

    if settings.processes == 1:
        return _serve(settings, clock, None, announce)
    with hold_whole(settings.data):
        return processes.run(
            settings.listen_address, settings.processes,
            lambda place: _serve(settings, clock, place, place.ready), announce,
        )


def _serve(
    settings: Settings, clock: Callable[[], datetime], place: processes.Place | None, ready: Callable[[], None]
) -> int:
    hub = Hub(settings, clock, place=place)
    host, port = settings.listen_address
    hub.start()
    trust_door, registry_door = door_of_trust(hub), door_of_registry(hub)
    app = application(hub, trust_door, registry_door, place)
    config = uvicorn.Config(
        ZeroCopy(app) if settings.plain_http else app,
        host=host,
        port=port,
        ssl_certfile=None if settings.plain_http else hub.tls.chain,
        ssl_keyfile=None if settings.plain_http else hub.tls.key,
        http=bounded(protocol(trust_door.prepared, registry_door.prepared)),
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=REQUEST_SECONDS,
        timeout_keep_alive=65,
        h11_max_incomplete_event_size=64 * 1024,
    )
    config.load()
    if config.ssl is not None:
        # Docker's clients open a connection per file and resume none: a ticket is work for nothing.
        config.ssl.num_tickets = 0
    server = _Announcing(config, ready)
    for number in (signal.SIGTERM, signal.SIGINT):
        # The server raises the signal once more when it has drained; by then it must not kill what closes below.
        signal.signal(number, lambda _number, _frame: None)
    # What was made so far stays: without this, each collection of all garbage would walk through all of it.
    gc.collect()
    gc.freeze()
    try:
        server.run(sockets=[place.socket] if place else None)
    finally:
        _leave_in_time()
        hub.close(STEP_SECONDS)
    return 0


class _Announcing(uvicorn.Server):
    """Says `ready` when the socket takes connections, not before."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _as_many_files_as_allowed() -> None:
    """Each connection is a file, and the usual limit of 1,024 is one of old: what may be had is asked for."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _leave_in_time() -> None:
    """A step in a foreign library may not look up; the process ends all the same, and the step is repeated."""
    timer = threading.Timer(STEP_SECONDS + 1.5, lambda: os._exit(0))
    timer.daemon = True
    timer.start()
