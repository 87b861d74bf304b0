"""The people of a hub: users, publishers, members and access tokens, and every change of them.

1. Each change checks who asks, is serialised with the others, and is an audit entry in its own transaction (A1).
2. There is always an administrator who can log in.
3. Disabling a user, removing one, or a new password ends the sessions; the first two end the tokens as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection

from customhouse.accounts.authentication import Authentication, NotSignedIn
from customhouse.accounts.people import (
    HUB,
    AccessToken,
    Principal,
    Publisher,
    Role,
    User,
    parse_publisher_name,
    parse_token_name,
    parse_token_scope,
    parse_user_name,
)
from customhouse.accounts.tokens import new_secret, secret_digest
from customhouse.errors import Conflict, Denied, Invalid, NotFound

TOKEN_LIFETIME = timedelta(days=90)
SHORTEST_TOKEN_LIFETIME = timedelta(minutes=1)
LONGEST_TOKEN_LIFETIME = timedelta(days=5 * 366)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,129}")


class NotAllowed(Denied):
    """This principal may not make this change."""

    def __init__(self, who: Principal, what: str) -> None:
        super().__init__(f"{who.name} may not {what}", hint="Ask an administrator of this hub.")


class NoSuch(NotFound):
    """There is no user, publisher or token of that name that the caller may see."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"there is no {what} {name[:130]!r}")
        self.what = what
        self.name = name


class NameTaken(Conflict):
    """Users and tokens log in by name: each name is one of them."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"{name} is already the name of a {what}", hint="Choose another name.")
        self.name = name


class LastAdministrator(Conflict):
    """The change would leave nobody who can administer."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is the last administrator", hint="Make somebody else administrator first.")
        self.name = name


class UnfitMember(Conflict):
    """A user whose role does not publish."""

    def __init__(self, user: User) -> None:
        super().__init__(
            f"{user.name} is a {user.role} and cannot be a member of a publisher",
            hint="Members have the role publisher: who certifies or consumes does not push.",
        )


class UnfitExpiry(Invalid):
    """A token's life is too short or too long."""

    def __init__(self) -> None:
        super().__init__("a token lives between one minute and five years", hint="Leave it out for 90 days.")


@dataclass(frozen=True)
class NewToken:
    """A token just made; its secret is shown this once."""

    token: AccessToken
    secret: str = field(repr=False)


