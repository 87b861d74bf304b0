"""Who sends a request: what every door of the API asks first."""

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from customhouse.accounts.people import Principal
from customhouse.errors import Unauthenticated
from customhouse.problem import address_of

PrincipalOf = Callable[[str | None, str], Principal]
"""From an Authorization header and the client's address (by which wrong passwords are slowed down) to who asks."""


async def signed_in(request: Request, principal_of: PrincipalOf) -> Principal:
    """Who sent this request. Raises Unauthenticated for nobody, and what `principal_of` raises."""
    authorization = request.headers.get("authorization")
    principal = await run_in_threadpool(principal_of, authorization, address_of(request))
    if principal.anonymous:
        raise Unauthenticated("sign in first", hint="Run `customhouse login`.")
    return principal
