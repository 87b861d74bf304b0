"""Rows of people: users, publishers, members, access tokens and sessions.

1. Of a secret only its SHA-256 is a column, of a password only its argon2 hash.
2. `account_login` holds every name that can log in, users' and tokens' alike: its primary key is the one name space.
3. A session is a login of the command line or a docker refresh token; it names the login it stands for, and whether
   that still exists is looked up at each use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Row,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from customhouse.accounts.people import AccessToken, Publisher, Role, User
from customhouse.db import Store, UtcDateTime, metadata

account_login = Table(
    "account_login",
    metadata,
    Column("name", String(130), primary_key=True),
    Column("kind", String(10), nullable=False),
)
account_user = Table(
    "account_user",
    metadata,
    Column("name", String(130), ForeignKey("account_login.name"), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)
account_publisher = Table(
    "account_publisher",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("created", UtcDateTime, nullable=False),
)
account_member = Table(
    "account_member",
    metadata,
    Column("publisher", String(64), ForeignKey("account_publisher.name"), primary_key=True),
    Column("user", String(130), ForeignKey("account_user.name"), primary_key=True, index=True),
)
account_token = Table(
    "account_token",
    metadata,
    Column("username", String(130), ForeignKey("account_login.name"), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("publisher", String(64), ForeignKey("account_publisher.name")),
    Column("owner", String(130), ForeignKey("account_user.name"), nullable=False, index=True),
    Column("scope", String(20), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
)
account_session = Table(
    "account_session",
    metadata,
    Column("secret_hash", String(64), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("login", String(130), ForeignKey("account_login.name"), nullable=False, index=True),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False, index=True),
)

account_failure = Table(
    "account_failure",
    metadata,
    Column("client", String(64), primary_key=True),  # of a name and an address, hashed: strangers choose both
    Column("attempts_left", Float, nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
)

SessionKind = Literal["login", "refresh"]


@dataclass(frozen=True)
class Session:
    """A secret that stands for a login: `kind` "login" (API) or "refresh" (docker's token door)."""

    kind: str
    login: str
    expires: datetime


class AccountsStore(Store):
    """The tables above; every method works inside the caller's transaction."""

    def lock(self, tx: Connection) -> None:
        """Serialise changes of people: they are rare, and "the last administrator" is about all of them."""
        self._database.lock(tx, "accounts")

    # Names ------------------------------------------------------------------------------------------------------

    def login_kind(self, tx: Connection, name: str) -> str | None:
        """ "user", "token", or None for a free name."""
        return tx.execute(select(account_login.c.kind).where(account_login.c.name == name)).scalar()

    # Failed logins, where several processes take them -----------------------------------------------------------

    def failures(self, tx: Connection, client: str) -> tuple[float, datetime] | None:
        """How many attempts were left, and when."""
        row = tx.execute(select(account_failure).where(account_failure.c.client == client)).one_or_none()
        return (row.attempts_left, row.at) if row else None

    def set_failures(self, tx: Connection, client: str, left: float, now: datetime, over: datetime) -> None:
        """So many are left now; what was counted before `over` is forgotten. The caller holds their lock."""
        tx.execute(delete(account_failure).where((account_failure.c.client == client) | (account_failure.c.at < over)))
        tx.execute(insert(account_failure).values(client=client, attempts_left=left, at=now))

    def forget_failures(self, tx: Connection, client: str) -> None:
        """The right password."""
        tx.execute(delete(account_failure).where(account_failure.c.client == client))

    def lock_failures(self, tx: Connection) -> None:
        """Failures are counted one after the other: whoever counts one also forgets old ones of others."""
        self._database.lock(tx, "failures")

    # Users ------------------------------------------------------------------------------------------------------

    def add_user(self, tx: Connection, user: User, password_hash: str) -> None:
        """A new user; the name is free (the caller holds the lock and has looked)."""
        tx.execute(insert(account_login).values(name=user.name, kind="user"))
        tx.execute(
            insert(account_user).values(
                name=user.name,
                role=user.role.value,
                password_hash=password_hash,
                disabled=user.disabled,
                created=user.created,
            )
        )

    def user(self, tx: Connection, name: str) -> User | None:
        """A user with his publishers."""
        row = tx.execute(select(account_user).where(account_user.c.name == name)).one_or_none()
        return _user(row, self._publishers_of(tx, [name]).get(name, ())) if row else None

    def users(self, tx: Connection, after: str, limit: int) -> list[User]:
        """Users in the order of their names."""
        rows = tx.execute(
            select(account_user).where(account_user.c.name > after).order_by(account_user.c.name).limit(limit)
        ).all()
        publishers = self._publishers_of(tx, [row.name for row in rows])
        return [_user(row, publishers.get(row.name, ())) for row in rows]

    def password_hash(self, tx: Connection, name: str) -> str | None:
        """The argon2 hash of a user's password."""
        return tx.execute(select(account_user.c.password_hash).where(account_user.c.name == name)).scalar()

    def change_user(self, tx: Connection, name: str, **values: Any) -> None:
        """Set role, disabled or password_hash."""
        tx.execute(update(account_user).where(account_user.c.name == name).values(**values))

    def remove_user(self, tx: Connection, name: str) -> None:
        """The user and the memberships; tokens and sessions were ended before."""
        tx.execute(delete(account_member).where(account_member.c.user == name))
        tx.execute(delete(account_user).where(account_user.c.name == name))
        tx.execute(delete(account_login).where(account_login.c.name == name))

    def administrators(self, tx: Connection) -> list[str]:
        """Names of those who may administer now."""
        query = select(account_user.c.name).where(
            account_user.c.role == Role.ADMINISTRATOR.value, account_user.c.disabled.is_(False)
        )
        return list(tx.execute(query.order_by(account_user.c.name)).scalars())

    def _publishers_of(self, tx: Connection, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        rows = tx.execute(
            select(account_member.c.user, account_member.c.publisher)
            .where(account_member.c.user.in_(names))
            .order_by(account_member.c.publisher)
        )
        found: dict[str, tuple[str, ...]] = {}
        for user, publisher in rows:
            found[user] = (*found.get(user, ()), publisher)
        return found

    # Publishers -------------------------------------------------------------------------------------------------

    def add_publisher(self, tx: Connection, name: str, created: datetime) -> None:
        """A new namespace without members."""
        tx.execute(insert(account_publisher).values(name=name, created=created))

    def publisher(self, tx: Connection, name: str) -> Publisher | None:
        """A namespace with its members."""
        found = self._publishers(tx, account_publisher.c.name == name, 1)
        return found[0] if found else None

    def publishers(self, tx: Connection, after: str, limit: int, member: str | None) -> list[Publisher]:
        """Namespaces in the order of their names; `member`: only this user's."""
        condition = account_publisher.c.name > after
        if member is not None:
            own = select(account_member.c.publisher).where(account_member.c.user == member)
            condition = condition & account_publisher.c.name.in_(own)
        return self._publishers(tx, condition, limit)

    def add_member(self, tx: Connection, publisher: str, user: str) -> None:
        """The user is not a member yet (the caller looked)."""
        tx.execute(insert(account_member).values(publisher=publisher, user=user))

    def remove_member(self, tx: Connection, publisher: str, user: str) -> bool:
        """False if the user was no member."""
        gone = delete(account_member).where(account_member.c.publisher == publisher, account_member.c.user == user)
        return tx.execute(gone).rowcount > 0

    def _publishers(self, tx: Connection, condition: Any, limit: int) -> list[Publisher]:
        rows = tx.execute(
            select(account_publisher).where(condition).order_by(account_publisher.c.name).limit(limit)
        ).all()
        members: dict[str, list[str]] = {row.name: [] for row in rows}
        for publisher, user in tx.execute(
            select(account_member.c.publisher, account_member.c.user)
            .where(account_member.c.publisher.in_(list(members)))
            .order_by(account_member.c.user)
        ):
            members[publisher].append(user)
        return [Publisher(row.name, tuple(members[row.name]), row.created) for row in rows]

    # Access tokens ----------------------------------------------------------------------------------------------

    def add_token(self, tx: Connection, token: AccessToken, secret_hash: str) -> None:
        """A new token; its user name is free (the caller looked)."""
        tx.execute(insert(account_login).values(name=token.username, kind="token"))
        tx.execute(
            insert(account_token).values(
                username=token.username,
                name=token.name,
                publisher=token.publisher,
                owner=token.owner,
                scope=",".join(sorted(token.scope)),
                secret_hash=secret_hash,
                created=token.created,
                expires=token.expires,
            )
        )

    def token(self, tx: Connection, username: str) -> AccessToken | None:
        """A token by its user name."""
        row = tx.execute(select(account_token).where(account_token.c.username == username)).one_or_none()
        return _token(row) if row else None

    def token_of_secret(self, tx: Connection, secret_hash: str) -> AccessToken | None:
        """A token by what is stored of its secret."""
        row = tx.execute(select(account_token).where(account_token.c.secret_hash == secret_hash)).one_or_none()
        return _token(row) if row else None

    def tokens(self, tx: Connection, after: str, limit: int, owner: str | None) -> list[AccessToken]:
        """Tokens in the order of their user names; `owner`: only this user's."""
        query = select(account_token).where(account_token.c.username > after)
        if owner is not None:
            query = query.where(account_token.c.owner == owner)
        return [_token(row) for row in tx.execute(query.order_by(account_token.c.username).limit(limit))]

    def remove_token(self, tx: Connection, username: str) -> None:
        """The token, its sessions and its name."""
        self.remove_sessions(tx, username)
        tx.execute(delete(account_token).where(account_token.c.username == username))
        tx.execute(delete(account_login).where(account_login.c.name == username))

    def token_names_of(self, tx: Connection, owner: str) -> list[str]:
        """User names of all tokens of a user."""
        query = select(account_token.c.username).where(account_token.c.owner == owner)
        return list(tx.execute(query.order_by(account_token.c.username)).scalars())

    # Sessions ---------------------------------------------------------------------------------------------------

    def add_session(self, tx: Connection, session: Session, secret_hash: str, now: datetime, most: int) -> None:
        """A new session; those that are over go, and of one login and kind the oldest above `most`."""
        tx.execute(delete(account_session).where(account_session.c.expires <= now))
        same = (account_session.c.login == session.login) & (account_session.c.kind == session.kind)
        kept = select(account_session.c.secret_hash).where(same)
        kept = kept.order_by(account_session.c.created.desc(), account_session.c.secret_hash).limit(most - 1)
        newest = list(tx.execute(kept).scalars())
        tx.execute(delete(account_session).where(same, account_session.c.secret_hash.not_in(newest)))
        tx.execute(
            insert(account_session).values(
                secret_hash=secret_hash,
                kind=session.kind,
                login=session.login,
                created=now,
                expires=session.expires,
            )
        )

    def session(self, tx: Connection, secret_hash: str, kind: SessionKind, now: datetime) -> Session | None:
        """A session that is not over."""
        row = tx.execute(
            select(account_session).where(
                account_session.c.secret_hash == secret_hash,
                account_session.c.kind == kind,
                account_session.c.expires > now,
            )
        ).one_or_none()
        return Session(row.kind, row.login, row.expires) if row else None

    def remove_session(self, tx: Connection, secret_hash: str) -> str | None:
        """End one session; the login it stood for, or None if there was none."""
        login = select(account_session.c.login).where(account_session.c.secret_hash == secret_hash)
        name = tx.execute(login).scalar()
        tx.execute(delete(account_session).where(account_session.c.secret_hash == secret_hash))
        return name

    def remove_sessions(self, tx: Connection, login: str) -> int:
        """End all sessions of a login; how many there were."""
        return tx.execute(delete(account_session).where(account_session.c.login == login)).rowcount

    def count_users(self, tx: Connection) -> int:
        """How many users there are, the disabled included."""
        return tx.execute(select(func.count()).select_from(account_user)).scalar_one()


def _user(row: Row[Any], publishers: tuple[str, ...]) -> User:
    return User(row.name, Role.parse(row.role), row.disabled, row.created, publishers)


def _token(row: Row[Any]) -> AccessToken:
    return AccessToken(
        row.username,
        row.name,
        row.publisher,
        row.owner,
        frozenset(row.scope.split(",")),
        row.created,
        row.expires,
    )
