"""What our catalogue finds beside Syft 1.18 and Trivy 0.76 where pip, npm and Debian installed packages of languages.

Every difference has a reason in `REASONS`, which docs/reference/languages.md gives too; one without fails here. The
table is printed (`pytest -s`)."""

import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from customhouse.catalogue.packages import READERS, WANTS, Catalogue, catalogue
from customhouse.oci.image import load_image
from customhouse.oci.wants import Wants
from customhouse.testing.images import File, image, layer, write_docker_save
from tests.peers.ecosystems import installed
from tests.peers.scanners import scanner, syft, trivy

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "languages.md"
Item = tuple[str, str, str]
KINDS = {
    "python": "pypi", "npm": "npm", "java-archive": "maven", "gem": "gem", "R-package": "cran", "erlang-otp": "otp",
    "php-composer": "composer", "php-pecl": "pear", "lua-rocks": "luarocks", "conda": "conda",
    "wordpress-plugin": "wordpress-plugin",
}  # fmt: skip

TRIVY = {"python-pkg": "pypi", "node-pkg": "npm", "gemspec": "gem", "composer-vendor": "composer"}
"""Trivy names jars by a database of digests, which is not there."""

# (which side has it alone, kind, expression of "name version") and the heading of the page that says why.
REASONS: tuple[tuple[str, str, str, str], ...] = (
    ("ours", "conda", r"openssl .*", "Read in images too"),
    ("ours", "otp", r"(eex|elixir|ex_unit|iex|logger|mix) .*", "Read in images too"),
    ("ours", "maven", r"(py4j 0\.10\.9\.7|tabula 1\.0\.5)", "Names of files"),
    ("syft", "maven", r"(py4j0 10\.9\.7|tabula 1\.0\.5-jar-with-dependencies)", "Names of files"),
)

ROCK = "usr/local/lib/luarocks/rocks-5.4/luasocket/3.1.0-1"
MADE = {
    "app/vendor/composer/installed.json": json.dumps(
        {"packages": [{"name": "monolog/monolog", "version": "2.9.1", "license": ["MIT"]}], "dev-package-names": []}
    ),
    "opt/conda/conda-meta/openssl-3.0.8-h7f8727e_0.json": json.dumps(
        {"name": "openssl", "version": "3.0.8", "build": "h7f8727e_0", "channel": "main", "subdir": "linux-64"}
    ),
    f"{ROCK}/luasocket-3.1.0-1.rockspec": 'package = "LuaSocket"\nversion = "3.1.0-1"\n',
    "srv/wp-content/plugins/akismet/akismet.php": "<?php\n/*\nPlugin Name: Akismet\nVersion: 5.0.1\n*/\n",
}


def files() -> dict[str, File | str]:
    root = installed()
    found: dict[str, File | str] = dict(MADE)
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            found[str(path.relative_to(root))] = File(path.read_bytes())
    return found


def ours(found: Catalogue) -> set[Item]:
    return {
        (package.purl.split(":")[1].split("/")[0], package.name.rpartition(":")[2].lower(), package.version)
        for package in found.packages
        if package.purl and package.kind == "library"
    }


def of_trivy(archive: Path, home: Path) -> set[Item]:
    words = ("image", "--input", str(archive), "--scanners", "license", "--list-all-pkgs")
    return {
        (TRIVY[result["Type"]], each["Name"].lower(), each["Version"])
        for result in trivy(scanner("trivy"), home, *words)["Results"]
        if result.get("Type") in TRIVY
        for each in result.get("Packages") or []
    }


def theirs(archive: Path, home: Path) -> set[Item]:
    return {
        (KINDS[each["type"]], each["name"].lower(), each["version"])
        for each in syft(scanner("syft"), f"docker-archive:{archive}", home)["artifacts"]
        if each["type"] in KINDS
    }


@pytest.mark.needs("npm", "apt-get", "dpkg-deb")
def test_each_difference_to_syft_has_a_reason_and_there_is_none_to_trivy(tmp_path: Path) -> None:
    built = image([layer(files())])
    started = time.process_time()
    read = load_image(built.content, built.manifest_raw, Wants(frozenset(WANTS), READERS), media_type=built.media_type)
    found = catalogue(read)
    print(f"\nread in {time.process_time() - started:.2f} s")
    assert found.complete, found.problems
    mine = ours(found)
    archive = write_docker_save(built, tmp_path / "image.tar")
    others = theirs(archive, tmp_path)
    both = Counter(kind for kind, _, _ in mine & others)
    print(f"in both: {dict(sorted(both.items()))}")
    bare = []
    for side, items in (("ours", mine - others), ("syft", others - mine)):
        for kind, name, version in sorted(items):
            said = f"{name} {version}"
            reason = next((r for s, k, e, r in REASONS if (s, k) == (side, kind) and re.fullmatch(e, said)), "")
            print(f"  {side} alone: {kind} {said}: {reason}")
            bare += [] if reason else [f"{side} alone: {kind} {said}"]
            assert not reason or f"### {reason}\n" in PAGE.read_text(), reason
    assert not bare, bare
    assert both["npm"] > 150 and both["maven"] > 40 and both["pypi"] >= 5 and both["gem"] >= 2
    assert of_trivy(archive, tmp_path) == {item for item in mine if item[0] in TRIVY.values()}
    known = [package for package in found.packages if package.ecosystem == "Maven"]
    assert sum(":" in package.name for package in known) > 0.9 * len(known)
