"""Spoilers of bytes: the document is right, and it is written as no client writes it, or it is no document at all."""

import json
from collections.abc import Callable
from typing import Any

from customhouse.testing.spoilers.fields import ALL, WITH_TARGETS
from customhouse.testing.spoilers.spoiler import Spoiler, malformed
from customhouse.testing.trust_simulator import TrustSimulator
from customhouse.trust.canonical import MAXIMUM_BYTES
from customhouse.trust.names import RoleName

DIFFERS = "its bytes differ from those docker and notary write (white space, order or escapes); sign it with them"
NOT_JSON = "it is not JSON (…"

Change = Callable[[bytes], bytes]


def _rewritten(**options: Any) -> Change:
    return lambda raw: json.dumps(json.loads(raw), ensure_ascii=False, **options).encode()


def _reversed(raw: bytes) -> bytes:
    """The fields of `signed` in the other order."""
    document = json.loads(raw)
    document["signed"] = dict(reversed(document["signed"].items()))
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _signature_first(raw: bytes) -> bytes:
    document = json.loads(raw)
    return json.dumps(dict(reversed(document.items())), separators=(",", ":"), ensure_ascii=False).encode()


def _signature_reordered(raw: bytes) -> bytes:
    document = json.loads(raw)
    document["signatures"] = [dict(reversed(each.items())) for each in document["signatures"]]
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _put(old: bytes, new: bytes) -> Change:
    return lambda raw: raw.replace(old, new, 1)


def _escaped_otherwise(how: Change) -> Callable[[TrustSimulator, RoleName], None]:
    """A tag with a character that Go escapes, escaped in another way."""

    def spoil(sim: TrustSimulator, role: RoleName) -> None:
        sim.edit(role, lambda signed: signed["targets"].update({"a<b": next(iter(signed["targets"].values()))}))
        sim.edit_bytes(role, how)

    return spoil


