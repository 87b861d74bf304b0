import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.advisories.versions import VersionOrder

ASCENDING = {
    "Debian:12": "0~~ 0~ 0 0.1~rc1 0.1 0.1-1 0.1-1+b1 0.1-1+deb12u1 0.1-1.1 0.1-2 0.1a 0.1+b1 0.9 0.10 1.0 1:0 2:0",
    "Alpine:v3.20": "0.1.0_alpha 0.1.0_alpha1 0.1.0_beta 0.1.0_pre1 0.1.0_rc1 0.1.0 0.1.0-r0 0.1.0-r10 "
    "0.1.0_git20240101 "
    "0.1.0_p1 0.1.0_p1-r1 0.1.0b 0.1.0.1 0.1.05 0.1.1 0.2 0.12 1 1.0 2.34 10",
    "PyPI": "1.dev0 1.0a1 1.0b2 1.0rc1 1.0 1.0.post1 1.1.dev1 1.1 1.10 1!0.5",
    "npm": "1.0.0-alpha 1.0.0-alpha.1 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.10.0 2.0.0",
    "Rocky Linux:9": "1.0~rc1-1 1.0-1 1.0-2 1.0.1-1 1:0.1-1",
}


@pytest.mark.parametrize("ecosystem", ASCENDING)
def test_versions_stand_in_the_order_of_their_ecosystem(ecosystem: str) -> None:
    order = VersionOrder(ecosystem)
    for older, newer in pairwise(ASCENDING[ecosystem].split()):
        assert order.compare(older, newer) < 0, (older, newer)
        assert order.compare(newer, older) > 0, (older, newer)


@pytest.mark.parametrize(
    ("ecosystem", "one", "other"),
    [
        ("Debian:12", "0:1.0-0", "1.0"),
        ("PyPI", "1.0", "1.0.0"),
        ("npm", "1.2", "1.2.0"),
        ("Alpine:v3.20", "1.0-r1", "1.0-r1"),
    ],
)
def test_one_version_has_several_spellings(ecosystem: str, one: str, other: str) -> None:
    assert VersionOrder(ecosystem).compare(one, other) == 0


@pytest.mark.parametrize("ecosystem", ["PyPI", "npm", "Alpine:v3.20"])
@pytest.mark.parametrize("version", ["", "latest", "2004d-legacy", "v", "^", "a" * 400, "1..2-"])
def test_what_is_no_version_counts_as_old_and_not_as_safe(ecosystem: str, version: str) -> None:
    if ecosystem == "npm" and version in ("2004d-legacy", "1..2-"):
        return  # coerced to a number, as npm's own loose mode does
    assert VersionOrder(ecosystem).compare(version, "0.0.1") < 0


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        ["Debian:12", "Alpine:v3.20", "PyPI", "npm", "Maven", "NuGet", "Go", "RubyGems", "AlmaLinux:9", "Odd"]
    ),
    st.lists(st.text("0123456789.+-~:_^abcrp vé", max_size=12), min_size=3, max_size=3),
)
def test_any_texts_can_be_compared_and_the_order_is_consistent(ecosystem: str, texts: list[str]) -> None:
    order = VersionOrder(ecosystem)
    one, two, _ = texts
    assert order.compare(one, two) == -order.compare(two, one)
    assert order.compare(one, one) == 0


@pytest.mark.needs("dpkg")
def test_dpkg_agrees() -> None:
    pairs = ["1.0 1.0-0", "1.0~ 1.0", "1:1 2", "1.0a 1.0+", "1.0-1~b 1.0-1", "00.1 0.1", "1-1-1 1-1", "1.+ 1.-1"]
    for pair in pairs:
        one, other = pair.split()
        sign = {-1: "lt", 0: "eq", 1: "gt"}[VersionOrder("Debian:12").compare(one, other)]
        said = subprocess.run(["dpkg", "--compare-versions", one, sign, other], capture_output=True, check=False)
        assert said.returncode == 0, (one, sign, other)
