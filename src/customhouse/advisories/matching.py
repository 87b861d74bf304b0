"""Which known flaws the packages of an image have, and for which packages that is known at all.

1. identity.py says by what a package is looked up, and which records that bear its name are not about it.
2. Records that name the same flaw (folding.py) become one match.
3. Coverage is said per ecosystem: `covered`, `missing` (nothing was ever imported), `partial` (some records, never a
   whole dump) or `stale` (the import, or the newest record in it, is too old). A found match counts whatever the
   coverage; none found counts only when covered. A package whose name advisories cannot know is `unidentified`, with
   the reason.
4. A record of malicious code that lists versions is about these very versions and nothing between them.
5. A fix that Ubuntu gives to subscribers only is no fix for others: the flaw is there, without a fixed version. Who has
   a subscriber's build is judged by the subscribers' records.
6. An rpm's source does not say its epoch: where a record about the source leaves the epoch out too, none is compared.
7. The severity is that of the records matched; where they do not state one, that of the CVE's own record.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from customhouse.advisories.evaluation import Hit, evaluate
from customhouse.advisories.folding import fold
from customhouse.advisories.identity import BY_BINARY, Lookup, Package, Unidentified, concerns, identify
from customhouse.advisories.osv import Advisory
from customhouse.advisories.severity import Rating
from customhouse.advisories.source import AdvisorySource, Holding, Likelihood, Statement
from customhouse.advisories.specifics import FixState
from customhouse.advisories.versions import RPM, VersionOrder, family
from customhouse.advisories.vex import Stated

MAX_AGE = timedelta(days=7)
NEWEST_RECORD_WITHIN = timedelta(days=400)
_SUBSCRIBERS = re.compile(r"[+~.]?(esm|fips)", re.IGNORECASE)
_DISPUTED = re.compile(r"\*\* ?DISPUTED ?\*\*|\bdisputed\b", re.IGNORECASE)
SUBSCRIBERS_ONLY = "the fix is for subscribers of Ubuntu Pro only"


class Coverage(StrEnum):
    """Is it known which packages of an ecosystem have flaws?"""

    COVERED = "covered"
    MISSING = "missing"
    PARTIAL = "partial"
    STALE = "stale"


@dataclass(frozen=True)
class Match:
    """One flaw in one package. `packages` are all binaries of that source; `package` is the first of them.

    `aliases` are all other names of the flaw, `records` the records that say so. `rated_by` names the record and the
    place in it where `severity` stands. `notes` are what a person should know before judging it.
    """

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
    records: tuple[str, ...] = ()
    rated_by: str = ""
    fix_state: FixState = FixState.UNKNOWN
    likelihood: Likelihood | None = None
    notes: tuple[str, ...] = ()

    @property
    def fixable(self) -> bool:
        """There is a version without the flaw, or the package itself is the flaw and can be left out."""
        return bool(self.fixed_versions) or self.malicious

    @property
    def names(self) -> frozenset[str]:
        """Every name the flaw goes by."""
        return frozenset((self.id, *self.aliases))


@dataclass(frozen=True)
class AdvisoryReport:
    """The flaws of one image as of one snapshot. `as_of` holds per ecosystem when its advisories were imported,
    `stated` what makers say (VEX) about flaws of these names."""

    matches: tuple[Match, ...] = ()
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    snapshot: str = ""
    as_of: Mapping[str, datetime | None] = field(default_factory=dict)
    kev: Coverage = Coverage.MISSING
    epss: Coverage = Coverage.MISSING
    unidentified: tuple[tuple[Package, str], ...] = ()
    stated: tuple[Stated, ...] = ()

    def lacking(self) -> dict[str, Coverage]:
        """Ecosystems of the image about which absence of a match says nothing."""
        return {name: state for name, state in self.coverage.items() if state is not Coverage.COVERED}


def coverage_of(holding: Holding | None, now: datetime, max_age: timedelta = MAX_AGE) -> Coverage:
    """Rule 3. An import dated after `now` is no fresher than one of now."""
    if holding is None or not holding.records:
        return Coverage.MISSING
    if holding.imported is None:
        return Coverage.PARTIAL
    if now - holding.imported > max_age:
        return Coverage.STALE
    if holding.newest is None or now - holding.newest > NEWEST_RECORD_WITHIN:
        return Coverage.STALE
    return Coverage.COVERED


def match(
    packages: Iterable[Package], source: AdvisorySource, now: datetime, max_age: timedelta = MAX_AGE
) -> AdvisoryReport:
    """Every flaw that the source knows in these packages, worst first."""
    groups: dict[str, dict[Lookup, list[Package]]] = defaultdict(lambda: defaultdict(list))
    unidentified: list[tuple[Package, str]] = []
    ecosystems: set[str] = set()
    for package in packages:
        if package.ecosystem:
            ecosystems.add(package.ecosystem)
        found = identify(package)
        if isinstance(found, Unidentified):
            unidentified.append((package, found.reason))
        elif isinstance(found, Lookup):
            ecosystems.add(found.ecosystem)
            groups[found.ecosystem][found].append(package)
    holdings = source.holdings()
    flaws: list[_Flaw] = []
    for ecosystem, members in groups.items():
        flaws += _flaws(ecosystem, members, source)
    unidentified += _only_guessed(groups.get("Maven", {}), source)
    matches = _matches(flaws, source)
    return AdvisoryReport(
        matches=tuple(matches),
        coverage={name: coverage_of(holdings.get(name), now, max_age) for name in sorted(ecosystems)},
        snapshot=source.snapshot(),
        as_of={
            name: holdings[name].imported if name in holdings else None for name in (*sorted(ecosystems), "KEV", "EPSS")
        },
        kev=coverage_of(holdings.get("KEV"), now, max_age),
        epss=coverage_of(holdings.get("EPSS"), now, max_age),
        unidentified=tuple(unidentified),
        stated=tuple(source.stated(sorted({name for each in matches for name in each.names}))) if matches else (),
    )


def _only_guessed(groups: Mapping[Lookup, list[Package]], source: AdvisorySource) -> list[tuple[Package, str]]:
    """Jars whose group is guessed (catalogue/java.py), unless advisories know somebody under that very name."""
    guessed = {
        lookup: jars
        for lookup, packages in groups.items()
        if (jars := [package for package in packages if package.properties.get("group") == "guess"])
    }
    known = {each.affected.package for each in source.statements("Maven", sorted({look.name for look in guessed}))}
    why = "the jar does not say which group it belongs to"
    return [(jar, why) for lookup, jars in guessed.items() if lookup.name not in known for jar in jars]


@dataclass(frozen=True)
class _Found:
    """One record that one version is affected by."""

    statement: Statement
    fixed: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def advisory(self) -> Advisory:
        return self.statement.advisory


@dataclass(frozen=True)
class _Flaw:
    """The records about one flaw, and the packages that have it."""

    packages: tuple[Package, ...]
    found: tuple[_Found, ...]
    order: VersionOrder

    @property
    def cves(self) -> frozenset[str]:
        return frozenset(cve for each in self.found for cve in cves_of(each.advisory))


def cves_of(record: Advisory) -> frozenset[str]:
    """The CVEs that a record is about; some distributions' bulletins name theirs as `related` only."""
    return record.cves or frozenset(name for name in record.related if name.startswith("CVE-"))


