"""Images in containerd's store, and a docker client that has forgotten content trust."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.journeys.contexts import context
from tests.journeys.people import Town
from tests.peers.docker29 import dockerd29, patient
from tests.peers.dockerd import Dockerd

__all__ = ["dockerd29"]
pytestmark = [pytest.mark.needs("go", "dockerd", "docker", "busybox"), patient]
KNOWN = 'no hashes specified for target ""'
UNSIGNED = "a push without a signature stays in staging"


@pytest.mark.checklist("11.push", "11.sign")
def test_what_docker_cannot_sign_from_a_containerd_store_stays_unsigned_until_we_sign_it(
    village: Town, dockerd29: Dockerd, tmp_path: Path
) -> None:
    """The engine sends no digest back to the client, whatever the registry does."""
    conny = replace(village.at(dockerd29).publisher("containerd"), client="docker")
    staging, official = f"{conny.staging('web')}:1", f"{conny.official('web')}:1"
    conny.build(staging, context(tmp_path / "web", page="in containerd's store"))
    conny.docker("push", staging, trust=True).refused("1: digest: sha256:", f"failed to sign {staging}: {KNOWN}")
    conny.docker("trust", "sign", staging).refused(f"failed to sign {staging}: {KNOWN}")

    conny.wait(staging, 2).refused(f"there is no submission of {staging}", UNSIGNED, "`customhouse image sign`")
    conny.docker("pull", official).refused("not found")
    digest = str(conny.customhouse_does("image", "sign", staging)["digest"])
    assert conny.outcome(staging, "published")["digest"] == digest

    # Reading is not harmed: the same client and store pull what the hub signed.
    conny.forget(staging)
    conny.docker_does("pull", official, trust=True).told(f"Pull (1 of 1): {official}@{digest}", f"Digest: {digest}")
    conny.docker("pull", f"{conny.official('web')}:2", trust=True).refused("No valid trust data for 2")


@pytest.mark.checklist("11.docker29")
def test_docker_29_neither_signs_nor_verifies_and_our_commands_do(
    village: Town, dockerd29: Dockerd, tmp_path: Path
) -> None:
    nina = village.at(dockerd29).publisher("modern")
    staging, official = f"{nina.staging('web')}:1", f"{nina.official('web')}:1"
    assert nina.docker_does("version", "--format", "{{.Client.Version}}").out.startswith("29.")
    nina.build(staging, context(tmp_path / "web", page="pushed by docker 29"))
    pushed = nina.docker_does("push", staging, trust=True)
    assert "rust" not in pushed.said
    assert not (nina.home / ".docker/trust/tuf").exists()
    nina.docker("trust", "sign", staging).refused("unknown command: docker trust")
    nina.wait(staging, 2).refused(UNSIGNED)
    digest = str(nina.customhouse_does("image", "sign", staging)["digest"])
    pushed.told(f"1: digest: {digest}")
    assert nina.outcome(staging, "published")["digest"] == digest

    # It pulls a tag that nobody signed, with DOCKER_CONTENT_TRUST=1 and without a word ...
    unsigned = f"{nina.staging('web')}:unsigned"
    nina.docker_does("tag", staging, unsigned)
    nina.docker_does("push", unsigned)
    nina.forget(staging, unsigned)
    assert "rust" not in nina.docker_does("pull", unsigned, trust=True).said
    # ... so what protects its users is that the official area has nothing else, and our verification.
    carl = village.at(dockerd29).anonymous("modern-carl")
    # (This engine shows its own sentence for what it may not read, not the hub's.)
    carl.docker("pull", unsigned, trust=True).refused("pull access denied", "may require 'docker login'")
    carl.docker("pull", f"{nina.official('web')}:unsigned", trust=True).refused("not found")
    carl.docker_does("pull", official, trust=True).told(f"Digest: {digest}")
    verified = carl.customhouse("verify", official, "--ca-file", village.hub.ca, "--json")
    assert (verified.code, json.loads(verified.out)["digest"]) == (0, digest)
