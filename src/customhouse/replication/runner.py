"""When mirrors are run: after each change in the hub, when a pause is over, and when somebody asks.

1. A few threads, each with one mirror at a time; the hub's other duties do not wait for them.
2. One process at a time has a mirror, under a lease that is renewed while its thread lives. What a process held that
   died is free after half a minute, and at once where there can be no other process.
3. Official tags change by publications and withdrawals: after one, what is wanted is compared with what was tried last.
   Whatever else may change it is found an hour after the last run.
4. How a run ended is in the mirror's row, and so is when it is run next.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from uuid import uuid4

from customhouse import faults
from customhouse.accounts.people import Principal
from customhouse.audit import Audit
from customhouse.errors import Conflict, CustomhouseError, Unavailable
from customhouse.publication.service import PublicationService
from customhouse.registry.service import RegistryService
from customhouse.replication import plan
from customhouse.replication.plan import NOTHING, Wanted
from customhouse.replication.run import LEASE, Ended, Means, Run
from customhouse.replication.service import ReplicationService
from customhouse.replication.store import Row
from customhouse.signing import Vault
from customhouse.trust.bundle import Bundle, BundledRepository, BundledRoot
from customhouse.trust.names import Gun

AT_ONCE = 4  # mirrors
CHANGES = ("publication.publish", "publication.withdraw")
_log = logging.getLogger("customhouse.replication")


class Runner:
    """Runs mirrors; the hub's own signers are those of `publication`."""

    def __init__(
        self, mirrors: ReplicationService, registry: RegistryService, publication: PublicationService, vault: Vault,
        audit: Audit, clock: Callable[[], datetime],
    ) -> None:
        self._mirrors, self._publication, self._audit, self._clock = mirrors, publication, audit, clock
        self._sole, self._me, self._stopping = mirrors.store.sole, uuid4().hex, threading.Event()
        self._means = Means(mirrors, registry, publication, vault, audit, clock, self._me, self._stopping)
        self._running: dict[str, threading.Thread] = {}
        self._read, self._changed = 0, 0  # how far the audit log was read, and at which look something had changed
        self._looked: dict[str, int] = {}

    # ---- when

    def start_due(self) -> None:
        """Begin what is due, each mirror in a thread of its own; called often, and at once after a change."""
        self._running = {name: thread for name, thread in self._running.items() if thread.is_alive()}
        with self._mirrors.store.read() as tx:
            rows = self._mirrors.store.all(tx)
            head = self._audit.head(tx) if rows else 0
            if head > self._read and self._audit.has(tx, CHANGES, self._read):
                self._changed = head
            self._read = head
        self._hold(rows)
        for row in rows:
            name = row["name"]
            if name in self._running or len(self._running) >= AT_ONCE or self._stopping.is_set():
                continue
            if self._due(row):
                thread = threading.Thread(target=self._try, args=(name,), name=f"mirror-{name}", daemon=True)
                self._running[name] = thread
                thread.start()

    def _hold(self, rows: list[Row]) -> None:
        """Renew the leases of what runs here, however long one of its steps takes."""
        now, free = self._clock(), self._sole
        self._sole = False
        for row in rows:
            ours = row["name"] in self._running and row["holder"] == self._me
            if ours or (free and row["holder"]):
                with self._mirrors.store.write() as tx:
                    if free:
                        self._mirrors.store.free(tx, row["name"], row["holder"])
                    else:
                        self._mirrors.store.take(tx, row["name"], self._me, now, now + LEASE)
                row["holder"], row["held_until"] = ("", None) if free else (self._me, now + LEASE)

    def close(self, seconds: float) -> None:
        """Let runs end at their next step."""
        self._stopping.set()
        until = time.monotonic() + seconds
        for thread in self._running.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _due(self, row: Row) -> bool:
        now, name = self._clock(), row["name"]
        if row["held_until"] and row["held_until"] > now and row["holder"] != self._me:
            return False
        looked, self._looked[name] = self._looked.get(name), self._changed
        if row["asked"] or (row["next_try"] and row["next_try"] <= now):
            return True
        if looked == self._changed:
            return False
        wanted = self._mirrors.wanted(row)
        with self._mirrors.store.read() as tx:
            there = self._mirrors.store.repositories(tx, name)
        return any(_behind(row, wanted.get(each, NOTHING), there.get(each)) for each in {*wanted, *there})

    def _try(self, name: str) -> None:
        try:
            if not self.run(name):
                self._looked.pop(name, None)  # whoever is at it may have begun before the change
        except CustomhouseError as error:
            _log.warning("mirror %s: %s %s", name, error.message, error.hint)
        except Exception:
            _log.exception("mirror %s could not be run", name)

    def bundle(self, principal: Principal, name: str) -> Bundle:
        """What consumers of a mirror pin. Raises NotFound, Conflict where nothing is signed there."""
        row = self._mirrors.show(principal, name)
        if not row["root_certificate"]:
            raise Conflict(f"nothing is signed at the mirror {name}", hint="Register it with --trust.")
        with self._mirrors.store.read() as tx:
            there = self._mirrors.store.repositories(tx, name).values()
        signed = [
            BundledRepository(Gun.parse(f"{row['host']}/{each['target']}"), each["root"])
            for each in there if each["root"]
        ]
        return Bundle(
            row["host"], row["url"], self._publication.keys.name, self._clock(),
            (BundledRoot(row["root_certificate"]),), row["ca"],
            tuple(sorted(signed, key=lambda each: each.gun)), self._publication.signer_key(),
        )

    # ---- one run

    def run(self, name: str) -> bool:
        """One run; False where another process is at it. What goes wrong is in the mirror's rows."""
        store, began = self._mirrors.store, self._clock()
        with store.write() as tx:
            row = store.find(tx, name)
            if row is None or not store.take(tx, name, self._me, began, began + LEASE):
                return False
        faults.point("mirror.run.taken")
        error: CustomhouseError | None = None
        try:
            with ExitStack() as stack:
                Run(self._means, row, stack).all()
        except Ended:
            pass
        except CustomhouseError as failed:
            error = failed
        except BaseException:
            error = Unavailable("an error of the hub itself", hint="Its log tells more.")
            raise
        finally:
            self._finish(row, began, error)
        return True

    def _finish(self, row: Row, began: datetime, error: CustomhouseError | None) -> None:
        store, now, name = self._mirrors.store, self._clock(), row["name"]
        with store.write() as tx:
            held = store.find(tx, name)
            if held is None or held["holder"] != self._me:
                return
            values: Row = {"asked": None if held["asked"] and held["asked"] <= began else held["asked"]}
            if error is None:
                waits = [each["next_try"] for each in store.repositories(tx, name).values() if each["next_try"]]
                values |= {"error": "", "attempts": 0, "finished": now, "next_try": min([now + plan.CHECK, *waits])}
            else:
                attempts = held["attempts"] + 1
                said = f"{error.message} {error.hint}".strip()[:2000]
                values |= {"error": said, "attempts": attempts, "next_try": now + plan.pause(attempts)}
            if self._stopping.is_set():
                values["next_try"] = now
            store.change(tx, name, **values)
            store.free(tx, name, self._me)
            faults.point("mirror.run.finished")


def _behind(row: Row, wanted: Wanted, held: Row | None) -> bool:
    """Is something new, or was a run cut that had begun with it? What failed has its pause, in one of the rows."""
    if held is None:
        return bool(wanted.fingerprint)
    if held["tried"] != wanted.fingerprint:
        return True
    return bool(held["done"] != wanted.fingerprint and not held["next_try"] and not row["attempts"])