def _flaws(ecosystem: str, groups: Mapping[Lookup, list[Package]], source: AdvisorySource) -> Iterable[_Flaw]:
    order = VersionOrder(ecosystem)
    names = sorted({lookup.name for lookup in groups})
    said: dict[str, list[Statement]] = defaultdict(list)
    for where in _places(ecosystem):
        for statement in source.statements(where, names):
            if statement.advisory.withdrawn is None:
                said[statement.affected.package].append(statement)
    found: list[tuple[list[Package], list[_Found]]] = []
    for lookup, packages in groups.items():
        statements = said.get(lookup.name)
        if statements:
            hits = list(_found(order, lookup, packages[0], statements))
            if hits:
                found.append((packages, hits))
    known = source.aliases({hit.advisory.id for _, hits in found for hit in hits})
    for packages, hits in found:
        ordered = tuple(sorted(packages, key=lambda p: (p.name, p.purl, p.path)))
        for group in fold(hits, lambda hit: hit.advisory, known):
            yield _Flaw(ordered, tuple(group), order)


def _places(ecosystem: str) -> tuple[str, ...]:
    """Where records about this ecosystem stand: a record may leave the release out; rule 5."""
    name, _, release = ecosystem.partition(":")
    places = dict.fromkeys((ecosystem, name))
    if name == "Ubuntu" and release and not release.startswith("Pro:"):
        places[f"Ubuntu:Pro:{release}"] = None
    return tuple(places)


def _found(order: VersionOrder, lookup: Lookup, package: Package, statements: Iterable[Statement]) -> Iterable[_Found]:
    about = [each for each in statements if concerns(package, each.advisory, each.affected)]
    rest = [each for each in about if not each.affected.ecosystem.startswith("Ubuntu:Pro:")]
    if len(rest) < len(about):
        yield from _of_ubuntu(order, lookup, rest, [each for each in about if each not in rest])
        return
    for statement in rest:
        hit = _hit(order, lookup, statement)
        if hit is not None:
            yield _Found(statement, hit.fixed)


def _of_ubuntu(
    order: VersionOrder, lookup: Lookup, free: Iterable[Statement], paid: list[Statement]
) -> Iterable[_Found]:
    """Rule 5."""
    subscriber = _SUBSCRIBERS.search(lookup.version) is not None
    judged: set[str] = set()
    cleared: set[str] = set()
    if subscriber:
        for statement in paid:
            hit = _hit(order, lookup, statement)
            if hit is not None:
                yield _Found(statement, hit.fixed)
            cleared |= _names(statement)
    for statement in free:
        judged |= _names(statement)
        hit = _hit(order, lookup, statement)
        if hit is not None and _names(statement).isdisjoint(cleared):
            yield _Found(statement, hit.fixed)
    if not subscriber:
        for statement in paid:
            if _names(statement).isdisjoint(judged) and _hit(order, lookup, statement) is not None:
                yield _Found(statement, (), (SUBSCRIBERS_ONLY,))


