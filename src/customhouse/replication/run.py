"""One run over one mirror: its target is made like what is wanted.

1. A run goes on while it holds the mirror's lease, which it renews between steps, and ends when the hub stops.
2. Rows follow what was done: `sent` when all bytes and the tag are there, `signed` when the trust server lists it,
   `leaving` before anything is taken away, `left` where the registry does not let a manifest be deleted.
3. An hour after the last look everything is looked at again: tags that were changed there are sent again, trust
   metadata in the second half of its life is signed anew.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from customhouse import faults
from customhouse.audit import Audit
from customhouse.errors import Conflict, CustomhouseError, Unavailable
from customhouse.oci.digest import Digest
from customhouse.publication.plan import HubKeys
from customhouse.publication.service import PublicationService
from customhouse.registry.client import RegistryClient
from customhouse.registry.service import RegistryService
from customhouse.remote import RemoteUnauthenticated
from customhouse.replication import plan, signing
from customhouse.replication.copying import Copier
from customhouse.replication.plan import NOTHING, Wanted
from customhouse.replication.service import ReplicationService, context
from customhouse.replication.store import Row
from customhouse.signing import SealBroken, Vault
from customhouse.transport import Credentials, Patience, Tls, Transport
from customhouse.trust.names import Gun

PATIENCE = Patience(connect=10, read=60, total=120)
LEASE, RENEW_SECONDS = timedelta(seconds=30), 5.0
_SENT = ("sent", "signed")
_log = logging.getLogger("customhouse.replication")


class Ended(Unavailable):
    """The hub stops, or somebody else works on the mirror: nothing went wrong there."""


@dataclass(frozen=True)
class Means:
    """What a run works with. `me` is this process among those that take leases; `stopping` ends every run."""

    mirrors: ReplicationService
    registry: RegistryService
    publication: PublicationService
    vault: Vault
    audit: Audit
    clock: Callable[[], datetime]
    me: str
    stopping: threading.Event


class Run:
    """One run over one mirror, with its two connections."""

    def __init__(self, means: Means, row: Row, stack: ExitStack) -> None:
        """The row says what is to be where; the connections are closed with `stack`."""
        self._means, self._row = means, row
        self._store, self._name = means.mirrors.store, str(row["name"])
        self._renewed = time.monotonic()
        self._registry = self._transport(row["url"], stack)
        self._trust = self._transport(row["trust_url"], stack) if row["trust_url"] else None
        client = RegistryClient(self._registry, progress=lambda digest, done, total: self._go_on())
        self._copier = Copier(means.registry, client, self._go_on)
        self._keys: HubKeys | None = None
        if row["trust_url"]:
            with self._store.read() as tx:
                key, former = self._store.key(tx, row["host"]), self._store.former_roots(tx, row["host"])
            assert key is not None, "keys are made with the mirror"
            self._keys = signing.keys_of(means.vault, key, former, means.publication.keys)

    def all(self) -> None:
        """What must go in every repository, then what is new. The first error that concerns the server ends it."""
        wanted, now = self._means.mirrors.wanted(self._row), self._means.clock()
        with self._store.read() as tx:
            there = self._store.repositories(tx, self._name)
            rows = list(self._store.tags(tx, self._name))
        todo = [each for each in sorted({*wanted, *there}) if self._wants(wanted, there.get(each), each, now)]
        leaving = {
            row["repository"] for row in rows
            if row["state"] != "left" and row["tag"] not in wanted.get(row["repository"], NOTHING).tags
        }
        with self._store.write() as tx:
            for each in todo:
                self._put(tx, each, tried=wanted.get(each, NOTHING).fingerprint)
        self._each([each for each in todo if each in leaving], lambda each: self._withdraw(each, wanted))
        self._each(todo, lambda each: self._fill(each, wanted.get(each, NOTHING)))

    def _wants(self, wanted: Mapping[str, Wanted], held: Row | None, repository: str, now: datetime) -> bool:
        meant = wanted.get(repository, NOTHING).fingerprint
        if held is None or self._row["asked"] or held["tried"] != meant:
            return True
        if held["next_try"]:
            return bool(held["next_try"] <= now)
        return bool(held["done"] != meant or held["checked"] is None or held["checked"] + plan.CHECK <= now)

    def _each(self, repositories: list[str], act: Callable[[str], None]) -> None:
        for repository in repositories:
            try:
                act(repository)
            except (Ended, Unavailable, RemoteUnauthenticated, SealBroken):
                raise
            except CustomhouseError as error:
                self._failed(repository, error)

    def _failed(self, repository: str, error: CustomhouseError) -> None:
        said = f"{error.message} {error.hint}".strip()[:2000]
        with self._store.write() as tx:
            attempts = self._store.repositories(tx, self._name).get(repository, {}).get("attempts", 0) + 1
            self._put(
                tx, repository, error=said, attempts=attempts, next_try=self._means.clock() + plan.pause(attempts)
            )

    # ---- one repository

    def _withdraw(self, repository: str, wanted: Mapping[str, Wanted]) -> None:
        """Sign that tags are gone, then take them away."""
        tags = wanted.get(repository, NOTHING).tags
        rows = self._rows(repository)
        going = [row for row in rows if row["tag"] not in tags and row["state"] != "left"]
        with self._store.write() as tx:
            for row in going:
                self._store.put_tag(tx, self._name, repository, row["tag"], state="leaving")
        faults.point("mirror.leaving")
        self._sign(repository)
        with self._store.write() as tx:
            for row in going:
                self._log(tx, "mirror.withdraw", repository, row["tag"], row["digest"])
        faults.point("mirror.withdrawn")
        stays = {digest for row in rows if row not in going for digest, _ in _manifests(row)}
        for row in going:
            kept = self._copier.take_away(self._target(repository), row["tag"], _manifests(row), stays)
            with self._store.write() as tx:
                if kept:
                    self._store.put_tag(tx, self._name, repository, row["tag"], state="left", error=kept[:2000])
                else:
                    self._store.drop_tags(tx, self._name, repository, [row["tag"]])

    def _fill(self, repository: str, wanted: Wanted) -> None:
        """Send what is not there, sign, and take away what was replaced."""
        target, error = self._claim(repository), None
        held = {row["tag"]: row for row in self._rows(repository)}
        with self._store.read() as tx:
            state = self._store.repositories(tx, self._name)[repository]
        for tag, digest in wanted.tags.items():
            row = held.get(tag)
            there = row if row is not None and row["digest"] == digest and row["state"] in _SENT else None
            if there and wanted.complete({each: subject for each, subject in _manifests(there)}) and (
                state["done"] != wanted.fingerprint or self._copier.has(target, tag, digest)
            ):  # where something changed here, only that is looked at; otherwise this is a look at all that is there
                continue
            try:
                self._send(repository, target, tag, digest, row)
            except (Ended, Unavailable, RemoteUnauthenticated):
                raise
            except CustomhouseError as failed:
                error = error or failed
                if row is not None and row["digest"] != digest:  # it is official no more: it must not stay signed
                    with self._store.write() as tx:
                        self._store.put_tag(tx, self._name, repository, tag, state="leaving")
        self._sign(repository)
        for row in self._rows(repository):
            self._settle(repository, target, row)
        if error is not None:
            raise error
        faults.point("mirror.filled")
        with self._store.write() as tx:
            done = {"done": wanted.fingerprint, "error": "", "attempts": 0, "next_try": None}
            self._put(tx, repository, checked=self._means.clock(), **done)
            if not wanted.tags and not list(self._store.tags(tx, self._name, repository)):
                self._store.drop_repository(tx, self._name, repository)

    def _send(self, repository: str, target: str, tag: str, digest: Digest, row: Row | None) -> None:
        sent = self._copier.send(repository, target, tag, digest)
        faults.point("mirror.sent")
        manifests: list[list[Any]] = [[found, subject, False] for found, subject in sent.manifests.items()]
        if row is not None:  # what stood for the tag before goes when the new one is signed
            manifests += [[*each[:2], True] for each in row["manifests"] if each[0] not in sent.manifests]
        with self._store.write() as tx:
            self._store.put_tag(
                tx, self._name, repository, tag, digest=digest, size=sent.size, manifests=manifests, state="sent",
                changed=self._means.clock(), error="",
            )

    def _sign(self, repository: str) -> None:
        """Exactly the tags that are there by our rows, and no others."""
        if self._trust is None or self._keys is None:
            return
        tags = {
            row["tag"]: (Digest(row["digest"]), int(row["size"]))
            for row in self._rows(repository) if row["state"] in _SENT
        }
        with self._store.read() as tx:
            held = self._store.repositories(tx, self._name)[repository]
        gun = Gun.parse(f"{self._row['host']}/{held['target']}")
        self._go_on()
        signed = signing.sign(self._trust, gun, self._keys, tags, held["versions"], self._means.clock())
        with self._store.write() as tx:
            self._put(tx, repository, root=signed.root, versions=dict(signed.versions))

    def _settle(self, repository: str, target: str, row: Row) -> None:
        """What was sent is signed now; what it replaced can go."""
        if row["state"] not in _SENT:
            return
        replaced = [(Digest(each[0]), str(each[1])) for each in row["manifests"] if each[2]]
        if replaced:
            stays = {Digest(e[0]) for other in self._rows(repository) for e in other["manifests"] if not e[2]}
            kept = self._copier.take_away(target, "", replaced, stays)
            if kept:
                _log.info("mirror %s keeps what %s:%s was: %s", self._name, repository, row["tag"], kept)
        if row["state"] == "signed" and not replaced:
            return
        with self._store.write() as tx:
            manifests = [each for each in row["manifests"] if not each[2]]
            self._store.put_tag(tx, self._name, repository, row["tag"], manifests=manifests, state="signed")
            if row["state"] == "sent":
                self._log(tx, "mirror.publish", repository, row["tag"], row["digest"])
            faults.point("mirror.settled")

    # ---- inside

    def _claim(self, repository: str) -> str:
        """The name at the target, which no other mirror may use. Raises Conflict."""
        target = self._target(repository)
        with self._store.read() as tx:
            others = self._store.others(tx, self._name, self._row["host"], target, repository)
        if others:
            raise Conflict(f"{target} at {self._row['host']} belongs to {', '.join(others)}", hint="Change the names.")
        return target

    def _target(self, repository: str) -> str:
        return plan.target_of(self._row["target"], repository)

    def _rows(self, repository: str) -> list[Row]:
        with self._store.read() as tx:
            return list(self._store.tags(tx, self._name, repository))

    def _put(self, tx: Any, repository: str, **values: Any) -> None:
        place = {"host": self._row["host"], "target": self._target(repository)}
        self._store.put_repository(tx, self._name, repository, **place, **values)

    def _log(self, tx: Any, action: str, repository: str, tag: str, digest: str) -> None:
        subject = f"{self._row['host']}/{self._target(repository)}:{tag}"
        detail = {"mirror": self._name, "repository": repository}
        self._means.audit.append(
            tx, actor="hub", action=action, subject=subject, digest=digest, detail=detail, now=self._means.clock()
        )

    def _go_on(self) -> None:
        """Between two steps: may we go on?"""
        if self._means.stopping.is_set():
            raise Ended("the hub stops")
        if time.monotonic() - self._renewed < RENEW_SECONDS:
            return
        now = self._means.clock()
        with self._store.write() as tx:
            if not self._store.take(tx, self._name, self._means.me, now, now + LEASE):
                raise Ended("another process has taken the mirror over")
        self._renewed = time.monotonic()

    def _transport(self, url: str, stack: ExitStack) -> Transport:
        row, login = self._row, Credentials()
        if row["secret"] is not None:
            secret = self._means.vault.unseal(row["secret"], context(self._name))
            login = Credentials(row["username"], secret.decode())
        made = Transport(url, credentials=login, tls=Tls(ca_pem=row["ca"]), patience=PATIENCE)
        stack.callback(made.close)
        return made


def _manifests(row: Row) -> list[tuple[Digest, str]]:
    return [(Digest(each[0]), str(each[1])) for each in row["manifests"]]
