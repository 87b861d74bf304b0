"""The states of a submission and their order: a table that nobody can leave."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.certification.submission import (
    ACTIVE,
    FINAL,
    MOVES,
    PINNED,
    RESTING,
    RETRYABLE,
    State,
    Submission,
)
from customhouse.oci.digest import Digest

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def submission(state: State = State.RECEIVED, round: int = 1) -> Submission:
    return Submission(
        "s1", "acme", "staging/acme/web", "1", Digest.of(b"x"), 1, 1, "paula", state, "", round, None, NOW, NOW
    )


def test_every_state_is_active_resting_or_final_and_only_one_of_them() -> None:
    assert set(State) == ACTIVE | RESTING | FINAL
    assert not (ACTIVE & RESTING or ACTIVE & FINAL or RESTING & FINAL)
    assert set(MOVES) == set(State)


def test_from_every_active_state_each_end_can_be_reached_and_publication_only_through_all_steps() -> None:
    ends = {State.REJECTED, State.SUPERSEDED, State.FAILED, State.WITHDRAWN}
    assert all(ends <= MOVES[state] for state in ACTIVE | RESTING)
    before = {state for state, moves in MOVES.items() if State.PUBLISHED in moves}
    assert before == {State.PUBLISHING}
    assert {state for state, moves in MOVES.items() if State.PUBLISHING in moves} == {
        State.EXAMINING, State.AWAITING_REVIEW,
    }
    assert {state for state, moves in MOVES.items() if State.EXAMINING in moves} == {State.VERIFYING}


def test_what_is_published_can_only_be_withdrawn_and_what_is_superseded_or_withdrawn_stays() -> None:
    assert MOVES[State.PUBLISHED] == {State.WITHDRAWN}
    assert not MOVES[State.SUPERSEDED] and not MOVES[State.WITHDRAWN]


def test_what_can_be_tried_again_goes_back_to_the_beginning() -> None:
    assert all(State.RECEIVED in MOVES[state] for state in RETRYABLE)
    assert not RETRYABLE & ACTIVE
    assert PINNED <= ACTIVE | RESTING


@given(st.lists(st.sampled_from(list(State)), max_size=12))
def test_no_walk_along_the_moves_leaves_a_closed_state(wishes: list[State]) -> None:
    state = State.RECEIVED
    closed: State | None = None
    for wish in wishes:
        if wish in MOVES[state]:
            state = wish
        if state in (State.SUPERSEDED, State.WITHDRAWN):
            closed = closed or state
    assert closed is None or state is closed


@pytest.mark.parametrize("state", list(State))
def test_an_official_reference_is_shown_for_published_ones_only(state: State) -> None:
    shown = submission(state).official_reference("hub:1")
    assert shown == ("hub:1/acme/web:1" if state is State.PUBLISHED else None)


def test_names_follow_from_the_row() -> None:
    row = submission(round=3)
    assert (row.quarantine, row.official, row.workflow) == ("quarantine/s1", "acme/web", "s1.3")
    assert row.reference("hub:1") == "hub:1/staging/acme/web:1"
