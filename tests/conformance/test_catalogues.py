"""What our catalogue finds beside Syft 1.18 on the same images, by kind of package.

Every difference has a reason in `REASONS`, which docs/reference/catalogues.md gives too; one without fails here. The
table is printed (`pytest -s`)."""

import json
import os
import re
import subprocess
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from customhouse.catalogue import rpm
from customhouse.catalogue.packages import READERS, WANTS, Catalogue, catalogue
from customhouse.oci.image import load_image
from customhouse.oci.wants import Wants
from customhouse.testing.images import BuiltImage, File, image, layer, write_docker_save
from tests.catalogue import elves, rpms
from tests.peers import debian
from tests.peers.gotools import go_tool
from tests.peers.scanners import scanner, syft

CORPUS = Path(os.environ.get("CUSTOMHOUSE_TEST_CORPUS", "/nonexistent"))
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "catalogues.md"
KINDS = {
    "deb": "deb", "apk": "apk", "rpm": "rpm", "golang": "go-module", "pypi": "python", "npm": "npm",
    "generic": "binary", "cargo": "rust-crate", "nuget": "dotnet",
}  # fmt: skip
Item = tuple[str, str, str]

# (which side has it alone, kind, expression of "name version") and the heading of the page that says why.
REASONS: tuple[tuple[str, str, str, str], ...] = (
    ("syft", "binary", r"(bash|openssl|perl|python|util-linux|gzip|curl|busybox) .*", "Owned by the distribution"),
    ("syft", "python", r"(pip|PyYAML|pyyaml|setuptools|six|pkg-resources|wheel) .*", "Owned by the distribution"),
    ("syft", "rpm", r"gpg-pubkey .*", "Keys are no packages"),
    ("syft", "rpm", r".* 0:.*", "Epoch 0 is not written"),
    ("ours", "rpm", r"perl-IO 1\.43-421\.module_el8", "Epoch 0 is not written"),
    ("syft", "go-module", r"stdlib go.*", "Go's versions"),
    ("ours", "go-module", r"(stdlib|toolchain) [0-9.]+", "Go's versions"),
    ("syft", "go-module", r"cmd/go \(devel\)", "Go's versions"),
    ("syft", "binary", r"go [0-9.]+", "Go's versions"),
    ("ours", "go-module", r"acme\.example/tool v2\.1\.0", "Versions from the linker"),
    ("syft", "go-module", r"acme\.example/tool (2\.1\.0|v0.*|\(devel\))", "Versions from the linker"),
    ("ours", "binary", r"(glibc|zlib|expat|perl|openjdk|python) .*", "More programs"),
    ("syft", "binary", r"(jdk|openjdk|jre|java) .*", "More programs"),
    ("ours", "dotnet", r"(Newtonsoft\.Json|Microsoft\.NETCore\.App\.Runtime\.linux-x64) .*", "What .NET writes"),
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    both: int
    ours: frozenset[Item]
    syft: frozenset[Item]


def read(built: BuiltImage) -> Catalogue:
    wants = Wants(frozenset(WANTS), READERS)
    return catalogue(load_image(built.content, built.manifest_raw, wants, media_type=built.media_type))


def compared(built: BuiltImage, folder: Path) -> tuple[Catalogue, Compared]:
    archive = write_docker_save(built, folder / "image.tar")
    found = read(built)
    ours = {(KINDS[kind], name, version) for kind, name, version in map(identity, found.packages)}
    theirs = {
        (str(each["type"]), str(each["name"]), str(each["version"]))
        for each in syft(scanner("syft"), f"docker-archive:{archive}", folder)["artifacts"]
    }
    return found, Compared(len(ours & theirs), frozenset(ours - theirs), frozenset(theirs - ours))


def identity(package: object) -> Item:
    """(kind of the URL, name, version) of one of ours."""
    kind = package.purl.split(":")[1].split("/")[0]  # type: ignore[attr-defined]
    generic = re.fullmatch(r"pkg:generic/([^@]+)@.*", package.purl)  # type: ignore[attr-defined]
    return kind, generic[1] if generic else package.name, package.version  # type: ignore[attr-defined]


def explained(title: str, result: Compared) -> None:
    """Print the table; fail on a difference without a reason, or one whose reason the page does not have."""
    page = PAGE.read_text()
    table: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    bare = []
    for side, items in (("ours", result.ours), ("syft", result.syft)):
        for kind, name, version in sorted(items):
            said = f"{name} {version}"
            reason = next((r for s, k, e, r in REASONS if (s, k) == (side, kind) and re.fullmatch(e, said)), "")
            table[side, kind, reason].append(said)
            bare += [] if reason else [f"{side} alone: {kind} {name} {version}"]
            assert not reason or f"### {reason}\n" in page, reason
    print(f"\n{title}: {result.both} in both")
    for (side, kind, reason), items in sorted(table.items()):
        print(f"  {side} alone, {kind}: {len(items)}: {reason} ({', '.join(items[:4])}{', …' * (len(items) > 4)})")
    assert not bare, bare


@pytest.mark.needs("dpkg-query", "python3")
def test_an_image_of_debian_packages(tmp_path: Path) -> None:
    """Truth is dpkg's own list. A wheel of the publisher's lies beside what Debian brings."""
    wanted = ("python3", "python3.11", "python3.11-minimal", "python3-minimal", "libpython3.11-minimal", "openssl")
    more = ("libpython3.11-stdlib", "python3-yaml", "python3-six", "python3-pkg-resources", "libssl3", "perl-base")
    names = {**debian.installed(), **debian.installed(*wanted, *more)}
    own = {"usr/local/lib/python3.11/site-packages/acme-1.0.dist-info/METADATA": "Name: acme\nVersion: 1.0\n\n"}
    found, result = compared(image([layer(debian.packages(names)), layer(own)]), tmp_path)
    listed = {f"{p.name} {p.version}" for p in found.packages if p.kind == "os"}
    assert listed == {f"{name.split(':')[0]} {version}" for name, version in names.items()}
    assert found.complete and not any(p.kind == "binary" for p in found.packages)
    assert [(p.name, p.layer) for p in found.packages if p.kind != "os"] == [("acme", 1)]
    assert sum(bool(p.licenses) for p in found.packages) > 0.8 * len(names)
    assert result.both == len(names) + 1
    explained("Debian", result)


OPENSSL = rpms.header("openssl-libs", "3.0.7", "27.el9", epoch=1, source="openssl-3.0.7-27.el9.src.rpm")
PERL = rpms.header("perl-IO", "1.43", "421.module_el8", epoch=0, module="perl:5.26:820190:f1e9")
KEY = rpms.header("gpg-pubkey", "b86b3716", "61e69f29", arch="")


@pytest.mark.parametrize("name", rpms.FORMS)
def test_databases_of_rpm_made_here_are_read_by_both(name: str, tmp_path: Path) -> None:
    release = 'ID="almalinux"\nVERSION_ID="9.4"\n'
    raw = rpms.FORMS[name]([OPENSSL, PERL, KEY])
    found, result = compared(image([layer({"etc/os-release": release, f"var/lib/rpm/{name}": raw})]), tmp_path)
    assert len(found.packages) == 2 and result.both == 1
    explained(f"rpm, {name}", result)


@pytest.mark.needs("rpmbuild", "rpm")
def test_what_rpm_itself_installs_is_read(tmp_path: Path) -> None:
    spec = tmp_path / "a.spec"
    spec.write_text(
        "Name: acme-tools\nEpoch: 3\nVersion: 1.4\nRelease: 2.el9\nSummary: tools\nLicense: MIT and Zlib\n"
        "Vendor: Acme\nBuildArch: noarch\nModularityLabel: acme:1:2:3\n%description\nx\n%install\n"
        "mkdir -p %{buildroot}/usr/share/acme\n"
        "for i in $(seq 1 2000); do echo > %{buildroot}/usr/share/acme/file$i; done\n%files\n/usr/share/acme\n"
    )
    top, base = tmp_path / "top", tmp_path / "db"
    home = {**os.environ, "HOME": str(tmp_path)}
    build = ["rpmbuild", "-bb", "--define", f"_topdir {top}", str(spec)]
    subprocess.run(build, check=True, capture_output=True, env=home, timeout=60)
    common = ["rpm", "--dbpath", str(base), "--define", "_db_backend sqlite"]
    (made,) = top.glob("RPMS/noarch/*.rpm")
    for words in (["--initdb"], ["-i", "--justdb", "--nodeps", str(made)]):
        subprocess.run([*common, *words], check=True, capture_output=True, env=home, timeout=60)
    files = {"etc/os-release": "ID=fedora\nVERSION_ID=42\n"}
    stored = {f"usr/lib/sysimage/rpm/{path.name}": path.read_bytes() for path in base.iterdir()}
    found = read(image([layer({**files, **stored})]))
    (package,) = found.packages
    assert found.complete and package.version == "3:1.4-2.el9" and len(package.files) == 2001
    assert package.properties == {"epoch": "3", "module": "acme:1:2:3"} and package.licenses == ("MIT and Zlib",)


RUNTIME = "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1"
DEPS = {
    "runtimeTarget": {"name": ".NETCoreApp,Version=v8.0/linux-x64", "signature": ""},
    "targets": {
        ".NETCoreApp,Version=v8.0/linux-x64": {
            "App/1.0.0": {"dependencies": {"Newtonsoft.Json": "12.0.1"}, "runtime": {"App.dll": {}}},
            "Newtonsoft.Json/12.0.1": {"runtime": {"lib/x.dll": {"assemblyVersion": "12.0.0.0"}}},
            RUNTIME: {"native": {"x.so": {"fileVersion": "0.0.0.0"}}},
        }
    },
    "libraries": {
        "App/1.0.0": {"type": "project", "serviceable": False, "sha512": ""},
        "Newtonsoft.Json/12.0.1": {"type": "package", "sha512": "sha512-x", "path": "n/12.0.1", "hashPath": "n.sha512"},
        RUNTIME: {"type": "runtimepack", "serviceable": False, "sha512": ""},
    },
}
ACME = elves.go_program(
    "go1.22.3", "path\tacme.example/tool", "mod\tacme.example/tool\t(devel)\t",
    "dep\tgolang.org/x/net\tv0.17.0\th1:abc=",
    "dep\tgithub.com/old/thing\tv1.0.0", "=>\tgithub.com/new/thing\tv1.2.0\th1:def=",
    'build\t-ldflags="-X main.version=2.1.0"',
)  # fmt: skip
CRATES = [
    {"name": "app", "version": "0.1.0", "source": "local", "root": True, "dependencies": [1]},
    {"name": "serde", "version": "1.0.200", "source": "crates.io"},
]
INSTALLED = "P:musl\nV:1.2.5-r0\nA:x86_64\no:musl\nL:MIT\n\nP:libcrypto3\nV:3.3.2-r0\nA:x86_64\no:openssl\n\n"
ALPINE = "ID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=Alpine\n"


@pytest.mark.needs("go", "busybox", "openssl")
def test_an_image_of_programs(tmp_path: Path) -> None:
    """Alpine's database, a real Go program and its toolchain, and programs that no database knows."""
    files = {"etc/os-release": ALPINE, "lib/apk/db/installed": INSTALLED, "app/App.deps.json": json.dumps(DEPS)}
    programs = {"opt/acme": ACME, "opt/app": elves.auditable(CRATES), "opt/crane": go_tool("crane").read_bytes()}
    for name, path in real_programs():
        programs[f"opt/bin/{name}"] = path.read_bytes()
    found, result = compared(image([layer({**files, **{k: File(v, 0o755) for k, v in programs.items()}})]), tmp_path)
    assert found.complete
    kinds = {identity(package)[0] for package in found.packages}
    assert kinds == {"apk", "golang", "cargo", "nuget", "generic"}
    assert result.both >= 2 + 16 + 2 + 3
    explained("Programs", result)


def real_programs() -> Iterator[tuple[str, Path]]:
    for name in ("busybox", "openssl", "bash", "curl", "perl", "nginx"):
        for path in (Path("/usr/bin", name), Path("/usr/sbin", name)):
            if path.is_file():
                yield name, path.resolve()
                break
    for path in Path("/usr/lib/x86_64-linux-gnu").glob("libz.so.1.*"):
        yield path.name, path


if CORPUS.is_dir():
    RELEASES: Mapping[str, str] = {
        "cbl-mariner-2.0/rpmdb.sqlite": "ID=mariner\nVERSION_ID=2.0\n",
        "libuuid/Packages": 'ID="rhel"\nVERSION_ID="8.8"\n',
        "sle15-bci/Packages.db": 'ID="sles"\nVERSION_ID="15.5"\n',
    }

    @pytest.mark.parametrize("name", RELEASES)
    def test_real_databases_of_rpm(name: str, tmp_path: Path) -> None:
        with zipfile.ZipFile(CORPUS / "fixtures/rpmdb-samples.zip") as samples:
            raw = samples.read(name)
        path = next(each for each in rpm.DATABASES if each.endswith("/" + name.split("/")[1]))
        found, result = compared(image([layer({"etc/os-release": RELEASES[name], path: raw})]), tmp_path)
        assert result.both == len(found.packages) and not result.ours | result.syft
        explained(name, result)
