from typing import Any

import pytest

from customhouse.advisories.evaluation import Hit, evaluate
from customhouse.advisories.osv import from_document
from customhouse.advisories.versions import VersionOrder
from tests.advisories.records import affected, record

I0 = {"introduced": "0"}


def hit(version: str, *events: dict[str, str], ecosystem: str = "npm", **more: Any) -> Hit | None:
    entry = from_document(record("X-1", affected(ecosystem, "x", *events, **more))).affected[0]
    return evaluate(VersionOrder(ecosystem), version, entry)


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ("0.1.0", ("1.5.0",)),
        ("1.4.9", ("1.5.0",)),
        ("1.5.0", None),
        ("1.9.0", None),
        ("2.0.0", ("2.3.0",)),
        ("2.3.0", None),
    ],
)
def test_events_open_and_close_spans(version: str, fixed: tuple[str, ...] | None) -> None:
    events = (I0, {"fixed": "1.5.0"}, {"introduced": "2.0.0"}, {"fixed": "2.3.0"})
    found = hit(version, *events)
    assert (found.fixed if found else None) == fixed
    assert hit(version, *reversed(events)) == found, "the order in the record does not matter"


def test_the_last_affected_version_is_affected_and_names_no_fix() -> None:
    assert hit("1.5.0", I0, {"last_affected": "1.5.0"}) == Hit()
    assert hit("1.5.1", I0, {"last_affected": "1.5.0"}) is None


def test_a_range_without_an_end_has_no_fix() -> None:
    assert hit("99.0.0", I0) == Hit()


def test_before_the_introduction_nothing_is_affected() -> None:
    assert hit("0.9.0", {"introduced": "1.0.0"}) is None
    assert hit("1.0.0-rc.1", {"introduced": "1.0.0"}, {"fixed": "1.1.0"}) is None


@pytest.mark.parametrize("ecosystem", ["Alpine:v3.20", "Debian:12"])
def test_fixed_in_zero_means_never_affected(ecosystem: str) -> None:
    assert hit("1.2.3-r0", I0, {"fixed": "0"}, ecosystem=ecosystem) is None
    assert hit("0~rc1", I0, {"fixed": "0"}, ecosystem=ecosystem) is None


def test_the_list_of_versions_is_enough_and_names_later_fixes() -> None:
    assert hit("1.0", versions=["1.0.0"], ecosystem="PyPI") == Hit()
    assert hit("1.0", {"introduced": "2.0"}, {"fixed": "2.5"}, versions=["1.0"], ecosystem="PyPI") == Hit(("2.5",))
    assert hit("1.1", versions=["1.0", "1.2"], ecosystem="PyPI") is None


def test_a_limit_bounds_the_range() -> None:
    assert hit("1.0.0", I0, {"limit": "2.0.0"}) == Hit()
    assert hit("2.0.0", I0, {"limit": "2.0.0"}) is None
    assert hit("2.0.0", I0, {"limit": "*"}) == Hit()


def test_a_backport_is_judged_by_the_distributions_version() -> None:
    events = (I0, {"fixed": "7.88.1-10+deb12u5"})
    assert hit("7.88.1-10+deb12u4", *events, ecosystem="Debian:12") == Hit(("7.88.1-10+deb12u5",))
    assert hit("7.88.1-10+deb12u5", *events, ecosystem="Debian:12") is None


def test_an_epoch_outweighs_the_number_behind_it() -> None:
    assert hit("1:1.0-1", I0, {"fixed": "9.0-1"}, ecosystem="Debian:12") is None
    assert hit("9.0-1", I0, {"fixed": "1:1.0-1"}, ecosystem="Debian:12") == Hit(("1:1.0-1",))
