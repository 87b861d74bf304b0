"""Advisories as rows: records, what each says about which package, the KEV list, and how fresh all of it is.

1. A record is replaced by one that was modified later (or by the same one with other bytes); an older dump does not
   take back what a newer one said. A stored time of modification that lies in the future does not defend its record.
2. The content's marks are summed in the transaction that changes records, so the snapshot id is always that of the
   rows a reader sees.
3. Withdrawn records keep their row and lose what they say about packages. A record that a later dump of the same
   name holds no more goes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, distinct, func, insert, select, update

from customhouse.advisories.epss import EpssTable
from customhouse.advisories.feed import CLOCK_SKEW, Record, Vex, in_batches, lineage
from customhouse.advisories.folding import MOST_NAMES, closure
from customhouse.advisories.kev import KevCatalog
from customhouse.advisories.osv import Advisory, normal_package
from customhouse.advisories.severity import Rating
from customhouse.advisories.snapshot import Content, identify, record_mark
from customhouse.advisories.source import Holding, Likelihood, Statement
from customhouse.advisories.store.bulk import add_rows
from customhouse.advisories.store.codec import HEADER, advisory_of, affected_of, document, header
from customhouse.advisories.store.following import Following
from customhouse.advisories.store.tables import (
    advisory,
    advisory_affected,
    advisory_alias,
    advisory_holding,
    advisory_import,
    advisory_state,
    epss_score,
    kev_entry,
)
from customhouse.advisories.store.vex import VexRows
from customhouse.db import Database, Store

CHUNK = 500
KEV, EPSS = "KEV", "EPSS"
VANISH_FREELY, VANISH_SHARE = 20, 0.1

@dataclass(frozen=True)
class Change:
    """How many records of a batch were new, replaced one, were known, or were older than the one held."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    older: int = 0

    def __add__(self, other: "Change") -> "Change":
        return Change(
            self.new + other.new,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.older + other.older,
        )


