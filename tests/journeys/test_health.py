"""Health-checks that fail, that say yes whatever happens, and that are missing: all pushed, then each followed."""

import pytest

from tests.journeys.contexts import context
from tests.journeys.people import Person, Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")
FAILING = "HEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD wget -q -O /dev/null http://127.0.0.1:9/"
FAKE = "HEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD true"


@pytest.fixture(scope="module")
def helga(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Person:
    folder = tmp_path_factory.mktemp("health")
    helga = town.publisher("health")
    for name, health in (("failing", FAILING), ("fake", FAKE), ("missing", "")):
        staging = f"{helga.staging(name)}:1"
        helga.build(staging, context(folder / name, health=health, page=name))
        helga.push(staging)
    return helga


def test_a_health_check_that_fails_is_refused(helga: Person) -> None:
    staging = f"{helga.staging('failing')}:1"
    row = helga.outcome(staging, "rejected")
    assert "RUN-HEALTH" in row["reason"]
    helga.wait(staging).told("state rejected", "RUN-HEALTH:", "then push and sign again")
    helga.docker("pull", f"{helga.official('failing')}:1").refused("not found")


def test_a_health_check_that_says_yes_without_the_program_goes_to_a_person(helga: Person) -> None:
    staging = f"{helga.staging('fake')}:1"
    row = helga.outcome(staging, "awaiting_review")
    failed = {item["check"]: item["message"] for item in row["findings"] if item["outcome"] == "fail"}
    assert {"RUN-HEALTH-REAL", "CFG-HEALTH-STATIC"} <= set(failed)
    helga.wait(staging).told("awaiting_review", f"customhouse submission approve {row['id']}", "RUN-HEALTH-REAL")


def test_a_missing_health_check_goes_to_a_person_and_says_what_to_write(helga: Person) -> None:
    staging = f"{helga.staging('missing')}:1"
    row = helga.outcome(staging, "awaiting_review")
    assert "CFG-HEALTH" in {item["check"] for item in row["findings"] if item["outcome"] == "fail"}
    helga.wait(staging).told("CFG-HEALTH", "HEALTHCHECK")
