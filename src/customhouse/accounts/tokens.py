"""Docker's bearer tokens: scopes, and the signed statement of what somebody may do for five minutes.

1. Scope grammar `type[(class)]:name:action[,action]`; a name may hold a port, so it is what stands between the first
   and the last colon. https://distribution.github.io/distribution/spec/auth/scope/
2. The trust client names repositories with the host (`localhost:5443/staging/acme/web`), dockerd without: the hub's
   own host is taken off, so both mean one repository.
3. ES256 only, one key; the header of a token chooses nothing. `kid` is the RFC 7638 thumbprint, `x5c` is sent where
   the key has a certificate.
4. Secrets (`ch_…`, 256 random bits) are stored as SHA-256 only; that much entropy needs no slow hash.
"""

import base64
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from customhouse.accounts.access import CATALOG
from customhouse.errors import Invalid, Unauthenticated

SERVICE = "customhouse"  # one audience for registry and trust: a refresh token of one is used with the other
LIFETIME = timedelta(seconds=300)
# What clients are told: they compare it with their own clock, and a push must not run into the last second.
TOLD_LIFETIME = timedelta(seconds=240)
CLOCK_SKEW = timedelta(seconds=60)
MOST_SCOPES = 32
LONGEST_SCOPE = 1024
LONGEST_TOKEN = 32 * 1024  # 32 scopes of the longest names and a chain of certificates fit
SECRET_PREFIX = "ch_"
_SECRET = re.compile(r"ch_[A-Za-z0-9_-]{43}")
_TYPE = re.compile(r"([a-z0-9]{1,40})(?:\(([a-z0-9]{1,40})\))?")
_NAME = re.compile(r"[A-Za-z0-9._\-:/\[\]]{1,512}")
_ACTION = re.compile(r"[a-z]{1,40}|\*")


class _Registry(JWSRegistry):
    max_header_length = 16 * 1024  # room for x5c


_ES256 = _Registry(algorithms=["ES256"])


class InvalidScope(Invalid):
    """A scope that is not written as docker writes it."""

    def __init__(self, scope: str, why: str) -> None:
        super().__init__(f"scope {scope[:120]!r}: {why}", hint="Write repository:<name>:<action>[,<action>].")
        self.scope = scope


class TokenRejected(Unauthenticated):
    """A bearer token that is broken, foreign, or over."""


@dataclass(frozen=True)
class Scope:
    """One thing that is asked for: these actions on this resource. `str()` is the wire form."""

    type: str
    name: str
    actions: frozenset[str]
    resource_class: str = ""

    @classmethod
    def parse(cls, text: str, host: str = "") -> "Scope":
        """Raises InvalidScope. `host` is the hub's public host[:port], taken off the name."""
        if len(text) > LONGEST_SCOPE:
            raise InvalidScope(text, f"longer than {LONGEST_SCOPE} characters")
        kind, colon, rest = text.partition(":")
        name, last, actions = rest.rpartition(":")
        found = _TYPE.fullmatch(kind)
        if not colon or not last or not found:
            raise InvalidScope(text, "not type:name:actions")
        if not _NAME.fullmatch(name):
            raise InvalidScope(text, "not a name")
        words = [word for word in actions.split(",") if word]  # the grammar allows an empty action
        if not all(_ACTION.fullmatch(word) for word in words):
            raise InvalidScope(text, "not a list of actions")
        return cls(found[1], without_host(name, host), frozenset(words), found[2] or "")

    @property
    def known(self) -> bool:
        """Of a type that this hub gives rights to: a repository, or `registry:catalog`."""
        return self.type == resource_type(self.name)

    def __str__(self) -> str:
        kind = f"{self.type}({self.resource_class})" if self.resource_class else self.type
        return f"{kind}:{self.name}:{','.join(sorted(self.actions))}"


def parse_scopes(texts: Iterable[str], host: str) -> tuple[Scope, ...]:
    """Scopes of a request: repeated parameters, each holding one or several parted by spaces."""
    words = [word for text in texts for word in text.split(" ") if word]
    if len(words) > MOST_SCOPES:
        raise InvalidScope(words[MOST_SCOPES], f"more than {MOST_SCOPES} scopes in one request")
    return tuple(Scope.parse(word, host) for word in words)


def resource_type(name: str) -> str:
    """The type of what a name stands for: the catalogue is of the registry, all else is a repository."""
    return "registry" if name == CATALOG else "repository"


def without_host(name: str, host: str) -> str:
    """The repository of a GUN of this hub; any other name is left as it is."""
    return name.removeprefix(f"{host}/") if host else name


