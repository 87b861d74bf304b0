"""Whose root key is believed: nobody's, until a certifier says so."""

import re
import shutil
from pathlib import Path

import pytest

from tests.journeys.contexts import context
from tests.journeys.people import Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")


def test_an_unknown_root_waits_until_a_certifier_confirms_it_with_the_command_that_is_named(
    village: Town, tmp_path: Path
) -> None:
    nils = village.publisher("newcomer", enrolled=False)
    staging = f"{nils.staging('web')}:1"
    nils.build(staging, context(tmp_path / "web"))
    nils.push(staging)
    waiting = nils.wait(staging)
    assert waiting.code == 1
    waiting.told("awaiting_enrolment", "the root key of staging/newcomer/web is not enrolled for publisher newcomer")
    command = re.search(r"customhouse (publisher enrol \S+ --from-staging [\w/]+)", waiting.said)
    assert command, waiting.said

    nils.customhouse(*command[1].split()).refused("only a certifier or an administrator may enrol a root key")
    dora = village.certifier("nelly")
    dora.customhouse_does(*command[1].split())
    nils.outcome(staging, "published")

    # The next repository of the same publisher, from a machine with another root key: asked again.
    shutil.rmtree(nils.home / ".docker" / "trust")
    other = f"{nils.staging('other')}:1"
    nils.docker_does("tag", staging, other)
    nils.push(other)
    assert "--from-staging staging/newcomer/other" in nils.outcome(other, "awaiting_enrolment")["reason"]
    nils.docker("pull", f"{nils.official('other')}:1", trust=True).refused("does not have trust data")
