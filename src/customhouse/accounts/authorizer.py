"""The guard of the registry's and the trust server's doors: may the bearer of this token do this here?

1. Bearer only. Whoever comes without a token, with a broken one or with too little in it is sent to /token by the
   challenge (RFC 6750 §3, docker's scope parameter); Basic is no way in here.
2. Where nobody at all may write, a caller with a valid token is told so (NotWritable), not sent round again.
3. A verified token is remembered by its hash until it is over, in a bounded table: this runs on every request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from customhouse.accounts.access import who_may, why_not_writable
from customhouse.accounts.tokens import Claims, TokenRejected, TokenSigner, resource_type, without_host
from customhouse.errors import Denied, Unauthenticated

REMEMBERED = 4096


@dataclass(frozen=True)
class Challenge:
    """What a 401 asks for; `str()` is the value of WWW-Authenticate.

    `description` is what docker prints after "denied:"; it holds neither quotes nor backslashes (RFC 6750 §3).
    """

    realm: str
    service: str
    scope: str = ""
    error: str = ""
    description: str = ""

    def __str__(self) -> str:
        fields = {
            "realm": self.realm, "service": self.service, "scope": self.scope, "error": self.error,
            "error_description": _quotable(self.description),
        }  # fmt: skip
        return "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items() if value)


class TokenRequired(Unauthenticated):
    """401 with a challenge. `challenge.error` is "" (no token), invalid_token or insufficient_scope."""

    def __init__(self, message: str, challenge: Challenge, *, hint: str = "Sign in with `docker login`.") -> None:
        super().__init__(message, hint=hint)
        self.challenge = challenge


class NotWritable(Denied):
    """Nobody writes to this repository over HTTP."""

    def __init__(self, repository: str, why: str) -> None:
        super().__init__(why)
        self.repository = repository


class Authorizer:
    """Checks bearer tokens. `realm` is the URL of /token, `host` the hub's public host[:port]."""

    def __init__(self, signer: TokenSigner, realm: str, host: str, clock: Callable[[], datetime]) -> None:
        self._signer = signer
        self._realm = realm
        self._host = host
        self._clock = clock
        self._known: dict[bytes, Claims] = {}

    def authenticate(self, authorization: str | None) -> Claims:
        """Any valid token will do (GET /v2/). Raises TokenRequired."""
        return self._claims(authorization, "")

    def authorize(self, authorization: str | None, repository: str, action: str) -> Claims:
        """`action`: pull, push, delete or `*`. Raises TokenRequired, or NotWritable where nobody may."""
        name = without_host(repository, self._host)
        scope = _asked(name, action)
        claims = self._claims(authorization, scope)
        if claims.allows(name, action):
            return claims
        why = why_not_writable(name) if action != "pull" else None
        if why:
            raise NotWritable(name, why)
        does = "do everything" if action == "*" else action
        who = claims.subject or "nobody is signed in, so you"
        said = f"{who} may not {does} in {name[:255]}; {who_may(name, action)}"
        raise TokenRequired(said, self._challenge(scope, "insufficient_scope", said), hint="")

    def may(self, authorization: str | None, repository: str, action: str) -> bool:
        """The same as a plain answer, for mounts: a source that may not be read is as good as absent."""
        try:
            return self._claims(authorization, "").allows(without_host(repository, self._host), action)
        except TokenRequired:
            return False

    def _claims(self, authorization: str | None, scope: str) -> Claims:
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise TokenRequired("authentication required", self._challenge(scope, ""))
        try:
            return self._verified(token.strip())
        except TokenRejected as error:
            raise TokenRequired(error.message, self._challenge(scope, "invalid_token")) from None

    def _verified(self, token: str) -> Claims:
        now = self._clock()
        # The hash covers the signature: one changed bit is another token. surrogateescape: headers are bytes.
        key = sha256(token.encode("utf-8", "surrogateescape")).digest()
        claims = self._known.get(key)
        if claims is not None and claims.expires > now:
            return claims
        claims = self._signer.verify(token, now)
        if len(self._known) >= REMEMBERED:
            self._forget(now)
        self._known[key] = claims
        return claims

    def _forget(self, now: datetime) -> None:
        # list() first: another thread may be adding.
        known = list(self._known.items())
        over = [key for key, claims in known if claims.expires <= now]
        for key in over or [key for key, _ in known[: REMEMBERED // 4]]:
            self._known.pop(key, None)

    def _challenge(self, scope: str, error: str, description: str = "") -> Challenge:
        return Challenge(self._realm, self._signer.service, scope, error, description)


def _asked(name: str, action: str) -> str:
    """The scope to ask for; a name that could break out of the quoted string is left out of the header."""
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "._-/:") for letter in name):
        return ""
    return f"{resource_type(name)}:{name[:512]}:{'pull,push' if action == 'push' else action}"


def _quotable(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" and letter not in '"\\' else "?" for letter in text)
