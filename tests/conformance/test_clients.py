"""The clients that people have push to a hub's staging and pull back: every digest as it was.

docker 28 (its own store) and 29 (containerd's), podman, buildah, skopeo, crane and oras; gzip and zstd layers; an index
with attestations in the form that buildx writes (made by our builders: buildx itself is no part of these tests).
"""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from customhouse.oci.digest import Digest
from customhouse.oci.manifest import OCI_LAYER_ZSTD
from customhouse.testing.images import BuiltImage, minimal_server_image, write_docker_save, write_oci_layout
from tests.hub_process import PASSWORD, HubProcess
from tests.journeys.test_foreign_pushers import attested
from tests.peers.docker29 import dockerd29, patient
from tests.peers.dockerd import Dockerd, dockerd
from tests.peers.gotools import go_tool

__all__ = ["dockerd", "dockerd29"]
pytestmark = pytest.mark.timeout(300)


class Desk:
    """Somebody who is signed in at a hub, and the programs he has."""

    def __init__(self, hub: HubProcess, home: Path) -> None:
        self.hub, self.home = hub, home
        self.config, self.certificates = home / "config.json", home / "certificates"
        self.certificates.mkdir(parents=True)
        (self.certificates / "ca.crt").write_bytes(hub.ca.read_bytes())
        self.sign_in("paula")
        (home / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        self._pool = urllib3.PoolManager(ca_certs=str(hub.ca), retries=False)

    def sign_in(self, name: str) -> None:
        login = base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()
        self.config.write_text(json.dumps({"auths": {self.hub.host: {"auth": login}}}))

    def at(self, name: str) -> str:
        return f"{self.hub.host}/staging/acme/{name}"

    def __call__(self, *words: str | Path, fails: bool = False) -> str:
        settings = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "DOCKER_CONFIG": str(self.home),
            "REGISTRY_AUTH_FILE": str(self.config), "SSL_CERT_FILE": str(self.hub.ca), "TMPDIR": str(self.home),
        }  # fmt: skip
        done = subprocess.run(words, env=settings, capture_output=True, text=True, timeout=120, cwd=self.home)
        assert (done.returncode != 0) is fails, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        """As the hub keeps it now."""
        repository = "/".join(path.split("/")[2:5])
        basic = urllib3.make_headers(basic_auth=f"paula:{PASSWORD}")
        asked = f"{self.hub.url}/token?service={self.hub.host}&scope=repository:{repository}:pull"
        token = json.loads(self._pool.request("GET", asked, headers=basic).data)["token"]
        return self._pool.request("GET", self.hub.url + path, headers={"authorization": f"Bearer {token}"})

    def manifest(self, name: str, reference: str) -> bytes:
        reply = self.get(f"/v2/staging/acme/{name}/manifests/{reference}")
        assert reply.status == 200, reply.data
        return reply.data


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("clients")
    hub = HubProcess(folder / "hub" / "data")
    try:
        hub.start().add_publisher("acme", "paula")
        yield Desk(hub, folder / "home")
        assert hub.doctor() == []
    finally:
        hub.close()


def files_of(layout: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (layout / "blobs").rglob("*") if file.is_file()}


def picture(text: str) -> BuiltImage:
    return minimal_server_image(style="oci", files={"page": text})


@pytest.mark.needs("go")
def test_crane_pushes_an_index_with_attestations_and_pulls_it_back(desk: Desk, tmp_path: Path) -> None:
    crane, built = go_tool("crane"), attested("crane")
    layout, there = write_oci_layout(built, tmp_path / "in"), f"{desk.at('crane')}:1"
    desk(crane, "push", layout, there)
    assert desk(crane, "digest", there) == str(built.digest)
    desk(crane, "pull", "--format=oci", there, tmp_path / "out")
    assert files_of(tmp_path / "out").items() >= {d.hex: raw for d, raw in built.blobs.items()}.items()
    proof = json.loads(desk(crane, "manifest", there))["manifests"][1]
    assert proof["annotations"]["vnd.docker.reference.type"] == "attestation-manifest"


@pytest.mark.needs("go")
def test_crane_copies_by_mount_lists_tags_as_cosign_does_and_deletes(desk: Desk, tmp_path: Path) -> None:
    crane, built = go_tool("crane"), picture("copied")
    one, two = desk.at("one"), desk.at("two")
    desk(crane, "push", write_oci_layout(built, tmp_path / "in"), f"{one}:1")
    desk(crane, "copy", f"{one}:1", f"{two}:1")
    like_cosign = f"sha256-{built.digest.hex}.sig"
    desk(crane, "tag", f"{two}:1", like_cosign)
    assert desk(crane, "ls", two).split() == ["1", like_cosign]
    assert desk.manifest("two", like_cosign) == built.manifest_raw
    desk(crane, "delete", f"{two}@{built.digest}")
    assert desk(crane, "ls", two) == ""
    desk(crane, "digest", f"{two}:1", fails=True)


