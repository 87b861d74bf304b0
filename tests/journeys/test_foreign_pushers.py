"""Images that other programs pushed, which docker cannot sign, are signed by digest, become official, and docker pulls.

An index of two platforms (skopeo), an index with attestations as buildx makes it (crane), an OCI image (oras), an image
that podman built its own manifest for.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from customhouse.oci.digest import Digest
from customhouse.oci.manifest import OCI_CONFIG, OCI_MANIFEST
from customhouse.testing.images import (
    BuiltImage,
    encode,
    index,
    minimal_server_image,
    write_docker_save,
    write_oci_layout,
)
from tests.journeys.people import Person, Town
from tests.journeys.test_signers import two_platforms
from tests.peers.gotools import go_tool

pytestmark = [pytest.mark.needs("dockerd", "docker", "busybox", "notary"), pytest.mark.timeout(900)]


def attested(page: str) -> BuiltImage:
    """One platform and its attestation manifest, in the shape of buildx with provenance."""
    built = minimal_server_image(style="oci", files={"page": page})
    statement = encode({"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/v1"})
    config = encode({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {
        "type": "layers", "diff_ids": [str(Digest.of(statement))]}})  # fmt: skip
    manifest = encode({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": str(Digest.of(config)), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.in-toto+json", "digest": str(Digest.of(statement)),
                    "size": len(statement),
                    "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}}],
    })  # fmt: skip
    proof = BuiltImage(manifest, OCI_MANIFEST, {Digest.of(config): config, Digest.of(statement): statement}, config)
    plain = index([built, proof], style="oci")
    document = json.loads(plain.manifest_raw)
    document["manifests"][1]["annotations"] = {
        "vnd.docker.reference.digest": str(built.digest), "vnd.docker.reference.type": "attestation-manifest",
    }  # fmt: skip
    return BuiltImage(encode(document), plain.media_type, plain.blobs, members=plain.members)


def runs(person: Person, *words: str | Path, **settings: str) -> str:
    """A program of the person's, whose registry logins are docker's."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(person.home), "DOCKER_CONFIG": str(person.home / ".docker"),
        "REGISTRY_AUTH_FILE": str(person.home / ".docker" / "config.json"), **settings,
    }  # fmt: skip
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def signed_and_pulled(village: Town, pusher: Person, reference: str, digest: str, reader: str) -> None:
    """What is there is signed by its digest; it is published, verified by us, and pulled by docker."""
    name, tag = reference.rpartition(":")[::2]
    done = pusher.customhouse_does("image", "sign", f"{name}@{digest}", tag)
    assert (done["digest"], done["changed"]) == (digest, True)
    assert pusher.outcome(reference, "published")["digest"] == digest
    nick = village.anonymous(reader)
    official = reference.replace("/staging/", "/")
    told = nick.customhouse("verify", official, "--digest", "--ca-file", village.hub.ca)
    assert (told.code, told.out.strip()) == (0, f"{official.rpartition(':')[0]}@{digest}"), told.said
    nick.docker_does("pull", official, trust=True).told(digest)
    assert nick.docker_does("image", "inspect", "--format", "{{.Architecture}}", official).out.strip() == "amd64"
    nick.forget(official)


def certificates(person: Person) -> Path:
    """The hub's authority where skopeo and podman look for one."""
    folder = person.home / "certificates"
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_bytes(person.hub.ca.read_bytes())
    return folder


@pytest.mark.needs("skopeo")
def test_an_index_that_skopeo_copied(village: Town, tmp_path: Path) -> None:
    sven = village.publisher("skopeo")
    built = two_platforms("by skopeo")
    reference = f"{sven.staging('web')}:1"
    runs(
        sven, "skopeo", "--insecure-policy", "copy", "--all", "--dest-cert-dir", certificates(sven),
        f"oci:{write_oci_layout(built, tmp_path / 'layout')}:1", f"docker://{reference}",
    )  # fmt: skip
    signed_and_pulled(village, sven, reference, str(built.digest), "nick-s")


@pytest.mark.needs("go")
def test_an_index_with_attestations_that_crane_pushed(village: Town, tmp_path: Path) -> None:
    cora = village.publisher("crane")
    built = attested("by crane")
    reference = f"{cora.staging('web')}:1"
    layout = write_oci_layout(built, tmp_path / "layout")
    runs(cora, go_tool("crane"), "push", layout, reference, SSL_CERT_FILE=str(cora.hub.ca))
    signed_and_pulled(village, cora, reference, str(built.digest), "nick-c")


@pytest.mark.needs("go")
def test_an_image_that_oras_copied_and_an_artifact_that_is_none(village: Town, tmp_path: Path) -> None:
    olga = village.publisher("oras")
    built = minimal_server_image(style="oci", files={"page": "by oras"})
    reference = f"{olga.staging('web')}:1"
    layout = write_oci_layout(built, tmp_path / "layout")
    tls = ("--to-plain-http=false", "--to-ca-file", olga.hub.ca)  # it takes localhost for plain HTTP
    runs(olga, go_tool("oras"), "cp", "--from-oci-layout", f"{layout}:1", reference, *tls)
    signed_and_pulled(village, olga, reference, str(built.digest), "nick-o")

    note = tmp_path / "note.txt"
    note.write_text("no image")
    runs(
        olga, go_tool("oras"), "push", f"{olga.staging('web')}:note", "--plain-http=false", "--ca-file", olga.hub.ca,
        "--artifact-type", "application/vnd.example.note", "--disable-path-validation", f"{note}:text/plain",
    )  # fmt: skip
    olga.customhouse("image", "sign", f"{olga.staging('web')}:note").refused(
        "is of an artifact (application/vnd.example.note), not of an image", "artifacts are no submissions"
    )


@pytest.mark.needs("podman")
def test_an_image_that_podman_wrote_a_manifest_for(village: Town, tmp_path: Path) -> None:
    paul = village.publisher("podman")
    reference = f"{paul.staging('web')}:1"
    built = minimal_server_image(files={"page": "by podman"})
    archive = write_docker_save(built, tmp_path / "web.tar", reference=reference)
    (tmp_path / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    digest, policy = tmp_path / "digest", ("--signature-policy", tmp_path / "policy.json")
    with tempfile.TemporaryDirectory(prefix="ch-podman-", dir="/tmp") as short:  # it takes paths of 50 characters
        podman = [
            "podman", "--root", f"{short}/root", "--runroot", f"{short}/run", "--tmpdir", f"{short}/tmp",
            "--storage-driver", "vfs", "--events-backend", "file", "--cgroup-manager", "cgroupfs",
        ]  # fmt: skip
        runs(paul, *podman, "load", *policy, "-i", archive)
        trusting = (*policy, "--cert-dir", certificates(paul), "--digestfile", digest)
        runs(paul, *podman, "push", *trusting, "--format", "v2s2", reference)  # OCI would lose the HEALTHCHECK
        runs(paul, *podman, "rmi", "--all", "--force")
    signed_and_pulled(village, paul, reference, digest.read_text().strip(), "nick-p")
