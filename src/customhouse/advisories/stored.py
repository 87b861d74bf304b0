"""The advisories of one moment, out of the store: what matching asks, and one record as people see it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from customhouse.advisories.osv import Advisory, Affected
from customhouse.advisories.severity import Rating
from customhouse.advisories.source import Holding, Likelihood, Statement
from customhouse.advisories.store import AdvisoriesStore
from customhouse.advisories.vex import Stated

VERSIONS_SHOWN = 50


class StoredAdvisories:
    """An AdvisorySource over one read transaction."""

    def __init__(self, store: AdvisoriesStore, tx: Connection) -> None:
        self._store = store
        self._tx = tx

    def snapshot(self) -> str:
        return self._store.snapshot(self._tx)

    def holdings(self) -> Mapping[str, Holding]:
        return self._store.holdings(self._tx)

    def statements(self, ecosystem: str, packages: Collection[str]) -> Iterable[Statement]:
        return self._store.statements(self._tx, ecosystem, packages)

    def exploited(self, cves: Collection[str]) -> frozenset[str]:
        return self._store.exploited(self._tx, cves)

    def aliases(self, ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        return self._store.aliases(self._tx, ids)

    def likelihood(self, cves: Collection[str]) -> Mapping[str, Likelihood]:
        return self._store.likelihood(self._tx, cves)

    def ratings(self, cves: Collection[str]) -> Mapping[str, tuple[Rating, str]]:
        return self._store.ratings(self._tx, cves)

    def stated(self, names: Collection[str]) -> Sequence[Stated]:
        return self._store.vex.about(self._tx, names)

    def shown(self, record: Advisory) -> dict[str, Any]:
        """A record with all that is known of its flaw, as the API shows it."""
        names = self.aliases([record.id])[record.id]
        cves = {name for name in (*names, *record.cves) if name.startswith("CVE-")}
        scores = self.likelihood(cves)
        return {
            **brief(record),
            "upstream": list(record.upstream),
            "related": list(record.related),
            "names": sorted(names),
            "rated_by": record.rated_by,
            "vectors": list(record.vectors),
            "kev": sorted(self.exploited(cves)),
            "epss": {cve: [scores[cve].score, scores[cve].percentile] for cve in sorted(scores)},
            "affected": [_affected(each) for each in record.affected],
            "vex": [
                {"author": each.author, "document": each.identifier, "status": each.statement.status.value,
                 "justification": each.statement.justification}
                for each in self.stated({record.id, *names, *cves})
            ],
        }  # fmt: skip


def brief(record: Advisory) -> dict[str, Any]:
    """A record in a list."""
    return {
        "id": record.id,
        "modified": iso(record.modified),
        "published": iso(record.published),
        "withdrawn": iso(record.withdrawn),
        "aliases": list(record.aliases),
        "severity": record.rating.value,
        "summary": record.summary,
    }


def iso(at: datetime | None) -> str | None:
    """A moment as the API writes it."""
    return at.isoformat().replace("+00:00", "Z") if at else None


def _affected(entry: Affected) -> dict[str, Any]:
    return {
        "ecosystem": entry.ecosystem,
        "package": entry.package,
        "ranges": [[{kind: version} for kind, version in each.events] for each in entry.ranges],
        "versions": len(entry.versions),
        "versions_shown": list(entry.versions[:VERSIONS_SHOWN]),
        "severity": entry.rating.value,
    }
