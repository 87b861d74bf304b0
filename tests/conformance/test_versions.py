"""The order of versions against the native tools: dpkg itself, and comparisons that were made with the others.

The table of docs/reference/versions.md is what this file measures; a figure that moved fails here."""

import json
import os
import re
import subprocess
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customhouse.advisories.versions import VersionOrder
from tests.peers.vectors import vectors

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "versions.md"
CORPUS = Path(os.environ.get("CUSTOMHOUSE_TEST_CORPUS", "/nonexistent"))
SETS = {
    "debian": "Debian:12", "alpine": "Alpine:v3.20", "redhat": "Red Hat", "pypi": "PyPI", "semver": "npm",
    "maven": "Maven", "rubygems": "RubyGems", "nuget": "NuGet", "packagist": "Packagist", "pub": "Pub", "cran": "CRAN",
    "hackage": "Hackage",
}  # fmt: skip
UNIVERS = {"apk": "Alpine", "deb": "Debian", "maven": "Maven", "nuget": "NuGet", "conan": "ConanCenter"}
# What we answer otherwise, on purpose; the page says why.
DIFFERS = {
    "alpine": {"1 > 1-ruff", "1-ruff2 = 1--ruff1"},
    "maven": {
        "1.0.0-gradle-rework-beta3 < 1.0.0.RC7-3", "2.9.0-1 < 2.9.0.RC1", "profiles_01 < stable",
        "1.1.0-01-glassfish < 1.1.0.Beta1",
    },
    "packagist": {
        "v3.0 < v3.0.0-beta", "v3.4 < v3.4.0-alpha", "v4-beta4 < v4.0-alpha", "5.1.0-stable < 5.1.0-beta2",
        "v4.4 < v4.4.0-beta", "v6.5 < v6.5.0-beta-0", "v6.6 < v6.6.0-beta", "1.0.0 > 1.0", "1.2.3.# = 1.2.3",
        "1.2.3.# = 1.2.3.1", "1.2.3.#.1 > 1.2.3", "1.2.3.#.p3 > 1.2.3",
    },
}  # fmt: skip


@pytest.mark.needs("go")
@pytest.mark.parametrize("name", SETS)
def test_the_order_is_that_of_the_native_tool_but_where_the_page_says_so(name: str) -> None:
    order = VersionOrder(SETS[name])
    total, other = 0, set()
    for one, sign, two in vectors(name):
        total += 1
        if order.compare(one, two) != sign:
            other.add(f"{one} {'<=>'[sign + 1]} {two}")
    print(f"{name}: {total} comparisons, {len(other)} answered otherwise")
    assert other == DIFFERS.get(name, set())
    row = re.search(
        rf"^\| {re.escape(SETS[name].split(':')[0])}\b.*\| ([0-9,]+) \| ([0-9]+) \|", PAGE.read_text(), re.M
    )
    assert row, f"the page has no row of {SETS[name]}"
    assert (int(row[1].replace(",", "")), int(row[2])) == (total, len(other))


if CORPUS.is_dir():

    def test_the_vectors_of_univers_agree() -> None:
        seen = 0
        with zipfile.ZipFile(CORPUS / "vectors/univers-schema.zip") as archive:
            for name in archive.namelist():
                document = json.loads(archive.read(name))
                for each in document["tests"] if isinstance(document, dict) else document:
                    scheme = each["input"].get("input_scheme")
                    if each["test_type"] not in ("comparison", "equality") or scheme not in UNIVERS:
                        continue
                    seen += 1
                    order = VersionOrder(UNIVERS[scheme])
                    if each["test_type"] == "equality":
                        one, two = each["input"]["versions"]
                        assert (order.compare(one, two) == 0) is each["expected_output"], each
                        continue
                    listed = sorted(each["input"]["versions"], key=order.key)
                    expected = each["expected_output"]  # spelt as univers prints versions, so in small letters
                    assert [v.lower() for v in listed] == [v.lower() for v in expected] or all(
                        order.compare(one, two) <= 0 for one, two in pairwise(expected)
                    ), each
        assert seen == 1789


PART = st.lists(
    st.sampled_from(["0", "1", "9", "10", "05", "a", "b", "rc", "~", "+", "-", ".", "deb12u1", "+b1", "Z"]), max_size=6
).map("".join)


@pytest.mark.needs("dpkg")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PART, PART)
def test_dpkg_itself_agrees(one: str, other: str) -> None:
    first, second = f"1{one}0", f"1{other}0"
    sign = ("lt", "eq", "gt")[VersionOrder("Debian:12").compare(first, second) + 1]
    done = subprocess.run(["dpkg", "--compare-versions", first, sign, second], capture_output=True, check=False)
    assert done.returncode == 0, (first, sign, second)
