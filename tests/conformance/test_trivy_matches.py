"""Our matches beside those of Trivy 0.76, from the same records over the same packages: `pytest -s` shows the table.

1. For each ecosystem packages are made from the records themselves, at the versions where an answer turns: each bound,
   some listed versions, one before all and one after. Trivy gets them as a CycloneDX list, and the records in its own
   database's form (tests/peers/trivydb.py).
2. Every difference needs an explanation in EXPLAINED, with its reason; one without fails. A match that only Trivy has
   would be a flaw we miss, one that only we have might be false.
"""

import gzip
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from packageurl import PackageURL

from customhouse.advisories.identity import is_kernel_header
from customhouse.advisories.library_orders import pypi_key
from customhouse.advisories.matching import match
from customhouse.advisories.memory import MemoryAdvisories
from customhouse.advisories.osv import normal_package
from customhouse.advisories.specifics import specifics_of
from customhouse.advisories.versions import VersionOrder
from tests.advisories.records import Installed, dump, fixed_in, record
from tests.peers import trivydb
from tests.peers.scanners import scanner, trivy

CORPUS = Path(os.environ.get("CUSTOMHOUSE_TEST_CORPUS", "/nonexistent"))
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FOR_EVER = timedelta(days=36500)
MOST_RECORDS = 400
LISTED = 4
PURL_TYPES = {
    "PyPI": "pypi", "npm": "npm", "Go": "golang", "Maven": "maven", "RubyGems": "gem", "Packagist": "composer",
    "NuGet": "nuget", "crates.io": "cargo", "Hex": "hex", "Pub": "pub", "Bitnami": "bitnami",
}  # fmt: skip
SYSTEMS = {
    "Debian:12": ("debian", "12", "deb", "debian"), "Alpine:v3.22": ("alpine", "3.22.0", "apk", "alpine"),
    "Ubuntu:22.04:LTS": ("ubuntu", "22.04", "deb", "ubuntu"), "Rocky Linux:9": ("rocky", "9.5", "rpm", "rocky"),
    "AlmaLinux:9": ("alma", "9.5", "rpm", "alma"),
}  # fmt: skip
FOLDERS = {"crates.io": "Rust"}
Pair = tuple[Installed, str]


@dataclass(frozen=True)
class Reason:
    """Why one side alone has a match; `holds(package, name of the flaw, records by that name)`."""

    side: str
    why: str
    holds: Callable[[Installed, str, list[dict[str, Any]]], bool]


