"""One run, side by side: push and pull of a large blob, manifests, the trust server, push to official.

Medians of several runs that alternate between the servers, so that a machine whose speed drifts does not favour one.
Client and server share the machine's cores: quote the ratios. Needs docker-registry, notary-server, curl,
wrk, go.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import urllib3
from tests.hub_process import PASSWORD, HubProcess

from benchmarks import trust
from benchmarks.measure import MB, seconds, table, wrk
from benchmarks.servers import Bench, Target, run

ROWS = ["registry", "official", "trust"]
CUSTOMHOUSE = str(Path(sys.executable).with_name("customhouse"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--size", type=int, default=200, help="MB of the blob")
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement")
    parser.add_argument("--seconds", type=int, default=4, help="seconds of each request measurement")
    parser.add_argument("--tags", type=int, default=100_000, help="tags of the large repository")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="what to measure")
    options = parser.parse_args()
    missing = [name for name in ("docker-registry", "notary-server", "curl", "wrk", "go") if not shutil.which(name)]
    if missing:
        print(f"missing: {', '.join(missing)}: apt-get install {' '.join(missing)} (go: golang)", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="customhouse-bench-") as folder:
        bench = Bench(Path(folder))
        try:
            if "registry" in options.rows:
                blobs(bench, options.size, options.runs)
                manifests(bench, options.runs, options.seconds)
            if "official" in options.rows:
                official(bench, options.runs)
            if "trust" in options.rows:
                trust.measure(bench, options.runs, options.seconds, options.tags)
        finally:
            bench.close()
    return 0


def blobs(bench: Bench, size: int, runs: int) -> None:
    """Upload (hashed and committed) and download of one blob, in MB/s."""
    path = bench.folder / "blob"
    pushed: dict[str, list[float]] = {}
    pulled: dict[str, list[float]] = {}
    for number in range(runs + 1):
        path.write_bytes(os.urandom(size * MB))
        digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        for target in bench.targets():
            push = seconds(lambda t=target, d=digest: _push(t, path, d))  # type: ignore[misc]
            pull = seconds(lambda t=target, d=digest: _pull(t, d, size * MB))  # type: ignore[misc]
            if number:  # the first round warms up
                pushed.setdefault(target.name, []).append(size / push)
                pulled.setdefault(target.name, []).append(size / pull)
    table(f"push of {size} MB, hashed and durable", "MB/s", pushed)
    table(f"pull of {size} MB", "MB/s", pulled)


def manifests(bench: Bench, runs: int, length: int) -> None:
    """GET of a manifest by tag over 32 connections, in requests/s."""
    found: dict[str, list[float]] = {}
    for target in bench.targets():
        _push_manifest(target)
    for number in range(runs + 1):
        for target in bench.targets():
            load = wrk(f"{target.url}/v2/staging/acme/bench/manifests/1", target.headers, length)
            if number:
                found.setdefault(target.name, []).append(load.rate)
    table("GET manifest by tag, 32 connections", "requests/s", found)


def official(bench: Bench, runs: int) -> None:
    """From `image push --sign` of a small image until it is official, without an engine, in seconds."""
    times = [seconds(lambda n=number: _official_image(bench.hub, f"2.{n}")) for number in range(runs + 1)]  # type: ignore[misc]
    table("push --sign to official, small image, two commands", "s", {"customhouse TLS": times[1:]})


def _official_image(hub: HubProcess, version: str) -> None:
    from customhouse.testing.images import minimal_server_image, write_oci_layout

    folder = hub.data.parent / f"image-{version}"
    layout = write_oci_layout(minimal_server_image(), folder, tag=version)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(hub.data.parent), "CUSTOMHOUSE_ROOT_PASSPHRASE": "root passphrase",
        "CUSTOMHOUSE_REPOSITORY_PASSPHRASE": "repository passphrase",
    }  # fmt: skip
    reference = f"{hub.host}/staging/acme/timed:{version}"

    def type_(*words: str, stdin: str = "") -> None:
        done = subprocess.run([CUSTOMHOUSE, *words], env=environment, input=stdin, text=True, capture_output=True)
        assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"

    if version == "1":
        certificate = hub.data.parent / "root.pem"
        type_("image", "root-cert", "--out", str(certificate))
        hub.api("POST", "/api/v1/publishers/acme/roots", {"certificate": certificate.read_text()})
        type_("login", hub.url, "-u", "alice", "--password-stdin", "--ca-file", str(hub.ca), stdin=PASSWORD + "\n")
    type_("image", "push", "--sign", f"oci-layout:{layout}", reference)
    type_("submission", "wait", reference, "--timeout", "60", "--json")


def _push(target: Target, path: Path, digest: str) -> None:
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
    begun = pool.request("POST", f"{target.url}/v2/staging/acme/bench/blobs/uploads/", headers=target.headers)
    assert begun.status == 202, begun.data
    location = begun.headers["location"]
    url = location if location.startswith("http") else target.url + location
    headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
    shown = run([
        "curl", "-sk", "--http1.1", "-X", "PATCH", "-T", str(path), "-H", "Content-Type: application/octet-stream",
        *headers, "-D", "-", "-o", "/dev/null", url,
    ])  # fmt: skip
    assert re.search(r"^HTTP/1.1 202", shown, re.M), shown
    location = re.findall(r"^location: (\S+)", shown, re.M | re.I)[-1]
    url = location if location.startswith("http") else target.url + location
    done = pool.request("PUT", f"{url}{'&' if '?' in url else '?'}digest={digest}", headers=target.headers)
    assert done.status == 201, done.data


def _pull(target: Target, digest: str, size: int) -> None:
    headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
    url = f"{target.url}/v2/staging/acme/bench/blobs/{digest}"
    got = run(["curl", "-sk", "--http1.1", *headers, "-o", "/dev/null", "-w", "%{size_download}", url])
    assert int(got) == size, got


def _push_manifest(target: Target) -> None:
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
    config = b"{}"
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    begun = pool.request("POST", f"{target.url}/v2/staging/acme/bench/blobs/uploads/", headers=target.headers)
    location = begun.headers["location"]
    url = location if location.startswith("http") else target.url + location
    url += f"{'&' if '?' in url else '?'}digest={digest}"
    assert pool.request("PUT", url, body=config, headers=target.headers).status == 201
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": media_type, "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)},
    })  # fmt: skip
    answer = pool.request(
        "PUT", f"{target.url}/v2/staging/acme/bench/manifests/1", body=manifest,
        headers={**target.headers, "content-type": media_type},
    )
    assert answer.status == 201, answer.data


if __name__ == "__main__":
    sys.exit(main())