def _table() -> list[Spoiler]:
    changes: list[tuple[str, str, Change, str]] = [
        ("pretty", "white space between everything", _rewritten(indent=1), DIFFERS),
        ("spaced", "a blank after commas and colons", _rewritten(), DIFFERS),
        ("line-end", "a line end after it", lambda raw: raw + b"\n", DIFFERS),
        ("blank-before", "a blank before it", lambda raw: b" " + raw, DIFFERS),
        ("fields-reordered", "the fields in another order", _reversed, DIFFERS),
        ("signatures-first", "signatures before signed", _signature_first, DIFFERS),
        ("signature-reordered", "the fields of a signature in another order", _signature_reordered, DIFFERS),
        ("letter-escaped", "a letter written as \\u", _put(b'"version"', b'"ver\\u0073ion"'), DIFFERS),
        ("method-escaped", "the method in disguise", _put(b'"ecdsa"', b'"\\u0065cdsa"'), DIFFERS),
        ("minus-zero", "version -0", _put(b'"version":2', b'"version":-0'), DIFFERS),
        ("exponent", "version 2e0", _put(b'"version":2', b'"version":2e0'), "the number 2e0 is not an integer"),
        ("not-a-number", "version NaN", _put(b'"version":2', b'"version":NaN'), "the number NaN is not an integer"),
        ("leading-zero", "version 02", _put(b'"version":2', b'"version":02'), NOT_JSON),
        ("field-twice", "version stands there twice", _put(b'"version":', b'"version":1,"version":'),
         "the key 'version' is there twice"),
        ("field-twice-escaped", "version twice, once in disguise", _put(b'"version":', b'"ver\\u0073ion":1,"version":'),
         "the key 'version' is there twice"),
        ("signed-twice", "signed stands there twice", _put(b'{"signed":', b'{"signed":{},"signed":'),
         "the key 'signed' is there twice"),
        ("outer-field", "an unknown field beside signed", _put(b'{"signed":', b'{"unsigned":1,"signed":'),
         "the file has the unknown field 'unsigned'"),
        ("signed-null", "signed is null", lambda raw: b'{"signed":null,"signatures":[]}', "signed should be an object"),
        ("signed-list", "signed is a list", lambda raw: b'{"signed":[],"signatures":[]}', "signed should be an object"),
        ("signed-missing", "no signed", lambda raw: b'{"signatures":[]}', "the file has no signed"),
        ("signatures-missing", "no signatures", lambda raw: raw.partition(b',"signatures"')[0] + b"}",
         "the file has no signatures"),
        ("signatures-null", "signatures is null",
         lambda raw: raw.partition(b',"signatures"')[0] + b',"signatures":null}', DIFFERS),
        ("signatures-object", "signatures is an object",
         lambda raw: raw.partition(b',"signatures"')[0] + b',"signatures":{}}', "signatures should be a list"),
        ("empty", "nothing", lambda raw: b"", NOT_JSON),
        ("null", "null", lambda raw: b"null", "the file should be an object"),
        ("list", "a list", lambda raw: b"[" + raw + b"]", "the file should be an object"),
        ("text", "a text", lambda raw: json.dumps(raw.decode()).encode(), "the file should be an object"),
        ("html", "a page of a proxy", lambda raw: b"<!DOCTYPE html><html><body>Sign in</body></html>", NOT_JSON),
        ("truncated", "the second half is missing", lambda raw: raw[: len(raw) // 2], NOT_JSON),
        ("end-missing", "the last byte is missing", lambda raw: raw[:-1], NOT_JSON),
        ("two-documents", "two documents", lambda raw: raw + raw, NOT_JSON),
        ("zero-byte", "a zero byte after it", lambda raw: raw + b"\0", NOT_JSON),
        ("byte-order-mark", "a byte order mark before it", lambda raw: b"\xef\xbb\xbf" + raw, NOT_JSON),
        ("utf-16", "UTF-16", lambda raw: raw.decode().encode("utf-16"), "it is not UTF-8"),
        ("utf-8-overlong", "an overlong form", _put(b'"version"', b'"ver\xc1\xb3ion"'), "it is not UTF-8"),
        ("latin-1", "a letter of Latin-1", _put(b'"signed"', b'"sign\xe9d"'), "it is not UTF-8"),
        ("surrogate", "half of a surrogate pair", _put(b'"version"', b'"\\ud800":1,"version"'),
         "a text in it holds half of a surrogate pair"),
        ("comment", "a comment", _put(b'{"signed":', b'{/**/"signed":'), NOT_JSON),
        ("quotes", "other quotes", lambda raw: raw.replace(b'"', b"'"), NOT_JSON),
        ("too-long", "16 MiB and a byte", lambda raw: raw + b" " * (MAXIMUM_BYTES + 1 - len(raw)),
         f"it is longer than {MAXIMUM_BYTES} bytes"),
        ("nested", "100,000 brackets", lambda raw: b"[" * 100_000, "it is nested deeper than 32"),
        ("nested-signed", "60 levels, closed", lambda raw: b'{"signed":' + b"[" * 60 + b"]" * 60 + b',"signatures":[]}',
         "it is nested deeper than 32"),
    ]  # fmt: skip
    found = [
        Spoiler(f"bytes-{name}", breaks, ALL, lambda sim, role, change=change: sim.edit_bytes(role, change),  # type: ignore[misc]
                malformed(reason))
        for name, breaks, change, reason in changes
    ]  # fmt: skip
    escapes: list[tuple[str, str, Change]] = [
        ("capitals", "\\u003C for \\u003c", _put(b"a\\u003cb", b"a\\u003Cb")),
        ("raw", "< for \\u003c", _put(b"a\\u003cb", b"a<b")),
    ]
    found += [
        Spoiler(f"escape-{name}", breaks, WITH_TARGETS, _escaped_otherwise(how), malformed(DIFFERS))
        for name, breaks, how in escapes
    ]
    return found


ENCODINGS = tuple(_table())
