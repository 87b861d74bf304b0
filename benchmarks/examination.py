"""The row `examination`: `customhouse check` of a large image (image.py) beside Trivy, Syft and bare hashing.

1. Cold: every layer is read. The peers get what `docker save` writes, whose layers are not compressed: they have less
   to do. Trivy looks for vulnerabilities, secrets, misconfiguration and licences, with databases of a few records.
2. Warm: the same image with one small new layer on top, when the layers below it are known.
3. Memory is the sum of the proportional set sizes of all processes, at its highest.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import zstandard
from isal import igzip
from tests.peers.scanners import scanner

from benchmarks.image import bench_image, top_layer
from benchmarks.measure import MB, seconds, table
from benchmarks.servers import Bench

CUSTOMHOUSE = str(Path(sys.executable).with_name("customhouse"))
MANY, LARGE = 450_000, 190 * 1024 * 1024
OFFLINE = ("--skip-db-update", "--skip-java-db-update", "--skip-check-update", "--offline-scan", "-q", "-f", "json")


def examination(bench: Bench, options: argparse.Namespace) -> None:
    """Seconds and memory of a whole static examination."""
    layout, archive = bench_image()
    work = bench.folder / "examination"
    work.mkdir()
    runs = max(1, min(options.runs, 3))
    ours: dict[str, Callable[[int], object]] = {
        "customhouse": lambda n: _check(layout, work / "cache", fresh=True),
        "trivy": lambda n: _trivy(archive, work),
        "syft": lambda n: _syft(archive, work),
        "decompress + sha256": lambda n: _plain(layout),
    }
    found: dict[str, list[float]] = {name: [] for name in ours}
    for number in range(runs):
        for name, work_of in ours.items():
            found[name].append(seconds(lambda run=work_of, n=number: run(n)))  # type: ignore[misc]
    table("examination of a 1.9 GB image, cold", "s", found)
    tops = [top_layer(layout, work / f"top-{number}") for number in range(runs)]
    warm = {"customhouse, one new layer": [seconds(lambda t=top: _check(t, work / "cache")) for top in tops]}  # type: ignore[misc]
    warm["customhouse, nothing new"] = [seconds(lambda: _check(layout, work / "cache")) for _ in range(runs)]
    warm["customhouse --help"] = [seconds(lambda: _run([CUSTOMHOUSE, "--help"], work)) for _ in range(runs)]
    cold = sorted(found["customhouse"])[runs // 2]
    parts = [(name, f"{100 * sorted(values)[runs // 2] / cold:.1f} % of cold") for name, values in warm.items()]
    table("the same image again", "s", warm, parts)
    held = {"1.9 GB in 53,000 files": [_memory(layout, work)]}
    held[f"{MANY} empty files"] = [_memory(_layout(work / "many", _many()), work)]
    held["programs of 190 MB"] = [_memory(_layout(work / "large", _large(), twice=True), work)]
    table("memory of customhouse check", "MB", held)


def _check(layout: Path, cache: Path, *, fresh: bool = False) -> None:
    if fresh:
        shutil.rmtree(cache, ignore_errors=True)
    _run([CUSTOMHOUSE, "check", f"oci-layout:{layout}", "--engine", "none", "--json"], cache, (0, 1, 2))


def _run(command: list[str], home: Path, codes: tuple[int, ...] = (0,)) -> None:
    home.mkdir(exist_ok=True)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode in codes, f"{command}: {done.stdout[-500:]} {done.stderr[-500:]}"


def _trivy(archive: Path, work: Path) -> None:
    home = work / "trivy"
    if not home.exists():
        importlib.import_module("tests.peers.trivydb").write(_records(), home / "cache")
        _java_database(home / "cache/java-db")
    shutil.rmtree(home / "cache" / "fanal", ignore_errors=True)
    looked = ["--scanners", "vuln,secret,misconfig,license", "--image-config-scanners", "misconfig,secret"]
    command = [str(scanner("trivy")), "image", "--input", str(archive), *looked, "--cache-dir", str(home / "cache")]
    _run([*command, *OFFLINE], home)


def _java_database(folder: Path) -> None:
    """Trivy looks up digests of jars here, and does not begin without it."""
    folder.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(folder / "trivy-java.db")) as database:
        database.execute("CREATE TABLE artifacts(id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT)")
        database.execute("CREATE TABLE indices(artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT)")
        database.commit()
    date = {name: "2030-01-01T00:00:00Z" for name in ("NextUpdate", "UpdatedAt", "DownloadedAt")}
    (folder / "metadata.json").write_text(json.dumps({"Version": 1, **date}))


def _syft(archive: Path, work: Path) -> None:
    _run([str(scanner("syft")), "scan", f"docker-archive:{archive}", "-q", "-o", "syft-json"], work / "syft")


def _records() -> Iterator[dict[str, object]]:
    for number, (ecosystem, name) in enumerate((("Debian:12", "openssl"), ("npm", "lodash"), ("PyPI", "django"))):
        affected = {
            "package": {"ecosystem": ecosystem, "name": name},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0.0"}]}],
        }
        yield {"id": f"CVE-2026-{number + 10000}", "summary": "for measuring", "affected": [affected]}


def _plain(layout: Path) -> None:
    """Both digests of every layer and nothing else, one after the other."""
    index = json.loads((layout / "index.json").read_text())
    blobs = layout / "blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"].partition(":")[2]).read_text())
    for layer in manifest["layers"]:
        blob = blobs / layer["digest"].partition(":")[2]
        with blob.open("rb") as packed:
            assert hashlib.file_digest(packed, "sha256").hexdigest() == blob.name
        hasher, buffer = hashlib.sha256(), bytearray(1 << 20)
        with blob.open("rb") as packed:
            gzip = layer["mediaType"].endswith("gzip")
            stream = igzip.GzipFile(fileobj=packed) if gzip else zstandard.ZstdDecompressor().stream_reader(packed)
            while count := stream.readinto(buffer):
                hasher.update(memoryview(buffer)[:count])


def _memory(layout: Path, work: Path) -> float:
    home = work / "memory"
    home.mkdir(exist_ok=True)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    command = [CUSTOMHOUSE, "check", f"oci-layout:{layout}", "--no-cache", "--engine", "none", "--json"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    most = 0
    drained = threading.Thread(target=process.stderr.read)  # type: ignore[union-attr]
    drained.start()
    while process.poll() is None:
        most = max(most, sum(_proportional(pid) for pid in _family(process.pid)))
        time.sleep(0.05)
    drained.join()
    assert process.returncode in (0, 1, 2), process.returncode
    return most * 1024 / MB


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        tasks = [task for task in os.listdir(f"/proc/{pid}/task") if task != str(pid)]
        for task in tasks:
            children += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _proportional(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def _many() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for number in range(MANY):
        yield tarfile.TarInfo(f"usr/share/many/{number // 1000:03}/a-file-with-a-longer-name-{number:06}.dat"), b""


def _large() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    body = b"\x7fELF\x02\x01\x01" + os.urandom(1 << 20) * (LARGE >> 20)
    for name in ("usr/bin/one", "usr/bin/two"):
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(body), 0o755
        yield member, body


def _layout(folder: Path, members: Iterator[tuple[tarfile.TarInfo, bytes]], twice: bool = False) -> Path:
    """An image of these members, in one layer or in two that are read at once."""
    from customhouse.testing.images import Layer, image, write_oci_layout

    raw = BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for member, body in members:
            archive.addfile(member, BytesIO(body))
    tar = raw.getvalue()
    layers = [Layer(tar, "zstd"), *([Layer(tar + bytes(10240), "zstd")] if twice else [])]
    return write_oci_layout(image(layers, style="oci"), folder, tag="1")
