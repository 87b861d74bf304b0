"""What staging keeps, as values: the newest tags, those of so many days, and what these need.

1. Retention is for staging alone. Of the rules that match a repository, the one that was set last counts.
2. What is kept, is kept with all that it needs and all that refers to it. A tag made of a digest (fallback of
   referrers, cosign) is no name: it goes with its subject.
3. A locked tag stays, and so does what a submission that has yet to be verified needs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from graphlib import TopologicalSorter

from customhouse.accounts.access import Kind, kind_of
from customhouse.oci.digest import Digest
from customhouse.registry.rules import InvalidRule, matches, parse_repositories, parse_tags, subject_in

MOST_DAYS, MOST_NEWEST, MOST_NEVER = 36_500, 1_000_000, 50


@dataclass(frozen=True)
class RetentionRule:
    """What staging repositories that match keep.

    A tag stays that is among the `newest`, or was pushed within `days`, or matches one of `never`; all stay where
    neither number is given. A manifest without a tag goes `untagged_days` after it was pushed, or never (None).
    """

    repositories: str
    newest: int | None
    days: int | None
    never: tuple[str, ...]
    untagged_days: int | None
    added_by: str
    added: datetime

    def __post_init__(self) -> None:
        parse_repositories(self.repositories)
        if not self.repositories.startswith("staging/"):
            raise InvalidRule(
                f"{self.repositories[:80]} is not in staging, and retention is for staging alone",
                hint="An official tag goes by withdrawal only: `customhouse submission withdraw`.",
            )
        if self.newest is None and self.days is None and self.untagged_days is None:
            raise InvalidRule("this keeps everything", hint="Say how many tags, or for how many days.")
        for what, value, most in (
            ("tags", self.newest, MOST_NEWEST), ("days", self.days, MOST_DAYS), ("days", self.untagged_days, MOST_DAYS)
        ):  # fmt: skip
            if value is not None and not 1 <= value <= most:
                raise InvalidRule(f"{value} {what} cannot be kept", hint=f"Give 1 to {most}.")
        if len(self.never) > MOST_NEVER:
            raise InvalidRule(f"more than {MOST_NEVER} patterns of tags that never go")
        for pattern in self.never:
            parse_tags(pattern)


def retention_of(rules: Sequence[RetentionRule], repository: str) -> RetentionRule | None:
    """The rule of a repository; `rules` in the order in which they were added."""
    if kind_of(repository) is not Kind.STAGING:
        return None
    return next((rule for rule in reversed(rules) if matches(rule.repositories, repository)), None)


@dataclass(frozen=True)
class HeldTag:
    """A tag as a repository holds it."""

    name: str
    digest: Digest
    set_at: datetime


@dataclass(frozen=True)
class HeldManifest:
    """A manifest as a repository holds it; `children` are the manifests that it needs."""

    digest: Digest
    pushed_at: datetime
    subject: Digest | None
    children: tuple[Digest, ...] = ()


@dataclass(frozen=True)
class Going:
    """What a rule lets go of: tags, and then manifests, each after all that need it."""

    tags: tuple[HeldTag, ...] = ()
    manifests: tuple[HeldManifest, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tags or self.manifests)


def going(
    rule: RetentionRule,
    tags: Sequence[HeldTag],
    manifests: Iterable[HeldManifest],
    *,
    standing: Iterable[str],
    wanted: frozenset[Digest],
    now: datetime,
) -> Going:
    """`standing` are locked tags; `wanted` is what submissions that are under way need. Neither goes."""
    held = {each.digest: each for each in manifests}
    named = [tag for tag in tags if subject_in(tag.name) is None]
    stay = {tag.name for tag in named if _stays(rule, tag, now) or tag.digest in wanted} | set(standing)
    if rule.newest is None and rule.days is None:
        stay = {tag.name for tag in named}
    elif rule.newest:
        stay |= {tag.name for tag in sorted(named, key=lambda tag: (tag.set_at, tag.name))[-rule.newest :]}
    lost = tuple(tag for tag in named if tag.name not in stay)
    if rule.untagged_days is None:
        return Going(lost)
    roots = {tag.digest for tag in named if tag.name in stay} | wanted
    young = [each for each in held.values() if _young(each.pushed_at, rule.untagged_days, now)]
    roots |= {each.digest for each in young} | {each.subject for each in young if each.subject}
    entries = [(subject, tag) for tag in tags if (subject := subject_in(tag.name))]
    # An entry whose subject lies in another repository is no business of this one.
    roots |= {tag.digest for subject, tag in entries if subject not in held}
    kept = _with_all_about(roots, held, [(subject, tag.digest) for subject, tag in entries])
    gone = {digest: each for digest, each in held.items() if digest not in kept}
    return Going(
        lost + tuple(tag for subject, tag in entries if subject in gone and tag.digest not in kept),
        tuple(gone[digest] for digest in _parents_first(gone)),
    )


def _stays(rule: RetentionRule, tag: HeldTag, now: datetime) -> bool:
    if rule.days is not None and _young(tag.set_at, rule.days, now):
        return True
    return any(matches(pattern, tag.name) for pattern in rule.never)


def _young(moment: datetime, days: int, now: datetime) -> bool:
    return now - moment < timedelta(days=days)


def _with_all_about(
    roots: set[Digest], held: Mapping[Digest, HeldManifest], entries: Iterable[tuple[Digest, Digest]]
) -> set[Digest]:
    """The roots, what they need, what refers to any of it, and so on. Absent roots count for nothing."""
    about: dict[Digest, list[Digest]] = {}
    for each in held.values():
        if each.subject is not None:
            about.setdefault(each.subject, []).append(each.digest)
    for subject, digest in entries:
        about.setdefault(subject, []).append(digest)
    kept: set[Digest] = set()
    waiting = [digest for digest in roots if digest in held]
    while waiting:
        digest = waiting.pop()
        if digest not in kept and digest in held:
            kept.add(digest)
            waiting += [*held[digest].children, *about.get(digest, ())]
    return kept


def _parents_first(gone: Mapping[Digest, HeldManifest]) -> Iterable[Digest]:
    order: TopologicalSorter[Digest] = TopologicalSorter({digest: set() for digest in gone})
    for each in gone.values():
        for child in each.children:
            if child in gone:
                order.add(child, each.digest)
    return order.static_order()
