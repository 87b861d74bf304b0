"""Which known flaws the packages of an image have, and for which packages that is known at all.

1. Packages of a distribution are looked up by source name and source version, others by their own.
2. Records that name the same flaw (aliases, or a distribution's record made from one CVE) become one match; a
   bulletin about several CVEs is left out when each of them is matched by a record of its own.
3. Coverage is said per ecosystem: `covered`, `missing` (nothing was ever imported as a whole) or `stale` (the import,
   or the newest record in it, is too old). A found match counts whatever the coverage; none found counts only when
   covered.
4. Kernel headers hold no kernel: flaws of the source `linux` do not reach them.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from customhouse.advisories.evaluation import evaluate
from customhouse.advisories.osv import Advisory, Affected, normal_package
from customhouse.advisories.severity import Rating, worst
from customhouse.advisories.versions import VersionOrder

MAX_AGE = timedelta(days=7)
NEWEST_RECORD_WITHIN = timedelta(days=400)
_KERNEL_HEADERS = re.compile(r"linux-(libc-dev(-.*)?|headers(-.*)?|.*-headers-.*|kbuild-.*|doc.*|source.*)")


class Coverage(StrEnum):
    """Is it known which packages of an ecosystem have flaws?"""

    COVERED = "covered"
    MISSING = "missing"
    STALE = "stale"


@dataclass(frozen=True)
class Holding:
    """What is held about one ecosystem (or about KEV): when a whole dump was last imported, and its newest record."""

    records: int
    newest: datetime | None
    imported: datetime | None


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


class Package(Protocol):
    """What is asked of an installed package; the catalogue's fits. Distributions file flaws under `source_*`."""

    @property
    def ecosystem(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def source_name(self) -> str: ...
    @property
    def source_version(self) -> str: ...
    @property
    def purl(self) -> str: ...
    @property
    def path(self) -> str: ...


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

    def ratings(self, cves: Collection[str]) -> Mapping[str, tuple[Rating, str]]:
        """How bad these flaws are by the record of that very name, and where it says so; unknown ones are left out."""


@dataclass(frozen=True)
class Match:
    """One flaw in one package. `packages` are all binaries of that source; `package` is the first of them."""

    package: Package
    id: str
    aliases: tuple[str, ...]
    fixed_versions: tuple[str, ...]
    severity: Rating
    kev: bool
    summary: str
    published: datetime | None
    malicious: bool = False
    packages: tuple[Package, ...] = ()

    @property
    def fixable(self) -> bool:
        """There is a version without the flaw, or the package itself is the flaw and can be left out."""
        return bool(self.fixed_versions) or self.malicious


@dataclass(frozen=True)
class AdvisoryReport:
    """The flaws of one image as of one snapshot. `as_of` holds per ecosystem when its advisories were imported."""

    matches: tuple[Match, ...] = ()
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    snapshot: str = ""
    as_of: Mapping[str, datetime | None] = field(default_factory=dict)
    kev: Coverage = Coverage.MISSING

    def lacking(self) -> dict[str, Coverage]:
        """Ecosystems of the image about which absence of a match says nothing."""
        return {name: state for name, state in self.coverage.items() if state is not Coverage.COVERED}


def coverage_of(holding: Holding | None, now: datetime, max_age: timedelta = MAX_AGE) -> Coverage:
    """Rule 3. An import dated after `now` is no fresher than one of now."""
    if holding is None or holding.imported is None or not holding.records:
        return Coverage.MISSING
    if now - holding.imported > max_age:
        return Coverage.STALE
    if holding.newest is None or now - holding.newest > NEWEST_RECORD_WITHIN:
        return Coverage.STALE
    return Coverage.COVERED


def match(
    packages: Iterable[Package], source: AdvisorySource, now: datetime, max_age: timedelta = MAX_AGE
) -> AdvisoryReport:
    """Every flaw that the source knows in these packages, worst first."""
    by_ecosystem: dict[str, dict[tuple[str, str], list[Package]]] = defaultdict(lambda: defaultdict(list))
    for package in packages:
        by_ecosystem[package.ecosystem][_looked_up(package)].append(package)
    holdings = source.holdings()
    found: list[Match] = []
    for ecosystem, groups in by_ecosystem.items():
        found += _matches(ecosystem, groups, source)
    found.sort(key=lambda m: (-m.severity.rank, m.package.ecosystem, m.package.name, m.package.version, m.id))
    return AdvisoryReport(
        matches=tuple(found),
        coverage={name: coverage_of(holdings.get(name), now, max_age) for name in sorted(by_ecosystem)},
        snapshot=source.snapshot(),
        as_of={name: holdings[name].imported if name in holdings else None for name in (*sorted(by_ecosystem), "KEV")},
        kev=coverage_of(holdings.get("KEV"), now, max_age),
    )


def _looked_up(package: Package) -> tuple[str, str]:
    if ":" in package.ecosystem or package.ecosystem in ("Wolfi", "Chainguard"):
        return package.source_name, package.source_version
    return normal_package(package.ecosystem, package.name), package.version


def _matches(
    ecosystem: str, groups: Mapping[tuple[str, str], list[Package]], source: AdvisorySource
) -> Iterable[Match]:
    order = VersionOrder(ecosystem)
    present = {
        key: packages
        for key, members in groups.items()
        if (packages := [package for package in members if not _is_kernel_header(package)])
    }
    said: dict[str, list[Statement]] = defaultdict(list)
    names = sorted({name for name, _ in present})
    for where in dict.fromkeys((ecosystem, ecosystem.split(":")[0])):  # a record may leave the release out
        for statement in source.statements(where, names):
            if statement.advisory.withdrawn is None:
                said[statement.affected.package].append(statement)
    found: list[tuple[list[Package], _Hits]] = []
    for (name, version), packages in present.items():
        hits = [
            (statement, hit.fixed)
            for statement in said[name]
            if (hit := evaluate(order, version, statement.affected)) is not None
        ]
        found += [(packages, group) for group in _folded(hits)]
    exploited = source.exploited({cve for _, group in found for cve in _cves(group)})
    return [_one_match(packages, group, order, exploited) for packages, group in found]


_Hits = list[tuple[Statement, tuple[str, ...]]]


def _cves(group: _Hits) -> set[str]:
    return {cve for statement, _ in group for cve in statement.advisory.cves}


def _one_match(packages: list[Package], group: _Hits, order: VersionOrder, exploited: Collection[str]) -> Match:
    records = {statement.advisory.id: statement.advisory for statement, _ in group}
    cves = _cves(group)
    names = {name for record in records.values() for name in (record.id, *record.aliases)} | cves
    name = next(iter(cves)) if len(cves) == 1 else min(records, key=_rank)
    ratings = [
        statement.affected.rating if statement.affected.rating is not Rating.UNKNOWN else statement.advisory.rating
        for statement, _ in group
    ]
    malicious = any(record.malicious for record in records.values())
    published = [record.published for record in records.values() if record.published is not None]
    fixed = {version for _, versions in group for version in versions}
    ordered = sorted(packages, key=lambda p: (p.name, p.purl, p.path))
    return Match(
        package=ordered[0],
        id=name,
        aliases=tuple(sorted(names - {name})),
        fixed_versions=tuple(sorted(fixed, key=order.key)),
        severity=Rating.CRITICAL if malicious else worst(ratings),
        kev=not cves.isdisjoint(exploited),
        summary=next((r.summary for _, r in sorted(records.items(), key=lambda i: _rank(i[0])) if r.summary), ""),
        published=min(published, default=None),
        malicious=malicious,
        packages=tuple(ordered),
    )


def _folded(hits: _Hits) -> list[_Hits]:
    """Rule 2: hits by flaw, in a stable order."""
    single: _Hits = []
    bulletins: _Hits = []
    for hit in hits:
        upstream = [name for name in hit[0].advisory.upstream if name.startswith("CVE-")]
        (bulletins if len(upstream) > 1 else single).append(hit)
    group_of: dict[str, int] = {}
    groups: dict[int, tuple[set[str], _Hits]] = {}
    for number, hit in enumerate(sorted(single, key=lambda hit: hit[0].advisory.id)):
        record = hit[0].advisory
        names = {record.id, *record.aliases, *record.upstream}
        members: _Hits = [hit]
        for other in sorted({group_of[name] for name in names if name in group_of}):
            known, others = groups.pop(other)
            names |= known
            members = others + members
        groups[number] = names, members
        group_of.update(dict.fromkeys(names, number))
    told = {name for names, _ in groups.values() for name in names}
    folded = [members for _, members in groups.values()]
    for hit in bulletins:
        if not hit[0].advisory.cves <= told:
            folded.append([hit])
    return folded


def _rank(record: str) -> tuple[int, str]:
    order = ("CVE-", "GHSA-", "PYSEC-", "MAL-")
    return next((i for i, prefix in enumerate(order) if record.startswith(prefix)), len(order)), record


def _is_kernel_header(package: Package) -> bool:
    return package.source_name.startswith("linux") and _KERNEL_HEADERS.fullmatch(package.name) is not None
