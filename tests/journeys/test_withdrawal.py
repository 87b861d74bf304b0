"""Taking back and replacing what is official: clients with a cache must notice."""

from pathlib import Path

import pytest

from tests.journeys import wire
from tests.journeys.contexts import context
from tests.journeys.people import Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


def test_after_a_withdrawal_a_client_with_a_cache_stops_and_is_told_why(village: Town, tmp_path: Path) -> None:
    walter = village.publisher("withdrawn")
    staging, official = f"{walter.staging('web')}:1", f"{walter.official('web')}:1"
    walter.build(staging, context(tmp_path / "web", page="it leaks"))
    digest = walter.push(staging)
    row = walter.outcome(staging, "published")
    konrad = village.consumer("konrad")
    by_digest = f"{walter.official('web')}@{digest}"
    konrad.docker_does("pull", official, trust=True)
    assert konrad.customhouse("verify", official).code == 0

    konrad.customhouse("submission", "withdraw", row["id"], "--reason", "no").refused("there is no submission")
    walter.customhouse("submission", "withdraw", row["id"]).refused("--reason")
    walter.customhouse_does("submission", "withdraw", row["id"], "--reason", "leaks memory, use 2")
    walter.wait(staging).told("state withdrawn", "withdrawn by withdrawn-dev: leaks memory, use 2")

    konrad.forget(official, by_digest, staging)
    konrad.docker("pull", official, trust=True).refused("No valid trust data for 1")
    konrad.docker("run", "--rm", official, trust=True).refused("No valid trust data for 1")
    konrad.docker("pull", official).refused("not found")
    konrad.docker("pull", by_digest).refused("withdrawn by withdrawn-dev: leaks memory, use 2")
    verified = konrad.customhouse("verify", official)
    assert verified.code == 1, verified.said
    verified.told("not certified")

    # The publisher goes on with a better one, under the same tag.
    walter.build(staging, context(tmp_path / "better", page="better"))
    better = walter.push(staging)
    walter.outcome(staging, "published")
    konrad.docker_does("pull", official, trust=True).told(better)
    konrad.docker("pull", by_digest).refused("leaks memory, use 2")


def test_a_tag_that_is_published_again_is_pulled_anew_by_a_client_with_a_cache(village: Town, tmp_path: Path) -> None:
    ursula = village.publisher("updating")
    village.hub.let_move("updating/web")
    staging, official = f"{ursula.staging('web')}:1", f"{ursula.official('web')}:1"
    karla = village.anonymous("karla")
    seen = []
    for page in ("first", "second"):
        ursula.build(staging, context(tmp_path / page, page=page))
        seen.append(ursula.push(staging))
        assert ursula.outcome(staging, "published")["digest"] == seen[-1]
        ursula.forget(staging)
        karla.docker_does("pull", official, trust=True).told(seen[-1])
        run = ("run", "--rm", "--network", "none", official, "/bin/cat", "/www/page.html")
        assert karla.docker_does(*run, trust=True).out == page
    assert seen[0] != seen[1]
    # The older digest stays what it was: official, by digest.
    karla.docker_does("pull", f"{ursula.official('web')}@{seen[0]}")

    ursula.docker_does("tag", official, f"{ursula.staging('web')}:2")
    ursula.push(f"{ursula.staging('web')}:2")
    ursula.outcome(f"{ursula.staging('web')}:2", "published")
    tags = wire.trust_file(karla, "updating/web", "targets/releases")["targets"]
    assert sorted(tags) == ["1", "2"]
