"""Formats: what real clients wrote is read and written again byte for byte; what is ambiguous is refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customhouse.keys import PrivateKey
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.canonical import JSON, MAXIMUM_DEPTH, NotCanonical, _write, canonical, parse, published
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.metadata import parse_file, parse_root, parse_targets
from customhouse.trust.names import ROOT, TARGETS, Gun, InvalidGun, InvalidRole, RoleName

# A targets file as docker CLI 28.2.2 signed it (its key is below).
DOCKER_TARGETS = (
    b'{"signed":{"_type":"Targets","delegations":{"keys":{},"roles":[]},"expires":"2029-11-22T03:10:04.348302371Z",'
    b'"targets":{"1":{"hashes":{"sha256":"tuKkRlOWYQ30VDVZ+vhEtZY/q9Gkxw85ggsc+Z39leE="},"length":482},"2":{"hashes":'
    b'{"sha256":"tuKkRlOWYQ30VDVZ+vhEtZY/q9Gkxw85ggsc+Z39leE="},"length":482}},"version":3},"signatures":[{"keyid":'
    b'"efbbefbffb2b3e38ede843d779effb74d5911ef9279d1d0e760f11e39f179dfa","method":"ecdsa","sig":'
    b'"fNqkIBUgkjcQCfU6chH1N5gVXxzwv61sZLLzWSg/5VDQZmr0wmNwAX06G1SpUKh2TNk9AlWSZB0TzCl8AMAnlA=="}]}'
)


def test_a_file_that_docker_signed_is_read_and_is_a_fixed_point() -> None:
    found = parse_targets(DOCKER_TARGETS, TARGETS)
    assert found.version == 3
    assert found.expires == datetime(2029, 11, 22, 3, 10, 4, 348302, tzinfo=UTC)
    assert sorted(found.body.targets) == ["1", "2"]
    assert published(found.payload, found.signatures) == DOCKER_TARGETS


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"_type":"Targets"', b'"_type":"targets"', "_type should be Targets"),
        (b"04.348302371Z", b"04.348302370Z", "expires"),
        (b"04.348302371Z", b"04+00:00", "expires"),
        (b'"expires":"2029-11-22T03:10:04.348302371Z",', b"", "has no expires"),
        (b'"version":3', b'"version":0', "whole number"),
        (b'"version":3', b'"version":3.0', "not an integer"),
        (b'"version":3', b'"version":true', "whole number"),
        (b'"version":3', b'"version":3,"Version":4', "unknown field 'Version'"),
        (b'"version":3', b'"version":3,"version":3', "there twice"),
        (b'"version":3', b'"version":99999999999999999999', "beyond 2^53"),
        (b'"version":3', b'"version":2147483648', "beyond"),
        (b'{"signed"', b' {"signed"', "bytes differ"),
        (b'"roles":[]}', b'"roles":[]},"x":1', "unknown field 'x'"),
        (b'"keys":{},"roles":[]', b'"roles":[],"keys":{}', "bytes differ"),
        (b'"delegations":{"keys":{},"roles":[]},', b"", "has no delegations"),
        (b'"sha256":"tuKkR', b'"md5":"tuKkR', "unknown kind 'md5'"),
        (b"leE=", b"leF=", "one form of base64"),
        (b'"length":482', b'"length":-1', "whole number"),
        (b'"method":"ecdsa"', b'"method":"ECDSA"', "malformed"),
        (b'"keyid":"efbb', b'"keyid":"EFBB', "malformed"),
    ],
)
def test_what_another_reader_could_take_otherwise_is_refused(old: bytes, new: bytes, reason: str) -> None:
    assert old in DOCKER_TARGETS
    with pytest.raises(InvalidMetadata) as refused:
        parse_targets(DOCKER_TARGETS.replace(old, new, 1), TARGETS)
    assert reason in refused.value.reason
    assert refused.value.role == TARGETS


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"{}", b"null", b"\xff", b'{"signed":{}}', b"[" * 100_000])
def test_what_is_not_metadata_is_refused_and_nothing_else_is_raised(raw: bytes) -> None:
    for role in ("root", "targets", "snapshot", "timestamp", "targets/releases"):
        with pytest.raises(InvalidMetadata):
            parse_file(RoleName.parse(role), raw)


def test_custom_parts_are_kept_when_every_writer_keeps_them(now: datetime) -> None:
    sim = TrustSimulator("localhost:5443/staging/acme/web", now)
    sim.sign_tag("1")
    raw = sim.upload(TARGETS)[TARGETS]
    document = json.loads(raw)["signed"]
    for custom, fine in (({"a": [1, "é"]}, True), ({"a": "<b>"}, False), (None, False)):
        document["targets"]["1"]["custom"] = custom
        payload = canonical(document)
        spoilt = published(payload, [sim.keys[TARGETS][0].sign(payload)])
        if fine:
            assert parse_targets(spoilt, TARGETS).body.targets["1"].custom == custom
        else:
            with pytest.raises(InvalidMetadata, match="custom"):
                parse_targets(spoilt, TARGETS)


def test_names_with_html_characters_are_escaped_outside_and_signed_raw(now: datetime) -> None:
    sim = TrustSimulator("localhost:5443/staging/acme/web", now)
    sim.sign_tag("a<b>&\u2028")
    raw = sim.upload(TARGETS)[TARGETS]
    assert b"a\\u003cb\\u003e\\u0026\\u2028" in raw
    found = parse_targets(raw, TARGETS)
    assert "a<b>&\u2028".encode() in found.payload
    assert list(found.body.targets) == ["a<b>&\u2028"]


def test_null_where_go_leaves_it_is_read_as_empty_and_kept(now: datetime) -> None:
    sim = TrustSimulator("localhost:5443/staging/acme/web", now)
    raw = sim.upload(TARGETS)[TARGETS]
    document = json.loads(raw)["signed"]
    document["delegations"]["roles"] = None
    payload = canonical(document)
    left = published(payload, [sim.keys[TARGETS][0].sign(payload)])
    assert parse_targets(left, TARGETS).body.delegations == ()
    assert parse_targets(left, TARGETS).raw == left


def test_a_root_names_only_keys_that_stand_under_their_own_id(now: datetime) -> None:
    sim = TrustSimulator("localhost:5443/staging/acme/web", now)
    raw = sim.build_root()
    mine = sim.keys[TARGETS][0].public.key_id
    other = PrivateKey.generate().public.key_id
    with pytest.raises(InvalidMetadata, match="under an id that is not its own"):
        parse_root(_sorted(raw.replace(mine.encode(), other.encode())))
    with pytest.raises(InvalidMetadata, match="which is not listed"):
        parse_root(raw.replace(f'"keyids":["{mine}"]'.encode(), f'"keyids":["{other}"]'.encode()))
    with pytest.raises(InvalidMetadata, match="private key"):
        parse_root(raw.replace(b'"private":null', b'"private":"c2VjcmV0"', 1))
    with pytest.raises(InvalidMetadata, match="1 or more"):
        parse_root(raw.replace(b'"threshold":1', b'"threshold":0', 1))
    assert parse_root(raw).role == ROOT


def _sorted(raw: bytes) -> bytes:
    document = json.loads(raw)
    signatures = parse_signatures(document)
    return published(canonical(document["signed"]), signatures)


def parse_signatures(document: dict) -> list:  # type: ignore[type-arg]
    from base64 import b64decode

    from customhouse.keys import Signature

    return [Signature(each["keyid"], each["method"], b64decode(each["sig"])) for each in document["signatures"]]


def test_canonical_json_escapes_two_characters_only() -> None:
    assert canonical({"b": 'a"\\é<', "a": [True, None, -1]}) == '{"a":[true,null,-1],"b":"a\\"\\\\é<"}'.encode()
    for wrong in (b'"\\ud800"', b'"\\n"', b'"\\u007f"'):
        with pytest.raises(NotCanonical):
            canonical(parse(wrong))


def written_plainly(value: JSON) -> bytes | str:
    """Canonical form by the plain writer alone, or why there is none."""
    parts: list[str] = []
    try:
        _write(value, parts, 0)
        return "".join(parts).encode()
    except NotCanonical as error:
        return error.reason
    except UnicodeEncodeError:
        return "a text in it holds half of a surrogate pair"


def written(value: JSON) -> bytes | str:
    try:
        return canonical(value)
    except NotCanonical as error:
        return error.reason


texts = st.text(st.sampled_from("ab\\\"/n\n\x7f\u00e9<\u2028\ud800\U0001f600"), max_size=5) | st.text(max_size=3)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    )
)
def test_the_quick_writer_of_canonical_json_writes_and_refuses_as_the_plain_one(value: JSON) -> None:
    assert written(value) == written_plainly(value)


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("depth", range(30, 36))
def test_both_writers_stop_at_the_same_depth(kind: type, depth: int) -> None:
    for inner in ([], 1, {"a": 1}, "\n"):
        value: Any = inner
        for _ in range(depth):
            value = [value] if kind is list else {"a": value}
        assert written(value) == written_plainly(value)
    assert written(_nested(100_000)) == f"it is nested deeper than {MAXIMUM_DEPTH}"


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "wrong", ["", "targets/", "targets//a", "targets/../root", "targets/A", "a", "targets/" + "a" * 250]
)
def test_names_that_are_no_roles_are_refused(wrong: str) -> None:
    with pytest.raises(InvalidRole):
        RoleName.parse(wrong)


def test_guns_are_host_and_repository_of_this_hub() -> None:
    gun = Gun.parse("localhost:5443/staging/acme/web", "localhost:5443")
    assert (gun.host, gun.repository) == ("localhost:5443", "staging/acme/web")
    host = "localhost:5443"
    for wrong in ("web", f"{host}/", f"{host}/A", f"{host}/a//b", f"{host}/a/../b", "h/" + "a" * 300):
        with pytest.raises(InvalidGun):
            Gun.parse(wrong)
    with pytest.raises(InvalidGun, match="tag and push the image as localhost:5443/a"):
        Gun.parse("elsewhere.example/a", "localhost:5443")
