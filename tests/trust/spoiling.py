"""The cases of the spoilers' matrix: each spoiler with each role it applies to."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache

import pytest

from customhouse.testing.spoilers import HARMLESS, SPOILERS, Spoiler
from customhouse.testing.spoilers.harmless import Harmless
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.names import ROOT, RoleName
from customhouse.trust.verify import TrustedRepository, verify_repository

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
GUN = "localhost:5443/staging/acme/web"


def _params(listed: Iterable[Spoiler] | Iterable[Harmless]) -> list[object]:
    return [pytest.param(each, role, id=f"{each.name}-{role}") for each in listed for role in each.roles]


EACH_SPOILER = _params(SPOILERS)
EACH_HARMLESS = _params(HARMLESS)


@cache
def _complete() -> TrustSimulator:
    return TrustSimulator.complete(GUN, NOW)


def complete() -> TrustSimulator:
    """A copy of one repository at its second version: keys are made once."""
    return _complete().copy()


@cache
def first_root() -> bytes:
    """What a client knows from before."""
    return _complete().roots[0]


@cache
def as_seen() -> TrustedRepository:
    """What a client saw last: the second version, unspoilt."""
    return judged(complete(), {})


def judged(sim: TrustSimulator, seen: dict[RoleName, int] | None = None) -> TrustedRepository:
    """As a returning client with an enrolled root key and a known first root judges what the simulator gives."""
    enrolled = frozenset({_complete().keys[ROOT][0].public.canonical_id})
    return verify_repository(
        sim.files(), [first_root()], gun=sim.gun, enrolled=enrolled,
        seen=as_seen().versions if seen is None else seen, now=NOW,
    )  # fmt: skip
