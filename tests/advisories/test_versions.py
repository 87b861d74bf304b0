import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customhouse.advisories.evaluation import evaluate
from customhouse.advisories.osv import Affected, Range
from customhouse.advisories.versions import VersionOrder

ASCENDING = {
    "Debian:12": "0~~ 0~ 0 0.1~rc1 0.1 0.1-1 0.1-1+b1 0.1-1+deb12u1 0.1-1.1 0.1-2 0.1a 0.1+b1 0.9 0.10 1.0 1:0 2:0",
    "Alpine:v3.20": "0.1.0_alpha 0.1.0_alpha1 0.1.0_beta 0.1.0_pre1 0.1.0_rc1 0.1.0 0.1.0-r0 0.1.0-r10 "
    "0.1.0_git20240101 "
    "0.1.0_p1 0.1.0_p1-r1 0.1.0b 0.1.0p2-r1 0.1.0.1 0.1.05 0.1.1 0.2 0.12 1 1.0 2.34 10",
    "PyPI": "2004d-old 1.dev0 1.0a1 1.0b2 1.0rc1 1.0 1.0.post1 1.1.dev1 1.1 1.10 1!0.5",
    "npm": "1.0.0-alpha 1.0.0-alpha.1 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.10.0 2.0.0",
    "Go": "v0.0.0-20190101000000-abcdefabcdef v0.0.0-20200101000000-abcdefabcdef 0.1.0 v1.2.3-rc.1 v1.2.3 "
    "v1.2.4-0.20200101000000-abcdefabcdef 1.2.4 2.0.0+incompatible",
    "Rocky Linux:9": "1.0~rc1-1 1.0-1 1.0-2 1.0-10.el9 1.0-10.el9_2 1.0^git1-1 1.0.a-1 1.0.1-1 1:0.1-1",
    "Maven": "1-alpha-1 1-beta2 1-m3 1-snapshot 1.0.0.RC1 1 1-sp 1-foo 1-1 1.0.1 1.1.0.RELEASE 1.2-jre 2",
    "RubyGems": "1.0.a 1.0.a.10 1.0.b 1.0 1.0.1 1.9.0.pre1 1.9 1.10",
    "NuGet": "1.0.0-ALPHA 1.0.0-beta 1.0.0-beta2 1.0.0 1.0.0.1 1.0.1 1.1",
    "Packagist": "dev-main 1.0.0-dev 1.0.0-alpha1 1.0.0-beta2 1.0.0-RC1 1.0.0 1.0.0-p1 v1.0.1 1.2.x-dev 2",
    "Pub": "1.0.0-pre 1.0.0 1.0.0+1 1.0.0+2 1.0.0+a 1.0.1",
    "Bitnami": "1.2.3-rc1 1.2.3-0 1.2.3-4 1.2.3-10 1.2.4",
    "CRAN": "0.1 0.1.0 0.1.0.0 0.1-2 0.1-10 0.75 1.0 1.0.0",
    "Hackage": "0.9.1 0.10 0.10.0 1",
    "ConanCenter": "1.0.0-alpha 1.0.0 1.0.1 1.1 2",
}


TOTAL = tuple(name for name in (*ASCENDING, "Odd") if name != "ConanCenter")  # univers' order of odd texts is not
PIECES = [
    *("0", "1", "00", "05", "10", "a", "b", "m", "rc", "RC", "alpha", "beta", "sp", "p", "pl", "dev", "-", "-", "."),
    *(".", "+", "~", "^", ":", "_", "_p", "snapshot", "ga", "release", "v", "#", "é", "²", " ", "x", "final"),
]


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
        ("Alpine:v3.20", "1.0~ab12-r1", "1.0~cd34-r1"),
        ("Rocky Linux:9", "0:1.0-1", "1_0-1"),
        ("Maven", "5.2.0.RELEASE", "5.2"),
        ("Maven", "1.0.0-ga", "1"),
        ("Maven", "1-cr2", "1.0-rc2"),
        ("RubyGems", "1.0.a2", "1.a.2"),
        ("NuGet", "1.0.0-Beta+a", "1.0-bETA"),
        ("Packagist", "v1.0", "1.0.0.0-stable"),
        ("Go", "go1.21.3", "v1.21.3"),
    ],
)
def test_one_version_has_several_spellings(ecosystem: str, one: str, other: str) -> None:
    assert VersionOrder(ecosystem).compare(one, other) == 0


@pytest.mark.parametrize("ecosystem", ["PyPI", "npm", "Alpine:v3.20"])
@pytest.mark.parametrize("version", ["", "latest", "2004d-legacy", "v", "^", "a" * 400, "1..2-"])
def test_what_is_no_version_counts_as_old_and_not_as_safe(ecosystem: str, version: str) -> None:
    if ecosystem != "PyPI" and version in ("2004d-legacy", "1..2-"):
        return  # what begins with a number keeps its place, as in npm's loose mode and in apk
    assert VersionOrder(ecosystem).compare(version, "0.0.1") < 0


VERSIONS = st.one_of(
    st.text("0123456789.+-~:_^abcrp vé", max_size=12),
    st.lists(st.sampled_from(PIECES), max_size=7).map("".join),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TOTAL), st.lists(VERSIONS, min_size=3, max_size=3))
def test_any_texts_can_be_compared_and_the_order_is_total(ecosystem: str, texts: list[str]) -> None:
    order = VersionOrder(ecosystem)
    one, two, three = texts
    assert order.compare(one, one) == 0
    assert order.compare(one, two) == -order.compare(two, one)
    if order.compare(one, two) <= 0 and order.compare(two, three) <= 0:
        assert order.compare(one, three) <= 0
    if order.compare(one, two) == 0:
        assert order.compare(one, three) == order.compare(two, three)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TOTAL), VERSIONS, VERSIONS.filter(lambda text: text not in ("", "0")))
def test_what_a_range_holds_is_what_comparison_says(ecosystem: str, version: str, bound: str) -> None:
    older = VersionOrder(ecosystem).compare(version, bound)
    for kind, affected in (("fixed", older < 0), ("last_affected", older <= 0)):
        found = evaluate(
            VersionOrder(ecosystem), version,
            Affected(ecosystem, "x", (Range((("introduced", "0"), (kind, bound))),)),
        )  # fmt: skip
        assert (found is not None) == affected
    found = evaluate(VersionOrder(ecosystem), version, Affected(ecosystem, "x", (Range((("introduced", bound),)),)))
    assert (found is not None) == (older >= 0)


@pytest.mark.needs("dpkg")
def test_dpkg_agrees() -> None:
    pairs = ["1.0 1.0-0", "1.0~ 1.0", "1:1 2", "1.0a 1.0+", "1.0-1~b 1.0-1", "00.1 0.1", "1-1-1 1-1", "1.+ 1.-1"]
    for pair in pairs:
        one, other = pair.split()
        sign = {-1: "lt", 0: "eq", 1: "gt"}[VersionOrder("Debian:12").compare(one, other)]
        said = subprocess.run(["dpkg", "--compare-versions", one, sign, other], capture_output=True, check=False)
        assert said.returncode == 0, (one, sign, other)