class AdvisoriesStore(Store):
    """Queries and changes; every method works inside the caller's transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.vex = VexRows(database)
        self.following = Following(database)

    def put(self, tx: Connection, records: Iterable[Record], now: datetime) -> Change:
        """Store a batch of records; rule 1."""
        self._database.lock(tx, "advisories")
        newest: dict[str, Record] = {}
        for record in records:
            held = newest.get(record.advisory.id)
            if held is None or record.advisory.modified >= held.advisory.modified:
                newest[record.advisory.id] = record
        existing = self._existing(tx, list(newest))
        content = self._content(tx)
        taken: list[Record] = []
        change = Change()
        for name, record in newest.items():
            known = existing.get(name)
            if known is None:
                change += Change(new=1)
            elif known[1] == record.content and known[0] == record.advisory.modified:
                change += Change(unchanged=1)
                continue
            elif record.advisory.modified < known[0] <= now + CLOCK_SKEW:
                change += Change(older=1)
                continue
            else:
                change += Change(changed=1)
                content = content.without_mark(record_mark(name, *known))
            content = content.with_mark(record_mark(name, record.advisory.modified, record.content))
            taken.append(record)
        self._replace(tx, taken, [r.advisory.id for r in taken if r.advisory.id in existing])
        if taken:
            self._save_content(tx, content)
        return change

    def put_kev(self, tx: Connection, catalog: KevCatalog, source: str, now: datetime) -> bool:
        """Replace the KEV list; False (and nothing done but its date) when a later edition is held."""
        self._database.lock(tx, "advisories")
        held = self.holdings(tx).get(KEV)
        if held and held.newest and catalog.released < held.newest <= now + CLOCK_SKEW:
            return False
        tx.execute(delete(kev_entry))
        tx.execute(
            insert(kev_entry),
            [{"cve": e.cve, "added": e.added, "due": e.due, "ransomware": int(e.ransomware)} for e in catalog.entries],
        )
        self._hold(tx, KEV, Holding(len(catalog.entries), catalog.released, now, source))
        self._save_content(tx, self._content(tx), catalog.version)
        return True

    def put_epss(self, tx: Connection, table: EpssTable, source: str, now: datetime) -> bool:
        """Replace the EPSS scores; False when those of a later day are held."""
        self._database.lock(tx, "advisories")
        held = self.holdings(tx).get(EPSS)
        if held and held.newest and table.scored < held.newest <= now + CLOCK_SKEW:
            return False
        tx.execute(delete(epss_score))
        add_rows(tx, epss_score, table.scores)
        self._hold(tx, EPSS, Holding(len(table.scores), table.scored, now, source))
        self._save_content(tx, self._content(tx), epss_version=f"{table.version} {table.digest}")
        return True

    def put_vex(self, tx: Connection, vex: Vex, publisher: str, actor: str, now: datetime) -> bool:
        """Keep a VEX document; False when it is known or older than one that is held."""
        self._database.lock(tx, "advisories")
        gained, lost = self.vex.put(tx, vex, publisher, actor, now)
        content = self._content(tx)
        for mark in lost:
            content = content.beside(mark, -1)
        if gained:
            self._save_content(tx, content.beside(gained))
        return bool(gained)

    def vanish(self, tx: Connection, dump: str, seen: Collection[str], families: Collection[str]) -> tuple[int, bool]:
        """Take out what the dump of this name held before and holds no more; returns how many, and if it was done.

        Only records that are about these families alone go. A dump that lost more than a tenth of what it had is not
        believed: it is more likely cut than right, and a flaw that is forgotten is found in no image.
        """
        self._database.lock(tx, "advisories")
        rows = tx.execute(select(advisory.c.id).where(advisory.c.dump == lineage(dump))).scalars()
        held = set(rows)
        gone = sorted(held - set(seen))
        elsewhere: set[str] = set()
        for part in in_batches(gone, CHUNK):
            query = select(advisory_affected.c.advisory_id, advisory_affected.c.ecosystem)
            for name, ecosystem in tx.execute(query.where(advisory_affected.c.advisory_id.in_(part))):
                if ecosystem.split(":")[0] not in families:
                    elsewhere.add(name)
        gone = [name for name in gone if name not in elsewhere]
        if not gone:
            return 0, True
        if len(gone) > max(VANISH_FREELY, len(held) * VANISH_SHARE):
            return len(gone), False
        self.remove(tx, gone)
        return len(gone), True

    def remove(self, tx: Connection, names: Collection[str]) -> None:
        """Take these records out."""
        content = self._content(tx)
        for name, known in self._existing(tx, sorted(names)).items():
            content = content.without_mark(record_mark(name, *known))
        self._replace(tx, [], sorted(names))
        self._save_content(tx, content)

    def note_partial(self, tx: Connection, names: Collection[str], source: str) -> None:
        """Some records about these ecosystems came in; those that were never imported as a whole are known in part."""
        held = self.holdings(tx)
        for name in sorted(names):
            if name not in held or held[name].imported is None:
                records, newest = self._held_of(tx, name)
                self._hold(tx, name, Holding(records, newest, None, source))

    def _held_of(self, tx: Connection, ecosystem: str) -> tuple[int, datetime | None]:
        query = select(func.count(distinct(advisory.c.id)), func.max(advisory.c.modified)).join(
            advisory_affected, advisory_affected.c.advisory_id == advisory.c.id
        )
        row = tx.execute(query.where(advisory_affected.c.ecosystem == ecosystem)).one()
        return row[0], row[1]

    def renew(self, tx: Connection, newest: Mapping[str, datetime | None], source: str, now: datetime) -> None:
        """Note that these ecosystems were imported as a whole now; `newest` is their newest record in the dump."""
        self._database.lock(tx, "advisories")
        held = self.holdings(tx)
        for name in sorted(newest):
            count = select(func.count(distinct(advisory_affected.c.advisory_id))).where(
                advisory_affected.c.ecosystem == name
            )
            before = held[name].newest if name in held else None
            latest = max((at for at in (newest[name], before) if at is not None), default=None)
            self._hold(tx, name, Holding(tx.execute(count).scalar_one(), latest, now, source))

    def holdings(self, tx: Connection) -> dict[str, Holding]:
        rows = tx.execute(select(advisory_holding)).all()
        return {
            row.ecosystem: Holding(row.records, row.newest, row.imported, row.source, row.cursor) for row in rows
        }

    def snapshot(self, tx: Connection) -> str:
        """The id of what is held; empty while nothing was imported."""
        return tx.execute(select(advisory_state.c.snapshot)).scalar() or ""

    def counts(self, tx: Connection) -> tuple[int, str]:
        """(records, version of the KEV list)."""
        row = tx.execute(select(advisory_state.c.records, advisory_state.c.kev_version)).one_or_none()
        return (row.records, row.kev_version) if row else (0, "")

    def epss_version(self, tx: Connection) -> str:
        """Model and day of the scores."""
        return (tx.execute(select(advisory_state.c.epss_version)).scalar() or "").rpartition(" ")[0]

    def statements(self, tx: Connection, ecosystem: str, packages: Collection[str]) -> Iterator[Statement]:
        """What records that are not withdrawn say about these packages."""
        joined = advisory_affected.join(advisory, advisory.c.id == advisory_affected.c.advisory_id)
        for names in in_batches(sorted(set(packages)), CHUNK):
            query = (
                select(
                    advisory.c.id,
                    advisory.c.modified,
                    advisory.c.published,
                    advisory.c.header,
                    advisory_affected.c.package,
                    advisory_affected.c.document,
                )
                .select_from(joined)
                .where(advisory_affected.c.ecosystem == ecosystem, advisory_affected.c.package.in_(names))
                .order_by(advisory_affected.c.advisory_id, advisory_affected.c.position)
            )
            for row in tx.execute(query):
                yield Statement(advisory_of(row), affected_of(ecosystem, row.package, row.document))

    def record(self, tx: Connection, name: str) -> Advisory | None:
        """One record with all that it says; a withdrawn one says nothing of packages."""
        row = tx.execute(select(advisory).where(advisory.c.id == name)).one_or_none()
        if row is None:
            return None
        query = select(advisory_affected).where(advisory_affected.c.advisory_id == name)
        entries = tx.execute(query.order_by(advisory_affected.c.position)).all()
        affected = tuple(affected_of(each.ecosystem, each.package, each.document) for each in entries)
        return replace(advisory_of(row), withdrawn=row.withdrawn, affected=affected)

    def latest(self, tx: Connection, ecosystem: str, package: str, limit: int) -> list[Advisory]:
        """Records (without their packages), the latest change first; an ecosystem's, and a package's in it."""
        query = select(advisory)
        if ecosystem:
            about = select(advisory_affected.c.advisory_id).where(advisory_affected.c.ecosystem == ecosystem)
            if package:
                about = about.where(advisory_affected.c.package == normal_package(ecosystem, package))
            query = query.where(advisory.c.id.in_(about))
        rows = tx.execute(query.order_by(advisory.c.modified.desc(), advisory.c.id).limit(limit))
        return [replace(advisory_of(row), withdrawn=row.withdrawn) for row in rows]

    def exploited(self, tx: Connection, cves: Collection[str]) -> frozenset[str]:
        found: set[str] = set()
        for names in in_batches(sorted(set(cves)), CHUNK):
            found.update(tx.execute(select(kev_entry.c.cve).where(kev_entry.c.cve.in_(names))).scalars())
        return frozenset(found)

    def likelihood(self, tx: Connection, cves: Collection[str]) -> dict[str, Likelihood]:
        found: dict[str, Likelihood] = {}
        for names in in_batches(sorted(set(cves)), CHUNK):
            rows = tx.execute(select(epss_score).where(epss_score.c.cve.in_(names))).all()
            found.update((row.cve, Likelihood(row.score, row.percentile)) for row in rows)
        return found

    def ratings(self, tx: Connection, names: Collection[str]) -> dict[str, tuple[Rating, str]]:
        found: dict[str, tuple[Rating, str]] = {}
        for part in in_batches(sorted(set(names)), CHUNK):
            query = select(advisory.c.id, advisory.c.header).where(
                advisory.c.id.in_(part), advisory.c.withdrawn.is_(None)
            )
            for row in tx.execute(query):
                said = HEADER.decode(row.header)
                if said.rating != Rating.UNKNOWN.value:
                    found[row.id] = Rating(said.rating), said.rated_by
        return found

    def aliases(self, tx: Connection, ids: Collection[str]) -> dict[str, frozenset[str]]:
        """By id, the names of the same flaw in all records that are held; see `folding.closure`."""

        def neighbours(names: Sequence[str]) -> dict[str, set[str]]:
            near: dict[str, set[str]] = {}
            for part in in_batches(names, CHUNK):
                for key, other in ((advisory_alias.c.name, advisory_alias.c.advisory_id),
                                   (advisory_alias.c.advisory_id, advisory_alias.c.name)):  # fmt: skip
                    for one, two in tx.execute(select(key, other).where(key.in_(part))):
                        near.setdefault(one, set()).add(two)
            return near

        return closure(ids, neighbours)

    def begin_import(
        self, tx: Connection, import_id: str, name: str, digest: str | None, actor: str, now: datetime
    ) -> None:
        tx.execute(insert(advisory_import).values(id=import_id, name=name, digest=digest, actor=actor, started=now))

    def end_import(self, tx: Connection, import_id: str, outcome: str, now: datetime) -> None:
        tx.execute(
            update(advisory_import).where(advisory_import.c.id == import_id).values(finished=now, outcome=outcome)
        )

    def imports(self, tx: Connection, limit: int = 10) -> Sequence[Any]:
        """The latest imports, newest first."""
        return tx.execute(select(advisory_import).order_by(advisory_import.c.started.desc()).limit(limit)).all()

    def _existing(self, tx: Connection, names: list[str]) -> dict[str, tuple[datetime, str]]:
        found: dict[str, tuple[datetime, str]] = {}
        for part in in_batches(names, CHUNK):
            rows = tx.execute(
                select(advisory.c.id, advisory.c.modified, advisory.c.content).where(advisory.c.id.in_(part))
            )
            found.update((row.id, (row.modified, row.content)) for row in rows)
        return found

    def _replace(self, tx: Connection, records: list[Record], known: list[str]) -> None:
        for part in in_batches(known, CHUNK):
            tx.execute(delete(advisory_affected).where(advisory_affected.c.advisory_id.in_(part)))
            tx.execute(delete(advisory_alias).where(advisory_alias.c.advisory_id.in_(part)))
            tx.execute(delete(advisory).where(advisory.c.id.in_(part)))
        if not records:
            return
        tx.execute(
            insert(advisory),
            [
                {
                    "id": r.advisory.id,
                    "modified": r.advisory.modified,
                    "published": r.advisory.published,
                    "withdrawn": r.advisory.withdrawn,
                    "content": r.content,
                    "header": header(r.advisory),
                    "dump": lineage(r.dump) if r.dump else 0,
                }
                for r in records
            ],
        )
        told = [r.advisory for r in records if r.advisory.withdrawn is None]
        add_rows(
            tx,
            advisory_affected,
            [
                (each.id, position, affected.ecosystem, affected.package, document(affected))
                for each in told
                for position, affected in enumerate(each.affected)
            ],
        )
        add_rows(
            tx,
            advisory_alias,
            [
                (name, each.id)
                for each in told
                if len(each.aliases) <= MOST_NAMES
                for name in each.aliases
                if name != each.id
            ],
        )

    def _content(self, tx: Connection) -> Content:
        row = tx.execute(select(advisory_state.c.records, advisory_state.c.total)).one_or_none()
        return Content(row.records, int(row.total, 16)) if row else Content()

    def _save_content(
        self, tx: Connection, content: Content, kev_version: str | None = None, epss_version: str | None = None
    ) -> None:
        held = tx.execute(select(advisory_state.c.kev_version, advisory_state.c.epss_version)).one_or_none() or ("", "")
        version = held[0] if kev_version is None else kev_version
        scores = held[1] if epss_version is None else epss_version
        entries = tx.execute(select(kev_entry.c.cve)).scalars()
        values = {
            "records": content.records,
            "total": f"{content.total:064x}",
            "kev_version": version,
            "epss_version": scores,
            "snapshot": identify(content, version, entries, scores),
        }
        if not tx.execute(update(advisory_state).where(advisory_state.c.id == 1).values(values)).rowcount:
            tx.execute(insert(advisory_state).values(id=1, **values))

    def _hold(self, tx: Connection, name: str, holding: Holding) -> None:
        values = {
            "records": holding.records, "newest": holding.newest, "imported": holding.imported,
            "source": holding.source, "cursor": holding.cursor,
        }  # fmt: skip
        changed = tx.execute(update(advisory_holding).where(advisory_holding.c.ecosystem == name).values(values))
        if not changed.rowcount:
            tx.execute(insert(advisory_holding).values(ecosystem=name, **values))
