"""A vulnerability database of Trivy's form from records in the OSV form, so that both judge by the same advisories.

1. The layout is trivy-db's schema 2, a bbolt file: `debian 12` / package / CVE for distributions, and
   `npm::Source` / package / id with ranges for libraries. A small program in Go writes it, built once into the cache.
2. Ranges are turned as trivy-db turns them: `>=introduced, <fixed`, the listed versions as `=version`; a record goes by
   its CVEs where it has any.
"""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

BUILD_SECONDS = 600
BUCKETS = {
    "PyPI": "pip", "npm": "npm", "Go": "go", "Maven": "maven", "RubyGems": "rubygems", "Packagist": "composer",
    "NuGet": "nuget", "crates.io": "cargo", "Hex": "erlang", "Pub": "pub", "Bitnami": "bitnami",
}  # fmt: skip
SOURCE = r"""
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"

	"go.etcd.io/bbolt"
)

type line struct {
	Buckets []string
	Key     string
	Value   json.RawMessage
}

func put(tx *bbolt.Tx, each line) error {
	bucket, err := tx.CreateBucketIfNotExists([]byte(each.Buckets[0]))
	for _, name := range each.Buckets[1:] {
		if err == nil {
			bucket, err = bucket.CreateBucketIfNotExists([]byte(name))
		}
	}
	if err != nil {
		return err
	}
	return bucket.Put([]byte(each.Key), each.Value)
}

func main() {
	db, err := bbolt.Open(os.Args[1], 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	err = db.Update(func(tx *bbolt.Tx) error {
		for lines.Scan() {
			var each line
			if err := json.Unmarshal(lines.Bytes(), &each); err != nil {
				return err
			}
			if err := put(tx, each); err != nil {
				return err
			}
		}
		return lines.Err()
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
}
"""
MODULE = """module trivydb

go 1.23

require go.etcd.io/bbolt v1.4.3

require golang.org/x/sys v0.29.0
"""


def write(records: Iterable[dict[str, Any]], cache: Path) -> None:
    """Put the database where `trivy --cache-dir CACHE` looks for it."""
    folder = cache / "db"
    folder.mkdir(parents=True)
    lines = "".join(json.dumps({"buckets": b, "key": k, "value": v}) + "\n" for b, k, v in rows(records))
    command = [str(_writer()), str(folder / "trivy.db")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    times = {name: "2099-01-01T00:00:00Z" for name in ("NextUpdate", "UpdatedAt", "DownloadedAt")}
    (folder / "metadata.json").write_text(json.dumps({"Version": 2, **times}))


def rows(records: Iterable[dict[str, Any]]) -> Iterator[tuple[list[str], str, dict[str, Any]]]:
    """(buckets, key, value) of every entry."""
    ranges: dict[tuple[str, str, str], dict[str, Any]] = {}
    fixes: dict[tuple[str, str, str], str] = {}
    for record in records:
        if record.get("withdrawn"):
            continue
        for affected in record.get("affected", ()):
            package = affected.get("package")
            if not package:
                continue
            for name in names(record):
                kind, _, release = package["ecosystem"].partition(":")
                if kind in BUCKETS:
                    key = f"{BUCKETS[kind]}::OSV", _spelt(kind, package["name"]), name
                    held = ranges.setdefault(key, {"VulnerableVersions": [], "PatchedVersions": []})
                    _add_ranges(affected, held)
                elif bucket := _bucket(kind, release):
                    fixes[bucket, package["name"], name] = _fix(affected)
    sources = {key[0] for key in (*ranges, *fixes)}
    for bucket in sorted(sources):
        yield ["data-source"], bucket, {"ID": "osv", "Name": "OSV", "URL": "https://osv.dev"}
    for (bucket, package, name), held in ranges.items():
        yield [bucket, package], name, held
    for (bucket, package, name), fixed in fixes.items():
        if fixed != "0":
            yield [bucket, package], name, {"FixedVersion": fixed} if fixed else {"Status": 2}
    for name in sorted({key[2] for key in (*ranges, *fixes)}):
        yield ["vulnerability"], name, {"Title": name, "Severity": "HIGH"}


def names(record: dict[str, Any]) -> list[str]:
    """By what Trivy calls this record's flaws."""
    named = [n for key in ("aliases", "upstream") for n in record.get(key) or () if n.startswith("CVE-")]
    if not named and not record["id"].startswith("GHSA-"):
        named = [n for n in record.get("related") or () if n.startswith("CVE-")]
    return named or [record["id"]]


def _bucket(kind: str, release: str) -> str:
    if kind == "Debian" and release:
        return f"debian {release}"
    if kind == "Ubuntu" and not release.startswith("Pro"):
        return f"ubuntu {release.removesuffix(':LTS')}"
    if kind == "Alpine" and release:
        return f"alpine {release.removeprefix('v')}"
    return {"Rocky Linux": f"rocky {release}", "AlmaLinux": f"alma {release}"}.get(kind, "")


def _fix(affected: dict[str, Any]) -> str:
    found = [e["fixed"] for r in affected.get("ranges", ()) if r["type"] != "GIT" for e in r["events"] if "fixed" in e]
    return found[-1] if found else ""


def _add_ranges(affected: dict[str, Any], held: dict[str, Any]) -> None:
    for each in affected.get("ranges", ()):
        if each["type"] == "GIT":
            continue
        span = ""
        for event in each["events"]:
            ((kind, version),) = event.items()
            if kind == "introduced":
                span = f">={version}"
            elif kind in ("fixed", "last_affected") and span:
                held["VulnerableVersions"].append(f"{span}, {'<' if kind == 'fixed' else '<='}{version}")
                span = ""
                if kind == "fixed":
                    held["PatchedVersions"].append(version)
        if span:
            held["VulnerableVersions"].append(span)
    held["VulnerableVersions"] += [f"={version}" for version in affected.get("versions") or ()]


def _spelt(kind: str, name: str) -> str:
    if kind == "Go":
        return name
    return name.lower().replace("_", "-") if kind == "PyPI" else name.lower()


def _writer() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "customhouse-tests" / "trivydb-1"
    base.mkdir(parents=True, exist_ok=True)
    program = base / "trivydb"
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            (base / "main.go").write_text(SOURCE)
            (base / "go.mod").write_text(MODULE)
            environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
            done = subprocess.run(
                ["go", "build", "-o", str(program), "."], cwd=base, env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=BUILD_SECONDS,
            )  # fmt: skip
            assert done.returncode == 0, f"the writer was not built: {done.stderr[-2000:]}"
    return program
