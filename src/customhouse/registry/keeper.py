"""Retention: rules for staging, set by administrators, and what they let go of.

1. Administrators alone set rules; each change is an audit entry in its transaction, and so is each run in a repository.
2. What goes is worked out under the repository's lock, in the transaction that lets go of it; of much, a part at a
   time, so that pushes come in between. A repository in which nothing goes is only read.
3. A locked tag stays, and so does what `wanted` names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.errors import Denied, NotFound, TooLarge
from customhouse.oci.digest import Digest
from customhouse.registry.following import Following
from customhouse.registry.retention import Going, RetentionRule, going, retention_of
from customhouse.registry.rules import locked
from customhouse.registry.store import RegistryStore

MOST_RULES, AT_ONCE = 1000, 200
_SHOWN, _PAGE = 100, 500
Wanted = Callable[[Connection, str], frozenset[Digest]]
"""What of a repository must stay, as a transaction sees it."""


@dataclass(frozen=True)
class Let:
    """What a repository lets go of."""

    repository: str
    tags: tuple[str, ...]
    manifests: tuple[Digest, ...]

    def as_json(self) -> dict[str, object]:
        """Names and values."""
        return {"repository": self.repository, "tags": list(self.tags), "manifests": list(map(str, self.manifests))}


class Keeper:
    """The retention of one registry."""

    def __init__(
        self, store: RegistryStore, following: Following, audit: Audit, clock: Callable[[], datetime]
    ) -> None:
        self._store, self._following, self._audit, self._clock = store, following, audit, clock

    def rules(self, who: Principal) -> list[RetentionRule]:
        """In the order in which they were set; of those that match a repository, the last counts. Raises Denied."""
        if not who.certifies:
            raise Denied("only certifiers and administrators may read the rules", hint="Ask one of this hub.")
        with self._store.read() as tx:
            return self._store.retention.all(tx)

    def set(
        self, who: Principal, repositories: str, *, newest: int | None, days: int | None, never: tuple[str, ...],
        untagged_days: int | None,
    ) -> RetentionRule:  # fmt: skip
        """Raises Denied, InvalidRule, TooLarge."""
        _administers(who)
        rule = RetentionRule(repositories, newest, days, never, untagged_days, who.owner, self._clock())
        with self._store.write() as tx:
            self._store.retention.set(tx, rule)
            if self._store.retention.count(tx) > MOST_RULES:
                raise TooLarge(f"there are {MOST_RULES} rules already", hint="One pattern can stand for many names.")
            detail: dict[str, object] = {
                "newest": newest, "days": days, "never": list(never), "untagged_days": untagged_days
            }  # fmt: skip
            self._log(tx, who.owner, "retention.set", repositories, detail)
        return rule

    def remove(self, who: Principal, repositories: str) -> None:
        """Raises Denied, NotFound."""
        _administers(who)
        with self._store.write() as tx:
            if not self._store.retention.remove(tx, repositories):
                name = repositories[:255]
                raise NotFound(f"no retention is set for {name}", hint="See `customhouse retention list`.")
            self._log(tx, who.owner, "retention.remove", repositories, {})

    def look(self, who: Principal, wanted: Wanted) -> Iterator[Let]:
        """What a run would let go of now. Raises Denied."""
        _administers(who)
        for repository, rule in self._repositories():
            with self._store.read() as tx:
                found = self._going(tx, repository, rule, wanted)
            if found:
                yield _let(repository, found)

    def run(self, wanted: Wanted) -> Iterator[Let]:
        """Let go of it, a part of a repository at a time."""
        return (let for let in self.turns(wanted) if let)

    def turns(self, wanted: Wanted) -> Iterator[Let | None]:
        """The same in small pieces of work: None where a repository was looked at and holds nothing more to go."""
        for repository, rule in self._repositories():
            with self._store.read() as tx:
                more = bool(self._going(tx, repository, rule, wanted))
            while more:
                with self._store.write() as tx:
                    self._store.lock_repositories(tx, repository)
                    found = self._going(tx, repository, rule, wanted)
                    part = Going(found.tags[:AT_ONCE], found.manifests[:AT_ONCE])
                    gone = self._let_go(tx, repository, part) if part else None
                more = part != found
                if gone:
                    yield gone
            yield None

    def _repositories(self) -> Iterator[tuple[str, RetentionRule]]:
        with self._store.read() as tx:
            rules = self._store.retention.all(tx)
        seen: set[str] = set()
        for prefix in {rule.repositories.partition("*")[0] for rule in rules}:
            after = ""
            while names := self._names(prefix, after):
                for name in names:
                    rule = retention_of(rules, name) if name not in seen else None
                    seen.add(name)
                    if rule is not None:
                        yield name, rule
                after = names[-1]

    def _names(self, prefix: str, after: str) -> list[str]:
        with self._store.read() as tx:
            return self._store.repositories(tx, prefix, after, _PAGE)

    def _going(self, tx: Connection, repository: str, rule: RetentionRule, wanted: Wanted) -> Going:
        rules, tags = self._store.rules.all(tx), self._store.retention.tags(tx, repository)
        return going(
            rule, tags, self._store.retention.manifests(tx, repository),
            standing=[tag.name for tag in tags if locked(rules, repository, tag.name)],
            wanted=wanted(tx, repository), now=self._clock(),
        )  # fmt: skip

    def _let_go(self, tx: Connection, repository: str, part: Going) -> Let:
        """With what follows it: more may go than was asked for, and all of it is told."""
        now, tags, manifests = self._clock(), dict.fromkeys(tag.name for tag in part.tags), dict[Digest, None]()
        for tag in part.tags:
            self._store.remove_tag(tx, repository, tag.name)
        for each in part.manifests:
            if each.digest not in manifests:
                gone = self._following.drop(tx, repository, each.digest, now)
                manifests.update(gone.manifests)
                tags.update(gone.tags)
        let = Let(repository, tuple(tags), tuple(manifests))
        detail: dict[str, object] = {
            "tags": len(tags), "first_tags": list(tags)[:_SHOWN], "manifests": len(manifests),
            "first_manifests": [str(digest) for digest in let.manifests[:_SHOWN]],
        }  # fmt: skip
        self._log(tx, "hub", "retention.run", repository, detail)
        return let

    def _log(self, tx: Connection, actor: str, action: str, subject: str, detail: dict[str, object]) -> None:
        self._audit.append(tx, actor=actor, action=action, subject=subject, detail=detail, now=self._clock())


def _let(repository: str, found: Going) -> Let:
    return Let(
        repository, tuple(tag.name for tag in found.tags), tuple(manifest.digest for manifest in found.manifests)
    )


def _administers(who: Principal) -> None:
    if not who.administers:
        raise Denied("only administrators set what is kept", hint="Ask one of this hub.")
