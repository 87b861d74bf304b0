"""What matching asks of the advisories, of one moment; the store's and memory's answers have this shape."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from customhouse.advisories.osv import Advisory, Affected
from customhouse.advisories.severity import Rating
from customhouse.advisories.vex import Stated


@dataclass(frozen=True)
class Holding:
    """What is held about one ecosystem (or about KEV, EPSS): when a whole dump was last imported (None: never), its
    newest record, where it came from, and up to which moment an update has followed that source."""

    records: int
    newest: datetime | None
    imported: datetime | None
    source: str = ""
    cursor: datetime | None = None


@dataclass(frozen=True)
class Statement:
    """One record about one package. The record comes without its other affected packages."""

    advisory: Advisory
    affected: Affected


@dataclass(frozen=True)
class Likelihood:
    """EPSS: the probability (0 to 1) that a CVE is exploited within 30 days, and the share of CVEs that score less."""

    score: float
    percentile: float


class AdvisorySource(Protocol):
    """Advisories of one moment: all answers come from the same snapshot."""

    def snapshot(self) -> str:
        """An id of the content: equal ids, equal advisories."""

    def holdings(self) -> Mapping[str, Holding]:
        """By ecosystem name as in OSV, and "KEV"."""

    def statements(self, ecosystem: str, packages: Collection[str]) -> Iterable[Statement]:
        """Records that are not withdrawn, about any of these packages."""

    def exploited(self, cves: Collection[str]) -> frozenset[str]:
        """Those of these CVEs that are on the KEV list."""

    def aliases(self, ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The other names of these records' flaws, also by way of records about other packages (`folding.closure`)."""

    def likelihood(self, cves: Collection[str]) -> Mapping[str, Likelihood]:
        """EPSS scores of those CVEs that have one; "EPSS" among the holdings says how old they are."""

    def stated(self, names: Collection[str]) -> Sequence[Stated]:
        """VEX statements in force that name one of these flaws (`vex.apply` tells which of them cover)."""

    def ratings(self, cves: Collection[str]) -> Mapping[str, tuple[Rating, str]]:
        """How bad these flaws are by the record of that very name, and where it says so; unknown ones are left out."""
