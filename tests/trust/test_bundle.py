"""The trust bundle: what it says about a certificate is true, and nothing in it is believed by its name."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.keys import PrivateKey
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.bundle import Bundle, BundledRepository, BundledRoot, InvalidBundle
from customhouse.trust.certificates import root_certificate
from customhouse.trust.names import ROOT, TIMESTAMP

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOST = "hub.example"


@pytest.fixture(scope="module")
def sim() -> TrustSimulator:
    made = TrustSimulator(f"{HOST}/acme/web", NOW, common_name=f"{HOST}/*")
    made.sign_tag("1")
    return made


def bundle_of(sim: TrustSimulator, *, metadata: bool = True) -> Bundle:
    root = BundledRoot(sim.keys[ROOT][0].public.public.decode())
    files = sim.files()
    listed = BundledRepository(sim.gun, files[ROOT], files if metadata else {})
    return Bundle(HOST, f"https://{HOST}", "customhouse", NOW, (root,), "", (listed,))


def spoilt(sim: TrustSimulator, **changes: Any) -> bytes:
    document = json.loads(json.dumps(bundle_of(sim).document()))
    return json.dumps(document | changes).encode()


def test_a_bundle_is_read_as_it_was_written(sim: TrustSimulator) -> None:
    [listed] = bundle_of(sim).repositories
    followed = replace(bundle_of(sim), repositories=(replace(listed, earlier=(b"one", b"two")),))
    for made in (bundle_of(sim), bundle_of(sim, metadata=False), followed):
        read = Bundle.parse(json.dumps(made.document()).encode())
        assert read == made
        assert read.root_keys == {sim.keys[ROOT][0].public.canonical_id}
        found = read.repository(sim.gun)
        assert found is not None and found.root == sim.files()[ROOT]


def test_both_names_of_the_root_key_and_its_end_are_told(sim: TrustSimulator) -> None:
    public = sim.keys[ROOT][0].public
    [root] = bundle_of(sim).document()["roots"]
    assert (root["key_id"], root["certificate_id"]) == (public.canonical_id, public.key_id)
    assert root["not_after"].startswith("2036-11-")
    assert bundle_of(sim).document()["repositories"][0]["metadata"][TIMESTAMP]["expires"] == "2026-12-08T12:00:00Z"


@pytest.mark.parametrize("field", ["key_id", "certificate_id", "sha256", "not_after"])
def test_a_bundle_that_contradicts_itself_is_refused(sim: TrustSimulator, field: str) -> None:
    [root] = bundle_of(sim).document()["roots"]
    with pytest.raises(InvalidBundle, match=f"the {field} of a root is not that of its certificate"):
        Bundle.parse(spoilt(sim, roots=[root | {field: "0" * 64}]))


def test_another_certificate_under_the_old_names_is_refused(sim: TrustSimulator) -> None:
    [root] = bundle_of(sim).document()["roots"]
    foreign = root_certificate(PrivateKey.generate(), f"{HOST}/*", NOW).decode()
    with pytest.raises(InvalidBundle, match="is not that of its certificate"):
        Bundle.parse(spoilt(sim, roots=[root | {"certificate": foreign}]))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": 1}, "it is of version 1, and 2 is read here"),
        ({"version": "2"}, "Expected `int`"),
        ({"roots": []}, "it names 0 roots"),
        ({"roots": [{"certificate": "x", "key_id": "", "certificate_id": "", "sha256": "", "not_after": ""}]},
         "not usable"),
        ({"host": 5}, "Expected `str`"),
        ({"signer": "no key"}, "not usable"),
        ({"hub_name": "a b"}, "is not the name of a role"),
        ({"repositories": [{"gun": f"{HOST}/../../etc", "root": ""}]}, "is not a repository under trust"),
        ({"repositories": [{"gun": "other.example/acme/web", "root": ""}]}, f"this hub signs for {HOST} only"),
        ({"repositories": [{"gun": f"{HOST}/acme/web", "root": "%"}]}, "a file in it is not base64"),
        ({"repositories": [{"gun": f"{HOST}/acme/web", "root": ""}] * 2}, "or one twice"),
        ({"repositories": [{"gun": f"{HOST}/acme/web", "root": "", "metadata": {"../x": {"content": ""}}}]},
         "is not the name of a role"),
        ({"repositories": [{"gun": f"{HOST}/acme/web", "root": "", "metadata": {"root": {"content": "AAAA"}}}]},
         "is not that of its metadata"),
    ],
)
def test_what_is_no_bundle_is_refused_with_the_reason(sim: TrustSimulator, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidBundle, match="this is not a trust bundle: ") as caught:
        Bundle.parse(spoilt(sim, **changes))
    assert why in caught.value.message and "customhouse trust export" in caught.value.hint


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"version":2}'])
def test_noise_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidBundle):
        Bundle.parse(raw)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3))
PLACES = ["version", "host", "url", "hub_name", "made", "roots", "ca", "signer", "repositories"]
WHOLE = json.dumps(bundle_of(TrustSimulator(f"{HOST}/acme/web", NOW, common_name=f"{HOST}/*")).document())


@given(st.sampled_from(PLACES), JSON)
def test_whatever_stands_in_a_field_a_bundle_is_read_or_refused_as_one(place: str, value: Any) -> None:
    try:
        read = Bundle.parse(json.dumps(json.loads(WHOLE) | {place: value}).encode())
    except InvalidBundle:
        return
    assert Bundle.parse(json.dumps(read.document()).encode()) == read


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=4))
def test_damage_anywhere_is_refused_or_changes_no_root(at: int, other: bytes) -> None:
    raw = WHOLE.encode()
    try:
        read = Bundle.parse(raw[:at] + other + raw[at + len(other) :])
    except InvalidBundle:
        return
    assert read.root_keys == Bundle.parse(raw).root_keys
