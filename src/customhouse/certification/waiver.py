"""A waiver: somebody accepts a known failure, for a reason, until a day.

1. It names what it accepts by fingerprint, or by check and (optionally) path or purl; never by message.
2. It holds within its repository scope (`staging/acme/web`, `staging/acme/*`) and before it expires.
3. Where the policy wants people beside its author, it holds when so many approved it; neither its author nor the
   author of the submission that it would help is one of them.
4. It accepts failures only: an answer that is missing (not_evaluable, error) cannot be waived, it must be got.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from customhouse.certification.findings import Finding, Outcome
from customhouse.errors import Invalid

_SCOPE = re.compile(r"[a-z0-9][a-z0-9._/-]*(/\*)?")
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")


class InvalidWaiver(Invalid):
    """A waiver that accepts nothing, everything, or without reason or end."""


@dataclass(frozen=True)
class Waiver:
    """`expires` is the first moment at which it no longer holds."""

    id: str
    repository: str
    reason: str
    author: str
    expires: datetime
    fingerprint: str | None = None
    check: str | None = None
    path: str | None = None
    purl: str | None = None
    approvals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.fingerprint is None) == (self.check is None):
            raise InvalidWaiver("a waiver names either a fingerprint or a check", hint="Take it from the finding.")
        if self.fingerprint is not None and not _FINGERPRINT.fullmatch(self.fingerprint):
            raise InvalidWaiver("a fingerprint has 32 hexadecimal digits", hint="Take it from the finding.")
        if self.fingerprint is not None and (self.path or self.purl):
            raise InvalidWaiver("a fingerprint already names the thing; path and purl go with a check")
        if not _SCOPE.fullmatch(self.repository):
            hint = "Write staging/acme/web or staging/acme/*."
            raise InvalidWaiver(f"{self.repository!r} is no repository", hint=hint)
        if not self.reason.strip() or not self.author:
            raise InvalidWaiver("a waiver has an author and a reason", hint="Say why the finding is acceptable.")
        if self.expires.tzinfo is None:
            raise InvalidWaiver("a waiver's expiry has a time zone")

    def within(self, repository: str) -> bool:
        """Is this repository in its scope?"""
        if self.repository.endswith("/*"):
            return repository.startswith(self.repository[:-1])
        return repository == self.repository

    def accepts(self, finding: Finding, now: datetime) -> bool:
        """Does it turn this failure into an accepted one now?"""
        if finding.outcome is not Outcome.FAIL or now >= self.expires:
            return False
        if self.fingerprint is not None:
            return finding.fingerprint == self.fingerprint
        wanted = {"path": self.path, "purl": self.purl}
        named = all(value is None or finding.evidence.get(name) == value for name, value in wanted.items())
        return finding.check == self.check and named


def countable(waivers: Iterable[Waiver], needed: int, author: str) -> list[Waiver]:
    """The waivers that count for a submission of `author`, where each needs `needed` people beside its own."""
    return [
        item
        for item in waivers
        if item.author != author and len(set(item.approvals) - {item.author, author}) >= needed
    ]


def in_force(waivers: Iterable[Waiver], repository: str, now: datetime) -> tuple[Waiver, ...]:
    """The waivers that hold for a repository now."""
    return tuple(item for item in waivers if item.within(repository) and now < item.expires)
