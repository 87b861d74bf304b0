"""Which tags are locked, and how much a publisher may hold, as values; rules are for names by pattern.

1. A pattern is a name in which `*` stands for any characters but `/`, and `**` for any characters at all.
2. Of the rules that match, the one that was added last counts. Before all others stand those that are shipped:
   official tags are locked, but `latest`; staging tags move. Quarantine is the hub's own: no rule is for it.
3. A tag that is made of a digest (the fallback of referrers, OCI distribution-spec 1.1 §Referrers Tag Schema; cosign's
   tags) is an entry of an index, not a name: it is never locked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from customhouse.accounts.access import Kind, kind_of
from customhouse.errors import Invalid
from customhouse.oci.digest import Digest

SHIPPED_BY = "customhouse"  # nobody can have this name
_REPOSITORY = re.compile(r"[a-z0-9._/*-]{1,255}")
_TAG = re.compile(r"[A-Za-z0-9_.*-]{1,128}")
_OF_DIGEST = re.compile(r"(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})(?:\.[a-z0-9._-]+)?")
_TOKEN = re.compile(r"\*+|.", re.DOTALL)


class InvalidRule(Invalid):
    """A rule that says nothing, or nothing that can be done."""


def parse_repositories(text: str) -> str:
    """A pattern of repositories, checked. Raises InvalidRule."""
    if not _REPOSITORY.fullmatch(text) or text.startswith("quarantine/"):
        raise InvalidRule(f"{text[:80]!r} is no pattern of repositories", hint="For example: acme/* or staging/acme/**")
    return text


def parse_tags(text: str) -> str:
    """A pattern of tags, checked. Raises InvalidRule."""
    if not _TAG.fullmatch(text):
        raise InvalidRule(f"{text[:80]!r} is no pattern of tags", hint="For example: latest, 1.* or *")
    return text


def matches(pattern: str, name: str) -> bool:
    """Does the pattern stand for the whole name? In time of the name's length, whatever the pattern."""
    end, literal, stars, far = _compiled(pattern)
    at = 1 | (stars & 1) << 1
    for character in name:
        # Bit i: the first i parts of the pattern can stand for what was read. A star stays, or is passed for nothing.
        stay = far if character == "/" else stars
        at = (at & literal.get(character, 0)) << 1 | at & stay
        at |= (at & stars) << 1
    return bool(at & end)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> tuple[int, Mapping[str, int], int, int]:
    """(the bit of the end, bits before each character, bits before every star, bits before `**`)."""
    parts = _TOKEN.findall(pattern)
    literal: dict[str, int] = {}
    stars = far = 0
    for place, part in enumerate(parts):
        if part[0] != "*":
            literal[part] = literal.get(part, 0) | 1 << place
            continue
        stars |= 1 << place
        far |= 1 << place if len(part) > 1 else 0
    return 1 << len(parts), literal, stars, far


def subject_in(tag: str) -> Digest | None:
    """The digest of which a tag is made; None of a tag that somebody named."""
    found = _OF_DIGEST.fullmatch(tag)
    return Digest(found[1].replace("-", ":", 1)) if found else None


@dataclass(frozen=True)
class TagRule:
    """Tags that match are locked (they stay on their digest until they are withdrawn), or free to move."""

    repositories: str
    tags: str
    locked: bool
    added_by: str
    added: datetime

    @classmethod
    def parse(cls, repositories: str, tags: str, locked: bool, by: str, now: datetime) -> "TagRule":
        """Raises InvalidRule."""
        return cls(parse_repositories(repositories), parse_tags(tags), locked, by, now)


_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
SHIPPED = (
    TagRule("**", "*", True, SHIPPED_BY, _ALWAYS),
    TagRule("**", "latest", False, SHIPPED_BY, _ALWAYS),
    TagRule("staging/**", "*", False, SHIPPED_BY, _ALWAYS),
)


def locked(rules: Sequence[TagRule], repository: str, tag: str) -> bool:
    """Must the tag, once it is set, stay on its digest? `rules` in their order, the shipped ones first."""
    kind = kind_of(repository)
    if kind not in (Kind.OFFICIAL, Kind.STAGING) or subject_in(tag):
        return False
    matching = (rule for rule in reversed(rules) if matches(rule.repositories, repository) and matches(rule.tags, tag))
    return next(matching, SHIPPED[0]).locked


def may_lock(rules: Sequence[TagRule], repository: str) -> bool:
    """Is there a rule by which a tag of this repository could be locked?"""
    kind = kind_of(repository)
    if kind is Kind.STAGING:
        rules = rules[len(SHIPPED) :]  # the last of them frees staging
    return kind in (Kind.OFFICIAL, Kind.STAGING) and any(
        rule.locked and matches(rule.repositories, repository) for rule in rules
    )


@dataclass(frozen=True)
class Used:
    """How many bytes of distinct blobs a publisher's staging holds, how many it may (None: any number), and how many of
    those it holds this transaction added."""

    publisher: str
    used: int
    most: int | None = None
    grown: int = 0

    @property
    def full(self) -> bool:
        """Is there no room for another byte?"""
        return self.most is not None and self.used >= self.most

    def over(self, more: int = 0) -> bool:
        """Is it too much, with `more` bytes?"""
        return self.most is not None and self.used + more > self.most
