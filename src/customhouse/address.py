"""Addresses of servers: what they must look like, which are the same, and what of a URL people may see."""

import re
from urllib.parse import urlsplit

from customhouse.errors import Invalid

_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_HINT = "Write it as https://HOST[:PORT]."


def server(url: str, *, encrypted: bool) -> str:
    """The address of a server without its last slash. `encrypted`: plain http for loopback only. Raises Invalid."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise Invalid(f"{url!r} is not a server's address", hint=_HINT)
    if parts.scheme == "http" and encrypted and not loopback(parts.hostname):
        raise Invalid(f"{url} is not encrypted", hint="Use https, or --insecure if nobody can listen in.")
    return url.rstrip("/")


def bare(url: str) -> tuple[str, str]:
    """(address, host[:port]), each in one spelling, of a server that is named by nothing else. Raises Invalid."""
    try:
        parts = urlsplit(url.strip().lower())
        port = parts.port
    except ValueError:
        raise Invalid(f"{url[:300]!r} is not a server's address", hint=_HINT) from None
    host = parts.netloc.removesuffix(":443") if parts.scheme == "https" else parts.netloc
    more = parts.path.strip("/") or parts.query or parts.fragment or port == 0
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or more:
        raise Invalid(f"{url[:300]!r} is not a server's address", hint=_HINT)
    if parts.scheme == "http" and not loopback(parts.hostname or ""):
        raise Invalid(f"{url[:300]} is not encrypted", hint="It must speak https; plain http is for loopback only.")
    return f"{parts.scheme}://{host}", host


def loopback(hostname: str) -> bool:
    """Does this name only ever mean this machine?"""
    return _LOOPBACK.fullmatch(hostname) is not None


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what makes two URLs those of one server."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def plain(url: str) -> str:
    """For people: what comes after a question mark may be somebody's permission."""
    return url.partition("?")[0]
