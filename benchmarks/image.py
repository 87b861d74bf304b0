"""The image of the row `examination`: Debian with Python, Node and Java, about 1.9 GB in 48,000 files, built once.

Its layers come from Debian's packages, PyPI and npm, stored as gzip and zstd in turn; it is an OCI layout and, for the
peers, what `docker save` writes. Needs root, debootstrap, npm, skopeo, zstd and the network the first time.
"""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.servers import run

MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm"
DEBIAN = (
    "ca-certificates curl git gcc g++ python3 python3-venv nodejs openjdk-17-jdk-headless maven libspring-web-java "
    "liblucene4.10-java libtomcat9-java ant llvm-14"
)
PYPI = (
    "numpy==2.2.6 scipy==1.15.3 pandas==2.2.3 scikit-learn==1.6.1 django==5.1.9 flask==3.1.1 sqlalchemy==2.0.41 "
    "boto3==1.38.23 requests==2.32.3 pillow==11.2.1 cryptography==45.0.3 fastapi==0.115.12"
)
NPM = (
    "express@4.19.2 webpack@5.91.0 typescript@5.4.5 eslint@8.57.0 react@18.3.1 lodash@4.17.20 axios@1.6.8 "
    "aws-sdk@2.1612.0 moment@2.30.1"
)
CONFIG = {
    "architecture": "amd64", "os": "linux", "created": "2026-11-01T00:00:00Z",
    "config": {
        "User": "app", "Cmd": ["node", "/opt/app/server.js"], "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
        "WorkingDir": "/opt/app", "Healthcheck": {"Test": ["CMD", "curl", "-f", "http://localhost:8080/"]},
    },
}  # fmt: skip


