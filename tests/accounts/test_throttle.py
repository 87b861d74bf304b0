"""Failed logins run out and come back with time."""

from datetime import datetime, timedelta

import pytest

from customhouse.accounts.throttle import REMEMBERED, Throttle, Throttled


def test_failures_run_out_and_the_wait_is_told(now: datetime) -> None:
    throttle = Throttle(burst=3, seconds_per_attempt=10)
    for _ in range(3):
        throttle.attempt("paula", "10.0.0.1", now)
    with pytest.raises(Throttled, match="wait 10 s") as caught:
        throttle.attempt("paula", "10.0.0.1", now)
    assert caught.value.wait_seconds == 10
    with pytest.raises(Throttled, match="wait 4 s"):
        throttle.attempt("paula", "10.0.0.1", now + timedelta(seconds=6))
    throttle.attempt("paula", "10.0.0.1", now + timedelta(seconds=10))


def test_another_name_or_address_is_not_concerned(now: datetime) -> None:
    throttle = Throttle(burst=1)
    throttle.attempt("paula", "10.0.0.1", now)
    throttle.attempt("paula", "10.0.0.2", now)
    throttle.attempt("otto", "10.0.0.1", now)


def test_a_success_forgets_the_failures(now: datetime) -> None:
    throttle = Throttle(burst=1)
    for _ in range(5):
        throttle.attempt("paula", "", now)
        throttle.succeeded("paula", "")


def test_a_clock_that_goes_back_gives_nothing(now: datetime) -> None:
    throttle = Throttle(burst=1, seconds_per_attempt=10)
    throttle.attempt("paula", "", now)
    with pytest.raises(Throttled):
        throttle.attempt("paula", "", now - timedelta(days=1))


def test_the_buckets_are_bounded(now: datetime) -> None:
    throttle = Throttle()
    for number in range(REMEMBERED + 10):
        throttle.attempt(f"name{number}", "", now)
    assert len(throttle._buckets) == REMEMBERED
