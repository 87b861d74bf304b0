"""Who is it: from names, passwords and secrets to a principal with the rights of this moment.

1. Every answer is looked up anew: a removed token, a disabled user or a lost membership counts at the next request
   (A2). What outlives it is a registry token of five minutes at most.
2. A wrong name, a wrong password and a wrong secret are one answer, at one cost.
3. Passwords are compared outside any transaction; a secret is found by its SHA-256.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from customhouse.accounts import access, throttle
from customhouse.accounts.passwords import Passwords
from customhouse.accounts.people import ANONYMOUS, Principal, User
from customhouse.accounts.store import AccountsStore, Session, SessionKind
from customhouse.accounts.throttle import Throttle
from customhouse.accounts.tokens import Issued, Scope, TokenSigner, is_secret, new_secret, secret_digest
from customhouse.audit import Audit
from customhouse.errors import Denied, Unauthenticated

LOGIN_LIFETIME = timedelta(hours=12)
REFRESH_LIFETIME = timedelta(days=90)
MOST_SESSIONS = 100
_LOGIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,129}")


class WrongCredentials(Unauthenticated):
    """The name, the password or the secret is wrong; which of them is not said."""

    def __init__(
        self,
        message: str = "wrong user name or password",
        hint: str = "Check both; a token's user name is <publisher>-<name>.",
    ) -> None:
        super().__init__(message, hint=hint)


class SecretOver(WrongCredentials):
    """A secret of ours that opens nothing: its session ended, its token was revoked, or it was never given out."""

    def __init__(self) -> None:
        super().__init__(
            "this login or access token is unknown, over or revoked",
            "Log in again with `customhouse login` or `docker login`; an owner makes a new access token.",
        )


class NotSignedIn(Unauthenticated):
    """Something that needs a name was asked without one, or with a session that is over."""

    def __init__(self, why: str = "sign in first") -> None:
        super().__init__(why, hint="Run `customhouse login`, or `docker login` for docker.")


class TokenExpired(Unauthenticated):
    """The right secret of an access token whose time is over."""

    def __init__(self, username: str, expired: datetime) -> None:
        super().__init__(
            f"the access token {username} expired on {expired:%Y-%m-%d}",
            hint="Make a new one: `customhouse token create`.",
        )
        self.username = username


class AccountDisabled(Denied):
    """The right password or secret, of somebody who may not use it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the account {name} is disabled", hint="Ask an administrator of this hub.")
        self.name = name


@dataclass(frozen=True)
class LoginSession:
    """A fresh login of the command line: the secret is shown this once."""

    secret: str = field(repr=False)
    user: User
    expires: datetime


