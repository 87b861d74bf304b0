"""The advisories a hub holds: who may bring them in, how an import goes, what is known now.

1. Administrators and certifiers import. An import is audited when it begins and when it ends, with the digest of
   the file and the snapshot that followed.
2. Records are written in batches, each one transaction: other writers get their turn, and a killed import leaves
   whole records and the old statement about freshness; doing it again finishes it.
3. Freshness is renewed at the end only, and only for ecosystems of which the file was a dump. Then what the dump of
   that name held before and holds no more goes as well.
4. A match reads everything in one transaction: one snapshot, named in its report.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from customhouse import faults
from customhouse.accounts.people import Principal
from customhouse.advisories.epss import EpssTable
from customhouse.advisories.feed import (
    MOST_REFUSED,
    FeedBudget,
    FeedUnreadable,
    Item,
    Record,
    Refused,
    Tally,
    Vex,
    in_batches,
    read_feed,
)
from customhouse.advisories.identity import Package
from customhouse.advisories.kev import KevCatalog
from customhouse.advisories.matching import MAX_AGE, AdvisoryReport, coverage_of, match
from customhouse.advisories.source import AdvisorySource, Holding
from customhouse.advisories.store import EPSS, KEV, AdvisoriesStore, Change
from customhouse.advisories.stored import StoredAdvisories, brief, iso
from customhouse.audit import Audit
from customhouse.errors import CustomhouseError, Denied, NotFound

BATCH = 2000
MOST_LISTED = 1000


class ImportDenied(Denied):
    """Only administrators and certifiers say what is known about flaws."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name or 'nobody'} may not import advisories",
            hint="Ask an administrator or a certifier of this hub.",
        )


class NoAdvisory(NotFound):
    """No record of this name, nor one that has it among its aliases."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no advisory {_printable(name)} is held", hint="See what is: customhouse advisories status")


@dataclass(frozen=True)
class ImportReport:
    """What an import did. `renewed` are the ecosystems that count as known as of now; `vanished` how many records went
    because a dump holds them no more; `doubted` ecosystems whose dump lost so much that it is not believed."""

    id: str
    name: str
    snapshot: str
    records: int
    change: Change
    withdrawn: int
    flawed: int
    refused: int
    examples: tuple[Refused, ...]
    ecosystems: Mapping[str, int]
    renewed: tuple[str, ...]
    kev: str | None = None
    epss: str | None = None
    vex: int = 0
    vanished: int = 0
    doubted: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "snapshot": self.snapshot,
            "records": self.records,
            "new": self.change.new,
            "changed": self.change.changed,
            "unchanged": self.change.unchanged,
            "older": self.change.older,
            "withdrawn": self.withdrawn,
            "flawed": self.flawed,
            "refused": self.refused,
            "refused_examples": [{"record": r.name, "reason": r.reason} for r in self.examples],
            "ecosystems": dict(sorted(self.ecosystems.items())),
            "renewed": list(self.renewed),
            "kev": self.kev,
            "epss": self.epss,
            "vex": self.vex,
            "vanished": self.vanished,
            "doubted": list(self.doubted),
        }


@dataclass(frozen=True)
class Followed:
    """What a mirror's list says of one ecosystem: all its ids, and the newest time. `dump` names its whole dump."""

    ecosystem: str
    dump: str
    ids: Collection[str]
    newest: datetime
    source: str


@dataclass
class _Progress:
    tally: Tally = field(default_factory=Tally)
    change: Change = field(default_factory=Change)
    kev: str | None = None
    epss: str | None = None
    vex: int = 0  # that say something new
    documents: int = 0

    @property
    def anything(self) -> bool:
        return bool(self.tally.records or self.kev or self.epss or self.documents)