class AccountsService(Authentication):
    """Everything about people: who it is (inherited), and changing who there is."""

    # Users ------------------------------------------------------------------------------------------------------

    def add_administrator_if_none(self, password: str, name: str = "admin") -> bool:
        """First start: True if an administrator was made, False if the hub has one, who may just have been made by
        another host."""

        def known() -> bool:
            with self.store.read() as tx:
                return bool(self.store.administrators(tx))

        if known():
            return False
        try:
            self.add_user(HUB, name, Role.ADMINISTRATOR, password)
        except NameTaken:
            if known():
                return False
            raise
        return True

    def add_user(self, actor: Principal, name: str, role: Role | str, password: str) -> User:
        """Raises NotAllowed, InvalidName, InvalidRole, UnfitPassword, NameTaken."""
        _require_administrator(actor, "add users")
        now = self.clock()
        user = User(parse_user_name(name), Role.parse(role), disabled=False, created=now)
        hashed = self.passwords.hash(password)
        with self.store.write() as tx:
            self.store.lock(tx)
            self._require_free(tx, user.name)
            self.store.add_user(tx, user, hashed)
            self._record(tx, actor, "user.add", user.name, {"role": user.role.value})
        return user

    def users(self, actor: Principal, after: str = "", limit: int = 100) -> list[User]:
        """Users by name."""
        _require_administrator(actor, "see the users")
        with self.store.read() as tx:
            return self.store.users(tx, after, limit)

    def user(self, actor: Principal, name: str) -> User:
        """One user: an administrator sees all, everybody himself."""
        if not actor.administers and (actor.kind != "user" or actor.name != name):
            raise NotAllowed(_signed_in(actor), "see this user")
        with self.store.read() as tx:
            return self._user(tx, name)

    def set_role(self, actor: Principal, name: str, role: Role | str) -> User:
        """A role that does not publish ends the memberships. Raises LastAdministrator."""
        _require_administrator(actor, "change roles")
        new = Role.parse(role)
        with self.store.write() as tx:
            self.store.lock(tx)
            user = self._user(tx, name)
            if user.role is Role.ADMINISTRATOR and new is not Role.ADMINISTRATOR:
                self._require_other_administrator(tx, user)
            left = () if new.publishes else user.publishers
            for publisher in left:
                self.store.remove_member(tx, publisher, name)
            self.store.change_user(tx, name, role=new.value)
            detail = {"from": user.role.value, "to": new.value, "left": list(left)}
            self._record(tx, actor, "user.role", name, detail)
            return self._user(tx, name)

    def set_password(
        self, actor: Principal, name: str, password: str, current: str | None = None, address: str = ""
    ) -> None:
        """An administrator for anybody, everybody for himself with the current password. Ends all sessions."""
        if not actor.administers:
            if actor.kind != "user" or actor.name != name:
                raise NotAllowed(_signed_in(actor), "set this password")
            self._user_by_password(name, current or "", address)
        hashed = self.passwords.hash(password)
        with self.store.write() as tx:
            self.store.lock(tx)
            self._user(tx, name)
            self.store.change_user(tx, name, password_hash=hashed)
            ended = self.store.remove_sessions(tx, name)
            self._record(tx, actor, "user.password", name, {"sessions_ended": ended})

    def set_disabled(self, actor: Principal, name: str, disabled: bool) -> User:
        """Disabling ends sessions and tokens for good; enabling gives back the login. Raises LastAdministrator."""
        _require_administrator(actor, "disable users")
        with self.store.write() as tx:
            self.store.lock(tx)
            user = self._user(tx, name)
            if user.disabled != disabled:
                detail = {}
                if disabled:
                    self._require_other_administrator(tx, user)
                    detail = self._end_everything(tx, name)
                self.store.change_user(tx, name, disabled=disabled)
                self._record(tx, actor, "user.disable" if disabled else "user.enable", name, detail)
            return self._user(tx, name)

    def remove_user(self, actor: Principal, name: str) -> None:
        """The user, his memberships, sessions and tokens. Raises LastAdministrator."""
        _require_administrator(actor, "remove users")
        with self.store.write() as tx:
            self.store.lock(tx)
            self._require_other_administrator(tx, self._user(tx, name))
            detail = self._end_everything(tx, name)
            self.store.remove_user(tx, name)
            self._record(tx, actor, "user.remove", name, detail)

    def end_sessions(self, actor: Principal, name: str) -> int:
        """Log a user out everywhere (an administrator, or the user); how many sessions there were."""
        if not actor.administers and (actor.kind != "user" or actor.name != name):
            raise NotAllowed(_signed_in(actor), "end these sessions")
        with self.store.write() as tx:
            self.store.lock(tx)
            self._user(tx, name)
            ended = self.store.remove_sessions(tx, name)
            self._record(tx, actor, "session.end", name, {"sessions_ended": ended})
        return ended

    # Publishers -------------------------------------------------------------------------------------------------

    def add_publisher(self, actor: Principal, name: str, members: list[str] | None = None) -> Publisher:
        """A namespace, with its first members. Raises NameTaken, InvalidName, NoSuch, UnfitMember."""
        _require_administrator(actor, "add publishers")
        parse_publisher_name(name)
        with self.store.write() as tx:
            self.store.lock(tx)
            if self.store.publisher(tx, name):
                raise NameTaken("publisher", name)
            self.store.add_publisher(tx, name, self.clock())
            self._record(tx, actor, "publisher.add", name, {})
            for user in dict.fromkeys(members or ()):
                self._add_member(tx, actor, name, user)
            return self._publisher(tx, name)

    def publishers(self, actor: Principal, after: str = "", limit: int = 100) -> list[Publisher]:
        """Administrators and certifiers see all, others their own."""
        _signed_in(actor)
        if not actor.certifies and actor.kind != "user":
            with self.store.read() as tx:
                own = [self.store.publisher(tx, name) for name in sorted(actor.publishers) if name > after]
            return [one for one in own if one][:limit]
        with self.store.read() as tx:
            return self.store.publishers(tx, after, limit, None if actor.certifies else actor.name)

    def publisher(self, actor: Principal, name: str) -> Publisher:
        """One namespace. Raises NoSuch, also where the caller may not see it."""
        if not _signed_in(actor).certifies and name not in actor.publishers:
            raise NoSuch("publisher", name)
        with self.store.read() as tx:
            return self._publisher(tx, name)

    def add_member(self, actor: Principal, publisher: str, user: str) -> Publisher:
        """A repeat changes nothing. Raises NoSuch, UnfitMember."""
        _require_administrator(actor, "add members")
        with self.store.write() as tx:
            self.store.lock(tx)
            if user not in self._publisher(tx, publisher).members:
                self._add_member(tx, actor, publisher, user)
            return self._publisher(tx, publisher)

    def remove_member(self, actor: Principal, publisher: str, user: str) -> Publisher:
        """The user's tokens for this publisher lose their rights at once. Raises NoSuch."""
        _require_administrator(actor, "remove members")
        with self.store.write() as tx:
            self.store.lock(tx)
            if user not in self._publisher(tx, publisher).members:
                raise NoSuch(f"member of {publisher}", user)
            self.store.remove_member(tx, publisher, user)
            self._record(tx, actor, "publisher.member.remove", publisher, {"user": user})
            return self._publisher(tx, publisher)

    # Access tokens ----------------------------------------------------------------------------------------------

    def create_token(
        self, actor: Principal, name: str, publisher: str | None, scope: list[str], lifetime: timedelta | None = None
    ) -> NewToken:
        """A secret for a machine, owned by the user who asks; 90 days unless `lifetime` says else.

        `publisher` None: it pulls official images, and its user name begins with the owner's.
        Raises NotAllowed, InvalidName, InvalidTokenScope, UnfitExpiry, NameTaken.
        """
        if _signed_in(actor).kind != "user":
            raise NotAllowed(actor, "make tokens: only a user who is signed in may")
        given = parse_token_scope(scope)
        lifetime = TOKEN_LIFETIME if lifetime is None else lifetime
        if not SHORTEST_TOKEN_LIFETIME <= lifetime <= LONGEST_TOKEN_LIFETIME:
            raise UnfitExpiry
        username = f"{publisher or actor.name}-{parse_token_name(name)}"
        now, secret = self.clock(), new_secret()
        token = AccessToken(username, name, publisher, actor.name, given, now, now + lifetime)
        with self.store.write() as tx:
            self.store.lock(tx)
            # The rights of this moment, not those the request came with.
            owner = self._principal_of_login(tx, actor.name)
            if publisher is None and "push" in given:
                raise NotAllowed(owner, "make a token that pushes without naming a publisher")
            if publisher is not None:
                if not owner.works_for(publisher):
                    raise NotAllowed(owner, f"make tokens for {publisher[:64]}")
                self._publisher(tx, publisher)
            self._require_free(tx, username)
            self.store.add_token(tx, token, secret_digest(secret))
            detail = {"publisher": publisher, "scope": sorted(given), "expires": (now + lifetime).isoformat()}
            self._record(tx, actor, "token.create", username, detail)
        return NewToken(token, secret)

    def tokens(self, actor: Principal, after: str = "", limit: int = 100) -> list[AccessToken]:
        """One's own; an administrator sees all."""
        if _signed_in(actor).kind == "token":
            raise NotAllowed(actor, "list tokens")
        with self.store.read() as tx:
            return self.store.tokens(tx, after, limit, None if actor.administers else actor.name)

    def revoke_token(self, actor: Principal, username: str) -> None:
        """Its owner or an administrator; it is refused from the next request on. Raises NoSuch."""
        _signed_in(actor)
        with self.store.write() as tx:
            self.store.lock(tx)
            token = self.store.token(tx, username) if _NAME.fullmatch(username) else None
            mine = token is not None and actor.kind == "user" and token.owner == actor.name
            if token is None or not (mine or actor.administers):
                raise NoSuch("token", username)
            self.store.remove_token(tx, username)
            self._record(tx, actor, "token.revoke", username, {"owner": token.owner})

    # Inside a transaction ---------------------------------------------------------------------------------------

    def _user(self, tx: Connection, name: str) -> User:
        user = self.store.user(tx, name) if _NAME.fullmatch(name) else None
        if user is None:
            raise NoSuch("user", name)
        return user

    def _publisher(self, tx: Connection, name: str) -> Publisher:
        publisher = self.store.publisher(tx, name) if _NAME.fullmatch(name) else None
        if publisher is None:
            raise NoSuch("publisher", name)
        return publisher

    def _add_member(self, tx: Connection, actor: Principal, publisher: str, name: str) -> None:
        user = self._user(tx, name)
        if not user.role.publishes:
            raise UnfitMember(user)
        self.store.add_member(tx, publisher, name)
        self._record(tx, actor, "publisher.member.add", publisher, {"user": name})

    def _require_free(self, tx: Connection, name: str) -> None:
        kind = self.store.login_kind(tx, name)
        if kind is not None:
            raise NameTaken(kind, name)

    def _require_other_administrator(self, tx: Connection, user: User) -> None:
        if self.store.administrators(tx) == [user.name]:
            raise LastAdministrator(user.name)

    def _end_everything(self, tx: Connection, name: str) -> dict[str, object]:
        tokens = self.store.token_names_of(tx, name)
        for token in tokens:
            self.store.remove_token(tx, token)
        return {"tokens_revoked": tokens, "sessions_ended": self.store.remove_sessions(tx, name)}

    def _record(
        self, tx: Connection, actor: Principal, action: str, subject: str, detail: Mapping[str, object]
    ) -> None:
        self.audit.append(tx, actor=actor.name, action=action, subject=subject, detail=dict(detail), now=self.clock())


def _signed_in(actor: Principal) -> Principal:
    if actor.anonymous:
        raise NotSignedIn
    return actor


def _require_administrator(actor: Principal, what: str) -> None:
    if not _signed_in(actor).administers:
        raise NotAllowed(actor, what)
