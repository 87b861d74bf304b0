"""Following a mirror: only what changed since the last time, and the whole dump where that is cheaper.

1. `modified_id.csv` says what the mirror holds. What is held in the same state is not asked for again, so an update
   that was cut goes on where it stopped, and one that is repeated changes nothing.
2. An ecosystem that was never imported as a whole, or of which much changed, is brought by `all.zip`.
3. What the list names no more goes, by the rules of a dump (`AdvisoriesStore.vanish`).
4. One update at a time in all processes: a row is the lease. What a process held that died is free when it ends.
5. The KEV list and the EPSS table are followed where the mirror has them.
"""

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec

from customhouse.accounts.people import HUB, Principal
from customhouse.advisories import modified
from customhouse.advisories.feed import MODIFIED, Item, Refused, member
from customhouse.advisories.mirror import Mirror, open_mirror
from customhouse.advisories.osv import LARGEST_RECORD
from customhouse.advisories.service import AdvisoriesService, Followed, whole_of
from customhouse.advisories.store import AdvisoriesStore
from customhouse.audit import Audit
from customhouse.db import Database
from customhouse.errors import Conflict, CustomhouseError, Invalid, NotFound

LARGEST_DUMP = 4 << 30
LARGEST_LIST = 256 << 20
FEW, SHARE = 500, 0.2
LEASE, RETRY = timedelta(minutes=10), timedelta(hours=1)
MOST_ECOSYSTEMS = 500
LISTS = (
    "known_exploited_vulnerabilities.json", "kev/known_exploited_vulnerabilities.json",
    "kev/known_exploited_vulnerabilities.json.gz", "epss_scores-current.csv.gz", "epss/epss_scores-current.csv.gz",
)  # fmt: skip
_log = logging.getLogger("customhouse.advisories")


class AlreadyUpdating(Conflict):
    """Another process, or another request, is at it."""

    def __init__(self, until: datetime) -> None:
        super().__init__("the advisories are being updated", hint=f"Look again later; at the latest at {until}.")


class PlanSettings(Protocol):
    """The settings that make a plan."""

    @property
    def advisories_mirror(self) -> str: ...
    @property
    def advisories_ecosystems(self) -> str: ...
    @property
    def advisories_hours(self) -> int: ...


@dataclass(frozen=True)
class Plan:
    """From where, which ecosystems (none: what `ecosystems.txt` names), and how often (0: only when asked)."""

    mirror: str = ""
    ecosystems: tuple[str, ...] = ()
    hours: int = 6

    @classmethod
    def of(cls, settings: PlanSettings) -> "Plan":
        """As an operator set it: the ecosystems with commas between them."""
        names = tuple(name.strip() for name in settings.advisories_ecosystems.split(",") if name.strip())
        return cls(settings.advisories_mirror, names, settings.advisories_hours)


def open_advisories(
    database: Database, audit: Audit, clock: Callable[[], datetime], plan: Plan, spool: Path | None = None
) -> tuple[AdvisoriesService, "Updates"]:
    """The advisories in a database, and what keeps them up to date."""
    store = AdvisoriesStore(database)
    service = AdvisoriesService(store, audit, clock)
    return service, Updates(service, store, clock, plan, spool)