@dataclass(frozen=True)
class Claims:
    """What a verified token says: who (`subject` "" is anonymous), the person behind it, and the actions by
    repository."""

    subject: str
    access: Mapping[str, frozenset[str]]
    starts: datetime
    expires: datetime
    owner: str = ""

    def allows(self, repository: str, action: str) -> bool:
        """`*` in a token is every action (distribution's own reading)."""
        actions = self.access.get(repository, frozenset())
        return action in actions or "*" in actions


@dataclass(frozen=True)
class Issued:
    """A signed token and what docker wants to know about it."""

    token: str
    issued: datetime
    access: Mapping[str, frozenset[str]]
    expires_in: int = int(TOLD_LIFETIME.total_seconds())

    @property
    def scope(self) -> str:
        """The granted scopes, parted by spaces."""
        return " ".join(
            str(Scope(resource_type(name), name, actions)) for name, actions in sorted(self.access.items()) if actions
        )


@dataclass(frozen=True)
class TokenKey:
    """The key that signs tokens, an EC P-256 private key."""

    key: ECKey = field(repr=False)
    kid: str
    x5c: tuple[str, ...] = ()

    @classmethod
    def parse(cls, private_pem: bytes, certificates_pem: bytes = b"") -> "TokenKey":
        """From PEM; `certificates_pem` is the chain, leaf first, if there is one. Raises Invalid."""
        try:
            key = ECKey.import_key(private_pem)
            chain = x509.load_pem_x509_certificates(certificates_pem) if certificates_pem else []
        except (ValueError, TypeError, JoseError):
            raise Invalid("the token key is not a readable EC private key in PEM") from None
        if not key.is_private or key.curve_name != "P-256":
            raise Invalid("the token key must be an EC P-256 private key")
        x5c = tuple(base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain)
        return cls(key, key.thumbprint(), x5c)

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public half as a JWK, with its kid."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": "ES256"}


@dataclass(frozen=True)
class TokenSigner:
    """Issues and verifies the hub's tokens; `issuer` is the hub's public URL."""

    key: TokenKey
    issuer: str
    service: str = SERVICE

    def issue(self, subject: str, access: Mapping[str, frozenset[str]], now: datetime, owner: str = "") -> Issued:
        """Sign who may do what; repositories without a granted action are left out."""
        given = {name: actions for name, actions in access.items() if actions}
        moment = now.replace(microsecond=0)
        header: dict[str, Any] = {"alg": "ES256", "typ": "JWT", "kid": self.key.kid}
        if self.key.x5c:
            header["x5c"] = list(self.key.x5c)
        seconds = int(moment.timestamp())
        claims = {
            "iss": self.issuer,
            "sub": subject,
            "aud": self.service,
            "exp": seconds + int(LIFETIME.total_seconds()),
            "nbf": seconds,
            "iat": seconds,
            "jti": secrets.token_hex(16),
            "owner": owner,
            "access": [
                {"type": resource_type(name), "name": name, "actions": sorted(actions)}
                for name, actions in sorted(given.items())
            ],
        }
        return Issued(jwt.encode(header, claims, self.key.key, registry=_ES256), moment, given)

    def verify(self, token: str, now: datetime) -> Claims:
        """Raises TokenRejected. No leeway at the end of a token's life, one minute at its beginning."""
        if len(token) > LONGEST_TOKEN:
            raise TokenRejected("the bearer token is longer than any this hub issues")
        try:
            claims = jwt.decode(token, self.key.key, registry=_ES256).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            raise TokenRejected("the bearer token was not issued by this hub") from None
        if claims.get("iss") != self.issuer or claims.get("aud") != self.service:
            raise TokenRejected("the bearer token is for another service")
        found = _read_claims(claims)
        if found.expires <= now:
            raise TokenRejected("the bearer token is over")
        if found.starts > now + CLOCK_SKEW:
            raise TokenRejected("the bearer token is not valid yet")
        return found


def _read_claims(claims: Mapping[str, Any]) -> Claims:
    """The claims of a token with our signature, hence of our shape; anything else is refused all the same."""
    try:
        access = {
            str(entry["name"]): frozenset(map(str, entry["actions"]))
            for entry in claims["access"]
            if entry["type"] == resource_type(str(entry["name"]))
        }
        starts, expires = (datetime.fromtimestamp(claims[name], UTC) for name in ("nbf", "exp"))
        return Claims(str(claims["sub"]), access, starts, expires, str(claims.get("owner", "")))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise TokenRejected("the bearer token has not the claims of this hub") from None


def new_secret() -> str:
    """A fresh secret of 256 random bits, recognisable by its prefix in logs and leaks."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Has the shape of a secret of this hub (and is therefore no password)."""
    return _SECRET.fullmatch(text) is not None


def secret_digest(secret: str) -> str:
    """What is stored of a secret."""
    return sha256(secret.encode()).hexdigest()
