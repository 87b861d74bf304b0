"""Every command in the guides is run: by the people it is for, against a real hub, with the real docker where it says
docker."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from customhouse.certification.policy import Policy
from customhouse.testing import images
from tests.advisories.records import dump, fixed_in, kev, record
from tests.docs.guide import blocks
from tests.docs.stages import Stage
from tests.peers.certificates import loopback_certificate
from tests.peers.dockerd import Dockerd, dockerd
from tests.peers.softhsm import Tokens

__all__ = ["dockerd"]
ROOT = Path(__file__).parents[2]
needs_docker = pytest.mark.needs("dockerd", "docker")


@pytest.fixture
def stage(dockerd: Dockerd) -> Iterator[Stage]:
    """A hub with an administrator, and the private engine for whoever types docker."""
    folder = Path(tempfile.mkdtemp(prefix="ch-docs-"))
    made = Stage(folder, dockerd.url)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


@needs_docker
def test_the_guide_for_publishers(stage: Stage) -> None:
    stage.open()
    stage.user("alice", "publisher")
    stage.user("casey", "certifier", signed_in=True)
    stage.publisher("acme", "alice")
    stage.ca()
    stage.context("web")
    stage.several_platforms("web.tar")
    stage.archive(images.minimal_server_image(Healthcheck=None), "no-health.tar")
    stage.play(ROOT / "docs" / "publishers.md")


@needs_docker
def test_the_guide_for_teams(stage: Stage) -> None:
    stage.open()
    for name in ("ann", "ben"):
        stage.user(name, "publisher", signed_in=True)
    stage.user("cleo", "certifier", signed_in=True)
    stage.publisher("orbit", "ann", "ben")
    stage.ca()
    stage.context("web")
    shown = blocks((ROOT / "docs" / "publishers.md").read_text())
    dockerfile = next(block for block in shown if block.file == "web/Dockerfile")
    (stage.world.desk / dockerfile.file).write_text(dockerfile.text)
    stage.archive(images.minimal_server_image(), "web.tar")
    stage.play(ROOT / "docs" / "teams.md")


@needs_docker
@pytest.mark.needs("skopeo", "openssl", "softhsm2-util")
def test_the_guide_to_keys(stage: Stage) -> None:
    stage.open()
    people = ("alice", "ben", "gus")
    for name in people:
        stage.user(name, "publisher", signed_in=True)
    stage.publisher("acme", *people)
    stage.enrol("acme", "alice")
    first = stage.archive(images.minimal_server_image(), "first.tar")
    stage.push("alice", first, "staging/acme/web:1.0.0", "published")
    stage.several_platforms("web.tar")
    authority = stage.world.desk / "certificates" / "ca.crt"
    authority.parent.mkdir()
    authority.write_bytes(stage.hub.ca.read_bytes())
    tokens = Tokens(stage.world.root / "tokens").prepared()
    tokens.initialise("desk")
    stage.world.settings = {**stage.world.settings, **tokens.environment}
    stage.play(ROOT / "docs" / "keys.md")


@needs_docker
@pytest.mark.needs("skopeo")
def test_the_guide_for_consumers(stage: Stage) -> None:
    stage.open()
    stage.user("alice", "publisher", signed_in=True)
    stage.user("casey", "certifier", signed_in=True)
    stage.publisher("acme", "alice")
    stage.enrol("acme", "alice")
    for version in ("1.0.0", "1.1.0"):
        image = images.minimal_server_image(Labels={**images.labels(), "org.opencontainers.image.version": version})
        stage.push("alice", stage.archive(image, f"{version}.tar"), f"staging/acme/web:{version}", "published")
    stage.ca()
    stage.bundle("hub-bundle.json")
    stage.play(ROOT / "docs" / "consumers.md")


@needs_docker
def test_the_guide_for_certifiers(stage: Stage, tmp_path: Path) -> None:
    shipped = Policy.default().text
    strict = tmp_path / "two.toml"
    strict.write_text(shipped.replace("approvals = 1", "approvals = 2"))
    assert strict.read_text() != shipped
    stage.open("--policy", str(strict))
    for name, publisher in (("alice", "acme"), ("nora", "newco")):
        stage.user(name, "publisher", signed_in=True)
        stage.publisher(publisher, name)
    stage.user("dora", "certifier")
    stage.user("emil", "certifier", signed_in=True)
    stage.ca()
    good = stage.archive(images.minimal_server_image(), "good.tar")
    stage.push("nora", good, "staging/newco/web:1.0.0", "awaiting_enrolment")
    stage.key_id("nora", "newco-key-id")
    stage.does("alice", "customhouse", "image", "root-cert", "--out", "acme-root.pem")
    silent = stage.archive(images.minimal_server_image(Healthcheck=None), "silent.tar")
    stage.enrol("acme", "alice")
    for reference in ("web:1.0.0", "web:1.1.0", "job:1.0.0"):
        stage.push("alice", silent, f"staging/acme/{reference}", "awaiting_review")
    stage.play(ROOT / "docs" / "certifiers.md")


def test_the_guide_to_policies(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "none")
    stage.open()
    stage.user("alice", "publisher", signed_in=True)
    stage.user("dora", "certifier", signed_in=True)
    stage.publisher("acme", "alice")
    stage.enrol("acme", "alice")
    stage.push("alice", stage.archive(images.minimal_server_image(), "web.tar"), "staging/acme/web:1.0.0", "published")
    try:
        stage.play(ROOT / "docs" / "policies.md")
    finally:
        stage.close()


@pytest.mark.needs("curl")
def test_the_guide_for_administrators(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "none")
    system = stage.world.system
    made = loopback_certificate(system / "etc/customhouse/tls")
    made.certificate.rename(made.certificate.with_name("chain.pem"))
    made.key.rename(made.key.with_name("key.pem"))
    osv = stage.world.desk / "osv"
    osv.mkdir()
    flaw = fixed_in("Debian:12", "openssl", "3.0.17-1~deb12u3")
    (osv / "Debian.zip").write_bytes(dump([record("DEBIAN-CVE-2026-1234", flaw)]))
    (stage.world.desk / "known_exploited_vulnerabilities.json").write_text(json.dumps(kev("CVE-2026-1234")))
    stage.archive(images.minimal_server_image(), "web.tar")
    try:
        stage.play(ROOT / "docs" / "administrators.md")
    finally:
        stage.close()


def test_the_guide_for_sources(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "none").open()
    try:
        stage.user("alice", "publisher", signed_in=True)
        stage.user("casey", "certifier", signed_in=True)
        stage.publisher("acme", "alice")
        stage.vendor("registry.vendor.example", "shop", "web:3.0.0")
        stage.play(ROOT / "docs" / "sources.md")
    finally:
        stage.close()


@pytest.mark.needs("docker-registry", "notary-server")
def test_the_guide_for_mirrors(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "none").open()
    try:
        stage.user("alice", "publisher", signed_in=True)
        stage.publisher("acme", "alice")
        stage.enrol("acme", "alice")
        image = stage.archive(images.minimal_server_image(), "web.tar")
        stage.push("alice", image, "staging/acme/web:1.0.0", "published")
        stage.mirror("registry.east.example", "notary.east.example")
        stage.play(ROOT / "docs" / "mirrors.md")
    finally:
        stage.close()


def test_the_audit_policy(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "none").open()
    try:
        stage.user("alice", "publisher", signed_in=True)
        stage.user("audra", "certifier", signed_in=True)
        stage.publisher("acme", "alice")
        stage.enrol("acme", "alice")
        image = stage.archive(images.minimal_server_image(), "web.tar")
        stage.push("alice", image, "staging/acme/web:1.0.0", "published")
        stage.play(ROOT / "docs" / "audit-policy.md")
    finally:
        stage.close()
