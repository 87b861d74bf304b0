"""What holds for every input: canonical JSON, key ids, the four kinds of files, uploads, names, key files, parsers."""

import json
import string
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from customhouse.keyfiles import InvalidKeyFile, KeyFile, WrongPassphrase, read_key_file, write_key_file
from customhouse.keys import PrivateKey, PublicKey
from customhouse.testing.trust_simulator import multipart
from customhouse.trust import documents
from customhouse.trust.canonical import JSON, MAXIMUM_INTEGER, NotCanonical, canonical, parse, published
from customhouse.trust.certificates import covers, root_certificate
from customhouse.trust.fields import MAXIMUM_VERSION
from customhouse.trust.metadata import (
    Delegation,
    FileMeta,
    RoleKeys,
    Root,
    Snapshot,
    Targets,
    Timestamp,
    parse_file,
    parse_root,
    parse_snapshot,
    parse_targets,
    parse_timestamp,
)
from customhouse.trust.multipart import UploadParser
from customhouse.trust.names import ROOT, TARGETS, TOP_ROLES, Gun, InvalidGun, InvalidRole, RoleName
from customhouse.trust.verify import valid_signers
from tests.fuzz.targets import ROLES, TARGETS_BY_NAME

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
GUN = "localhost:5443/staging/acme/web"
settings.register_profile("trust", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
EACH = settings(settings.get_profile("trust"))
FEW = settings(EACH, max_examples=30)

# -- canonical JSON ---------------------------------------------------------------------------------------------------

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, range(32)), "\x7f"])
TEXTS = st.text(CHARACTERS, max_size=20) | st.sampled_from(["<>&\u2028\u2029", '"\\', "\U0001f600", "é", "ｅ", ""])
INTEGERS = st.integers(-MAXIMUM_INTEGER, MAXIMUM_INTEGER)
VALUES: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5), max_leaves=25,
)  # fmt: skip


