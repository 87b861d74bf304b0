"""One run, side by side: the registry (registry.py, engine.py, scale.py), the trust server, push to official.

Medians of several runs that alternate between the servers, so that a machine whose speed drifts does not favour one.
Client and server share the machine's cores: quote the ratios. Needs docker-registry, notary-server, nginx,
curl, wrk, go; the row `layers` dockerd too.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hub_process import PASSWORD, HubProcess

from benchmarks import collection, engine, examination, registry, scale, trust
from benchmarks.measure import seconds, table
from benchmarks.servers import Bench

REGISTRY = {
    **registry.ROWS, "layers": engine.layers, "uploads": scale.uploads, "million": scale.million,
    "collection": collection.collection, "examination": examination.examination,
}  # fmt: skip
ROWS = [*REGISTRY, "official", "trust"]
PROGRAMS = ("docker-registry", "notary-server", "nginx", "curl", "wrk", "go")
CUSTOMHOUSE = str(Path(sys.executable).with_name("customhouse"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--size", type=int, default=200, help="MB of the blob that is pushed")
    parser.add_argument("--pull-size", type=int, default=100, help="MB of the blob that is asked for")
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement")
    parser.add_argument("--seconds", type=int, default=4, help="seconds of each request measurement")
    parser.add_argument("--tags", type=int, default=100_000, help="tags of the large repository")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="what to measure")
    parser.add_argument("--layers", type=int, default=40, help="layers of the image that docker pulls")
    parser.add_argument("--layer-size", type=int, default=32, help="kB of each of them")
    parser.add_argument("--storage-driver", default="overlay2", help="of docker's engine, which also knows vfs")
    parser.add_argument("--unreachable", type=int, default=100_000, help="blobs that are collected")
    parser.add_argument("--beside", type=int, default=20, help="seconds of the collection beside pushes")
    parser.add_argument("--uploads", type=int, default=8, help="uploads at the same time")
    parser.add_argument("--upload-size", type=int, default=1000, help="MB of each of them")
    parser.add_argument("--manifests", type=int, default=1_000_000, help="manifests and tags of the full hub")
    options = parser.parse_args()
    needed = [*PROGRAMS, *(["docker", "dockerd"] if "layers" in options.rows else [])]
    missing = [name for name in needed if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if missing:
        print(f"missing: {', '.join(missing)}: apt-get install {' '.join(missing)} (go: golang)", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="customhouse-bench-") as folder:
        bench = Bench(Path(folder))
        try:
            for row, measure in REGISTRY.items():
                if row in options.rows:
                    measure(bench, options)
            if "official" in options.rows:
                official(bench, options.runs)
            if "trust" in options.rows:
                trust.measure(bench, options.runs, options.seconds, options.tags)
        finally:
            bench.close()
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
