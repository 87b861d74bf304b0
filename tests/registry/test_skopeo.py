"""A real client, skopeo, in and out: every digest as it was."""

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from customhouse.oci import manifest as m
from customhouse.oci.digest import Digest
from customhouse.registry.service import RegistryService
from tests.registry.conftest import Client, descriptor

pytestmark = pytest.mark.needs("skopeo")
WEB = "staging/alice/web"


def skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Layout:
    """An OCI image layout on disk with an index of two platforms."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        images = [self._image(architecture) for architecture in ("amd64", "arm64")]
        children = [
            {**image, "platform": {"os": "linux", "architecture": architecture}}
            for image, architecture in zip(images, ("amd64", "arm64"), strict=True)
        ]
        self.index = json.dumps({"schemaVersion": 2, "mediaType": m.OCI_INDEX, "manifests": children}).encode()
        name = {"org.opencontainers.image.ref.name": "1"}
        (folder / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "manifests": [self._blob(self.index, m.OCI_INDEX, annotations=name)]})
        )

    def _blob(self, content: bytes, media_type: str, **more: object) -> dict[str, object]:
        (self.folder / "blobs" / "sha256" / Digest.of(content).hex).write_bytes(content)
        return descriptor(content, media_type, **more)

    def _image(self, architecture: str) -> dict[str, object]:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            entry = tarfile.TarInfo(f"bin/{architecture}")
            content = os.urandom(400_000)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        config = json.dumps(
            {
                "os": "linux", "architecture": architecture, "config": {"Cmd": [f"/bin/{architecture}"]},
                "rootfs": {"type": "layers", "diff_ids": [Digest.of(file.getvalue())]},
            }
        ).encode()  # fmt: skip
        manifest = {
            "schemaVersion": 2, "mediaType": m.OCI_MANIFEST, "config": self._blob(config, m.OCI_CONFIG),
            "layers": [self._blob(gzip.compress(file.getvalue()), m.OCI_LAYER_GZIP)],
        }  # fmt: skip
        return self._blob(json.dumps(manifest).encode(), m.OCI_MANIFEST)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def test_an_index_goes_in_and_comes_out_with_every_byte(
    hub: Client, service: RegistryService, layout: Layout, tmp_path: Path
) -> None:
    there = f"docker://127.0.0.1:{hub.port}/{WEB}:1"
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "--dest-registry-token", "alice",
           f"oci:{layout.folder}:1", there)  # fmt: skip
    assert service.resolve(WEB, "1").raw == layout.index
    assert list(service.breaches(rehash=True)) == []
    back = tmp_path / "back"
    skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--src-registry-token", "alice",
           there, f"oci:{back}:1")  # fmt: skip
    before = {file.name: file.read_bytes() for file in (layout.folder / "blobs" / "sha256").iterdir()}
    after = {file.name: file.read_bytes() for file in (back / "blobs" / "sha256").iterdir()}
    assert after == before


def test_an_image_goes_in_as_docker_schema_2_and_is_inspected(
    hub: Client, service: RegistryService, layout: Layout
) -> None:
    there = f"docker://127.0.0.1:{hub.port}/{WEB}:docker"
    skopeo("copy", "--format", "v2s2", "--override-os=linux", "--override-arch=amd64", "--dest-tls-verify=false",
           "--dest-registry-token", "alice", f"oci:{layout.folder}:1", there)  # fmt: skip
    stored = service.resolve(WEB, "docker")
    assert stored.media_type == m.DOCKER_MANIFEST
    seen = json.loads(skopeo("inspect", "--tls-verify=false", "--registry-token", "alice", there))
    assert (seen["Digest"], seen["RepoTags"]) == (stored.digest, ["docker"])


def test_a_copy_between_repositories_mounts_its_layers(hub: Client, service: RegistryService, layout: Layout) -> None:
    one, two = (f"docker://127.0.0.1:{hub.port}/staging/alice/{name}:1" for name in ("one", "two"))
    arguments = ("copy", "--all", "--dest-tls-verify=false", "--dest-registry-token", "alice")
    skopeo(*arguments, f"oci:{layout.folder}:1", one)
    skopeo(*arguments, "--src-tls-verify=false", "--src-registry-token", "alice", one, two)
    assert service.resolve("staging/alice/two", "1").raw == layout.index
    assert list(service.breaches(rehash=True)) == []


def test_what_skopeo_deletes_is_gone(hub: Client, service: RegistryService, layout: Layout) -> None:
    there = f"docker://127.0.0.1:{hub.port}/{WEB}:1"
    skopeo("copy", "--all", "--dest-tls-verify=false", "--dest-registry-token", "alice",
           f"oci:{layout.folder}:1", there)  # fmt: skip
    skopeo("delete", "--tls-verify=false", "--registry-token", "alice", there)
    assert service.tags(WEB) == []