_STRICT = re.compile(r"v?(0|[1-9]\d*)(\.(0|[1-9]\d*))*(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def _about(package: Installed, records: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    wanted = normal_package(package.ecosystem, package.name)
    for each in records:
        for affected in each["affected"]:
            held = affected.get("package")
            if held and normal_package(package.ecosystem, held["name"]) == wanted:
                yield each, affected


def _bounds(affected: dict[str, Any], *kinds: str) -> list[str]:
    ranges = [each for each in affected.get("ranges", ()) if each["type"] != "GIT"]
    return [v for each in ranges for e in each["events"] for kind, v in e.items() if not kinds or kind in kinds]


def _unparsable(package: Installed, _: str, records: list[dict[str, Any]]) -> bool:
    if package.ecosystem in SYSTEMS:
        return False
    versions = {package.version}
    for _each, affected in _about(package, records):
        versions |= {*_bounds(affected), *(affected.get("versions") or ())}
    if package.ecosystem != "PyPI":
        short = package.ecosystem == "npm" and package.version.count(".") < 2
        return short or any(not _STRICT.fullmatch(version) for version in versions)
    return any(pypi_key(version)[0] == 0 for version in versions)


def _fixed_elsewhere(package: Installed, _: str, records: list[dict[str, Any]]) -> bool:
    order = VersionOrder(package.ecosystem)
    fixes = [version for _each, affected in _about(package, records) for version in _bounds(affected, "fixed")]
    return any(order.compare(package.version, version) == 0 for version in fixes)


def _first_of_all(package: Installed, records: list[dict[str, Any]]) -> bool:
    bounds = [version for _each, affected in _about(package, records) for version in _bounds(affected)]
    return package.ecosystem == "Bitnami" and any(version.endswith("-0") for version in bounds)


def _backwards(package: Installed, _: str, records: list[dict[str, Any]]) -> bool:
    order = VersionOrder(package.ecosystem)
    for _each, affected in _about(package, records):
        bounds = [version for version in _bounds(affected) if version != "0"]
        if any(order.compare(one, two) > 0 for one, two in pairwise(bounds)):
            return True
    return False


EXPLAINED = [
    Reason(
        "trivy", "a record of malicious code lists its releases, and this is none of them; its range says all versions",
        lambda p, _, r: any(e["id"].startswith("MAL-") and a.get("versions") for e, a in _about(p, r)),
    ),
    Reason(
        "trivy", "the record names the systems that are affected, and Linux is none of them",
        lambda p, _, r: any(
            s.platforms and "linux" not in s.platforms for s in (specifics_of(a) for _e, a in _about(p, r))
        ),
    ),
    Reason(
        "trivy", "RustSec notes that a project is unmaintained or an interface unsound; no flaw has a name",
        lambda p, _, r: any(specifics_of(a).informational for _e, a in _about(p, r)),
    ),
    Reason("trivy", "headers and documentation of a kernel hold no kernel", lambda p, _, r: is_kernel_header(p)),
    Reason(
        "trivy", "a build of a module's stream is told by the fix of another stream, or of the package outside modules",
        lambda p, _, r: ".module" in p.version + " ".join(v for _e, a in _about(p, r) for v in _bounds(a)),
    ),
    Reason("trivy", "an update that mends no flaw", lambda p, name, r: name.startswith(("ALBA-", "ALEA-"))),
    Reason(
        "trivy", "`1.21.0-0` is the first of all versions 1.21.0; Trivy takes it for one after the release",
        lambda p, _, r: _first_of_all(p, r),
    ),
    Reason("ours", "Trivy leaves out a record or package with a version that its parser refuses", _unparsable),
    Reason("ours", "one range's fix lies within another range; Trivy takes the fix of any as the fix of all",
           _fixed_elsewhere),
    Reason("ours", "a range ends before it begins; by OSV's rules it is open", _backwards),
    Reason(
        "ours", "a pre-release of version 0 is after the beginning of all versions",
        lambda p, _, r: VersionOrder(p.ecosystem).compare(p.version, "0") < 0,
    ),
    Reason(
        "ours", "`1.21.0-0` is the first of all versions 1.21.0; Trivy takes it for one after the release",
        lambda p, _, r: _first_of_all(p, r),
    ),
    Reason(
        "ours", "the flaw is told among those of Ubuntu Pro only, with a fix for subscribers or without any",
        lambda p, _, r: p.ecosystem.startswith("Ubuntu:"),
    ),
]  # fmt: skip


def records_of(ecosystem: str) -> list[dict[str, Any]]:
    family = ecosystem.partition(":")[0]
    with zipfile.ZipFile(CORPUS / "osv" / FOLDERS.get(family, family) / "all.zip") as archive:
        names = sorted(archive.namelist())
        step = max(1, len(names) // (MOST_RECORDS // 4 if family == "AlmaLinux" else MOST_RECORDS))  # 12 packages each
        return [json.loads(archive.read(name)) for name in names[::step]]


def installed(ecosystem: str, records: list[dict[str, Any]]) -> list[Installed]:
    """Packages at every version where an answer may turn."""
    found: dict[tuple[str, str], None] = {}
    for each in records:
        for affected in each.get("affected", ()):
            package = affected.get("package")
            if not package or package["ecosystem"] != ecosystem:
                continue
            listed = affected.get("versions") or []
            versions = {
                v for r in affected.get("ranges", ()) if r["type"] != "GIT" for e in r["events"] for v in e.values()
            }
            versions |= {*listed[:: max(1, len(listed) // LISTED)], *listed[-1:]}
            for version in sorted(versions - {"0"}) + ["0.0.1", "9999.0.0"]:
                if version.isprintable() and " " not in version:
                    found[package["name"], version] = None
    return [_package(ecosystem, name, version) for name, version in found]


def _package(ecosystem: str, name: str, version: str) -> Installed:
    if ecosystem in SYSTEMS:
        _, release, kind, vendor = SYSTEMS[ecosystem]
        epoch, colon, rest = version.partition(":")
        qualifiers = {"distro": f"{vendor}-{release}", **({"epoch": epoch} if colon and kind == "rpm" else {})}
        purl = PackageURL(kind, vendor, name, rest if colon and kind == "rpm" else version, qualifiers)
        return Installed(ecosystem, name, version, name, version, purl.to_string())
    separator = ":" if ecosystem == "Maven" else "/"
    namespace, _, own = name.rpartition(separator)
    purl = PackageURL(PURL_TYPES[ecosystem], namespace or None, own, version)
    return Installed(ecosystem, name, version, name, version, purl.to_string())


def bill_of(packages: list[Installed]) -> dict[str, Any]:
    components: list[dict[str, Any]] = [
        {"type": "library", "bom-ref": str(number), "name": package.name, "version": package.version,
         "purl": package.purl}
        for number, package in enumerate(packages)
    ]  # fmt: skip
    if packages[0].ecosystem in SYSTEMS:
        name, release, _, _ = SYSTEMS[packages[0].ecosystem]
        components.append({"type": "operating-system", "bom-ref": "os", "name": name, "version": release})
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}


def theirs(packages: list[Installed], records: list[dict[str, Any]], folder: Path) -> set[Pair]:
    folder.mkdir()
    trivydb.write(records, folder / "cache")
    bill = folder / "bill.cdx.json"
    bill.write_text(json.dumps(bill_of(packages)))
    report = trivy(scanner("trivy"), folder, "sbom", str(bill), "--scanners", "vuln")
    return {
        (packages[int(found["PkgIdentifier"]["BOMRef"])], found["VulnerabilityID"])
        for result in report.get("Results") or ()
        for found in result.get("Vulnerabilities") or ()
    }


def ours(
    packages: list[Installed], records: list[dict[str, Any]], folder: Path
) -> dict[Installed, list[frozenset[str]]]:
    """Of each package the flaws, each by all its names."""
    held = MemoryAdvisories.load([_written(folder, records)], NOW)
    by_id = {each["id"]: frozenset(trivydb.names(each)) for each in records}
    found: dict[Installed, list[frozenset[str]]] = {}
    for each in match(packages, held, NOW, FOR_EVER).matches:
        names = each.names.union(*(by_id[name] for name in each.records))
        for package in each.packages:
            found.setdefault(package, []).append(names)
    return found


def _written(folder: Path, records: list[dict[str, Any]]) -> Path:
    path = folder / "all.zip"
    path.write_bytes(dump(records, zipfile.ZIP_STORED))
    return path


def differences(
    ecosystem: str, packages: list[Installed], records: list[dict[str, Any]], folder: Path
) -> Iterator[str]:
    """Compare, print the line of the table, and give what nothing explains."""
    their = theirs(packages, records, folder / "trivy")
    our = ours(packages, records, folder)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for each in records:
        for name in {each["id"], *trivydb.names(each)}:
            by_name.setdefault(name, []).append(each)
    told = {(package, name) for package, flaws in our.items() for names in flaws for name in names}
    both = {pair for pair in their if pair in told}
    lone = [
        (package, names)
        for package, flaws in our.items()
        for names in flaws
        if not any((package, name) in their for name in names)
    ]
    reasons: Counter[str] = Counter()
    unexplained = []
    for side, package, name in [
        *(("trivy", package, name) for package, name in sorted(their - told, key=lambda pair: (pair[0].purl, pair[1]))),
        *(("ours", package, sorted(names & by_name.keys())[0]) for package, names in lone),
    ]:
        known = next((r for r in EXPLAINED if r.side == side and r.holds(package, name, by_name.get(name, []))), None)
        reasons[f"{side}: {known.why}" if known else f"{side}: unexplained"] += 1
        if known is None:
            unexplained.append(f"only {side}: {package.name} {package.version} {name}")
    print(
        f"\n{ecosystem:18} {len(packages):6} packages, {len(both):6} matches of both, {len(their - told):5} of Trivy "
        f"only, {len(lone):5} of ours only"
    )
    for reason, count in sorted(reasons.items()):
        print(f"    {count:5} {reason}")
    yield from unexplained


if CORPUS.is_dir():

    @pytest.mark.needs("go")
    @pytest.mark.parametrize("ecosystem", [*PURL_TYPES, *SYSTEMS])
    def test_every_difference_from_trivy_is_explained(ecosystem: str, tmp_path: Path) -> None:
        records = records_of(ecosystem)
        packages = installed(ecosystem, records)
        assert packages
        unexplained = list(differences(ecosystem, packages, records, tmp_path))
        assert not unexplained, "\n".join([f"{len(unexplained)}", *unexplained[:40]])

    @pytest.mark.needs("go")
    def test_what_debians_changelogs_say_was_fixed_is_found_below_and_not_at_the_fix(tmp_path: Path) -> None:
        """1,227 statements of Debian's own packages: this CVE, in this source, is fixed since this version."""
        text = gzip.decompress((CORPUS / "debian/bookworm-changelog-fixes.jsonl.gz").read_bytes()).decode()
        said = [json.loads(line) for line in text.splitlines()]
        records = [
            record(f"DEBIAN-{n}", fixed_in("Debian:12", each["source"], each["fixed"]), upstream=[each["cve"]])
            for n, each in enumerate(said)
        ]
        versions = {(each["source"], each["fixed"]) for each in said}
        packages = [_package("Debian:12", name, v) for name, fixed in sorted(versions) for v in (fixed, f"{fixed}~")]
        assert not list(differences("Debian:12", packages, records, tmp_path))
        found = ours(packages, records, tmp_path)
        told = {(p.name, p.version, name) for p, flaws in found.items() for names in flaws for name in names}
        assert all((each["source"], each["fixed"] + "~", each["cve"]) in told for each in said)
        assert not any((each["source"], each["fixed"], each["cve"]) in told for each in said)