def oracle(value: JSON) -> str:
    """Canonical JSON in its plainest words, independent of the product."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{oracle(key)}:{oracle(value[key])}" for key in sorted(value, key=str.encode)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(oracle, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join("\\" + each if each in '"\\' else each for each in value) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


@EACH
@given(VALUES)
def test_canonical_json_is_what_the_plain_oracle_writes(value: JSON) -> None:
    assert canonical(value) == oracle(value).encode()


@EACH
@given(VALUES)
def test_canonical_json_read_again_is_the_value_and_the_same_bytes(value: JSON) -> None:
    written = canonical(value)
    assert parse(written) == value
    assert canonical(parse(written)) == written


@EACH
@given(st.dictionaries(TEXTS, INTEGERS, min_size=2, max_size=8), st.randoms())
def test_the_order_in_which_keys_came_makes_no_difference(value: dict[str, JSON], chance: object) -> None:
    items = list(value.items())
    chance.shuffle(items)  # type: ignore[attr-defined]
    assert canonical(dict(items)) == canonical(value)


@EACH
@given(VALUES, VALUES)
def test_different_values_are_written_differently(one: JSON, other: JSON) -> None:
    assume(repr(one) != repr(other) and one != other)
    assert canonical(one) != canonical(other)


@EACH
@given(VALUES)
def test_published_bytes_hold_no_character_that_html_minds_and_are_read_as_what_was_signed(value: JSON) -> None:
    payload = canonical(value)
    raw = published(payload, [])
    assert not set(raw.decode()) & set("<>&\u2028\u2029")
    document = parse(raw)
    assert isinstance(document, dict) and canonical(document["signed"]) == payload


@EACH
@given(st.floats() | st.integers(MAXIMUM_INTEGER + 1, 10**30) | st.integers(-(10**30), -MAXIMUM_INTEGER - 1))
def test_numbers_that_readers_round_are_refused(number: float) -> None:
    with pytest.raises(NotCanonical):
        canonical(parse(json.dumps({"a": [number]}).encode()))


# -- keys -------------------------------------------------------------------------------------------------------------


@cache
def key(number: int) -> PrivateKey:
    return PrivateKey.generate()


@cache
def certified(number: int, hours: int = 0) -> PrivateKey:
    return key(number).with_certificate(root_certificate(key(number), GUN, NOW - timedelta(hours=hours)))


@FEW
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3), st.integers(0, 3))
def test_key_ids_are_stable_distinct_and_canonical_ones_do_not_see_certificates(
    one: int, other: int, hours: int, later: int
) -> None:
    bare, dressed = key(one).public, certified(one, hours).public
    assert PublicKey.parse(bare.keytype, bare.encoded).key_id == bare.key_id == bare.canonical_id
    assert dressed.canonical_id == bare.key_id != dressed.key_id
    assert (key(one).public.key_id == key(other).public.key_id) == (one == other)
    again = certified(other, later).public
    assert (dressed.key_id == again.key_id) == ((one, hours) == (other, later))
    assert (dressed.canonical_id == again.canonical_id) == (one == other)


@FEW
@given(st.binary(max_size=300), st.integers(0, 5), st.integers(0, 300), st.integers(1, 255))
def test_a_signature_is_of_its_payload_its_key_and_its_own_bytes(payload: bytes, who: int, at: int, flip: int) -> None:
    made = key(who).sign(payload)
    assert key(who).public.verify(payload, made.method, made.value)
    assert not key(who + 1).public.verify(payload, made.method, made.value)
    assert not key(who).public.verify(payload + b"\0", made.method, made.value)
    at %= len(made.value)
    spoilt = made.value[:at] + bytes([made.value[at] ^ flip]) + made.value[at + 1 :]
    assert not key(who).public.verify(payload, made.method, spoilt)


# -- the four kinds of files ------------------------------------------------------------------------------------------

MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
VERSIONS = st.integers(1, MAXIMUM_VERSION)
SHA256, SHA512 = st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64)
HASHES = st.builds(lambda a, b: {"sha256": a} | ({"sha512": b} if b else {}), SHA256, st.none() | SHA512)
PLAIN = st.text(st.sampled_from(string.ascii_letters + " é"), max_size=9)
CUSTOM = st.none() | INTEGERS | PLAIN | st.lists(INTEGERS, max_size=3) | st.dictionaries(PLAIN, PLAIN, max_size=3)
TARGET = st.builds(FileMeta, st.integers(0, MAXIMUM_INTEGER), HASHES, CUSTOM)
META = st.builds(FileMeta, st.integers(0, MAXIMUM_INTEGER), HASHES)
NAMES = TEXTS.filter(bool)
WORDS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-_"), min_size=1, max_size=12)
PATHS = st.lists(PLAIN, max_size=3).map(tuple)


@st.composite
def role_keys(draw: st.DrawFn, most: int = 4, dressed: bool = False) -> tuple[RoleKeys, list[PrivateKey]]:
    numbers = draw(st.lists(st.integers(0, 7), min_size=1, max_size=most, unique=True))
    keys = [certified(number) if dressed else key(number) for number in numbers]
    threshold = draw(st.integers(1, len(keys)))
    return RoleKeys(tuple(each.public.key_id for each in keys), threshold), keys


@st.composite
def roots(draw: st.DrawFn) -> tuple[Root, list[PrivateKey]]:
    drawn = {role: draw(role_keys(dressed=role == ROOT)) for role in TOP_ROLES}
    listed = {each.public.key_id: each.public for _, keys in drawn.values() for each in keys}
    body = Root(draw(VERSIONS), draw(MOMENTS), listed, {role: entry for role, (entry, _) in drawn.items()})
    return body, drawn[ROOT][1]


@st.composite
def targets(draw: st.DrawFn, role: RoleName = TARGETS) -> Targets:
    words = draw(st.lists(WORDS, max_size=3, unique=True))
    drawn = [(RoleName.parse(f"{role}/{word}"), *draw(role_keys()), draw(PATHS)) for word in words]
    listed = {each.public.key_id: each.public for _, _, keys, _ in drawn for each in keys}
    delegations = tuple(Delegation(name, entry, paths) for name, entry, _, paths in drawn)
    names = draw(st.dictionaries(NAMES, TARGET, max_size=4))
    return Targets(draw(VERSIONS), draw(MOMENTS), names, listed, delegations)


@EACH
@given(roots())
def test_every_root_is_read_as_it_was_built_and_signed(made: tuple[Root, list[PrivateKey]]) -> None:
    body, signers = made
    file = documents.sign_root(body, signers)
    assert file.body == body
    assert parse_root(file.raw) == file
    assert valid_signers(file, body.keys, body.roles[ROOT]) == {each.public.canonical_id for each in signers}


@EACH
@given(st.sampled_from([TARGETS, RoleName("targets/a"), RoleName("targets/a/b")]), st.data())
def test_every_targets_file_is_read_as_it_was_built(role: RoleName, data: st.DataObject) -> None:
    body = data.draw(targets(role))
    file = documents.sign_targets(role, body, [key(0), key(1)])
    assert file.body == body
    assert parse_targets(file.raw, role) == file
    assert parse_file(role, file.raw).raw == file.raw
    assert documents.sign(documents.targets_document(file.body), []) == published(file.payload, [])


@EACH
@given(VERSIONS, MOMENTS, META, META, st.dictionaries(WORDS, META, max_size=3))
def test_every_snapshot_is_read_as_it_was_built(
    version: int, expires: datetime, root: FileMeta, top: FileMeta, others: dict[str, FileMeta]
) -> None:
    meta = {ROOT: root, TARGETS: top, **{RoleName(f"targets/{word}"): entry for word, entry in others.items()}}
    body = Snapshot(version, expires, meta)
    file = parse_snapshot(documents.sign(documents.snapshot_document(body), [key(0)]))
    assert file.body == body


@EACH
@given(VERSIONS, MOMENTS, META)
def test_every_timestamp_is_read_as_it_was_built(version: int, expires: datetime, meta: FileMeta) -> None:
    body = Timestamp(version, expires, meta)
    file = parse_timestamp(documents.sign(documents.timestamp_document(body), [key(0)]))
    assert file.body == body
    assert file.body.snapshot.fits(b"") is (meta == FileMeta.of(b""))


# -- uploads, names, key files ----------------------------------------------------------------------------------------


@EACH
@given(
    st.dictionaries(st.sampled_from([*ROLES, RoleName("targets/a/b")]), st.binary(max_size=200), max_size=4),
    st.lists(st.integers(1, 60), max_size=40),
)
def test_an_upload_is_read_alike_however_it_is_cut(files: dict[RoleName, bytes], cuts: list[int]) -> None:
    body, kind = multipart(files)
    parser, start = UploadParser(kind), 0
    for size in cuts:
        parser.feed(body[start : start + size])
        start += size
    parser.feed(body[start:])
    assert parser.files() == files


@EACH
@given(st.lists(WORDS, min_size=1, max_size=6))
def test_a_delegation_is_below_its_parent_up_to_targets(words: list[str]) -> None:
    role = RoleName.parse("/".join(["targets", *words]))
    assert role.is_delegation and role.has_targets and role.depth == len(words) + 1
    for _ in words:
        assert role.startswith(f"{role.parent}/") and role.parent.depth == role.depth - 1
        role = RoleName.parse(role.parent)
    assert role == TARGETS


@EACH
@given(st.text(max_size=40) | st.text(st.sampled_from("targets/-_.A\n "), max_size=40))
def test_a_name_is_a_role_exactly_when_it_is_made_of_the_right_parts(text: str) -> None:
    first, *rest = text.split("/")
    right = text in TOP_ROLES or (first == "targets" and bool(rest) and all(
        part and all(each in string.ascii_lowercase + string.digits + "-_" for each in part) for part in rest
    ))  # fmt: skip
    try:
        assert RoleName.parse(text) == text and right
    except InvalidRole as error:
        assert not right and error.text == text


@EACH
@given(st.text(max_size=60) | st.from_regex(r"[a-z0-9.:\[\]-]{1,20}/[a-z0-9._/-]{1,20}", fullmatch=True))
def test_a_gun_is_read_again_as_it_was_or_refused(text: str) -> None:
    try:
        gun = Gun.parse(text)
    except InvalidGun as error:
        assert error.text == text
        return
    assert gun == f"{gun.host}/{gun.repository}" == text
    assert Gun.parse(text, gun.host) == gun
    assert not set(gun) & set(" *\\\n%?#") and "//" not in gun and "/../" not in gun
    assert covers(gun, gun) and covers(f"{gun.host}/*", gun) and not covers(gun.host, gun)


@FEW
@given(st.binary(min_size=1, max_size=80), st.binary(min_size=1, max_size=80), WORDS, st.sampled_from(["", GUN]))
def test_a_key_file_opens_with_its_own_passphrase_only(secret: bytes, wrong: bytes, role: str, gun: str) -> None:
    file = KeyFile(key(0), role, gun)
    raw = write_key_file(file, secret)
    found = read_key_file(raw, secret)
    assert (found.key.public, found.role, found.gun) == (key(0).public, role, gun)
    assert secret not in raw or len(secret) < 3
    if wrong != secret and wrong.rstrip(b"\0") != secret.rstrip(b"\0"):  # HMAC pads a key with zeros
        with pytest.raises(WrongPassphrase):
            read_key_file(raw, wrong)
    with pytest.raises(InvalidKeyFile):
        write_key_file(file, b"")


# -- no parser raises anything but its own classes --------------------------------------------------------------------


INSERTED = [b'"', b"\\", b"{", b"null", b"\0", b"\xff", b"-----", b"\r\n", b"0", b"\xed\xa0\x80"]


@cache
def seeds(name: str) -> list[bytes]:
    return list(TARGETS_BY_NAME[name].seeds())


@pytest.mark.parametrize("name", list(TARGETS_BY_NAME))
@EACH
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_in_the_parsers_own_words(name: str, data: bytes) -> None:
    TARGETS_BY_NAME[name].run(data)


@pytest.mark.parametrize("name", list(TARGETS_BY_NAME))
@EACH
@given(data=st.data())
def test_valid_input_that_was_changed_is_refused_or_read_soundly(name: str, data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(seeds(name))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "repeat", "insert"]))
        length = data.draw(st.integers(1, 30))
        if kind == "flip":
            raw[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del raw[at : at + length]
        elif kind == "repeat":
            raw[at:at] = raw[at : at + length]
        else:
            raw[at:at] = data.draw(st.sampled_from(INSERTED))
        if not raw:
            return
    TARGETS_BY_NAME[name].run(bytes(raw))