class AdvisoriesService:
    """Import, status and matching over the store."""

    def __init__(
        self,
        store: AdvisoriesStore,
        audit: Audit,
        clock: Callable[[], datetime],
        budget: FeedBudget | None = None,
    ) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._budget = budget or FeedBudget()

    def authorise_import(self, principal: Principal) -> None:
        """Raises ImportDenied."""
        if not principal.certifies:
            raise ImportDenied(principal.name)

    def import_feed(
        self, path: Path, principal: Principal, *, name: str = "", digest: str | None = None
    ) -> ImportReport:
        """Read a dump, a folder, a record or the KEV list into the store.

        Raises ImportDenied; FeedUnreadable, FeedTooLarge with what was read before kept and freshness not renewed.
        """
        name = _printable(name or path.name)
        return self.import_items(read_feed(path, name, self._budget), principal, name=name, digest=digest)

    def import_items(
        self, items: Iterable[Item], principal: Principal, *, name: str, digest: str | None = None,
        followed: Followed | None = None,
    ) -> ImportReport:
        """Bring items into the store; with `followed` they are what an update of that ecosystem needs.

        Raises ImportDenied, and what the items raise: what was read before is kept.
        """
        self.authorise_import(principal)
        import_id = uuid.uuid4().hex
        actor = principal.name
        with self._store.write() as tx:
            now = self._clock()
            self._store.begin_import(tx, import_id, name, digest, actor, now)
            self._audit.append(
                tx, actor=actor, action="advisories.import", subject=name, digest=digest,
                detail={"import": import_id}, now=now,
            )  # fmt: skip
        progress = _Progress()
        try:
            self._read(items, name, actor, progress)
            if not progress.anything and followed is None:
                why = "holds no usable advisory"
                if progress.tally.examples:
                    why += f" ({progress.tally.examples[0].name} {progress.tally.examples[0].reason})"
                raise FeedUnreadable(name, why)
        except CustomhouseError as error:
            self._fail(import_id, name, actor, error)
            raise
        return self._finish(import_id, name, actor, progress, followed)

    def status(self, max_age: timedelta = MAX_AGE) -> dict[str, Any]:
        """What is held and how fresh it is, as the API shows it."""
        now = self._clock()
        with self._store.read() as tx:
            holdings = self._store.holdings(tx)
            records, kev_version = self._store.counts(tx)
            imports = [
                {
                    "id": row.id,
                    "name": row.name,
                    "digest": row.digest,
                    "actor": row.actor,
                    "started": iso(row.started),
                    "finished": iso(row.finished),
                    "outcome": msgspec.json.decode(row.outcome) if row.outcome else None,
                }
                for row in self._store.imports(tx)
            ]
            snapshot = self._store.snapshot(tx)
            epss_version = self._store.epss_version(tx)
            documents = [
                {"id": row.identifier, "author": row.author, "form": row.form, "issued": iso(row.issued)}
                for row in self._store.vex.documents(tx)
            ]
        kev, epss = holdings.pop(KEV, None), holdings.pop(EPSS, None)
        return {
            "snapshot": snapshot or None,
            "records": records,
            "max_age_days": max_age.total_seconds() / 86400,
            "ecosystems": [
                {"ecosystem": name, **_holding_json(holding, now, max_age)}
                for name, holding in sorted(holdings.items())
            ],
            "kev": {"version": kev_version or None, **_holding_json(kev, now, max_age)},
            "epss": {"version": epss_version or None, **_holding_json(epss, now, max_age)},
            "vex": documents,
            "imports": imports,
        }

    def records(self, ecosystem: str = "", package: str = "", limit: int = 50) -> list[dict[str, Any]]:
        """Records about an ecosystem or a package, the latest change first."""
        with self._store.read() as tx:
            return [brief(each) for each in self._store.latest(tx, ecosystem, package, min(limit, MOST_LISTED))]

    def record(self, name: str) -> dict[str, Any]:
        """One record, also by an alias. Raises NoAdvisory."""
        with self._store.read() as tx:
            source = StoredAdvisories(self._store, tx)
            found = self._store.record(tx, name)
            if found is None:
                others = sorted(source.aliases([name])[name])
                found = next((each for other in others if (each := self._store.record(tx, other))), None)
            if found is None:
                raise NoAdvisory(name)
            return source.shown(found)

    @contextmanager
    def source(self) -> Iterator[AdvisorySource]:
        """The advisories of this moment, in one read transaction."""
        with self._store.read() as tx:
            yield StoredAdvisories(self._store, tx)

    def match(self, packages: Iterable[Package], max_age: timedelta = MAX_AGE) -> AdvisoryReport:
        """The flaws of these packages as of now."""
        now = self._clock()
        with self.source() as source:
            return match(packages, source, now, max_age)

    def snapshot(self) -> str:
        """The id that a verdict is bound to; empty while nothing was imported."""
        with self._store.read() as tx:
            return self._store.snapshot(tx)

    def _read(self, items: Iterable[Item], name: str, actor: str, progress: _Progress) -> None:
        for batch in in_batches(items, BATCH):
            now = self._clock()
            records = [item for item in batch if isinstance(item, Record)]
            for item in batch:
                if isinstance(item, Refused):
                    progress.tally.refuse(item)
                elif isinstance(item, Record):
                    progress.tally.add(item, now)
            with self._store.write() as tx:
                progress.change += self._store.put(tx, records, now)
                for item in batch:
                    if isinstance(item, KevCatalog):
                        self._store.put_kev(tx, item, name, now)
                        progress.kev = item.version
                    elif isinstance(item, EpssTable):
                        self._store.put_epss(tx, item, name, now)
                        progress.epss = item.version
                    elif isinstance(item, Vex):
                        progress.documents += 1
                        progress.vex += self._store.put_vex(tx, item, "", actor, now)
            faults.point("advisories.import.batch")

    def _finish(
        self, import_id: str, name: str, actor: str, progress: _Progress, followed: Followed | None
    ) -> ImportReport:
        tally = progress.tally
        whole = tally.whole()
        with self._store.write() as tx:
            now = self._clock()
            vanished = 0
            doubted: set[str] = set()
            dumps: dict[str, tuple[Collection[str], set[str]]] = {
                dump: (tally.ids[dump], families) for dump, families in tally.families().items()
            }
            if followed:
                dumps = {followed.dump: (followed.ids, {followed.ecosystem})}
                whole = self._renewed_by(tx, followed, tally)
            for dump, (ids, families) in sorted(dumps.items()):
                gone, done = self._store.vanish(tx, dump, ids, families)
                vanished += gone if done else 0
                doubted |= set() if done else families
            whole = {each: newest for each, newest in whole.items() if each.split(":")[0] not in doubted}
            self._store.renew(tx, whole, followed.source if followed else name, now)
            if followed and not doubted:
                self._store.following.note(tx, whole, followed.newest)
            self._store.note_partial(tx, tally.ecosystems.keys() - whole.keys(), name)
            report = ImportReport(
                id=import_id,
                name=name,
                snapshot=self._store.snapshot(tx),
                records=tally.records,
                change=progress.change,
                withdrawn=tally.withdrawn,
                flawed=tally.flawed,
                refused=tally.refused,
                examples=tuple(tally.examples),
                ecosystems=dict(tally.ecosystems),
                renewed=(*sorted(whole), *((KEV,) if progress.kev else ()), *((EPSS,) if progress.epss else ())),
                kev=progress.kev,
                epss=progress.epss,
                vex=progress.vex,
                vanished=vanished,
                doubted=tuple(sorted(doubted)),
            )
            self._store.end_import(tx, import_id, msgspec.json.encode(report.as_json()).decode(), now)
            detail = {"import": import_id, "records": report.records, "refused": report.refused, "kev": report.kev}
            self._audit.append(
                tx, actor=actor, action="advisories.imported", subject=name, digest=report.snapshot,
                detail=detail, now=now,
            )  # fmt: skip
        return report

    def _renewed_by(self, tx: Connection, followed: Followed, tally: Tally) -> dict[str, datetime | None]:
        """The ecosystems that an update renews: those of its family that are held as a whole, and new releases."""
        if tally.refused > MOST_REFUSED * max(len(followed.ids), 1):
            return {}
        held = whole_of(self._store.holdings(tx), followed.ecosystem)
        names = {*held, *_of_family(tally.ecosystems, followed.ecosystem)}
        return {name: tally.newest(name) for name in names}

    def _fail(self, import_id: str, name: str, actor: str, error: CustomhouseError) -> None:
        with self._store.write() as tx:
            now = self._clock()
            outcome = {"id": import_id, "error": error.message}
            self._store.end_import(tx, import_id, msgspec.json.encode(outcome).decode(), now)
            self._audit.append(tx, actor=actor, action="advisories.failed", subject=name, detail=outcome, now=now)


def _of_family(names: Iterable[str], ecosystem: str) -> set[str]:
    return {name for name in names if name.split(":")[0] == ecosystem}


def whole_of(holdings: Mapping[str, Holding], ecosystem: str) -> dict[str, Holding]:
    """What is held as a whole of an ecosystem and its releases."""
    names = _of_family(holdings, ecosystem)
    return {name: holdings[name] for name in sorted(names) if holdings[name].imported is not None}


def _holding_json(holding: Holding | None, now: datetime, max_age: timedelta) -> dict[str, Any]:
    return {
        "coverage": coverage_of(holding, now, max_age).value,
        "records": holding.records if holding else 0,
        "newest": iso(holding.newest) if holding else None,
        "imported": iso(holding.imported) if holding else None,
        "source": holding.source if holding else "",
    }


def _printable(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[:200] or "upload"
