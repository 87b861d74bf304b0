"""The registry beside Debian's docker-registry and nginx: blobs out and in, manifests, an image of many layers.

1. Everything is measured with and without TLS. nginx only sends files, and asks nobody for a token: it does less.
2. A blob is asked for several times over one connection, as an engine does, so that the start of curl counts little.
3. The seconds of CPU are those of the server's processes, for each GB that they sent.
"""

import hashlib
import json
import os
import re
import subprocess
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import urllib3

from benchmarks.measure import MB, seconds, table, wrk
from benchmarks.servers import Bench, Target, cpu_seconds, run

REPOSITORY = "staging/acme/bench"
IN_A_ROW = 5
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
POOL = urllib3.PoolManager(cert_reqs="CERT_NONE", maxsize=8)
_CHUNK = 1024 * 1024


def pulls(bench: Bench, options: Namespace) -> None:
    """GET of one blob, in MB/s."""
    size = options.pull_size
    path = bench.folder / "files" / "blob"
    path.parent.mkdir()
    path.write_bytes(os.urandom(size * MB))
    digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    registries = bench.targets()
    for target in registries:
        push_blob(target, path, digest)
    targets = [(target, f"/v2/{REPOSITORY}/blobs/{digest}") for target in registries]
    targets += [(target, "/blob") for target in bench.nginx(path.parent)]
    for clients in (1, 4):
        rates: dict[str, list[float]] = {target.name: [] for target, _ in targets}
        costs: dict[str, list[float]] = {target.name: [] for target, _ in targets}
        for number in range(options.runs + 1):
            for target, where in sorted(targets, key=lambda it: it[0].name.endswith("TLS")):
                before = cpu_seconds(target.pid)
                took = seconds(lambda t=target, w=where, c=clients: _pull(t, w, size * MB, c))  # type: ignore[misc]
                sent = size * IN_A_ROW * clients
                if number:  # the first round warms up
                    rates[target.name].append(sent / took)
                    costs[target.name].append((cpu_seconds(target.pid) - before) * 1000 / sent)
        notes = [(name, f"{sorted(used)[len(used) // 2]:.2f} s of CPU per GB") for name, used in costs.items()]
        table(f"GET of {size} MB, {clients} client{'s' * (clients > 1)}", "MB/s", rates, notes)


def pushes(bench: Bench, options: Namespace) -> None:
    """Upload of one blob, hashed and durable, beside the rate of SHA-256 alone, in MB/s."""
    path = bench.folder / "pushed"
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    for number in range(options.runs + 1):
        path.write_bytes(os.urandom(options.size * MB))
        digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        os.sync()
        alone = seconds(lambda: _hash(path))
        found = {"sha256 alone": options.size / alone}
        for target in bench.targets():
            before = cpu_seconds(target.pid)
            found[target.name] = options.size / seconds(lambda t=target, d=digest: push_blob(t, path, d))  # type: ignore[misc]
            if number:
                costs.setdefault(target.name, []).append((cpu_seconds(target.pid) - before) * 1000 / options.size)
            os.sync()
        if number:
            for name, rate in found.items():
                rates.setdefault(name, []).append(rate)
    notes = [(name, f"{sorted(used)[len(used) // 2]:.2f} s of CPU per GB") for name, used in costs.items()]
    table(f"upload of {options.size} MB, hashed and durable", "MB/s", rates, notes)


def manifests(bench: Bench, options: Namespace) -> None:
    """GET of a manifest by tag over 32 connections, in requests/s."""
    found: dict[str, list[float]] = {}
    for target in bench.targets():
        push_manifest(target)
    for number in range(options.runs + 1):
        for target in bench.targets():
            load = wrk(f"{target.url}/v2/{REPOSITORY}/manifests/1", target.headers, options.seconds)
            if number:
                found.setdefault(target.name, []).append(load.rate)
    table("GET manifest by tag, 32 connections", "requests/s", found)


ROWS: dict[str, Callable[[Bench, Namespace], None]] = {"pulls": pulls, "pushes": pushes, "manifests": manifests}


def push_blob(target: Target, path: Path, digest: str, repository: str = REPOSITORY) -> None:
    """As docker's engine pushes: POST, one PATCH of all, PUT."""
    begun = POOL.request("POST", f"{target.url}/v2/{repository}/blobs/uploads/", headers=target.headers)
    assert begun.status == 202, begun.data
    shown = run([
        *target.curl, "-X", "PATCH", "-T", str(path), "-H", "Content-Type: application/octet-stream", "-D", "-",
        "-o", "/dev/null", _whole(target, begun.headers["location"]),
    ])  # fmt: skip
    assert re.search(r"^HTTP/1.1 202", shown, re.M), shown
    url = _whole(target, re.findall(r"^location: (\S+)", shown, re.M | re.I)[-1])
    done = POOL.request("PUT", f"{url}{'&' if '?' in url else '?'}digest={digest}", headers=target.headers)
    assert done.status == 201, done.data


def push_manifest(target: Target, tag: str = "1", repository: str = REPOSITORY) -> None:
    """A manifest without layers, and its configuration."""
    config = b"{}"
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "annotations": {"tag": tag}, "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": put_blob(target, config, repository),
            "size": len(config),
        },
    })  # fmt: skip
    put_manifest(target, manifest.encode(), tag, repository)


def put_blob(target: Target, content: bytes, repository: str = REPOSITORY) -> str:
    """A small one, in two requests; returns its digest."""
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    begun = POOL.request("POST", f"{target.url}/v2/{repository}/blobs/uploads/", headers=target.headers)
    url = _whole(target, begun.headers["location"])
    url += f"{'&' if '?' in url else '?'}digest={digest}"
    answer = POOL.request("PUT", url, body=content, headers=target.headers)
    assert answer.status == 201, answer.data
    return digest


def put_manifest(target: Target, manifest: bytes, tag: str = "1", repository: str = REPOSITORY) -> None:
    """Whose blobs are there."""
    answer = POOL.request(
        "PUT", f"{target.url}/v2/{repository}/manifests/{tag}", body=manifest,
        headers={**target.headers, "content-type": MANIFEST},
    )
    assert answer.status == 201, answer.data


def _pull(target: Target, where: str, size: int, clients: int) -> None:
    each = ["-o", "/dev/null", f"{target.url}{where}"] * IN_A_ROW
    command = [*target.curl, "-w", "%{http_code} %{size_download}\n", *each]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(clients)]
    for process in running:
        told, _ = process.communicate(timeout=120)
        assert told.split("\n")[:-1] == [f"200 {size}"] * IN_A_ROW, told


def _hash(path: Path) -> None:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            hasher.update(piece)


def _whole(target: Target, location: str) -> str:
    return location if location.startswith("http") else target.url + location
