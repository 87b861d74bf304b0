"""Lists, shows and deletes repositories, by the rights of who asks.

1. A repository that one may not read does not exist, also in a list.
2. Only staging is deleted whole: what is official goes by withdrawal, what is in quarantine by the hub.
3. What a submission still has to verify is kept; what is verified is pinned in quarantine and needs staging no more.
   Trust metadata stays: what the hub has seen of a publisher is remembered (invariant T4).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from customhouse import faults
from customhouse.accounts.access import Kind, allowed, kind_of
from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.certification.service import CertificationService
from customhouse.certification.submission import State
from customhouse.errors import Conflict, Denied
from customhouse.oci.digest import Digest
from customhouse.registry.content import RepositoryUnknown
from customhouse.registry.keeper import Keeper, Let
from customhouse.registry.rules import Used
from customhouse.registry.service import RegistryService

if TYPE_CHECKING:
    from sqlalchemy import Connection

UNPINNED = (State.RECEIVED, State.VERIFYING, State.AWAITING_ENROLMENT)
_AT_ONCE, _MOST_LOOKS = 500, 20
_MOST_TOLD, _SECONDS = 200, 5.0


@dataclass(frozen=True)
class Repository:
    """What a repository holds; `size` in bytes of distinct blobs."""

    name: str
    kind: Kind
    tags: int
    manifests: int
    blobs: int
    size: int


class RepositoriesService:
    """The repositories of one hub."""

    def __init__(
        self, registry: RegistryService, certification: CertificationService, audit: Audit,
        clock: Callable[[], datetime], anonymous_pull: bool, publisher: Callable[[Principal, str], object],
    ) -> None:  # fmt: skip
        """`publisher` raises where there is none of that name, or who asks may not know of it."""
        self._registry, self._certification, self._audit, self._clock = registry, certification, audit, clock
        self._anonymous_pull, self._publisher = anonymous_pull, publisher
        self._retaining: Iterator[Let | None] | None = None

    def page(self, who: Principal, prefix: str, after: str, limit: int) -> tuple[list[str], str | None]:
        """Names in order, and after which one to go on; a page may be shorter than its limit."""
        found: list[str] = []
        for _ in range(_MOST_LOOKS):
            names = self._registry.repositories(prefix, after=after, limit=_AT_ONCE)
            for name in names:
                after = name
                if "pull" in self._rights(who, name):
                    found.append(name)
                    if len(found) == limit:
                        return found, after
            if len(names) < _AT_ONCE:
                return found, None
        return found, after

    def show(self, who: Principal, name: str) -> Repository:
        """Raises RepositoryUnknown."""
        kind = kind_of(name)
        if kind is None or "pull" not in self._rights(who, name):
            raise RepositoryUnknown(name)
        return Repository(name, kind, *self._registry.amount_of(name))

    def delete(self, who: Principal, name: str) -> Repository:
        """Let go of a repository in staging; what no other one holds is collected an hour later. Returns what it held.

        Raises RepositoryUnknown, Denied, Conflict.
        """
        held = self.show(who, name)
        if held.kind is Kind.OFFICIAL:
            hint = "Withdraw its tags: `customhouse submission withdraw`."
            raise Denied("what is official is withdrawn, not deleted", hint=hint)
        if "delete" not in self._rights(who, name):
            raise Denied(f"you may not delete {name}")
        with self._certification.transaction() as tx:
            for row in self._certification.in_states(tx, *UNPINNED):
                if row.repository == name:
                    hint = "Wait for it, or remove the signature of its tag."
                    raise Conflict(f"the submission {row.id} of {row.tag} has yet to be verified", hint=hint)
            self._registry.delete_repository(tx, name)
            faults.point("repository.deleted")
            detail = {"tags": held.tags, "manifests": held.manifests, "blobs": held.blobs}
            self._audit.append(
                tx, actor=who.name, action="repository.delete", subject=name, detail=detail, now=self._clock()
            )
        return held

    def quota(self, who: Principal, publisher: str) -> Used:
        """What a publisher's staging holds, and may. Raises NotFound."""
        self._publisher(who, publisher)
        return self._registry.rules.used(publisher)

    def set_quota(self, who: Principal, publisher: str, most: int | None) -> Used:
        """Bytes, None for no limit. Raises NotFound, Denied, InvalidRule."""
        self._publisher(who, publisher)
        return self._registry.rules.set_quota(who, publisher, most)

    def wanted(self, tx: "Connection", name: str) -> frozenset[Digest]:
        """What of a repository a submission has yet to verify: retention leaves it."""
        waiting = self._certification.in_states(tx, *UNPINNED)
        return frozenset(row.digest for row in waiting if row.repository == name)

    @property
    def retention(self) -> Keeper:
        """The rules of what staging keeps."""
        return self._registry.retention

    def would_go(self, who: Principal) -> tuple[list[Let], bool]:
        """(what a run would let go of now, is there more?); the first repositories in which something goes."""
        found = list(islice(self.retention.look(who, self.wanted), _MOST_TOLD + 1))
        return found[:_MOST_TOLD], len(found) > _MOST_TOLD

    def let_go(self, who: Principal) -> tuple[list[Let], bool]:
        """Let go of what retention does not keep; (what went, is there more?) after some seconds. Raises Denied."""
        if not who.administers:
            raise Denied("only administrators run retention", hint="The hub runs it by itself.")
        end, gone = time.monotonic() + _SECONDS, []
        for let in self.retention.run(self.wanted):
            gone.append(let)
            if time.monotonic() > end:
                return gone, True
        return gone, False

    def retain(self, seconds: float) -> None:
        """Let go of what retention does not keep, for so long; the next time goes on where this one stopped."""
        end = time.monotonic() + seconds
        self._retaining = self._retaining or self.retention.turns(self.wanted)
        for _ in self._retaining:
            if time.monotonic() > end:
                return
        self._retaining = None

    def _rights(self, who: Principal, name: str) -> frozenset[str]:
        return allowed(who, name, anonymous_pull=self._anonymous_pull)