@pytest.mark.needs("go")
def test_crane_lists_all_repositories_for_an_administrator_alone(desk: Desk, tmp_path: Path) -> None:
    crane = go_tool("crane")
    desk(crane, "push", write_oci_layout(picture("listed"), tmp_path / "in"), f"{desk.at('listed')}:1")
    desk(crane, "catalog", desk.hub.host, fails=True)
    desk.sign_in("admin")
    try:
        assert "staging/acme/listed" in desk(crane, "catalog", desk.hub.host).split()
    finally:
        desk.sign_in("paula")


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_skopeo_brings_and_takes_layers_of_each_compression(desk: Desk, tmp_path: Path, compression: str) -> None:
    layout, there = write_oci_layout(picture(compression), tmp_path / "in"), f"docker://{desk.at('skopeo')}:{compression}"
    certificates = ("--dest-cert-dir", desk.certificates)
    packed = ("--dest-compress-format", compression, "--format", "oci")
    middle = f"dir:{tmp_path / 'packed'}"
    desk("skopeo", "--insecure-policy", "copy", *packed, "--dest-compress", f"oci:{layout}:1", middle)
    desk("skopeo", "--insecure-policy", "copy", "--preserve-digests", *certificates, middle, there)
    raw = desk.manifest("skopeo", compression)
    layers = json.loads(raw)["layers"]
    assert {layer["mediaType"] for layer in layers} == {f"application/vnd.oci.image.layer.v1.tar+{compression}"}
    desk("skopeo", "--insecure-policy", "copy", "--preserve-digests", "--src-cert-dir", desk.certificates, there,
         f"dir:{tmp_path / 'out'}")  # fmt: skip
    assert (tmp_path / "out" / "manifest.json").read_bytes() == raw
    for layer in layers:
        content = (tmp_path / "out" / Digest.parse(layer["digest"]).hex).read_bytes()
        assert Digest.of(content) == layer["digest"]


@pytest.mark.needs("go")
def test_oras_pushes_an_artifact_attaches_and_discovers(desk: Desk, tmp_path: Path) -> None:
    oras, there = go_tool("oras"), f"{desk.at('oras')}:1"
    tls = ("--plain-http=false", "--ca-file", desk.hub.ca)  # it takes localhost for plain HTTP
    (desk.home / "note.txt").write_text("a note")
    desk(oras, "push", *tls, "--artifact-type", "application/vnd.example.thing", there, "note.txt:text/plain")
    (desk.home / "bill.json").write_text("{}")
    for mode in ("v1.1-referrers-api", "v1.1-referrers-tag"):
        desk(oras, "attach", *tls, "--distribution-spec", mode, "--artifact-type", f"application/vnd.example.{mode}",
             there, "bill.json:application/json")  # fmt: skip
    for mode in ("v1.1-referrers-api", "v1.1-referrers-tag"):
        told = desk(oras, "discover", *tls, "--distribution-spec", mode, "--format", "json", there)
        assert f"application/vnd.example.{mode}" in told
    wanted = "application/vnd.example.v1.1-referrers-api"
    found = json.loads(desk(oras, "discover", *tls, "--format", "json", "--artifact-type", wanted, there))
    assert len(found.get("referrers") or found["manifests"]) == 1
    (tmp_path / "out").mkdir()
    desk(oras, "pull", *tls, "--output", tmp_path / "out", there)
    assert (tmp_path / "out" / "note.txt").read_text() == "a note"


@pytest.mark.needs("podman", "buildah")
@pytest.mark.parametrize("program", ["podman", "buildah"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_podman_and_buildah_push_and_pull_each_compression(
    desk: Desk, tmp_path: Path, program: str, compression: str
) -> None:
    there = f"{desk.at(program)}:{compression}"
    layout = write_oci_layout(picture(f"{program} {compression}"), tmp_path / "in")
    with tempfile.TemporaryDirectory(prefix="ch-", dir="/tmp") as short:  # podman takes paths of 50 characters
        tool: list[str | Path] = [program, "--root", f"{short}/root", "--runroot", f"{short}/run"]
        tool += ["--storage-driver", "vfs"]
        if program == "podman":
            tool += ["--tmpdir", f"{short}/tmp", "--events-backend", "file", "--cgroup-manager", "cgroupfs"]
        policy, certificates = ("--signature-policy", desk.home / "policy.json"), ("--cert-dir", desk.certificates)
        image = desk(*tool, "pull", "-q", *policy, f"oci:{layout}:1").splitlines()[-1]
        desk(*tool, "push", "-q", *policy, *certificates, "--format", "oci", "--compression-format", compression,
             "--digestfile", tmp_path / "digest", image, f"docker://{there}")  # fmt: skip
        desk(*tool, "rmi", "--all", "--force")
        desk(*tool, "pull", "-q", *policy, *certificates, f"docker://{there}")
        assert image.removeprefix("sha256:") in desk(*tool, "images", "-q", "--no-trunc")
        desk(*tool, "rmi", "--all", "--force")
    raw = desk.manifest(program, compression)
    assert (tmp_path / "digest").read_text().strip() == str(Digest.of(raw))
    zstd = {layer["mediaType"] == OCI_LAYER_ZSTD for layer in json.loads(raw)["layers"]}
    assert zstd == {compression == "zstd"}


def pushed_and_pulled(desk: Desk, engine: Dockerd, tmp_path: Path, name: str) -> None:
    there = f"{desk.at(name)}:1"
    cli = engine.cli(desk.home, DOCKER_CONFIG=str(desk.home))
    built = minimal_server_image(files={"page": name})
    cli("load", "-i", write_docker_save(built, tmp_path / "web.tar", reference=there))
    before = cli("image", "inspect", "--format", "{{.Id}}", there).stdout
    said = cli("push", there).stdout
    assert str(Digest.of(desk.manifest(name, "1"))) in said
    cli("image", "rm", "--force", there)
    cli("pull", there)
    assert cli("image", "inspect", "--format", "{{.Id}}", there).stdout == before
    cli("image", "rm", "--force", there)


@pytest.mark.needs("dockerd", "docker", "busybox")
def test_docker_with_its_own_store(desk: Desk, dockerd: Dockerd, tmp_path: Path) -> None:
    pushed_and_pulled(desk, dockerd, tmp_path, "docker28")


@pytest.mark.needs("go", "dockerd")
@patient
def test_docker_with_containerds_store(desk: Desk, dockerd29: Dockerd, tmp_path: Path) -> None:
    pushed_and_pulled(desk, dockerd29, tmp_path, "docker29")
