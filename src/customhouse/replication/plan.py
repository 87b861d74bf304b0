"""What a mirror is to have, and when it is asked again. Pure.

1. A pattern is a shell's: `*` stands for anything, slashes too. A mirror without patterns takes everything official.
2. The name at the target is made from the name here by a template with `{repository}` in it, once.
3. The fingerprint of a repository changes with its tags, their digests, and its signatures and attestations.
4. After a failure the pause doubles, up to ten minutes; what is as wanted is looked at again after an hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from hashlib import sha256

from customhouse.errors import Invalid
from customhouse.oci.digest import Digest
from customhouse.oci.reference import valid_repository

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)
CHECK = timedelta(hours=1)
MOST_PATTERNS, LONGEST_PATTERN = 100, 255
PLACE = "{repository}"


@dataclass(frozen=True)
class Wanted:
    """What one official repository has: its tags, what refers to what, and a fingerprint of both."""

    tags: Mapping[str, Digest]
    referrers: Mapping[Digest, Digest]
    fingerprint: str

    def complete(self, manifests: Mapping[Digest, str]) -> bool:
        """Are these, with their subjects, all that refers to any of them, and no more?"""
        sent = {digest for digest, subject in manifests.items() if subject}
        return sent == {digest for digest, subject in self.referrers.items() if subject in manifests}


NOTHING = Wanted({}, {}, "")


def wanted(tags: Mapping[str, Digest], referrers: Mapping[Digest, Digest]) -> Wanted:
    """With all signatures and attestations in the repository, and their subjects."""
    if not tags:
        return NOTHING
    lines = [f"{tag} {digest}" for tag, digest in sorted(tags.items())] + ["", *sorted(referrers)]
    return Wanted(dict(tags), dict(referrers), sha256("\n".join(lines).encode()).hexdigest())


def matches(patterns: Sequence[str], name: str) -> bool:
    """No pattern means every name."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def checked_patterns(patterns: Sequence[str]) -> list[str]:
    """Raises Invalid for what no repository or tag can match."""
    if len(patterns) > MOST_PATTERNS:
        raise Invalid(f"{len(patterns)} patterns are more than the {MOST_PATTERNS} that a mirror has")
    for pattern in patterns:
        if not pattern or len(pattern) > LONGEST_PATTERN or not pattern.isascii() or not pattern.isprintable():
            raise Invalid(f"{pattern[:80]!r} is no pattern of names", hint="Write for example acme/* or 1.*")
    return list(patterns)


def checked_template(template: str) -> str:
    """Raises Invalid for one that gives no name of a repository."""
    if template.count(PLACE) != 1 or not valid_repository(template.replace(PLACE, "acme/web")):
        raise Invalid(f"{template[:80]!r} is no template of names", hint=f"Write for example mirror/{PLACE}")
    return template


def target_of(template: str, repository: str) -> str:
    """The repository at the target. Raises Invalid where the whole is too long."""
    made = template.replace(PLACE, repository)
    if not valid_repository(made):
        raise Invalid(f"{made[:300]} is no name of a repository", hint="Shorten the template of the mirror.")
    return made


def pause(attempts: int) -> timedelta:
    """After so many failures in a row, 1 or more."""
    return min(FIRST_PAUSE * int(2 ** min(attempts - 1, 20)), LONGEST_PAUSE)
