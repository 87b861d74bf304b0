"""Advisories as rows: records, what each says about which package, the KEV list, and how fresh all of it is.

1. A record is replaced by one that was modified later (or by the same one with other bytes); an older dump does not
   take back what a newer one said. A stored time of modification that lies in the future does not defend its record.
2. The content's marks are summed in the transaction that changes records, so the snapshot id is always that of the
   rows a reader sees.
3. Withdrawn records keep their row and lose what they say about packages.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, distinct, func, insert, select, update

from customhouse.advisories.feed import CLOCK_SKEW, Record, in_batches
from customhouse.advisories.folding import MOST_NAMES, closure
from customhouse.advisories.kev import KevCatalog
from customhouse.advisories.matching import Holding, Likelihood, Statement
from customhouse.advisories.osv import Advisory, Affected, Range
from customhouse.advisories.severity import Rating
from customhouse.advisories.snapshot import Content, identify, record_mark
from customhouse.advisories.specifics import NOTHING_SPECIFIC, Specifics
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
from customhouse.db import Store

CHUNK = 500
KEV = "KEV"

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

    def put_kev(self, tx: Connection, catalog: KevCatalog, now: datetime) -> bool:
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
        self._hold(tx, KEV, Holding(len(catalog.entries), catalog.released, now))
        self._save_content(tx, self._content(tx), catalog.version)
        return True

    def renew(self, tx: Connection, newest: Mapping[str, datetime | None], now: datetime) -> None:
        """Note that these ecosystems were imported as a whole now; `newest` is their newest record in the dump."""
        self._database.lock(tx, "advisories")
        held = self.holdings(tx)
        for name in sorted(newest):
            count = select(func.count(distinct(advisory_affected.c.advisory_id))).where(
                advisory_affected.c.ecosystem == name
            )
            before = held[name].newest if name in held else None
            latest = max((at for at in (newest[name], before) if at is not None), default=None)
            self._hold(tx, name, Holding(tx.execute(count).scalar_one(), latest, now))

    def holdings(self, tx: Connection) -> dict[str, Holding]:
        rows = tx.execute(select(advisory_holding)).all()
        return {row.ecosystem: Holding(row.records, row.newest, row.imported) for row in rows}

    def snapshot(self, tx: Connection) -> str:
        """The id of what is held; empty while nothing was imported."""
        return tx.execute(select(advisory_state.c.snapshot)).scalar() or ""

    def counts(self, tx: Connection) -> tuple[int, str]:
        """(records, version of the KEV list)."""
        row = tx.execute(select(advisory_state.c.records, advisory_state.c.kev_version)).one_or_none()
        return (row.records, row.kev_version) if row else (0, "")

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
                yield Statement(_advisory(row), _affected(ecosystem, row.package, row.document))

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
                header = _HEADER.decode(row.header)
                if header.rating != Rating.UNKNOWN.value:
                    found[row.id] = Rating(header.rating), header.rated_by
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
                    "header": _header(r.advisory),
                    "dump": int(bool(r.dump)),
                }
                for r in records
            ],
        )
        rows = [
            {
                "advisory_id": r.advisory.id,
                "position": position,
                "ecosystem": affected.ecosystem,
                "package": affected.package,
                "document": _document(affected),
            }
            for r in records
            if r.advisory.withdrawn is None
            for position, affected in enumerate(r.advisory.affected)
        ]
        if rows:
            tx.execute(insert(advisory_affected), rows)
        names = [
            {"name": name, "advisory_id": r.advisory.id}
            for r in records
            if r.advisory.withdrawn is None and len(r.advisory.aliases) <= MOST_NAMES
            for name in r.advisory.aliases
            if name != r.advisory.id
        ]
        if names:
            tx.execute(insert(advisory_alias), names)

    def _content(self, tx: Connection) -> Content:
        row = tx.execute(select(advisory_state.c.records, advisory_state.c.total)).one_or_none()
        return Content(row.records, int(row.total, 16)) if row else Content()

    def _save_content(self, tx: Connection, content: Content, kev_version: str | None = None) -> None:
        version = self.counts(tx)[1] if kev_version is None else kev_version
        entries = tx.execute(select(kev_entry.c.cve)).scalars()
        values = {
            "records": content.records,
            "total": f"{content.total:064x}",
            "kev_version": version,
            "snapshot": identify(content, version, entries),
        }
        if not tx.execute(update(advisory_state).where(advisory_state.c.id == 1).values(values)).rowcount:
            tx.execute(insert(advisory_state).values(id=1, **values))

    def _hold(self, tx: Connection, name: str, holding: Holding) -> None:
        values = {"records": holding.records, "newest": holding.newest, "imported": holding.imported}
        changed = tx.execute(update(advisory_holding).where(advisory_holding.c.ecosystem == name).values(values))
        if not changed.rowcount:
            tx.execute(insert(advisory_holding).values(ecosystem=name, **values))


class _Header(msgspec.Struct, array_like=True):
    """What a record says of its flaw. Fields are added at the end, with defaults: older rows are shorter."""

    aliases: tuple[str, ...]
    upstream: tuple[str, ...]
    summary: str
    rating: str
    related: tuple[str, ...] = ()
    rated_by: str = ""
    vectors: tuple[str, ...] = ()


class _Document(msgspec.Struct, array_like=True):
    """What a record says of one package; as above."""

    ranges: tuple[tuple[tuple[str, str], ...], ...]
    versions: tuple[str, ...]
    rating: str
    rated_by: str = ""
    purl: str = ""
    specifics: dict[str, Any] | None = None


_HEADER = msgspec.json.Decoder(_Header)
_DOCUMENT = msgspec.json.Decoder(_Document)
_ENCODE = msgspec.json.Encoder()


def _header(record: Advisory) -> str:
    return _ENCODE.encode(
        _Header(
            record.aliases, record.upstream, record.summary, record.rating.value, record.related, record.rated_by,
            record.vectors,
        )
    ).decode()  # fmt: skip


def _document(affected: Affected) -> str:
    specifics = None
    if affected.specifics != NOTHING_SPECIFIC:
        specifics = {name: value for name, value in asdict(affected.specifics).items() if value}
    ranges = tuple(each.events for each in affected.ranges)
    return _ENCODE.encode(
        _Document(ranges, affected.versions, affected.rating.value, affected.rated_by, affected.purl, specifics)
    ).decode()


def _advisory(row: Any) -> Advisory:
    header = _HEADER.decode(row.header)
    return Advisory(
        id=row.id,
        modified=row.modified,
        published=row.published,
        aliases=header.aliases,
        upstream=header.upstream,
        summary=header.summary,
        rating=Rating(header.rating),
        related=header.related,
        rated_by=header.rated_by,
        vectors=header.vectors,
    )


def _affected(ecosystem: str, package: str, document: str) -> Affected:
    said = _DOCUMENT.decode(document)
    return Affected(
        ecosystem,
        package,
        tuple(Range(events) for events in said.ranges),
        said.versions,
        Rating(said.rating),
        said.rated_by,
        said.purl,
        msgspec.convert(said.specifics, Specifics) if said.specifics else NOTHING_SPECIFIC,
    )
