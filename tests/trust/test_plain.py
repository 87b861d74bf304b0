"""The quick reader of targets takes nothing that the careful one refuses, and reads the same where both take it."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256, sha512
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from customhouse.keys import PrivateKey
from customhouse.trust import documents, metadata, plain
from customhouse.trust.canonical import canonical, published
from customhouse.trust.fields import InvalidMetadata
from customhouse.trust.filemeta import FileMeta, Listed, differing
from customhouse.trust.metadata import MAXIMUM_PLAIN, MAXIMUM_TARGETS, Signed, Targets, parse_targets
from customhouse.trust.names import RELEASES

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = PrivateKey.generate()
EMPTY = documents.with_delegation(documents.empty_targets(NOW), metadata.RoleName(f"{RELEASES}/a"), [KEY.public])

metas = st.builds(
    lambda length, content, both, custom: FileMeta(
        length, {"sha256": sha256(content).digest(), **({"sha512": sha512(content).digest()} if both else {})}, custom
    ),
    st.integers(0, 2**53), st.binary(max_size=4), st.booleans(),
    st.sampled_from([None] * 9 + [{"a": [1, "é"]}, "x", 0]),
)  # fmt: skip
names = st.text(st.sampled_from("abc019.-_ \"'é/€<\\"), min_size=1, max_size=8) | st.text(min_size=1, max_size=4)
PIECES = [
    b'"', b"\\", b"}", b"{", b",", b":", b" ", b"\n", b"\x7f", b"\x00", b"\xff", b"0", b"-", b"1.0", b"e1", b"null",
    b'"length":1,', b'"length":-0', b'"sha256":"', b'"sha512":""', b'"version":2,', b'"x":1,', b"[", b"]", b"=", b"A",
    "\u2028".encode(), b"\\u0041", b"&", b"9" * 20, b'"custom":1,', b"true", b"Z",
]  # fmt: skip


def signed(targets: dict[str, FileMeta]) -> bytes:
    body = replace(EMPTY, targets=targets)
    payload = canonical(documents.targets_document(body))
    return published(payload, [KEY.sign(payload)])


def outcome(raw: bytes) -> Signed[Targets] | str:
    try:
        return parse_targets(raw, RELEASES)
    except InvalidMetadata as error:
        return error.reason


def by_both(raw: bytes) -> tuple[Any, Any]:
    quick = outcome(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "read", lambda raw: None)
        return quick, outcome(raw)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, metas, max_size=4), st.data())
@example({"1": FileMeta(1, {"sha256": bytes(32)})}, None)
def test_both_readers_say_the_same_of_everything(targets: dict[str, FileMeta], data: st.DataObject | None) -> None:
    try:
        raw = signed(targets)
    except Exception as error:
        assert type(error).__name__ == "NotCanonical"
        return
    quick, careful = by_both(raw)
    assert quick == careful
    for _ in range(4 if data else 0):
        begin = data.draw(st.integers(0, len(raw)))  # type: ignore[union-attr]
        end = begin + data.draw(st.integers(0, 6))  # type: ignore[union-attr]
        spoilt = raw[:begin] + data.draw(st.sampled_from([*PIECES, raw[begin:end] * 2, b""])) + raw[end:]  # type: ignore[union-attr]
        quick, careful = by_both(spoilt)
        assert quick == careful, spoilt


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"length":7', b'"length":7.0', "the number 7.0 is not an integer"),
        (b'"length":7', b'"length":-7', "length should be a whole number, 0 or more"),
        (b'"length":7', b'"length":true', "length should be a whole number, 0 or more"),
        (b'"length":7', b'"length":9007199254740993', "the number 9007199254740993 is beyond 2^53"),
        (b'"length":7', b'"length":7,"length":7', "the key 'length' is there twice"),
        (b'"b":{', b'"a":{', "the key 'a' is there twice"),
        (b'"b":{', b'"A":{', "its bytes differ from those docker and notary write"),
        (b'"b":{', b'"\x7f":{', "the text '\\x7f' holds a control character"),
        (b'"a":{', b'"":{', "the name of a target is empty or too long"),
        (b'"b":{', b'"' + b"b" * 1025 + b'":{', "the name of a target is empty or too long"),
        (b'"hashes":{"sha256"', b'"hashes":{"sha1":"","sha256"', "a has a hash of the unknown kind 'sha1'"),
        (b'="},"length":7', b'=","sha512":""},"length":7', "b has a sha512 of the wrong length"),
        (b'="},"length":7', b'A="},"length":7', "sha256 is not in the one form of base64"),
        (b'="},"length":7', b'"},"length":7', "sha256 should be base64"),
        (b'"threshold":1', b'"threshold":1.0', "the number 1.0 is not an integer"),
        (b'"threshold":1', b'"threshold":18014398509481984', "the number 18014398509481984 is beyond 2^53"),
        (b'"version":1', b'"version":01', "it is not JSON"),
        (b'"Targets"', b'"Root"', "its _type should be Targets"),
        (b'"expires":"2', b'"expires":"\\u0032', "its bytes differ from those docker and notary write"),
    ],
)  # fmt: skip
def test_what_a_quick_reader_could_overlook_is_refused_with_its_reason(old: bytes, new: bytes, reason: str) -> None:
    raw = signed({"a": FileMeta(1, {"sha256": bytes(32)}), "b": FileMeta(7, {"sha256": bytes(32)})})
    assert old in raw
    quick, careful = by_both(raw.replace(old, new, 1))
    assert quick == careful
    assert reason in str(quick)


def test_two_digests_that_share_their_letters_are_not_two_right_ones() -> None:
    raw = signed({name: FileMeta(1, {"sha256": bytes(32)}) for name in "ab"})
    text = raw.decode().split('"sha256":"')
    shifted = '"sha256":"'.join([text[0], text[1].replace('"}', 'AAAA"}', 1), text[2][4:]]).encode()
    quick, careful = by_both(shifted)
    assert quick == careful == "sha256 should be base64"


def test_a_plain_file_is_read_quickly_and_others_are_read_too() -> None:
    digests = {"sha256": bytes(32), "sha512": bytes(64)}
    raw = signed({"1": FileMeta(5, digests)})
    found = parse_targets(raw, RELEASES).body.targets
    assert isinstance(found, Listed)
    assert dict(found) == {"1": FileMeta(5, digests)}
    assert "1" in found and "2" not in found and found.get("2") is None
    for other in ({"é": FileMeta(5, digests)}, {"1": FileMeta(5, digests, {"a": 1})}):
        body = parse_targets(signed(other), RELEASES).body
        assert not isinstance(body.targets, Listed)
        assert body.targets == other


def test_what_differs_between_lists_of_either_kind_is_named() -> None:
    metas = [FileMeta(length, {"sha256": bytes(32)}) for length in range(3)]
    old, new = {"a": metas[0], "b": metas[1], "gone": metas[1]}, {"a": metas[0], "b": metas[2], "new": metas[1]}
    read = [parse_targets(signed(each), RELEASES).body.targets for each in (old, new)]
    for one in (old, read[0]):
        for other in (new, read[1]):
            assert differing(one, other) == differing(other, one) == {"b", "gone", "new"}
        assert differing(one, one) == differing(one, old) == set()


def many(count: int, length: int = 20) -> dict[str, FileMeta]:
    digests = {"sha256": sha256(b"x").digest(), "sha512": sha512(b"x").digest()}
    return {f"{number:0{length}}": FileMeta(1000 + number % 1000, digests) for number in range(count)}


def test_as_many_tags_as_there_may_be_fit_with_the_longest_names_and_both_digests_and_one_more_is_refused() -> None:
    raw = signed(many(MAXIMUM_TARGETS, 128))
    assert 31_000_000 < len(raw) < MAXIMUM_PLAIN
    began = time.process_time()
    assert len(parse_targets(raw, RELEASES).body.targets) == MAXIMUM_TARGETS
    first = time.process_time() - began
    parse_targets(raw, RELEASES)
    assert time.process_time() - began - first < first, "the second time it is found"
    with pytest.raises(InvalidMetadata) as refused:
        parse_targets(signed(many(MAXIMUM_TARGETS + 1)), RELEASES)
    assert refused.value.reason == "it lists more than 100000 targets"


def test_what_is_remembered_is_bounded_and_found_by_role_and_bytes() -> None:
    recent = plain.Recent[int](most=100, least=10)
    for number in range(10):
        recent.put("a", bytes([number]) * 30, number)
    assert [recent.get("a", bytes([number]) * 30) for number in range(10)] == [None] * 7 + [7, 8, 9]
    assert recent.get("b", bytes([9]) * 30) is None
    recent.put("a", b"short", 1)
    assert recent.get("a", b"short") is None
    recent.put("a", b"l" * 101, 1)
    assert recent.get("a", b"l" * 101) is None


def test_a_remembered_file_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "_RECENT", plain.Recent[Any](least=0))
    raw = signed(many(3))
    first, second = parse_targets(raw, RELEASES), parse_targets(bytes(bytearray(raw)), RELEASES)
    assert first == second and second.body is first.body
    assert json.loads(second.payload) == json.loads(raw)["signed"]