def _names(statement: Statement) -> frozenset[str]:
    return statement.advisory.cves or frozenset((statement.advisory.id,))


def _hit(order: VersionOrder, lookup: Lookup, statement: Statement) -> Hit | None:
    affected, version = statement.affected, lookup.version
    if statement.advisory.malicious and affected.versions:
        return Hit() if version in affected.versions else None
    kind = family(lookup.ecosystem)
    if kind in RPM and kind not in BY_BINARY and ":" in version:
        bounds = [value for each in affected.ranges for _, value in each.events if value != "0"]
        if not any(":" in value for value in bounds):
            version = version.partition(":")[2]
    return evaluate(order, version, affected)


def _matches(flaws: Collection[_Flaw], source: AdvisorySource) -> list[Match]:
    cves = {cve for flaw in flaws for cve in flaw.cves}
    exploited = source.exploited(cves)
    likely = source.likelihood(cves)
    unrated = {cve for flaw in flaws if _rating(flaw, {})[0] is Rating.UNKNOWN for cve in flaw.cves}
    ratings = source.ratings(unrated) if unrated else {}
    matches = [_match(flaw, exploited, likely, ratings) for flaw in flaws]
    matches.sort(key=lambda m: (-m.severity.rank, m.package.ecosystem, m.package.name, m.package.version, m.id))
    return matches


def _match(
    flaw: _Flaw,
    exploited: Collection[str],
    likely: Mapping[str, Likelihood],
    ratings: Mapping[str, tuple[Rating, str]],
) -> Match:
    records = {each.advisory.id: each.advisory for each in flaw.found}
    names = {name for record in records.values() for name in (record.id, *record.aliases)} | flaw.cves
    name = next(iter(flaw.cves)) if len(flaw.cves) == 1 else min(records, key=_rank)
    fixed = {version for each in flaw.found for version in each.fixed}
    severity, rated_by = _rating(flaw, ratings)
    malicious = any(record.malicious for record in records.values())
    published = [record.published for record in records.values() if record.published is not None]
    scores = [likely[cve] for cve in flaw.cves if cve in likely]
    return Match(
        package=flaw.packages[0],
        id=name,
        aliases=tuple(sorted(names - {name})),
        fixed_versions=tuple(sorted(fixed, key=flaw.order.key)),
        severity=severity,
        kev=not flaw.cves.isdisjoint(exploited),
        summary=next((r.summary for _, r in sorted(records.items(), key=lambda i: _rank(i[0])) if r.summary), ""),
        published=min(published, default=None),
        malicious=malicious,
        packages=flaw.packages,
        records=tuple(sorted(records)),
        rated_by=rated_by,
        fix_state=_fix_state(flaw),
        likelihood=max(scores, key=lambda each: each.score, default=None),
        notes=tuple(_notes(flaw)),
    )


def _rating(flaw: _Flaw, ratings: Mapping[str, tuple[Rating, str]]) -> tuple[Rating, str]:
    """Rule 7, and where it stands: the worst of what these records say, the distribution's own word first in each."""
    said: list[tuple[Rating, str]] = []
    for each in flaw.found:
        record, own = each.advisory, each.statement.affected
        if record.malicious:
            return Rating.CRITICAL, f"{record.id}: malicious"
        if own.rating is not Rating.UNKNOWN:
            said.append((own.rating, f"{record.id}: {own.rated_by}"))
        elif record.rating is not Rating.UNKNOWN:
            said.append((record.rating, f"{record.id}: {record.rated_by}"))
    if not said:
        said = [(ratings[cve][0], f"{cve}: {ratings[cve][1]}") for cve in sorted(flaw.cves) if cve in ratings]
    return max(said, key=lambda each: each[0].rank, default=(Rating.UNKNOWN, ""))


def _fix_state(flaw: _Flaw) -> FixState:
    states = {
        FixState.WONT_FIX if SUBSCRIBERS_ONLY in each.notes else each.statement.affected.fix_state(bool(each.fixed))
        for each in flaw.found
    }
    order = (FixState.FIXED, FixState.WONT_FIX, FixState.NOT_FIXED)
    return next((state for state in order if state in states), FixState.UNKNOWN)


def _notes(flaw: _Flaw) -> Iterable[str]:
    yield from dict.fromkeys(note for each in flaw.found for note in each.notes)
    if any(_DISPUTED.search(each.advisory.summary) for each in flaw.found):
        yield "disputed: somebody denies that it is a flaw"
    specifics = [each.statement.affected.specifics for each in flaw.found]
    parts = [part for each in specifics for part in each.imports]
    if parts:
        what = "functions of " if any(each.symbols for each in specifics) else ""
        listed = ", ".join(parts[:3]) + (" …" if len(parts) > 3 else "")
        yield f"only {what}{listed}; whether they are used was not looked at"


def _rank(record: str) -> tuple[int, str]:
    order = ("CVE-", "GHSA-", "PYSEC-", "MAL-")
    return next((i for i, prefix in enumerate(order) if record.startswith(prefix)), len(order)), record
