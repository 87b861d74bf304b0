"""Who asks: roles, names, and the principal every door works with.

1. A user has one role. An access token never has more than its owner has now, and never more than a publisher
   has: no machine secret administers or certifies (A2).
2. Names fit the Notary role grammar, because docker makes a role `targets/<user>` out of them; a publisher's name
   is a repository component as well (OCI distribution spec, "Pulling manifests").
3. Users and tokens share one name space, since both log in by name.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from customhouse.errors import Invalid

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:_{1,2}|-+)[a-z0-9]+)*")
RESERVED = frozenset({"staging", "quarantine", "v2", "token", "api"})
_RESERVED_FOR_PEOPLE = RESERVED | {"hub", "anonymous", "customhouse"}

TokenScope = Literal["pull", "push"]


class InvalidName(Invalid):
    """`name` cannot name a `what` ("user", "publisher" or "token")."""

    def __init__(self, what: str, name: str, why: str) -> None:
        super().__init__(f"{name[:80]!r} cannot name a {what}: {why}", hint="For example: acme-web.")
        self.what = what
        self.name = name


class InvalidRole(Invalid):
    """`role` is none of the roles."""

    def __init__(self, role: str) -> None:
        super().__init__(f"{role[:80]!r} is not a role", hint=f"Roles: {', '.join(Role)}.")
        self.role = role


class InvalidTokenScope(Invalid):
    """A token may be given pull, or push (with which goes pull), and nothing else."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"{scope[:80]!r} is not a token scope", hint="Give pull or push.")
        self.scope = scope


class Role(StrEnum):
    """What a user is to the hub."""

    ADMINISTRATOR = "administrator"
    CERTIFIER = "certifier"
    PUBLISHER = "publisher"
    CONSUMER = "consumer"

    @classmethod
    def parse(cls, text: str) -> "Role":
        """Raises InvalidRole."""
        try:
            return cls(text)
        except ValueError:
            raise InvalidRole(text) from None

    @property
    def publishes(self) -> bool:
        """May be a member of a publisher. A certifier is none: who judges does not push."""
        return self in (Role.ADMINISTRATOR, Role.PUBLISHER)


def parse_user_name(text: str) -> str:
    """A user's name, checked; raises InvalidName."""
    return _parse_name("user", text, _RESERVED_FOR_PEOPLE)


def parse_token_name(text: str) -> str:
    """The own part of a token's name (its user name is `<publisher>-<name>`); raises InvalidName."""
    return _parse_name("token", text, frozenset())


def parse_publisher_name(text: str) -> str:
    """A publisher's name, which is also the first component of its official repositories; raises InvalidName."""
    name = _parse_name("publisher", text, RESERVED)
    if not _COMPONENT.fullmatch(name):
        raise InvalidName("publisher", text, "a repository name may not end in, or mix, its separators")
    return name


def _parse_name(what: str, text: str, reserved: frozenset[str]) -> str:
    if not NAME.fullmatch(text):
        raise InvalidName(what, text, "it needs 1 to 63 of a-z 0-9 _ - and starts with a letter or digit")
    if text in reserved:
        raise InvalidName(what, text, "the hub keeps this name for itself")
    return text


def parse_token_scope(words: list[str]) -> frozenset[str]:
    """["push"] -> {"pull", "push"}: docker cannot push what it may not look at. Raises InvalidTokenScope."""
    if not words:
        raise InvalidTokenScope("")
    for word in words:
        if word not in ("pull", "push"):
            raise InvalidTokenScope(word)
    return frozenset(words) | {"pull"}


@dataclass(frozen=True)
class Principal:
    """Somebody who asks for something, with the rights of this moment.

    `publishers` are the namespaces it works for; `scope` limits a token (None: no limit beyond the role);
    `owner` is the person behind it, the one whom "author and approver differ" is about.
    """

    name: str
    kind: Literal["user", "token", "anonymous", "hub"]
    role: Role
    publishers: frozenset[str] = frozenset()
    scope: frozenset[str] | None = None
    owner: str = ""

    @property
    def anonymous(self) -> bool:
        """Nobody signed in."""
        return self.kind == "anonymous"

    @property
    def administers(self) -> bool:
        """May change users, publishers and everybody's tokens."""
        return self.role is Role.ADMINISTRATOR and self.kind in ("user", "hub")

    @property
    def certifies(self) -> bool:
        """May decide about submissions."""
        return self.role in (Role.CERTIFIER, Role.ADMINISTRATOR) and self.kind in ("user", "hub")

    def works_for(self, publisher: str, scope: TokenScope = "push") -> bool:
        """May act for a publisher: a member, or an administrator in its stead; a token within its scope."""
        if self.scope is not None and scope not in self.scope:
            return False
        return self.administers or (self.role.publishes and publisher in self.publishers)


ANONYMOUS = Principal(name="", kind="anonymous", role=Role.CONSUMER)
HUB = Principal(name="hub", kind="hub", role=Role.ADMINISTRATOR, owner="hub")


@dataclass(frozen=True)
class User:
    """A person's account; the password's hash stays in the store."""

    name: str
    role: Role
    disabled: bool
    created: datetime
    publishers: tuple[str, ...] = ()

    def principal(self) -> Principal:
        """This user as one who asks."""
        return Principal(
            name=self.name, kind="user", role=self.role, publishers=frozenset(self.publishers), owner=self.name
        )


@dataclass(frozen=True)
class Publisher:
    """A namespace: who may push to staging/<name>/… and whose images appear as <name>/…."""

    name: str
    members: tuple[str, ...]
    created: datetime


@dataclass(frozen=True)
class AccessToken:
    """A secret for a machine, without the secret. `publisher` None: it reads official images only."""

    username: str
    name: str
    publisher: str | None
    owner: str
    scope: frozenset[str]
    created: datetime
    expires: datetime | None

    def principal(self, owner: User) -> Principal:
        """The intersection of what it was given and what its owner may do now (A2)."""
        may = owner.principal()
        publishers = frozenset({self.publisher}) if self.publisher and may.works_for(self.publisher) else frozenset()
        return Principal(
            name=self.username,
            kind="token",
            role=Role.PUBLISHER if publishers else Role.CONSUMER,
            publishers=publishers,
            scope=self.scope,
            owner=owner.name,
        )

    def expired(self, now: datetime) -> bool:
        """Its time is over."""
        return self.expires is not None and self.expires <= now
