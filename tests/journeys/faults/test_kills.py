"""`kill -9` at every named point of the source, then a restart: everything ends as if nothing had happened.

Which points there are is read from the source, which scenario passes them is found by running it: a new point is
killed at without a word here, and one that no scenario passes fails.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.journeys.faults import scenarios, team
from tests.journeys.faults.matrix import Depth, Matrix
from tests.journeys.faults.points import Point, points
from tests.journeys.faults.site import Site
from tests.peers.postgresql import PostgreSQL

HUBS = 3
POINTS = points()
# What differs by database: transactions of several rooms, and what the workflows' engine keeps.
ON_BOTH = (
    "intake.submission", "intake.remote", "trust.publish.commit", "approve.commit", "enrol.commit", "publish.signed",
    "publish.commit.state", "publish.commit.trust", "publish.commit.end", "withdraw.commit.state",
    "withdraw.commit.end", "verify.commit", "judge.commit", "workflow.started", "workflow.step.done",
    "workflow.step.recorded", "db.commit", "db.committed", "registry.manifest.commit", "migrations.commit",
    "mirror.run.taken", "mirror.trust.sent", "mirror.withdrawn", "mirror.settled",
)


@pytest.fixture(scope="module")
def sqlite(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    yield from _matrix(request, "test_the_hub_dies_at", Site, "ends")


@pytest.fixture(scope="module")
def postgresql(request: pytest.FixtureRequest, postgres: PostgreSQL) -> Iterator[Matrix]:
    yield from _matrix(request, "test_on_postgresql_the_hub_dies_at", lambda: Site(postgres.url()), "first")


def _matrix(
    request: pytest.FixtureRequest, test: str, made: Callable[[], Site], depth: Depth
) -> Iterator[Matrix]:
    matrix = Matrix((*scenarios.ALL, *team.ALL), made, HUBS)
    try:
        for item in request.session.items:  # all that was asked for, side by side
            if isinstance(item, pytest.Function) and item.originalname.startswith(test):
                chosen: Depth = "all" if item.originalname.endswith("thoroughly") else depth
                for kill in matrix.kills(item.callspec.params["point"], chosen):
                    matrix.submit(kill)
        yield matrix
    finally:
        matrix.close()


def _id(point: Point) -> str:
    return point.text


def _kill_at(matrix: Matrix, point: Point, depth: Depth) -> None:
    kills = matrix.kills(point, depth)
    assert kills, f"no scenario passes {point.text} ({point.where}): add one to tests/journeys/faults/scenarios.py"
    for kill in kills:
        try:
            matrix.submit(kill).result(timeout=900)
        except BaseException as error:
            error.add_note(str(kill))
            raise


@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", POINTS, ids=_id)
def test_the_hub_dies_at(sqlite: Matrix, point: Point) -> None:
    _kill_at(sqlite, point, "ends")


@pytest.mark.timeout(900)
@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("point", [point for point in POINTS if point.text in ON_BOTH], ids=_id)
def test_on_postgresql_the_hub_dies_at(postgresql: Matrix, point: Point) -> None:
    _kill_at(postgresql, point, "first")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("point", POINTS, ids=_id)
def test_the_hub_dies_at_thoroughly(sqlite: Matrix, point: Point) -> None:
    """Every passage of every scenario."""
    _kill_at(sqlite, point, "all")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("point", POINTS, ids=_id)
def test_on_postgresql_the_hub_dies_at_thoroughly(postgresql: Matrix, point: Point) -> None:
    _kill_at(postgresql, point, "all")


def test_the_names_that_are_checked_on_both_databases_exist() -> None:
    assert set(ON_BOTH) <= {point.text for point in POINTS}
