"""The door of the advisories: `POST /api/v1/advisories?name=FILE` imports, `POST …/update` follows the mirror that is
set; `GET /api/v1/advisories`, `…/records/ID` and `…/status` show what is held.

The body is streamed to a temporary file under a limit of 2 GiB and read from there; memory does not grow with it.
"""

import asyncio
import errno
import tempfile
from hashlib import sha256
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customhouse.accounts.caller import PrincipalOf, signed_in
from customhouse.advisories.service import AdvisoriesService
from customhouse.advisories.updates import Updates
from customhouse.errors import Invalid, StorageFull, TooLarge
from customhouse.problem import reply, routes_of_api

LARGEST_UPLOAD = 2 << 30
_PIECE = 1 << 20


def routes(
    service: AdvisoriesService,
    updates: Updates,
    principal_of: PrincipalOf,
    *,
    spool: Path | None = None,
    largest: int = LARGEST_UPLOAD,
) -> list[Route]:
    """The room's routes. `spool` is the folder for uploads in progress (the system's, if not given)."""

    async def import_upload(request: Request) -> Response:
        principal = await signed_in(request, principal_of)
        service.authorise_import(principal)
        name = request.query_params.get("name", "")
        if not name or len(name) > 200:
            raise Invalid("the name of the file is missing or too long", hint="POST …/advisories?name=all.zip")
        if spool is not None:
            spool.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="advisories-", dir=spool) as folder:
            path = Path(folder, "upload")
            digest = await _receive(request, path, largest)
            report = await run_in_threadpool(service.import_feed, path, principal, name=Path(name).name, digest=digest)
        return reply(report.as_json())

    async def update(request: Request) -> Response:
        principal = await signed_in(request, principal_of)
        service.authorise_import(principal)
        return reply({"updates": await run_in_threadpool(updates.run, principal)})

    async def listed(request: Request) -> Response:
        await signed_in(request, principal_of)
        asked = request.query_params
        limit = asked.get("limit", "50")
        if not (limit.isascii() and limit.isdigit() and 0 < len(limit) <= 4):
            raise Invalid("limit is no number of records")
        found = await run_in_threadpool(
            service.records, asked.get("ecosystem", ""), asked.get("package", ""), int(limit)
        )
        return reply({"records": found})

    async def shown(request: Request) -> Response:
        await signed_in(request, principal_of)
        return reply(await run_in_threadpool(service.record, request.path_params["id"]))

    async def status(request: Request) -> Response:
        await signed_in(request, principal_of)
        return reply(await run_in_threadpool(service.status))

    return routes_of_api(
        [
            Route("/api/v1/advisories", import_upload, methods=["POST"]),
            Route("/api/v1/advisories", listed, methods=["GET"]),
            Route("/api/v1/advisories/status", status, methods=["GET"]),
            Route("/api/v1/advisories/update", update, methods=["POST"]),
            Route("/api/v1/advisories/records/{id}", shown, methods=["GET"]),
        ]
    )


async def _receive(request: Request, path: Path, largest: int) -> str:
    """Write the body to `path`; returns its digest. Raises TooLarge, StorageFull, Invalid for an empty body."""
    hashed = sha256()
    size = 0
    pending = bytearray()
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and (len(said) > 18 or int(said) > largest):
        raise TooLarge(f"the file is larger than {largest} bytes", hint="Import the ecosystems one by one.")
    try:
        with path.open("wb") as stream:

            def write(piece: bytes) -> None:
                hashed.update(piece)
                stream.write(piece)

            async for chunk in request.stream():
                size += len(chunk)
                if size > largest:
                    raise TooLarge(f"the file is larger than {largest} bytes", hint="Import the ecosystems one by one.")
                pending += chunk
                if len(pending) >= _PIECE:
                    await asyncio.to_thread(write, bytes(pending))
                    pending.clear()
            await asyncio.to_thread(write, bytes(pending))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageFull("no room for the upload", hint="Free disk space; nothing was imported.") from error
        raise
    if not size:
        raise Invalid("the body is empty", hint="Send the bytes of the file as the body.")
    return f"sha256:{hashed.hexdigest()}"
