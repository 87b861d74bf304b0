"""HTTP to one registry, trust server or hub: TLS, docker token authentication, limits, and errors that help.

1. A scope asks for docker's token scheme (anonymous, Basic, refresh token); without one, the hub's API credentials go
   out as they are. Credentials go to the origin we were given and to the token service it names, never elsewhere.
2. Every answer has a budget of bytes and of seconds; compressed answers are not asked for, so a budget is what it says.
   `deadline` ends everything that a server may make last: no request begins after it, no answer is read on.
3. Reading may be repeated after a broken connection or a busy server; writing is repeated by its caller only.
4. A body is bytes or a function that opens it, so that it can be sent again after a 401.
5. An answer that was not expected becomes an error class by its status, with the server's own words.
6. A redirect or a token service may be at any server that speaks https; where `onward` is given, only at those.

Docker registry token authentication: distribution, docs/content/spec/auth/token.md.
"""

import base64
import json
import math
import re
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3 import exceptions as wire

from customhouse import __version__
from customhouse.address import origin, plain, server
from customhouse.connections import ConnectionPools
from customhouse.errors import Invalid
from customhouse.remote import (
    AnswerTooLarge,
    RemoteDenied,
    RemoteFailed,
    SentElsewhere,
    Unreachable,
    kind_of,
    unreachable,
    words,
)

BUDGET = 4 * 1024 * 1024
REDIRECTS = 5
ATTEMPTS = 3
_PIECE = 256 * 1024
_BUSY = (429, 502, 503, 504)
_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')

Body = bytes | Callable[[], BinaryIO]


@dataclass(frozen=True)
class Credentials:
    """Who we are: a user or machine token with its secret, a refresh token, or a hub session (`bearer`)."""

    username: str = ""
    secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic header, empty when there is no name and secret."""
        if not self.username or not self.secret:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()

    @property
    def direct(self) -> str:
        """What the hub's own API is told."""
        return f"Bearer {self.bearer}" if self.bearer else self.basic


@dataclass(frozen=True)
class Tls:
    """Whom to believe: the system's CAs, or only those given; `insecure` believes everybody and allows plain HTTP."""

    ca_file: Path | None = None
    ca_pem: str = ""
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """The TLS context; a CA file that cannot be read is Invalid."""
        try:
            context = ssl.create_default_context(
                cafile=str(self.ca_file) if self.ca_file else None, cadata=self.ca_pem or None
            )
        except (OSError, ssl.SSLError) as error:
            where = str(self.ca_file) if self.ca_file else "the stored CA"
            raise Invalid(f"{where} holds no usable CA certificate: {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True)
class Patience:
    """Seconds: to connect, between two pieces of an answer, and for a whole answer that is read at once."""

    connect: float = 10.0
    read: float = 60.0
    total: float = 300.0


@dataclass(frozen=True)
class Answer:
    """A complete answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self) -> Any:
        """The body as JSON; anything else is the server's failure."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise RemoteFailed(
                f"{self.url} did not answer with JSON", status=self.status, hint="Is this the address of a hub?"
            ) from error


