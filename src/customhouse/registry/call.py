"""One request as the registry's door sees it: its target, headers and query, read once."""

from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from customhouse import errors as e
from customhouse.registry import wire

MOST_PARAMETERS = 32


class Call:
    """One request: its target, its headers (several lines of one name joined, RFC 9110 §5.2) and its query."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, target: wire.Target) -> None:
        self.scope, self.receive, self.send, self.target = scope, receive, send, target
        self.method: str = scope["method"]
        self.repository, self.reference = target.repository, target.reference
        self._headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            self._headers[name] = f"{self._headers[name]}, {text}" if name in self._headers else text
        query = scope["query_string"].decode("latin-1")
        if query.count("&") >= MOST_PARAMETERS:
            raise e.Invalid(f"the query has more than {MOST_PARAMETERS} parameters")
        self._query = parse_qs(query, keep_blank_values=True)

    def header(self, name: str) -> str:
        return self._headers.get(name.encode(), "")

    def query(self, name: str) -> str | None:
        return self._query[name][0] if name in self._query else None

    def queries(self, name: str) -> list[str]:
        return self._query.get(name, [])

    @property
    def authorization(self) -> str | None:
        return self._headers.get(b"authorization")

    @property
    def length(self) -> int | None:
        text = self.header("content-length")
        if not (text.isascii() and text.isdigit()):
            return None
        return int(text) if len(text) < 19 else 10**18  # more than anybody takes

    @property
    def upload_location(self) -> str:
        return f"/v2/{self.repository}/blobs/uploads/{self.reference}"
