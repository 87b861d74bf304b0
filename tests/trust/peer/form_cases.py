"""Cases of a publish: the form of a file, byte by byte, and its signatures."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from customhouse.keys import PrivateKey, Signature
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust import documents
from customhouse.trust.canonical import canonical, published
from customhouse.trust.names import ROOT, TARGETS
from tests.trust.peer.sides import Repository, each, resigned

Document = dict[str, Any]


# ---- the form of a file


def in_text(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(raw: bytes) -> bytes:
        assert old.encode() in raw, (old, raw)
        return raw.replace(old.encode(), new.encode(), 1)

    return change


def pretty(raw: bytes) -> bytes:
    return json.dumps(json.loads(raw), indent=1).encode()


def expires_as(text: str) -> Callable[[bytes], bytes]:
    def change(raw: bytes) -> bytes:
        expires = json.loads(raw)["signed"]["expires"]
        return raw.replace(expires.encode(), text.encode())

    return change


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "that is pretty-printed": pretty,
    "with a line feed at its end": lambda raw: raw + b"\n",
    "with another document behind it": lambda raw: raw + b"{}",
    "with a byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "whose fields are not in order": in_text('{"_type":"Targets",', '{"version":1,"_type":"Targets",'),
    "of _type targets": in_text('"Targets"', '"targets"'),
    "of _type Root": in_text('"Targets"', '"Root"'),
    "without _type": in_text('"_type":"Targets",', ""),
    "without delegations": in_text('"delegations":{"keys":{},"roles":[]},', ""),
    "with delegations null": in_text('{"keys":{},"roles":[]}', "null"),
    "with null for keys and roles of delegations": in_text('{"keys":{},"roles":[]}', '{"keys":{},"roles":null}'),
    "without expires": lambda raw: raw.replace(expires_of(raw), b""),
    "with a field that nobody knows": in_text('"version":1', '"version":1,"x":1'),
    "with the field version twice": in_text('"version":1', '"version":1,"version":1'),
    "with the fields version and Version": in_text('"version":1', '"Version":9,"version":1'),
    "of version 0": in_text('"version":1', '"version":0'),
    "of version -1": in_text('"version":1', '"version":-1'),
    "of version 1.0": in_text('"version":1', '"version":1.0'),
    "of version 1e0": in_text('"version":1', '"version":1e0'),
    'of version "1"': in_text('"version":1', '"version":"1"'),
    "of version null": in_text('"version":1', '"version":null'),
    "of version true": in_text('"version":1', '"version":true'),
    "of version 2^53+1": in_text('"version":1', '"version":9007199254740993'),
    "that expires at …00.100Z": expires_as("2036-01-01T00:00:00.100Z"),
    "that expires at …00.123456789Z": expires_as("2036-01-01T00:00:00.123456789Z"),
    "that expires at …00.1234567890Z": expires_as("2036-01-01T00:00:00.1234567890Z"),
    "that expires at …00+00:00": expires_as("2036-01-01T00:00:00+00:00"),
    "that expires at …00+02:00": expires_as("2036-01-01T00:00:00+02:00"),
    "that expires tomorrow": expires_as("tomorrow"),
    "that expires in the year 9999": expires_as("9999-12-31T23:59:59Z"),
    "that expires in the year 1": expires_as("0001-01-01T00:00:00Z"),
    "whose tag has no sha256": lambda raw: hash_as(raw, {"sha512": base64.b64encode(bytes(64)).decode()}),
    "whose tag has a hash of an unknown kind beside": lambda raw: hash_as(raw, {"md5": "AAAA"}, keep=True),
    "whose tag has only a hash of an unknown kind": lambda raw: hash_as(raw, {"md5": "AAAA"}),
    "whose tag has no hash": lambda raw: hash_as(raw, {}),
    "whose tag has a sha256 of 31 bytes": lambda raw: hash_as(raw, {"sha256": base64.b64encode(bytes(31)).decode()}),
    "whose tag has a hash that is no base64": lambda raw: hash_as(raw, {"sha256": "!!"}),
    "whose tag has the length 0": lambda raw: length_as(raw, "0"),
    "whose tag has the length -1": lambda raw: length_as(raw, "-1"),
    "whose tag has the length 1.5": lambda raw: length_as(raw, "1.5"),
    "whose tag has a length of 2^53+1": lambda raw: length_as(raw, "9007199254740993"),
    "whose tag has custom {}": lambda raw: length_as(raw, '8,"custom":{}'),
    "whose tag has custom in order": lambda raw: custom_as(raw, '{"a":1,"b":[2,"x"]}'),
    "whose tag has custom out of order": lambda raw: custom_as(raw, '{"b":1,"a":2}'),
    "whose tag has custom with <": lambda raw: custom_as(raw, '{"a":"<"}'),
    "whose tag has custom null": lambda raw: custom_as(raw, "null"),
    "whose tag has custom 1.5": lambda raw: custom_as(raw, "1.5"),
    "whose tag has an empty name": in_text('"1":{', '"":{'),
    "whose tag is named <&>": in_text('"1":{', '"\\u003c\\u0026\\u003e":{'),
    "whose tag is named <&> without escapes": in_text('"1":{', '"<&>":{'),
    "whose tag is named with \\n": in_text('"1":{', '"a\\nb":{'),
    "whose tag is named with a raw control character": in_text('"1":{', '"a\x01b":{'),
    "whose tag is named ä": in_text('"1":{', '"ä":{'),
    "whose tag is named \\u00e4": in_text('"1":{', '"\\u00e4":{'),
    "whose tag is named with half a surrogate": in_text('"1":{', '"\\ud800":{'),
    "with targets null": lambda raw: json.dumps(
        {**(document := json.loads(raw)), "signed": {**document["signed"], "targets": None}}, separators=(",", ":")
    ).encode(),
}


def expires_of(raw: bytes) -> bytes:
    return f'"expires":"{json.loads(raw)["signed"]["expires"]}",'.encode()


def meta_of(raw: bytes) -> str:
    found = json.loads(raw)["signed"]["targets"]["1"]
    return json.dumps(found, separators=(",", ":"))


def hash_as(raw: bytes, hashes: dict[str, str], *, keep: bool = False) -> bytes:
    found = json.loads(meta_of(raw))
    found["hashes"] = {**hashes, **(found["hashes"] if keep else {})}
    return raw.replace(meta_of(raw).encode(), json.dumps(found, separators=(",", ":"), sort_keys=True).encode())


def length_as(raw: bytes, text: str) -> bytes:
    return raw.replace(b'"length":8', f'"length":{text}'.encode())


def custom_as(raw: bytes, text: str) -> bytes:
    return raw.replace(b'"hashes"', f'"custom":{text},"hashes"'.encode(), 1)


@each(list(FORMS), "targets {}")
def forms(repository: Repository, form: str) -> Iterator[object]:
    sim = repository.sim
    raw = FORMS[form](sim.upload(TARGETS)[TARGETS])
    if form not in ("that is pretty-printed", "with a line feed at its end", "with another document behind it",
                    "with a byte order mark"):
        raw = resigned(raw, sim.keys[TARGETS])
    yield repository.publish({ROOT: sim.build_root(), TARGETS: raw})


# ---- signatures


def signed_as(change: Callable[[list[Signature]], list[Signature]]) -> Callable[[TrustSimulator], bytes]:
    def build(sim: TrustSimulator) -> bytes:
        payload = canonical(documents.targets_document(sim.bodies[TARGETS]))
        return published(payload, change([key.sign(payload) for key in sim.keys[TARGETS]]))

    return build


SIGNATURES: dict[str, Callable[[TrustSimulator], bytes]] = {
    "no signature": signed_as(lambda found: []),
    "signatures null": lambda sim: signed_as(lambda found: [])(sim).replace(b"[]}", b"null}"),
    "the signature twice": signed_as(lambda found: found * 2),
    "a stranger's signature beside": signed_as(lambda found: [PrivateKey.generate().sign(b"x"), *found]),
    "a stranger's signature only": signed_as(lambda found: [PrivateKey.generate().sign(b"x")]),
    "a signature under a stranger's id": signed_as(lambda found: [replace(found[0], key_id="0" * 64)]),
    "a signature under an id that is no hash": signed_as(lambda found: [*found, replace(found[0], key_id="x")]),
    "a signature of other bytes": signed_as(lambda found: [replace(found[0], value=bytes(64))]),
    "a signature of no bytes": signed_as(lambda found: [replace(found[0], value=b"")]),
    "the method in capitals": signed_as(lambda found: [replace(found[0], method="ECDSA")]),
    "the method of another kind of key": signed_as(lambda found: [replace(found[0], method="rsapss")]),
    "a method that nobody knows": signed_as(lambda found: [replace(found[0], method="dilithium")]),
    "65 signatures": signed_as(lambda found: found + [replace(found[0], key_id=f"{n:064x}") for n in range(64)]),
}


@each(list(SIGNATURES), "targets with {}")
def signatures(repository: Repository, form: str) -> Iterator[object]:
    yield repository.publish({ROOT: repository.sim.build_root(), TARGETS: SIGNATURES[form](repository.sim)})


@each(["1", "2"], "targets of threshold 2 with {} signatures")
def targets_threshold(repository: Repository, count: str) -> Iterator[object]:
    sim = repository.sim
    sim.keys[TARGETS].append(PrivateKey.generate())
    sim.thresholds[TARGETS] = 2
    root = sim.build_root()
    sim.keys[TARGETS] = sim.keys[TARGETS][: int(count)]
    yield repository.publish({ROOT: root, **sim.upload(TARGETS)})