def cache_folder() -> Path:
    """Where the image is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "customhouse-bench"


def bench_image() -> tuple[Path, Path]:
    """(OCI layout, docker-archive), made if they are not there: ten minutes on two cores."""
    base = cache_folder()
    layout, archive = base / "image", base / "image.tar"
    if not (layout / "index.json").exists():
        _build(base, layout)
    if not archive.exists():
        docker_archive(layout, archive)
    return layout, archive


def docker_archive(layout: Path, archive: Path) -> None:
    """What `docker save` would write: skopeo does not convert zstd."""
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(_blob(layout, index["manifests"][0]["digest"]).read_text())
    tree = archive.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    shutil.copy(_blob(layout, manifest["config"]["digest"]), tree / "config.json")
    names = []
    for number, layer in enumerate(manifest["layers"]):
        unpack = "gzip" if layer["mediaType"].endswith("gzip") else "zstd"
        with (tree / f"{number}.tar").open("wb") as out, _blob(layout, layer["digest"]).open("rb") as packed:
            subprocess.run([unpack, "-dc"], stdin=packed, stdout=out, check=True)
        names.append(f"{number}.tar")
    listed = [{"Config": "config.json", "RepoTags": ["bench:1"], "Layers": names}]
    (tree / "manifest.json").write_text(json.dumps(listed))
    partial = archive.with_suffix(".partial")
    run(["tar", "-C", str(tree), "-cf", str(partial), "manifest.json", "config.json", *names])
    partial.rename(archive)
    shutil.rmtree(tree)


def top_layer(layout: Path, target: Path) -> Path:
    """The image with one small new layer on top, its other blobs shared: what the next build pushes."""
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(_blob(layout, index["manifests"][0]["digest"]).read_text())
    config = json.loads(_blob(layout, manifest["config"]["digest"]).read_text())
    shutil.copytree(layout, target, copy_function=os.link)
    tree = target.parent / f"{target.name}-tree"
    (tree / "opt/app").mkdir(parents=True)
    (tree / "opt/app/server.js").write_text(f"console.log('release {target.name}')\n")
    layers, diff_ids = [_stored(target, tree, ["opt"], "gzip")], []
    manifest["layers"] += [layer for layer, _ in layers]
    diff_ids += [diff_id for _, diff_id in layers]
    config["rootfs"]["diff_ids"] += diff_ids
    config["history"].append({"created": CONFIG["created"], "created_by": "COPY server.js /opt/app/ # buildkit"})
    (target / "index.json").unlink()
    _write(target, manifest["layers"], config)
    shutil.rmtree(tree)
    return target


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _build(base: Path, layout: Path) -> None:
    work = base / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(layout, ignore_errors=True)
    (layout / "blobs/sha256").mkdir(parents=True)
    work.mkdir(parents=True)
    root = work / "root"
    run(["debootstrap", "--variant=minbase", SUITE, str(root), MIRROR])
    layers = [_stored(layout, root, ["."], "gzip")]
    before = _state(root)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    command = f"apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {DEBIAN}"
    inside = f"{command} && apt-get clean && useradd -r app"
    mounted = 'mount -t proc proc "$0/proc" && exec chroot "$0" sh -c "$1"'  # Java's scripts ask for it
    run(["unshare", "--mount", "sh", "-c", mounted, str(root), inside])
    after = _state(root)
    changed = sorted(path for path, state in after.items() if before.get(path) != state and path)
    layers.append(_stored(layout, root, changed, "gzip"))
    packages = work / "pypi"
    folder = packages / "usr/local/lib/python3.11/dist-packages"
    wheels = ["--only-binary", ":all:", "--python-version", "3.11", "--target", str(folder)]
    run([sys.executable, "-m", "pip", "install", "-q", *wheels, *PYPI.split()])
    layers.append(_stored(layout, packages, ["usr"], "zstd"))
    modules = work / "npm"
    (modules / "opt/app").mkdir(parents=True)
    run(["npm", "install", "--ignore-scripts", "--prefix", str(modules / "opt/app"), *NPM.split()])
    layers.append(_stored(layout, modules, ["opt"], "zstd"))
    created_by = [
        "ADD rootfs.tar / # debootstrap", f"RUN apt-get install -y {DEBIAN} # buildkit",
        f"RUN pip install {PYPI} # buildkit", f"RUN npm install {NPM} # buildkit",
    ]  # fmt: skip
    config = {
        **CONFIG,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        "history": [{"created": CONFIG["created"], "created_by": line} for line in created_by],
    }
    _write(layout, [layer for layer, _ in layers], config)
    shutil.rmtree(work)


def _state(root: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if name in folders and not os.path.islink(path):
                continue
            status = os.lstat(path)
            found[os.path.relpath(path, root)] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def _stored(layout: Path, root: Path, paths: list[str], compression: str) -> tuple[dict[str, Any], str]:
    """A layer of these paths: (descriptor, diff_id)."""
    plain = layout / "layer.tar"
    names = "\0".join(paths).encode()
    tar = ["tar", "-C", str(root), "--numeric-owner", "--sort=name", "--null", "--no-unquote"]
    leave_out = ["--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*"]
    subprocess.run([*tar, *leave_out, "-cf", str(plain), "-T", "-"], input=names, check=True)
    diff_id = "sha256:" + _sha256(plain)
    packed = layout / "layer.packed"
    if compression == "gzip":
        with plain.open("rb") as source, gzip.GzipFile(packed, "wb", 6, mtime=0) as out:
            shutil.copyfileobj(source, out, 1 << 20)
    else:
        run(["zstd", "-q", "-T2", "-6", "-o", str(packed), str(plain)])
    plain.unlink()
    digest = _sha256(packed)
    size = packed.stat().st_size
    packed.rename(layout / "blobs/sha256" / digest)
    kind = f"application/vnd.oci.image.layer.v1.tar+{compression}"
    return {"mediaType": kind, "size": size, "digest": f"sha256:{digest}"}, diff_id


def _write(layout: Path, layers: list[dict[str, Any]], config: dict[str, Any]) -> None:
    def put(document: Any, kind: str) -> dict[str, Any]:
        raw = json.dumps(document, separators=(",", ":")).encode()
        digest = hashlib.sha256(raw).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(raw)
        return {"mediaType": kind, "size": len(raw), "digest": f"sha256:{digest}"}

    kind = "application/vnd.oci.image.manifest.v1+json"
    of_config = put(config, "application/vnd.oci.image.config.v1+json")
    manifest = put({"schemaVersion": 2, "mediaType": kind, "config": of_config, "layers": layers}, kind)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [manifest]}
    (layout / "index.json").write_text(json.dumps(index))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