class Updates:
    """Updates by the clock and on request."""

    def __init__(
        self, service: AdvisoriesService, store: AdvisoriesStore, clock: Callable[[], datetime], plan: Plan,
        spool: Path | None = None,
    ) -> None:
        self._service, self._store, self._clock, self._plan, self._spool = service, store, clock, plan, spool
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start_due(self) -> None:
        """Begin an update in a thread of its own, if one is due; called often."""
        if not self._plan.mirror or not self._plan.hours or self._stopping.is_set():
            return
        if self._thread is not None and self._thread.is_alive():
            return
        if self._due():
            self._thread = threading.Thread(target=self._try, name="advisories", daemon=True)
            self._thread.start()

    def close(self, seconds: float) -> None:
        """Stop after the batch in hand; what was brought stays, the rest comes next time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def run(self, principal: Principal, mirror: Mirror | None = None) -> list[dict[str, Any]]:
        """Update now: a report for each ecosystem and list. Raises ImportDenied, AlreadyUpdating, Invalid, NotFound."""
        self._service.authorise_import(principal)
        if mirror is None:
            if not self._plan.mirror:
                raise Invalid("no mirror is set", hint="Set advisories_mirror to a folder or an https URL.")
            mirror = open_mirror(self._plan.mirror)
        with self._store.write() as tx:
            if until := self._store.following.begin(tx, mirror.name, self._clock(), LEASE):
                raise AlreadyUpdating(until)
        reports: list[dict[str, Any]] = []
        done = False
        try:
            for name in self._plan.ecosystems or _ecosystems(mirror):
                reports.append(self._one(name, mirror, principal))
                if self._stopping.is_set():
                    return reports
                self._keep()
            with self._folder() as folder:
                for path in LISTS:
                    if file := mirror.fetch(path, Path(folder), LARGEST_LIST):
                        reports.append(self._service.import_feed(file, principal, name=path).as_json())
            done = not any("error" in report for report in reports)
        finally:
            self._end(done, reports)
        return reports

    def _try(self) -> None:
        try:
            self.run(HUB)
        except AlreadyUpdating:
            pass
        except CustomhouseError as error:
            _log.warning("update of advisories: %s %s", error.message, error.hint)
        except Exception:  # the next turn tries again
            _log.exception("update of advisories failed")

    def _due(self) -> bool:
        """The pause is over since the last update that brought everything, and an hour since one that did not."""
        with self._store.read() as tx:
            state = self._store.following.state(tx)
        if state is None:
            return True
        now, finished, began = self._clock(), state["finished"], state["began"]
        pauses = ((finished, timedelta(hours=self._plan.hours)), (began, min(RETRY, timedelta(hours=self._plan.hours))))
        return all(not isinstance(at, datetime) or now - at >= pause for at, pause in pauses)

    def _keep(self) -> None:
        with self._store.write() as tx:
            self._store.following.keep(tx, self._clock() + LEASE)

    def _end(self, done: bool, reports: Sequence[dict[str, Any]]) -> None:
        brief = [{key: value for key, value in each.items() if not isinstance(value, list | dict)} for each in reports]
        with self._store.write() as tx:
            outcome = msgspec.json.encode(brief).decode()
            self._store.following.end(tx, self._clock() if done else None, outcome)

    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        if self._spool is not None:
            self._spool.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="advisories-", dir=self._spool)

    def _one(self, ecosystem: str, mirror: Mirror, principal: Principal) -> dict[str, Any]:
        """One ecosystem; what is wrong with it does not cost the others."""
        try:
            return {"ecosystem": ecosystem, **self._follow(ecosystem, mirror, principal)}
        except CustomhouseError as error:
            return {"ecosystem": ecosystem, "error": error.message, "hint": error.hint}

    def _follow(self, ecosystem: str, mirror: Mirror, principal: Principal) -> dict[str, Any]:
        path = f"{ecosystem}/{MODIFIED}"
        raw = mirror.read(path, modified.LARGEST)
        if raw is None:
            raise NotFound(f"{mirror.name} has no {path}", hint="Is it a mirror of OSV's dumps, and this an ecosystem?")
        try:
            index = modified.parse(raw)
        except modified.InvalidIndex as error:
            raise Invalid(f"{path} {error}") from error
        with self._store.read() as tx:
            whole = whole_of(self._store.holdings(tx), ecosystem)
            held = self._store.following.modified(tx, index.modified)
        cursors = [each.cursor for each in whole.values()]
        cursor = min((at for at in cursors if at), default=None) if None not in cursors else None
        wanted = modified.due(index, held, cursor)
        dump = f"{ecosystem}/all.zip"
        followed = Followed(ecosystem, dump, index.modified.keys(), index.newest, mirror.name)
        if whole and len(wanted) <= max(FEW, len(index.modified) * SHARE):
            items = self._records(ecosystem, wanted, mirror, dump)
            return self._service.import_items(items, principal, name=f"{ecosystem} update", followed=followed).as_json()
        with self._folder() as folder:
            file = mirror.fetch(dump, Path(folder), LARGEST_DUMP)
            if file is None:
                raise NotFound(f"{mirror.name} has no {dump}")
            report = self._service.import_feed(file, principal, name=dump)
        with self._store.write() as tx:
            self._store.following.note(tx, whole_of(self._store.holdings(tx), ecosystem), index.newest)
        return report.as_json()

    def _records(self, ecosystem: str, names: Sequence[str], mirror: Mirror, dump: str) -> Iterator[Item]:
        for number, name in enumerate(names):
            if self._stopping.is_set():
                raise Conflict("the update was stopped; it goes on where it was", hint="Ask for it again.")
            if number % 100 == 99:
                self._keep()
            path = f"{ecosystem}/{name}.json"
            raw = mirror.read(path, LARGEST_RECORD)
            yield Refused(path, "is not there") if raw is None else member(raw, path, dump)


def _ecosystems(mirror: Mirror) -> list[str]:
    raw = mirror.read("ecosystems.txt", 1 << 20)
    if raw is None:
        raise NotFound(f"{mirror.name} has no ecosystems.txt", hint="Set advisories_ecosystems.")
    try:
        names = [line.strip() for line in raw.decode().splitlines()]
    except UnicodeDecodeError as error:
        raise Invalid("ecosystems.txt is no text") from error
    # `Debian:12` and its like have no dump of their own: they are in that of `Debian`.
    found = sorted({name for name in names if name and ":" not in name and name not in ("GIT", "[EMPTY]")})
    if len(found) > MOST_ECOSYSTEMS:
        raise Invalid(f"ecosystems.txt names more than {MOST_ECOSYSTEMS} ecosystems")
    return found