class Authentication:
    """Passwords, secrets, sessions, and registry tokens made out of them."""

    def __init__(
        self,
        store: AccountsStore,
        audit: Audit,
        signer: TokenSigner,
        passwords: Passwords,
        clock: Callable[[], datetime],
        anonymous_pull: bool = True,
    ) -> None:
        self.store = store
        self.audit = audit
        self.signer = signer
        self.passwords = passwords
        self.clock = clock
        self.anonymous_pull = anonymous_pull
        self._throttle = Throttle()
        self.others_count = False
        """Do other processes take logins of the same people?"""

    def authenticate(self, username: str, password: str, address: str = "") -> Principal:
        """A user by password or login session, an access token by its secret.

        `address` is the client's, for the throttle. Raises WrongCredentials, Throttled, TokenExpired, AccountDisabled.
        """
        if is_secret(password):
            with self.store.read() as tx:
                principal = self._principal_of_secret(tx, password)
            if principal.name != username:
                raise WrongCredentials
            return principal
        return self._user_by_password(username, password, address).principal()

    def principal_of(self, authorization: str | None, address: str = "") -> Principal:
        """Who sent this Authorization header: Basic name:password, Bearer ch_…, or nobody (None).

        Raises what `authenticate` raises.
        """
        if authorization is None:
            return ANONYMOUS
        name, password = credentials(authorization)
        if name:
            return self.authenticate(name, password, address)
        with self.store.read() as tx:
            return self._principal_of_secret(tx, password)

    def allowed(self, principal: Principal, repository: str) -> frozenset[str]:
        """The table of access.py under this hub's settings."""
        return access.allowed(principal, repository, anonymous_pull=self.anonymous_pull)

    def login(self, authorization: str | None, address: str = "") -> LoginSession:
        """A session of 12 hours for name and password (Basic). A session does not prolong itself."""
        name, password = credentials(authorization) if authorization else ("", "")
        if not name:
            raise NotSignedIn("send your name and password (Basic) to log in")
        user = self._user_by_password(name, password, address)
        secret, expires = self._open("login", user.principal(), LOGIN_LIFETIME)
        return LoginSession(secret, user, expires)

    def logout(self, authorization: str | None) -> None:
        """End the session that this header carries."""
        kind, _, secret = (authorization or "").partition(" ")
        with self.store.write() as tx:
            login = self.store.remove_session(tx, secret_digest(secret.strip())) if kind.lower() == "bearer" else None
            if login is None:
                raise NotSignedIn("there is no such login")
            self.audit.append(tx, actor=login, action="session.end", subject=login, now=self.clock())

    def issue_registry_token(self, principal: Principal | None, scopes: Iterable[Scope]) -> Issued:
        """A bearer token for what of the scopes this principal (None: nobody) may do now; that may be nothing."""
        who = principal or ANONYMOUS
        given: dict[str, frozenset[str]] = {}
        for scope in scopes:
            if scope.known:
                rights = access.granted(scope.actions, self.allowed(who, scope.name))
                given[scope.name] = given.get(scope.name, frozenset()) | rights
        return self.signer.issue(who.name, given, self.clock(), owner=who.owner)

    def issue_refresh_token(self, principal: Principal, password: str) -> str | None:
        """What docker keeps instead of the password: 90 days, of no use once the login is gone.

        None for a login session's secret: twelve hours do not become ninety days.
        """
        if principal.kind == "user" and is_secret(password):
            return None
        return self._open("refresh", principal, REFRESH_LIFETIME)[0]

    def refresh(self, secret: str) -> Principal:
        """The login behind a refresh token, as it is now. Raises NotSignedIn, TokenExpired, AccountDisabled."""
        with self.store.read() as tx:
            session = (
                self.store.session(tx, secret_digest(secret), "refresh", self.clock()) if is_secret(secret) else None
            )
            if session is None:
                raise NotSignedIn("the refresh token is unknown or over: log in again")
            return self._principal_of_login(tx, session.login)

    def _user_by_password(self, name: str, password: str, address: str) -> User:
        self._throttle.attempt(name, address, self.clock())
        known, client = _LOGIN_NAME.fullmatch(name) is not None, throttle.client(name, address)
        with self.store.read() as tx:
            failed = self.store.failures(tx, client) if self.others_count else None
            if failed:
                throttle.require(throttle.refilled(*failed, self.clock()))
            stored = self.store.password_hash(tx, name) if known else None
            user = self.store.user(tx, name) if known else None
        if not self.passwords.verify(stored, password) or user is None:
            if self.others_count:
                self._count_failure(client)
            raise WrongCredentials
        self._throttle.succeeded(name, address)
        if failed:
            with self.store.write() as tx:
                self.store.forget_failures(tx, client)
        if user.disabled:
            raise AccountDisabled(name)
        return user

    def _count_failure(self, client: str) -> None:
        now = self.clock()
        with self.store.write() as tx:
            self.store.lock_failures(tx)
            failed = self.store.failures(tx, client)
            left = throttle.refilled(*failed, now) if failed else float(throttle.BURST)
            over = now - timedelta(seconds=throttle.BURST * throttle.SECONDS_PER_ATTEMPT)
            self.store.set_failures(tx, client, max(0.0, left - 1), now, over)

    def _open(self, kind: SessionKind, principal: Principal, lifetime: timedelta) -> tuple[str, datetime]:
        now = self.clock()
        secret, expires = new_secret(), now + lifetime
        with self.store.write() as tx:
            self.store.lock(tx)
            self._principal_of_login(tx, principal.name)  # still there? it was authenticated a moment ago
            session = Session(kind, principal.name, expires)
            self.store.add_session(tx, session, secret_digest(secret), now, MOST_SESSIONS)
            detail = {"kind": kind, "expires": expires.isoformat()}
            self.audit.append(
                tx, actor=principal.name, action="session.open", subject=principal.name, detail=detail, now=now
            )
        return secret, expires

    def _principal_of_secret(self, tx: Connection, secret: str) -> Principal:
        digest = secret_digest(secret)
        token = self.store.token_of_secret(tx, digest)
        if token is not None:
            return self._principal_of_login(tx, token.username)
        session = self.store.session(tx, digest, "login", self.clock())
        if session is None:
            raise SecretOver
        return self._principal_of_login(tx, session.login)

    def _principal_of_login(self, tx: Connection, login: str) -> Principal:
        token = self.store.token(tx, login)
        if token is not None and token.expires is not None and token.expired(self.clock()):
            raise TokenExpired(login, token.expires)
        user = self.store.user(tx, token.owner if token else login)
        if user is None:
            raise WrongCredentials
        if user.disabled:
            raise AccountDisabled(user.name)
        return token.principal(user) if token else user.principal()


def credentials(authorization: str) -> tuple[str, str]:
    """Name and password of an Authorization header: Basic (RFC 7617), or Bearer ch_… (no name).

    What cannot be read is wrong, not invalid. Raises WrongCredentials, NotSignedIn.
    """
    kind, _, rest = authorization.partition(" ")
    if kind.lower() == "bearer" and is_secret(rest.strip()):
        return "", rest.strip()
    if kind.lower() != "basic":
        raise NotSignedIn("the Authorization header holds neither a name and password nor a login of this hub")
    try:
        name, colon, password = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeError, ValueError):
        raise WrongCredentials from None
    if not colon or not name:
        raise WrongCredentials
    return name, password
