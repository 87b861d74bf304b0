"""Advisories held in memory: the same answers as the store's, for a check on a laptop without a hub.

1. The moment of import is that of the files (their newest modification), so an old download is stale here too.
2. Later files win over earlier ones only with a newer record, as in the store.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from customhouse.advisories.epss import EpssTable
from customhouse.advisories.feed import FeedBudget, Record, Refused, Tally, Vex, read_feed
from customhouse.advisories.folding import MOST_NAMES, closure
from customhouse.advisories.kev import KevCatalog
from customhouse.advisories.osv import Advisory
from customhouse.advisories.severity import Rating
from customhouse.advisories.snapshot import Content, identify, record_mark
from customhouse.advisories.source import Holding, Likelihood, Statement
from customhouse.advisories.vex import Stated, VexDocument


class MemoryAdvisories:
    """An AdvisorySource over a few files."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._records: dict[str, tuple[Advisory, str]] = {}
        self._by_package: dict[tuple[str, str], list[Statement]] = defaultdict(list)
        self._holdings: dict[str, Holding] = {}
        self._names: dict[str, set[str]] = defaultdict(set)
        self._epss: dict[str, Likelihood] = {}
        self._epss_version = ""
        self._vex: dict[str, VexDocument] = {}
        self._kev: KevCatalog | None = None
        self._snapshot = ""

    @classmethod
    def load(cls, paths: Iterable[Path], now: datetime, budget: FeedBudget | None = None) -> "MemoryAdvisories":
        """Read dumps, folders, records or KEV lists. Raises FeedUnreadable, FeedTooLarge."""
        held = cls()
        for path in paths:
            held._read(path, now, budget)
        for advisory, _ in held._records.values():
            if advisory.withdrawn is None:
                header = replace(advisory, affected=())
                if len(advisory.aliases) <= MOST_NAMES:
                    for name in advisory.aliases:
                        held._names[name].add(advisory.id)
                        held._names[advisory.id].add(name)
                for affected in advisory.affected:
                    key = affected.ecosystem, affected.package
                    held._by_package[key].append(Statement(header, affected))
        content = Content()
        for advisory, digest in held._records.values():
            content = content.with_mark(record_mark(advisory.id, advisory.modified, digest))
        for digest, document in held._in_force().items():
            content = content.beside(record_mark(f"vex:{digest}", document.issued, ""))
        kev_version = held._kev.version if held._kev else ""
        held._snapshot = identify(content, kev_version, held._kev_entries(), held._epss_version)
        return held

    def snapshot(self) -> str:
        return self._snapshot

    def holdings(self) -> Mapping[str, Holding]:
        return self._holdings

    def statements(self, ecosystem: str, packages: Collection[str]) -> Iterable[Statement]:
        for package in packages:
            yield from self._by_package.get((ecosystem, package), ())

    def exploited(self, cves: Collection[str]) -> frozenset[str]:
        return frozenset(cves) & self._kev_entries()

    def aliases(self, ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        return closure(ids, lambda names: {name: self._names[name] for name in names if name in self._names})

    def likelihood(self, cves: Collection[str]) -> Mapping[str, Likelihood]:
        return {cve: self._epss[cve] for cve in cves if cve in self._epss}

    def ratings(self, cves: Collection[str]) -> Mapping[str, tuple[Rating, str]]:
        held = ((cve, self._records[cve][0]) for cve in cves if cve in self._records)
        return {
            cve: (each.rating, each.rated_by)
            for cve, each in held
            if each.withdrawn is None and each.rating is not Rating.UNKNOWN
        }

    def every_statement(self) -> list[Stated]:
        """All VEX statements in force, whatever they name."""
        return [
            Stated(each, digest, number, document.identifier, document.author)
            for digest, document in sorted(self._in_force().items())
            for number, each in enumerate(document.statements)
        ]

    def stated(self, names: Collection[str]) -> list[Stated]:
        """The VEX statements in force that name one of these flaws."""
        wanted = frozenset(names)
        return [each for each in self.every_statement() if not wanted.isdisjoint(each.statement.names)]

    def _in_force(self) -> dict[str, VexDocument]:
        latest: dict[tuple[str, str], str] = {}
        for digest, document in self._vex.items():
            key = document.identifier, document.author
            if key not in latest or document.issued >= self._vex[latest[key]].issued:
                latest[key] = digest
        return {digest: self._vex[digest] for digest in latest.values()}

    def _kev_entries(self) -> frozenset[str]:
        return frozenset(entry.cve for entry in self._kev.entries) if self._kev else frozenset()

    def _read(self, path: Path, now: datetime, budget: FeedBudget | None) -> None:
        tally = Tally()
        at = min(now, _modified(path))
        for item in read_feed(path, budget=budget):
            if isinstance(item, Refused):
                tally.refuse(item)
                self.tally.refuse(item)
            elif isinstance(item, KevCatalog):
                if self._kev is None or item.released >= self._kev.released:
                    self._kev = item
                    self._holdings["KEV"] = Holding(len(item.entries), item.released, at)
            elif isinstance(item, EpssTable):
                held = self._holdings.get("EPSS")
                if held is None or held.newest is None or item.scored >= held.newest:
                    self._epss = {cve: Likelihood(score, percentile) for cve, score, percentile in item.scores}
                    self._holdings["EPSS"] = Holding(len(item.scores), item.scored, at, path.name)
                    self._epss_version = f"{item.version} {item.digest}"
            elif isinstance(item, Vex):
                self._vex[item.digest] = item.document
            else:
                tally.add(item, now)
                self.tally.add(item, now)
                self._keep(item)
        whole = tally.whole()
        for name, count in tally.ecosystems.items():
            if name not in whole and (name not in self._holdings or self._holdings[name].imported is None):
                before = self._holdings.get(name)
                self._holdings[name] = Holding(count + (before.records if before else 0), None, None, path.name)
        for name, newest in whole.items():
            before = self._holdings.get(name)
            records = tally.ecosystems[name] + (before.records if before else 0)
            latest = max((t for t in (newest, before.newest if before else None) if t is not None), default=None)
            imported = max(at, before.imported) if before and before.imported else at
            self._holdings[name] = Holding(records, latest, imported)

    def _keep(self, record: Record) -> None:
        held = self._records.get(record.advisory.id)
        if held is None or record.advisory.modified >= held[0].modified:
            self._records[record.advisory.id] = record.advisory, record.content


def _modified(path: Path) -> datetime:
    files = [path, *(p for p in path.rglob("*") if p.is_file())] if path.is_dir() else [path]
    stamps = [file.stat().st_mtime for file in files if file.is_file()]
    return datetime.fromtimestamp(max(stamps, default=0.0), UTC)
