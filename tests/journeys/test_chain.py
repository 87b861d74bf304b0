"""The whole chain as its people live it: signed push, quarantine, examination, the hub's signature, pull and run."""

import json
from pathlib import Path

import pytest

from tests.journeys import wire
from tests.journeys.contexts import context
from tests.journeys.people import Town

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox", "notary")


def test_a_signed_push_becomes_official_and_a_consumer_pulls_and_runs_it(town: Town, tmp_path: Path) -> None:
    alice = town.publisher("acme")
    staging, official = f"{alice.staging('web')}:1", f"{alice.official('web')}:1"
    alice.build(staging, context(tmp_path / "web"))
    digest = alice.push(staging)

    row = alice.outcome(staging, "published")
    assert (row["digest"], row["official_reference"], row["verdict"]) == (digest, official, "certified")
    alice.wait(staging).told(f"Consumers: DOCKER_CONTENT_TRUST=1 docker pull {official}, and customhouse verify")
    outcomes = {item["check"]: item["outcome"] for item in row["findings"]}
    examined = ("MAN-DIGEST", "TAR-SAFE", "CFG-USER", "RUN-START", "RUN-HEALTH", "RUN-HEALTH-REAL", "RUN-STOP")
    assert {check: outcomes[check] for check in examined} == dict.fromkeys(examined, "pass")

    carol = town.anonymous("carol")
    carol.forget(staging, official)
    carol.docker_does("pull", official, trust=True).told(digest)
    ran = carol.docker_does("run", "--rm", "--network", "none", official, "/bin/cat", "/www/index.html", trust=True)
    assert ran.out == "it works\n"

    shown = json.loads(carol.docker_does("trust", "inspect", official).out)[0]
    signed = {"SignedTag": "1", "Digest": digest.removeprefix("sha256:"), "Signers": ["customhouse"]}
    assert shown["SignedTags"] == [signed]
    assert [signer["Name"] for signer in shown["Signers"]] == ["customhouse"]
    assert "1 " in carol.notary("list", alice.official("web")).told(digest.removeprefix("sha256:")).out
    verified = carol.customhouse("verify", official, "--ca-file", town.hub.ca)
    assert verified.code == 0, verified.said
    verified.told(f"certified: {official}", "signers customhouse", digest)

    # The bytes that the publisher made, under the hub's keys alone.
    before = wire.manifest(alice, "staging/acme/web", digest)
    after = wire.manifest(alice, "acme/web", "1")
    assert (before.body, before.headers["content-type"]) == (after.body, after.headers["content-type"])
    assert "docker.distribution.manifest.v2" in after.headers["content-type"]
    assert not wire.trust_keys(alice, "acme/web") & wire.trust_keys(alice, "staging/acme/web")

    # Quarantine is the certification team's own.
    dora = town.certifier("dora")
    dora.docker_does("pull", row["quarantine"]).told(digest)
    alice.docker("pull", row["quarantine"]).refused("it is the certification team's: sign in with `docker login` as")
    proof = town.admin.customhouse("audit", "verify")
    assert proof.code == 0, proof.said