class Stream:
    """An answer that is read piece by piece; use it in a `with`."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, until: float = math.inf) -> None:
        self._response, self.url, self._until = response, url, until
        self.status = response.status
        self.headers = _headers(response)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection up; what was not read is not waited for."""
        self._response.close()

    def read(self, size: int = _PIECE) -> bytes:
        """The next bytes, `size` unless the end comes first; empty at the end. A broken connection is Unreachable."""
        return self._next(self._response.read, size)

    def read_some(self, size: int = _PIECE) -> bytes:
        """What comes next, at most `size` and without waiting for so much; empty at the end."""
        return self._next(self._response.read1, size)

    def _next(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            if time.monotonic() > self._until:
                raise Unreachable(f"{plain(self.url)} sends too slowly", hint="Try again later.")
            return read(size)
        except wire.HTTPError as error:
            raise unreachable(self.url, error) from error

    def pieces(self, size: int = _PIECE) -> Iterator[bytes]:
        """The rest of the body in pieces; where time is limited, each as it comes, so that the clock is looked at."""
        read = self.read if self._until == math.inf else self.read_some
        while piece := read(size):
            yield piece


@dataclass(frozen=True)
class _Challenge:
    scheme: str  # "bearer", "basic" or "" for an open server
    realm: str = ""
    service: str = ""

    @classmethod
    def parse(cls, header: str) -> "_Challenge":
        scheme, _, rest = header.strip().partition(" ")
        fields = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
        return cls(scheme.lower(), fields.get("realm", ""), fields.get("service", ""))


class Transport:
    """Requests to one origin, e.g. `https://localhost:5443`; one thread at a time."""

    def __init__(
        self, url: str, *, credentials: Credentials | None = None, tls: Tls | None = None,
        patience: Patience | None = None, onward: Mapping[str, Tls] | None = None, deadline: float = math.inf,
    ) -> None:
        """`onward`: where the server may send us, and whom to believe there; `deadline`: monotonic, may be moved."""
        self.tls, self.patience, self.deadline = tls or Tls(), patience or Patience(), deadline
        self.url = server(url, encrypted=not self.tls.insecure)
        self.credentials = credentials or Credentials()
        self._onward = None if onward is None else {origin(each): there for each, there in onward.items()}
        self._pools = {origin(self.url): self._connections(self.tls)}
        self._challenge: _Challenge | None = None
        self._tokens: dict[frozenset[str], tuple[str, float]] = {}

    @property
    def host(self) -> str:
        """`host[:port]`, as in references and GUNs."""
        return urlsplit(self.url).netloc

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()

    def request(
        self, method: str, path: str, *, scopes: Sequence[str] = (), query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None, body: Body | None = None, expect: Collection[int] = (200,),
        budget: int = BUDGET, seconds: float | None = None,
    ) -> Answer:
        """Ask and read the whole answer, at most `budget` bytes and `seconds` (else what patience says).

        A status outside `expect` raises.
        """
        repeatable = method in ("GET", "HEAD")
        until = time.monotonic() + (self.patience.total if seconds is None else min(seconds, self.patience.total))
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or not repeatable
            try:
                with self.open(
                    method, path, scopes=scopes, query=query, headers=headers, body=body,
                    expect=expect if last else {*expect, *_BUSY},
                ) as stream:
                    if stream.status in expect or last:
                        return Answer(stream.status, stream.headers, self._all(stream, budget, until), stream.url)
                    pause = _pause(stream.headers.get("retry-after", ""), attempt)
            except Unreachable:
                if last or time.monotonic() > until:
                    raise
                pause = 0.2 * attempt
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def open(
        self, method: str, path: str, *, scopes: Sequence[str] = (), query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None, body: Body | None = None, expect: Collection[int] = (200,),
    ) -> Stream:
        """Ask; the answer is read by the caller. `path` may be an absolute URL that this server gave us."""
        url = urljoin(self.url + "/", path)
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        if scopes and self._challenge is None:
            self._learn()
        for fresh in (False, True):
            stream = self._follow(method, url, dict(headers or {}), body, scopes, fresh)
            if stream.status != 401 or not scopes or fresh or 401 in expect:
                break
            self._challenge = _Challenge.parse(stream.headers.get("www-authenticate", ""))
            stream.close()
        if stream.status not in expect:
            self._refuse(stream, method)
        return stream

    # -- one request ------------------------------------------------------------------------------------------------

    def _follow(
        self, method: str, url: str, headers: dict[str, str], body: Body | None, scopes: Sequence[str], fresh: bool
    ) -> Stream:
        for _ in range(REDIRECTS + 1):
            stream = self._send(method, url, headers | self._authorization(url, scopes, fresh), body)
            if stream.status not in (301, 302, 303, 307, 308) or method not in ("GET", "HEAD"):
                return stream
            target = urljoin(url, stream.headers.get("location", ""))
            stream.close()
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
                said = f"{plain(url)} redirects to {plain(target)}, which is not https"
                raise RemoteFailed(said, status=stream.status)
            url = target
        raise RemoteFailed(f"{plain(url)} redirects more than {REDIRECTS} times")

    def _send(self, method: str, url: str, headers: dict[str, str], body: Body | None) -> Stream:
        where = origin(self.url if self._onward is None else url)
        if self._onward is not None and where not in self._pools:
            if where not in self._onward:
                raise SentElsewhere(self.host, url)
            self._pools[where] = self._connections(self._onward[where])
        if time.monotonic() > self.deadline:
            raise Unreachable(f"{self.host} took too long over its answers", hint="Try again later.")
        headers = {"User-Agent": f"customhouse/{__version__}", "Accept-Encoding": "identity"} | headers
        try:
            response = self._pools[where].request(
                method, url, headers=headers, body=body() if callable(body) else body, redirect=False,
                preload_content=False, decode_content=False,
            )
        except wire.HTTPError as error:
            raise unreachable(url, error) from error
        return Stream(response, url, self.deadline)

    def _connections(self, tls: Tls) -> ConnectionPools:
        return ConnectionPools(
            num_pools=4, maxsize=4, retries=False, blocksize=_PIECE, ssl_context=tls.context(),
            assert_hostname=False if tls.insecure else None,
            timeout=urllib3.Timeout(connect=self.patience.connect, read=self.patience.read),
        )

    def _all(self, stream: Stream, budget: int, until: float | None = None) -> bytes:
        until, taken, pieces = time.monotonic() + self.patience.total if until is None else until, 0, []
        while piece := stream.read_some():  # a server that drips is looked at after each drop
            taken += len(piece)
            if taken > budget:
                raise AnswerTooLarge(f"{plain(stream.url)} answered with more than {budget} bytes")
            if time.monotonic() > until:
                raise Unreachable(f"{plain(stream.url)} took too long: its answer came too slowly", hint="Try again.")
            pieces.append(piece)
        return b"".join(pieces)

    # -- who we are -------------------------------------------------------------------------------------------------

    def _authorization(self, url: str, scopes: Sequence[str], fresh: bool) -> dict[str, str]:
        if origin(url) != origin(self.url):
            return {}
        value = self.credentials.direct
        if scopes:
            challenge = self._challenge or _Challenge("")
            value = ""
            if challenge.scheme == "basic":
                value = self.credentials.basic
            elif challenge.scheme == "bearer":
                value = f"Bearer {self._token(challenge, frozenset(scopes), fresh)}"
        return {"Authorization": value} if value else {}

    def _learn(self) -> None:
        """Ask `/v2/` without credentials, as docker does, for the scheme of this server."""
        with self._follow("GET", f"{self.url}/v2/", {}, None, (), False) as stream:
            header = stream.headers.get("www-authenticate", "") if stream.status == 401 else ""
        self._challenge = _Challenge.parse(header)

    def _token(self, challenge: _Challenge, scopes: frozenset[str], fresh: bool) -> str:
        token, until = self._tokens.get(scopes, ("", 0.0))
        if token and not fresh and time.monotonic() < until:
            return token
        realm = urljoin(self.url + "/", challenge.realm)
        if urlsplit(realm).scheme != "https" and urlsplit(self.url).scheme == "https":
            raise RemoteFailed(f"{self.host} names {realm} as its token service, which is not https")
        answer = self._ask_token(realm, challenge.service, scopes)
        document = answer.json()
        given = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(given, str) or not given.isascii() or not given.isprintable():
            raise RemoteFailed(f"{realm} answered without a token", status=answer.status)
        token, seconds = given, document.get("expires_in")
        seconds = max(60.0, float(seconds)) if isinstance(seconds, int | float) else 60.0
        self._tokens[scopes] = (token, time.monotonic() + seconds * 0.8)
        return token

    def _ask_token(self, realm: str, service: str, scopes: frozenset[str]) -> Answer:
        asked: list[tuple[str, str]] = [("service", service)] if service else []
        who = self.credentials
        if who.refresh_token:
            form = [*asked, ("grant_type", "refresh_token"), ("refresh_token", who.refresh_token),
                    ("client_id", "customhouse"), ("scope", " ".join(sorted(scopes)))]
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            stream = self._send("POST", realm, kind, urlencode(form).encode())
        else:
            asked += [("scope", scope) for scope in sorted(scopes)]
            headers = {"Authorization": who.basic} if who.basic else {}
            if headers:
                asked.append(("account", who.username))
            stream = self._send("GET", realm + ("&" if "?" in realm else "?") + urlencode(asked), headers, None)
        if stream.status != 200:
            self._refuse(stream, "GET")
        with stream:
            return Answer(stream.status, stream.headers, self._all(stream, 256 * 1024), realm)

    # -- what went wrong --------------------------------------------------------------------------------------------

    def _refuse(self, stream: Stream, method: str) -> NoReturn:
        with stream:
            try:
                body = b"" if method == "HEAD" else self._all(stream, 64 * 1024)
            except (AnswerTooLarge, Unreachable):
                body = b""
        code, message, hint, detail = words(body)
        status = stream.status
        if status == 401:
            known = self.credentials.basic or self.credentials.bearer or self.credentials.refresh_token
            hint = hint or (
                f"The stored login for {self.host} is not accepted for this; log in again, or ask for the right."
                if known else f"Log in first: customhouse login {self.url} -u USER"
            )
        what = f"{self.host} answered {status} to {method} {urlsplit(stream.url).path}"
        kind = RemoteDenied if status == 401 and code == "DENIED" else kind_of(status)
        raise kind(message or what, hint=hint, status=status, code=code, detail=detail)


def _headers(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _pause(text: str, attempt: int) -> float:
    return min(float(text), 5.0) if text.isdigit() else 0.3 * attempt
