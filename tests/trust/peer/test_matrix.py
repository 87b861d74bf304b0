"""Our trust server and Debian's notary-server answer alike, except where a difference is meant and explained."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.postgresql import PostgreSQL
from tests.trust.peer.differences import DIFFERENCES
from tests.trust.peer.matrix import OURS, THEIRS, Sides, compare, differs, recorded, sides
from tests.trust.peer.sides import CASES

PAGE = Path(__file__).parents[3] / "docs" / "notary-compatibility.md"


@pytest.fixture(scope="module")
def among(tmp_path_factory: pytest.TempPathFactory, postgres: PostgreSQL) -> Iterator[Sides]:
    with sides(tmp_path_factory.mktemp("sides"), postgres) as found:
        yield found


@pytest.mark.checklist("5.publish")
@pytest.mark.needs("notary-server", "postgresql")
@pytest.mark.parametrize("name", CASES)
def test_a_case_is_answered_alike_or_differs_as_it_is_meant_to(among: Sides, name: str) -> None:
    found, known = compare(among, name), recorded().get(name)
    if known is None:
        assert not differs(found), f"a difference that nobody listed: {found}"
    else:
        assert found == known, f"recorded as {known}"


def test_every_recorded_difference_is_one_that_is_meant() -> None:
    for name, found in recorded().items():
        assert set(found) == {OURS, *THEIRS} and differs(found), name
        assert name in CASES, f"there is no case {name!r}"
        meant = [each.what for each in DIFFERENCES if any(re.fullmatch(case, name) for case in each.cases)]
        assert len(meant) == 1, f"{name!r} is meant by {meant}"


def test_every_difference_that_is_meant_is_shown_by_a_case() -> None:
    for each in DIFFERENCES:
        for pattern in each.cases:
            assert any(re.fullmatch(pattern, name) for name in recorded()), f"nothing shows {pattern!r}"


def accepted(trace: str) -> int:
    """How many steps were answered with 200."""
    return sum(int(count or 1) for count in re.findall(r"(?:^|, )200(?: ×(\d+))?(?=,|$)", trace))


def test_ours_accepts_more_only_where_nothing_new_is_stored_or_a_role_begins_anew() -> None:
    more = {name for name, found in recorded().items() if accepted(found[OURS]) > accepted(found["postgresql"])}
    same = {f"{role} of the stored version, the same bytes" for role in ("root", "targets", "targets/releases")}
    anew = {
        f"a delegation {how}" for how in (
            "of version 2 is given to another key, and signed from version 1",
            "of version 2 is given to two signatures, and signed from version 1",
        )
    }  # fmt: skip
    assert more == same | anew | {
        "a repository that is not served: {host}/acme/web",  # an official one: everybody may read it
        "everything that a repository has, once more under a new version of targets",
        "a timestamp of the client's own that is not JSON", "a timestamp that is not JSON, or no metadata",
    }  # fmt: skip


def test_the_page_for_users_is_this_table() -> None:
    shown = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in shown if len(row) == 4 and row[1] != "notary-server"]
    assert rows == [[each.what, each.theirs, each.ours, each.why] for each in DIFFERENCES]
    figures = re.search(r"(\d+) cases.* (\d+) of them", PAGE.read_text())
    assert figures and [int(figure) for figure in figures.groups()] == [len(CASES), len(recorded())]
