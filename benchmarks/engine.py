"""Pull of an image of many small layers by docker's own client and engine, beside Debian's docker-registry.

1. The image is removed between two pulls, so that every layer comes over the wire each time.
2. Unpacking is the engine's work and the same for all: what differs is the server's part. So the same requests are also
   sent alone, by one client over three connections, as many as the engine opens.
3. Our hub is asked as it is used: the client is signed in, and each pull begins with a token. docker-registry asks
   nobody for one. The engine reaches a hub by TLS only, because the address of its tokens has it.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import urllib3
from tests.hub_process import PASSWORD
from tests.peers.dockerd import DockerCLI, Dockerd

from benchmarks.measure import seconds, table
from benchmarks.registry import REPOSITORY, put_blob, put_manifest
from benchmarks.servers import Bench, Target

_AT_ONCE = 3
_OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Image:
    """A manifest and the blobs that it names, by digest."""

    manifest: bytes
    blobs: dict[str, bytes]


def layers(bench: Bench, options: Namespace) -> None:
    """Seconds of a pull, by the engine and without it."""
    built = image(options.layers, options.layer_size)
    targets = bench.targets()
    for target in targets:
        for content in built.blobs.values():
            put_blob(target, content)
        put_manifest(target, built.manifest, tag="layers")
    # A short path: the engine's sockets must fit into 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ch-bench-", dir="/tmp"))
    engine = Dockerd(folder, storage=options.storage_driver)
    try:
        docker = engine.cli(folder / "home")
        reached = [target for target in targets if target.name != "customhouse"]
        pulled: dict[str, list[float]] = {target.name: [] for target in reached}
        sent: dict[str, list[float]] = {target.name: [] for target in targets}
        for target in reached:
            if target.headers:
                docker("login", _host(target), "-u", "alice", "--password-stdin", stdin=PASSWORD)
        for number in range(options.runs + 1):
            for target in targets:
                alone = seconds(lambda t=target: _fetch(t, built))  # type: ignore[misc]
                took = _pull(docker, target) if target in reached else 0.0
                if number:  # the first round warms up
                    sent[target.name].append(alone * 1000)
                    if target in reached:
                        pulled[target.name].append(took)
    finally:
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)
    what = f"{options.layers} layers of {options.layer_size} kB"
    table(f"pull of an image of {what} by docker", "s", pulled)
    table(f"the same requests without an engine, {_AT_ONCE} connections", "ms", sent)


def image(count: int, size: int) -> Image:
    """So many layers with one file of so many kB each, which no compression makes smaller."""
    blobs: dict[str, bytes] = {}
    ids, described = [], []
    for number in range(count):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo(f"file-{number}")
            entry.size = size * 1000
            archive.addfile(entry, io.BytesIO(os.urandom(entry.size)))
        ids.append("sha256:" + hashlib.sha256(packed.getvalue()).hexdigest())
        layer = gzip.compress(packed.getvalue(), 1, mtime=0)
        described.append(_described(layer, f"{_OCI}.layer.v1.tar+gzip", blobs))
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids},
    }).encode()  # fmt: skip
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _described(config, f"{_OCI}.config.v1+json", blobs), "layers": described,
    }).encode()  # fmt: skip
    return Image(manifest, blobs)


def _described(content: bytes, media_type: str, blobs: dict[str, bytes]) -> dict[str, object]:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _pull(docker: DockerCLI, target: Target) -> float:
    reference = f"{_host(target)}/{REPOSITORY}:layers"
    took = seconds(lambda: docker("pull", "-q", reference))
    docker("rmi", reference)
    return took


def _fetch(target: Target, built: Image) -> None:
    """The manifest, and then every blob, over connections that are new."""
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE", maxsize=_AT_ONCE)

    def get(path: str) -> None:
        answer = pool.request("GET", f"{target.url}/v2/{REPOSITORY}/{path}", headers={
            **target.headers, "accept": f"{_OCI}.manifest.v1+json",
        })  # fmt: skip
        assert answer.status == 200, answer.data

    get("manifests/layers")
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(get, [f"blobs/{digest}" for digest in built.blobs]))


def _host(target: Target) -> str:
    return target.url.partition("://")[2]
