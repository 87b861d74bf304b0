"""A submission: one tag@digest of a staging repository, offered for certification. Its states and their order.

1. A state moves along `MOVES` only; every move is an UPDATE on the condition of the state before it, so that of
   two racing steps one wins and the other finds nothing to do.
2. RESTING states wait for a person, FINAL states never move again by themselves, ACTIVE ones have a live workflow.
3. Order among submissions of one tag is the publisher's own: the snapshot version of the trust update that brought
   them, never the clock. Where trust data was deleted and begun again, the count goes on from the highest.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from customhouse.enrolment.origin import Origin
from customhouse.errors import Conflict, Invalid, NotFound
from customhouse.oci.digest import Digest


class State(StrEnum):
    """Where a submission stands; the names are part of the API."""

    RECEIVED = "received"
    VERIFYING = "verifying"
    AWAITING_ENROLMENT = "awaiting_enrolment"
    EXAMINING = "examining"
    AWAITING_REVIEW = "awaiting_review"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


ACTIVE = frozenset({State.RECEIVED, State.VERIFYING, State.EXAMINING, State.PUBLISHING})
RESTING = frozenset({State.AWAITING_ENROLMENT, State.AWAITING_REVIEW})
FINAL = frozenset(set(State) - ACTIVE - RESTING)
PINNED = frozenset({State.EXAMINING, State.AWAITING_REVIEW, State.PUBLISHING})  # quarantine holds the content
RETRYABLE = frozenset({State.REJECTED, State.FAILED, State.AWAITING_REVIEW})

_STOPS = frozenset({State.REJECTED, State.SUPERSEDED, State.FAILED, State.WITHDRAWN})
MOVES: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.VERIFYING}) | _STOPS,
    State.VERIFYING: frozenset({State.EXAMINING, State.AWAITING_ENROLMENT}) | _STOPS,
    State.AWAITING_ENROLMENT: frozenset({State.RECEIVED}) | _STOPS,
    State.EXAMINING: frozenset({State.AWAITING_REVIEW, State.PUBLISHING}) | _STOPS,
    State.AWAITING_REVIEW: frozenset({State.PUBLISHING, State.RECEIVED}) | _STOPS,
    State.PUBLISHING: frozenset({State.PUBLISHED, State.AWAITING_REVIEW, State.RECEIVED}) | _STOPS,
    State.PUBLISHED: frozenset({State.WITHDRAWN}),
    State.REJECTED: frozenset({State.RECEIVED}),
    State.FAILED: frozenset({State.RECEIVED}),
    State.SUPERSEDED: frozenset(),
    State.WITHDRAWN: frozenset(),
}


@dataclass(frozen=True)
class Submission:
    """One row: what was offered, by whom, and how it stands. `source` is REGISTRY/NAME:TAG for what was signed at
    another server and is fetched from there, else empty; so is `trust_server`."""

    id: str
    publisher: str
    repository: str
    tag: str
    digest: Digest
    length: int
    snapshot_version: int
    author: str
    state: State
    reason: str
    round: int
    verdict: dict[str, Any] | None
    created: datetime
    updated: datetime
    source: str = ""
    trust_server: str = ""

    @property
    def origin(self) -> Origin | None:
        """Where it comes from, if not from a push."""
        return Origin.parse(self.source, self.trust_server) if self.source else None

    @property
    def quarantine(self) -> str:
        """The repository in which the examined content is pinned."""
        return f"quarantine/{self.id}"

    @property
    def official(self) -> str:
        """The repository that consumers read: the staging name without its first component."""
        return self.repository.removeprefix("staging/")

    @property
    def workflow(self) -> str:
        """The id of the workflow of this round; each decision begins a new round."""
        return f"{self.id}.{self.round}"

    def reference(self, host: str) -> str:
        """What the publisher pushed, or where it was brought in."""
        return f"{host}/{self.repository}:{self.tag}"

    def official_reference(self, host: str) -> str | None:
        """What consumers pull, once it is published."""
        return f"{host}/{self.official}:{self.tag}" if self.state is State.PUBLISHED else None


MOST_AT_ONCE = 1000


class TooManyTags(Invalid):
    """One update signs more tags anew than may become submissions in one transaction, which others wait for."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"this update signs {count} tags anew, and each becomes a submission; at most {MOST_AT_ONCE} may at once",
            hint=f"Sign at most {MOST_AT_ONCE} of them, publish, and go on with the next.",
        )
        self.count = count


class SubmissionUnknown(NotFound):
    """There is no such submission, or the caller may not see it."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"there is no submission {asked}",
            hint="A submission begins with a signed push: a push without a signature stays in staging. "
            "Sign it with `docker trust sign` or `customhouse image sign`.",
        )


class WrongState(Conflict):
    """The submission is not where this request needs it to be."""

    def __init__(self, submission: Submission, wanted: str) -> None:
        super().__init__(
            f"submission {submission.id} is {submission.state.value}; {wanted}",
            hint=f"See `customhouse submission show {submission.id}`.",
        )
        self.state = submission.state
