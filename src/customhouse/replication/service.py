"""Mirrors: official repositories kept at another registry and trust server.

1. An administrator registers a mirror; only what is official is ever sent, and only to that address. Its secret is
   sealed under "mirror:NAME", and is in no answer, no error, no log and no audit entry.
2. What is wanted is read from the official tags, what was done is in rows: a run makes the second like the first, and
   may be cut anywhere. One process at a time works on a mirror, under a lease that it renews.
3. First what must go: signed targets without the tag, then tag and manifests. Then what is new: content, tag, and the
   signature last. A tag is signed only when all its bytes are there.
4. A server that does not answer, or does not know the hub, ends the run, and the mirror waits; what is wrong with one
   repository is written to it, and the others go on. What must go is not made to wait when it is new.
5. TLS always, except on loopback. The target may lead on to another server over https: an administrator chose it.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from customhouse import faults
from customhouse.accounts.access import Kind, kind_of
from customhouse.accounts.people import Principal
from customhouse.address import bare
from customhouse.audit import Audit
from customhouse.errors import Conflict, Denied, Invalid, NotFound
from customhouse.keys import PublicKey
from customhouse.registry.service import RegistryService
from customhouse.replication import plan, signing
from customhouse.replication.plan import Wanted
from customhouse.replication.store import ReplicationStore, Row
from customhouse.signing import Vault
from customhouse.sources.service import check_login

MOST_MIRRORS = 100
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class ReplicationService:
    """Registers mirrors, and says how they stand; `run.py` does the work."""

    def __init__(
        self, store: ReplicationStore, registry: RegistryService, vault: Vault, audit: Audit,
        clock: Callable[[], datetime], *, host: str, wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self._registry, self._vault, self._audit, self._clock = registry, vault, audit, clock
        self._host, self._wake = host, wake

    def add(
        self, principal: Principal, name: str, url: str, *, trust_url: str = "", ca: str = "", username: str = "",
        secret: str = "", repositories: tuple[str, ...] = (), tags: tuple[str, ...] = (), target: str = plan.PLACE,
    ) -> Row:
        """Register a mirror, or change the one of this name: its login, authority and patterns, not its address."""
        _may_manage(principal)
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name[:80]!r} is no name of a mirror", hint="Small letters, digits and dashes.")
        url, host = bare(url)
        trust_url = bare(trust_url)[0] if trust_url else ""
        if host == self._host:
            raise Invalid(f"{host} is this hub")
        check_login(ca, username, secret)
        now = self._clock()
        given: Row = {
            "ca": ca, "username": username, "repositories": plan.checked_patterns(repositories),
            "tags": plan.checked_patterns(tags), "target": plan.checked_template(target),
            "secret": self._vault.seal(secret.encode(), context(name)) if secret else None,
            "asked": now, "attempts": 0, "next_try": None, "error": "",
        }
        same = {"url": url, "host": host, "trust_url": trust_url}
        made = signing.new_keys(self._vault, host, now) if trust_url else None
        with self.store.write() as tx:
            self.store.lock(tx, name)
            held = self.store.find(tx, name)
            if held and any(held[key] != value for key, value in (same | {"target": given["target"]}).items()):
                raise Conflict(
                    f"the mirror {name} is at {held['url']}", hint="Take another name, or remove it first."
                )
            if held:
                self.store.change(tx, name, **given)
            elif len(self.store.all(tx)) >= MOST_MIRRORS:
                raise Conflict(f"there are {MOST_MIRRORS} mirrors already")
            else:
                first = {"name": name, "added_by": principal.owner, "added": now, "holder": "", "held_until": None}
                self.store.add(tx, given | same | first | {"finished": None})
            if made and self.store.key(tx, host) is None:
                self.store.add_key(tx, made)
            faults.point("mirror.add.stored")
            detail = {**same, "username": username, "target": given["target"], "own_authority": bool(ca),
                      "repositories": given["repositories"], "tags": given["tags"]}
            self._log(tx, principal.owner, "mirror.add", name, detail)
        self._wake()
        return self.show(principal, name)

    def remove(self, principal: Principal, name: str) -> None:
        """Forget a mirror. What was sent stays there, and the keys of its host stay here."""
        _may_manage(principal)
        with self.store.write() as tx:
            self.store.lock(tx, name)
            if not self.store.remove(tx, name):
                raise _unknown(name)
            faults.point("mirror.remove.gone")
            self._log(tx, principal.owner, "mirror.remove", name, {})

    def ask(self, principal: Principal, name: str) -> Row:
        """Run now, whatever pause was meant, and look at everything there."""
        _may_manage(principal)
        with self.store.write() as tx:
            if not self.store.change(tx, name, asked=self._clock(), next_try=None):
                raise _unknown(name)
            self._log(tx, principal.owner, "mirror.run", name, {})
        self._wake()
        return self.show(principal, name)

    def rotate(self, principal: Principal, name: str, role: str) -> Row:
        """A new root or targets key for the mirror's host; the next run signs with it in every repository there.

        Whoever pinned the root of before goes on: that key signs the root that names the new one.
        """
        _may_manage(principal)
        if role not in ("root", "targets"):
            raise Invalid(f"{role[:80]!r} is no key of a mirror", hint="root or targets.")
        now = self._clock()
        with self.store.write() as tx:
            self.store.lock(tx, name)
            row = self.store.find(tx, name)
            if row is None:
                raise _unknown(name)
            host = row["host"]
            held = self.store.key(tx, host) if row["trust_url"] else None
            if held is None:
                raise Conflict(f"nothing is signed at the mirror {name}", hint="Register it with --trust.")
            made = signing.new_keys(self._vault, host, now)
            if role == "root":
                key_id = PublicKey.of_certificate(held["certificate"].encode()).canonical_id
                former = {"root": held["root"], "certificate": held["certificate"], "until": now}
                self.store.add_former_root(tx, {"host": host, "key_id": key_id, **former})
            changed = ("root", "certificate", "made") if role == "root" else ("targets",)
            self.store.change_key(tx, host, **{column: made[column] for column in changed})
            self.store.ask(tx, host, now)
            faults.point("mirror.rotate.stored")
            self._log(tx, principal.owner, "mirror.rotate", name, {"host": host, "role": role})
        self._wake()
        return self.show(principal, name)

    def list(self, principal: Principal) -> list[Row]:
        """In order of name, without secrets and without what is in them."""
        _may_manage(principal)
        with self.store.read() as tx:
            return [_public(row) for row in self.store.all(tx)]

    def show(self, principal: Principal, name: str) -> Row:
        """With the state of each repository, its tags, and the root's certificate that consumers pin."""
        _may_manage(principal)
        with self.store.read() as tx:
            row = self.store.find(tx, name)
            if row is None:
                raise _unknown(name)
            key = self.store.key(tx, row["host"]) if row["trust_url"] else None
            there = self.store.repositories(tx, name)
            tags = list(self.store.tags(tx, name))
            wanted = self.wanted(row)
        found: dict[str, Row] = {}
        for repository in sorted({*there, *wanted}):
            held = there.get(repository, {})
            meant = wanted.get(repository, plan.NOTHING)
            found[repository] = {
                "repository": repository, "target": held.get("target") or row["target"].replace(plan.PLACE, repository),
                "as_wanted": bool(held) and held["done"] == meant.fingerprint and not held["error"],
                "wanted": len(meant.tags), "error": held.get("error", ""), "attempts": held.get("attempts", 0),
                "checked": held.get("checked"), "tags": [],
            }
        for tag in tags:
            if tag["repository"] in found:
                found[tag["repository"]]["tags"].append(
                    {key: tag[key] for key in ("tag", "digest", "state", "changed", "error")}
                )
        certificate = key["certificate"] if key else ""
        return _public(row) | {"root_certificate": certificate, "states": list(found.values())}

    def wanted(self, row: Row) -> dict[str, Wanted]:
        """Repository -> what the mirror is to have of it."""
        def official(repository: str) -> bool:
            return kind_of(repository) is Kind.OFFICIAL and plan.matches(row["repositories"], repository)

        found = self._registry.content_of(official, lambda tag: plan.matches(row["tags"], tag))
        return {repository: plan.wanted(tags, referrers) for repository, (tags, referrers) in found.items()}

    def _log(self, tx: Any, actor: str, action: str, name: str, detail: Mapping[str, Any]) -> None:
        self._audit.append(tx, actor=actor, action=action, subject=name, detail=dict(detail), now=self._clock())


def context(name: str) -> str:
    """Under which a mirror's secret is sealed."""
    return f"mirror:{name}"


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no mirror {name[:80]}", hint="See `customhouse mirror list`.")


def _may_manage(principal: Principal) -> None:
    if not principal.administers:
        raise Denied("only an administrator may see and change mirrors", hint="Ask one of this hub.")


def _public(row: Row) -> Row:
    hidden = ("secret", "holder", "held_until")
    return {key: value for key, value in row.items() if key not in hidden} | {
        "running": bool(row["holder"]),
    }
