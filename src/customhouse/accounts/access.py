"""The one table of who may read and write which repository; the registry and the trust door both obey it.

| repository                   | pull                                    | push, delete                 |
|------------------------------|-----------------------------------------|------------------------------|
| staging/<publisher>/<name>   | its members, administrators             | its members, administrators  |
| quarantine/<submission>      | certifiers, administrators              | nobody: the hub pins         |
| <publisher>/<name>, official | everyone, or all signed in (a setting)  | nobody: a publication        |

1. Anything else (one component, a reserved first component) is no repository and gives no rights.
2. `*` (what the notary client asks for to rotate a key or to delete) is an administrator's, in staging only; a
   member who asks for `*` is given pull, push and delete, which is enough to rotate and not to delete trust data.
3. An administrator stands in for any publisher in staging; what he pushes there has him as its author.
4. `catalog` (docker's scope `registry:catalog:*`) stands for the lists of all repositories: administrators only.
5. An access token has at most pull and push of this, and its own publisher's staging only.
6. Rights in staging are those of the publisher, never of one repository: who may push to one may read its siblings,
   so a mount between them needs no more than the right to push.
"""

import re
from enum import StrEnum

from customhouse.accounts.people import RESERVED, Principal

EVERYTHING = "*"
CATALOG = "catalog"  # one component: no repository can have this name
ACTIONS = frozenset({"pull", "push", "delete", EVERYTHING})
_READ = frozenset({"pull"})
_WORK = frozenset({"pull", "push", "delete"})
_NOTHING: frozenset[str] = frozenset()
# OCI distribution spec, "Pulling manifests": <name>
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_LONGEST = 255


class Kind(StrEnum):
    """What a repository is for."""

    STAGING = "staging"
    QUARANTINE = "quarantine"
    OFFICIAL = "official"


def kind_of(repository: str) -> Kind | None:
    """The kind of a repository (a path without host), or None where there can be none."""
    if len(repository) > _LONGEST or not _REPOSITORY.fullmatch(repository):
        return None
    parts = repository.split("/")
    if parts[0] == "staging":
        return Kind.STAGING if len(parts) >= 3 and parts[1] not in RESERVED else None
    if parts[0] == "quarantine":
        return Kind.QUARANTINE if len(parts) >= 2 else None
    return Kind.OFFICIAL if len(parts) >= 2 and parts[0] not in RESERVED else None


def publisher_of(repository: str) -> str | None:
    """The "acme" of staging/acme/web and of acme/web; None for quarantine and what is no repository."""
    kind = kind_of(repository)
    parts = repository.split("/")
    if kind is Kind.STAGING:
        return parts[1]
    return parts[0] if kind is Kind.OFFICIAL else None


def siblings(one: str, other: str) -> bool:
    """Are both of one publisher's staging?"""
    return kind_of(one) is kind_of(other) is Kind.STAGING and publisher_of(one) == publisher_of(other)


def allowed(principal: Principal, repository: str, *, anonymous_pull: bool) -> frozenset[str]:
    """What `principal` may do in `repository`: a subset of pull, push, delete and `*`."""
    kind = kind_of(repository)
    if kind is Kind.STAGING:
        rights = _in_staging(principal, publisher_of(repository) or "")
    elif kind is Kind.QUARANTINE:
        rights = _READ if principal.certifies else _NOTHING
    elif repository == CATALOG:
        rights = frozenset({EVERYTHING}) if principal.administers else _NOTHING
    elif kind is Kind.OFFICIAL:
        rights = _READ if anonymous_pull or not principal.anonymous else _NOTHING
    else:
        rights = _NOTHING
    return rights if principal.scope is None else rights & principal.scope


def _in_staging(principal: Principal, publisher: str) -> frozenset[str]:
    if principal.administers:
        return ACTIONS
    # A certifier with an old membership is still a certifier: who judges does not push.
    if principal.role.publishes and publisher in principal.publishers:
        return _WORK
    return _NOTHING


def granted(asked: frozenset[str], rights: frozenset[str]) -> frozenset[str]:
    """What of the asked actions is given. To ask for `*` is to ask for all one may do."""
    return rights if EVERYTHING in asked else asked & rights


def why_not_writable(repository: str) -> str | None:
    """A sentence for those who push where nobody pushes, or None where somebody may."""
    kind = kind_of(repository)
    if kind is Kind.STAGING or repository == CATALOG:
        return None
    if kind is Kind.QUARANTINE:
        return "nobody pushes to quarantine: the hub itself pins there what it examines"
    if kind is Kind.OFFICIAL:
        return f"nobody pushes to the official {repository}: push to staging/{repository} and it is certified"
    return f"{repository[:255]!r} is not a repository of this hub: push to staging/<publisher>/<name>"


def who_may(repository: str, action: str) -> str:
    """For those who may not: who may, as the end of a sentence."""
    kind = kind_of(repository)
    if kind is Kind.STAGING:
        publisher = publisher_of(repository)
        if action == EVERYTHING:
            return "administrators alone may: ask one of this hub"
        token = "" if action == "pull" else ", or with a token of it whose scope is push"
        return f"it is private to publisher {publisher}: sign in with `docker login` as a member{token}"
    if kind is Kind.QUARANTINE:
        return "it is the certification team's: sign in with `docker login` as a certifier"
    return "sign in with `docker login` as somebody who may"
