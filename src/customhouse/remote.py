"""What another server's refusal means: an error class for each kind, with the server's own words and a hint.

1. The class follows the status; `code` and `detail` are the server's, for callers that know its dialect.
2. No answer at all is `Unreachable`; its hint names the likely cause (name, port, TLS, time).
3. A server's words are cut, and freed of what a terminal would obey, before a person or a log has them.
"""

import json
import re
from typing import Any
from urllib.parse import urlsplit

from urllib3 import exceptions as wire

from customhouse.errors import (
    Conflict,
    CustomhouseError,
    Denied,
    Invalid,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

LONGEST_WORDS = 1000


class Unreachable(Unavailable):
    """No answer came: name, route, TLS or time."""


class AnswerTooLarge(TooLarge):
    """The server sent more than was asked for."""


class RemoteError(CustomhouseError):
    """The server answered, and not with what was asked for: `status`, its `code` if it gave one, and its `detail`."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0, code: str = "", detail: Any = None) -> None:
        super().__init__(message, hint=hint)
        self.status, self.code, self.detail = status, code, detail


class RemoteInvalid(RemoteError, Invalid):
    """400 and its like: the server read the request and refuses it."""


class RemoteUnauthenticated(RemoteError, Unauthenticated):
    """401."""


class RemoteDenied(RemoteError, Denied):
    """403, or a token without the right that was asked for."""


class RemoteNotFound(RemoteError, NotFound):
    """404."""


class RemoteConflict(RemoteError, Conflict):
    """409 and 412."""


class RemoteTooLarge(RemoteError, TooLarge):
    """413."""


class RemoteFailed(RemoteError, Unavailable):
    """5xx, 429, and answers that make no sense."""


class SentElsewhere(RemoteFailed):
    """A server sends us on to an address (`origin`) to which we do not go."""

    def __init__(self, host: str, url: str) -> None:
        parts = urlsplit(url)
        self.origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        super().__init__(f"{host} sends us on to {self.origin}, and we may not go there")


def kind_of(status: int) -> type[RemoteError]:
    """The class of error that this status means."""
    known: dict[int, type[RemoteError]] = {
        401: RemoteUnauthenticated,
        403: RemoteDenied,
        404: RemoteNotFound,
        409: RemoteConflict,
        412: RemoteConflict,
        413: RemoteTooLarge,
        429: RemoteFailed,
    }
    return known.get(status, RemoteInvalid if 400 <= status < 500 else RemoteFailed)


def words(body: bytes) -> tuple[str, str, str, Any]:
    """Code, sentence, hint and detail of an error body: OCI, Notary, OAuth or problem+json."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", "", None
    if not isinstance(document, dict):
        return "", "", "", None
    errors = document.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        first = errors[0]
        detail = first.get("detail")
        text = str(first.get("message") or "")
        if isinstance(detail, dict) and isinstance(detail.get("Error"), dict) and detail["Error"].get("Msg"):
            text = str(detail["Error"]["Msg"])
        return _said(first.get("code")), _said(text), _said(first.get("hint")), detail
    message = document.get("detail") or document.get("details") or document.get("title")
    code = document.get("type") or document.get("error")
    return _said(code), _said(message or document.get("error_description")), _said(document.get("hint")), None


def _said(text: Any) -> str:
    found = str(text or "")[:LONGEST_WORDS]
    return "".join(letter if letter.isprintable() else " " for letter in found)


def unreachable(url: str, error: Exception) -> Unreachable:
    host = urlsplit(url).netloc
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, Exception) else error
    text = str(cause)
    if isinstance(cause, wire.SSLError) or "certificate" in text.lower():
        if "CERTIFICATE_VERIFY_FAILED" in text or "verify failed" in text:
            why = re.sub(r".*certificate verify failed: ", "", text).split(" (_ssl")[0].strip("() ")
            return Unreachable(
                f"{host} could not prove who it is: {why}",
                hint="Give the CA of the hub with --ca-file; it is DIR/tls/ca.crt on the server.",
            )
        return Unreachable(f"TLS with {host} failed: {text}", hint="Does this port speak TLS?")
    if isinstance(cause, wire.NameResolutionError):
        return Unreachable(f"there is no host {host}", hint="Check the name, and the network.")
    if isinstance(cause, wire.TimeoutError) and not isinstance(cause, wire.NewConnectionError):
        return Unreachable(f"{host} did not answer in time", hint="Try again; is the server overloaded?")
    if isinstance(cause, wire.NewConnectionError):
        return Unreachable(f"nothing answers at {host}", hint="Is the server running, and is the port right?")
    return Unreachable(f"the connection to {host} broke: {type(cause).__name__}", hint="Try again.")
