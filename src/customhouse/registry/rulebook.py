"""Rules for tags, and quotas: made by administrators; the rules are kept where a tag would move or go.

1. Administrators alone change rules; each change is an audit entry in its transaction.
2. Whether a tag may move is judged here only, under its repository's lock. The rules are read when a tag would change,
   and not for a new one.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import Connection

from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.errors import Denied, NotFound, TooLarge
from customhouse.oci.digest import Digest
from customhouse.registry.content import TagLocked
from customhouse.registry.rules import InvalidRule, TagRule, Used, locked, may_lock
from customhouse.registry.store import RegistryStore

MOST_RULES = 1000
MOST_BYTES = 2**62


class Rulebook:
    """The rules of one registry."""

    def __init__(self, store: RegistryStore, audit: Audit, clock: Callable[[], datetime]) -> None:
        self._store, self._audit, self._clock = store, audit, clock

    # Kept

    def check(self, tx: Connection, repository: str, tags: Iterable[str], digest: Digest | None) -> None:
        """May the tags point at `digest` from now on, or (None) be gone? Raises TagLocked."""
        rules: list[TagRule] | None = None
        for tag in tags:
            before = self._store.tag_digest(tx, repository, tag)
            if before is None or before == digest:
                continue
            rules = self._store.rules.all(tx) if rules is None else rules
            if locked(rules, repository, tag):
                raise TagLocked(repository, tag, before)

    def check_whole(self, tx: Connection, repository: str) -> None:
        """May all tags of a repository be gone? Raises TagLocked with the first that may not."""
        rules = self._store.rules.all(tx)
        if not may_lock(rules, repository):
            return
        for _, tag, digest in self._store.all_tags(tx, repository):
            if locked(rules, repository, tag):
                raise TagLocked(repository, tag, digest)

    def look(self, repository: str, tag: str, digest: Digest) -> None:
        """The same as of now, for who wants to know early. Raises TagLocked."""
        with self._store.read() as tx:
            self.check(tx, repository, [tag], digest)

    # Made

    def all(self, who: Principal) -> list[TagRule]:
        """Those that are shipped, then in the order in which they were added; of those that match, the last counts.

        Raises Denied: patterns name repositories that not everybody may know of.
        """
        if not who.certifies:
            raise Denied("only certifiers and administrators may read the rules", hint="Ask one of this hub.")
        with self._store.read() as tx:
            return self._store.rules.all(tx)

    def add(self, who: Principal, repositories: str, tags: str, *, locked: bool) -> TagRule:
        """Raises Denied, InvalidRule, TooLarge. The same patterns again replace the rule and put it last."""
        _administers(who)
        rule = TagRule.parse(repositories, tags, locked, who.owner, self._clock())
        with self._store.write() as tx:
            self._store.rules.add(tx, rule)
            if self._store.rules.count(tx) > MOST_RULES:
                raise TooLarge(f"there are {MOST_RULES} rules already", hint="One pattern can stand for many names.")
            self._log(tx, who, "rule.add", rule.repositories, {"tags": rule.tags, "locked": locked})
        return rule

    def remove(self, who: Principal, repositories: str, tags: str) -> None:
        """Raises Denied, NotFound."""
        _administers(who)
        with self._store.write() as tx:
            if not self._store.rules.remove(tx, repositories, tags):
                known = f"{repositories[:255]} and {tags[:128]}"
                raise NotFound(f"no rule was added for {known}", hint="See `customhouse rule list`.")
            self._log(tx, who, "rule.remove", repositories, {"tags": tags})

    # Quotas

    def used(self, publisher: str) -> Used:
        """What a publisher holds in staging, and its quota."""
        with self._store.read() as tx:
            return self._store.usage.of(tx, publisher)

    def set_quota(self, who: Principal, publisher: str, most: int | None) -> Used:
        """Bytes; None for no limit. What is there stays, also above it. Raises Denied, InvalidRule."""
        _administers(who)
        if most is not None and not 0 <= most <= MOST_BYTES:
            raise InvalidRule(f"{most} bytes are no quota", hint="For example: 10GB, or none.")
        with self._store.write() as tx:
            used = self._store.usage.set_limit(tx, publisher, most)
            self._log(tx, who, "publisher.quota", publisher, {"bytes": most})
        return used

    def _log(self, tx: Connection, who: Principal, action: str, subject: str, detail: dict[str, object]) -> None:
        self._audit.append(tx, actor=who.owner, action=action, subject=subject, detail=detail, now=self._clock())


def _administers(who: Principal) -> None:
    if not who.administers:
        raise Denied("only administrators set rules and quotas", hint="Ask one of this hub.")
