"""Names of the trust wire: repositories under trust (GUN) and roles.

1. A GUN is `<host[:port]>/<repository path>` and is compared byte by byte; it is part of what was signed.
2. A role is root, targets, snapshot, timestamp, or a delegation `targets/...` of `[-a-z0-9_/]`, shorter than 256
   characters, without empty, `.` or `..` parts. A delegation's parent is the name before its last slash.
3. `targets/releases` is docker's convention: it is looked up first, then `targets`, then nothing.
Notary v1: TUF data, roles.
"""

import re

from customhouse.errors import Invalid

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_DELEGATION = re.compile(r"targets(?:/[-a-z0-9_]+)+")

MAXIMUM_GUN = 255
MAXIMUM_ROLE = 255


class InvalidGun(Invalid):
    """Not a name of a repository under trust."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text[:80]!r} is not a repository under trust here: {reason}")
        self.text = text
        self.reason = reason


class InvalidRole(Invalid):
    """Not a role's name."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:80]!r} is not the name of a role")
        self.text = text


class Gun(str):
    """A globally unique name: `localhost:5443/staging/acme/web`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, host: str | None = None) -> "Gun":
        """Raises InvalidGun; with `host` given, also for a repository of any other host."""
        before, slash, repository = text.partition("/")
        if len(text) > MAXIMUM_GUN or not slash or not _HOST.fullmatch(before) or not _REPOSITORY.fullmatch(repository):
            raise InvalidGun(text, "it should read HOST[:PORT]/PATH in lower case")
        if host is not None and before != host:
            raise InvalidGun(text, f"this hub signs for {host} only; tag and push the image as {host}/{repository}")
        return cls(text)

    @property
    def host(self) -> str:
        """The host with its port."""
        return self.partition("/")[0]

    @property
    def repository(self) -> str:
        """The path under which the registry knows it."""
        return self.partition("/")[2]


class RoleName(str):
    """One of the four top roles, or a delegation."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "RoleName":
        """Raises InvalidRole."""
        if text in _TOP or (len(text) <= MAXIMUM_ROLE and _DELEGATION.fullmatch(text)):
            return cls(text)
        raise InvalidRole(text)

    @property
    def is_delegation(self) -> bool:
        """Is it below targets?"""
        return self.startswith("targets/")

    @property
    def has_targets(self) -> bool:
        """Does its file list targets?"""
        return self == "targets" or self.is_delegation

    @property
    def parent(self) -> "RoleName":
        """The role that delegates to this one; only for delegations."""
        return RoleName(self.rpartition("/")[0])

    @property
    def depth(self) -> int:
        """1 for top roles, 2 for `targets/alice`."""
        return self.count("/") + 1


_TOP = ("root", "targets", "snapshot", "timestamp")
ROOT = RoleName("root")
TARGETS = RoleName("targets")
SNAPSHOT = RoleName("snapshot")
TIMESTAMP = RoleName("timestamp")
RELEASES = RoleName("targets/releases")
TOP_ROLES = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
LOOKUP_ORDER = (RELEASES, TARGETS)
