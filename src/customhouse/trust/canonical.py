"""Canonical JSON, and the one byte form in which Go components write signed documents.

1. Canonical: keys in byte order, no white space, only `\\` and `"` escaped in strings, integers only. It is what
   is signed; parsing and writing it again must lose nothing.
2. Published: `{"signed":` canonical, with `<`, `>`, `&`, U+2028 and U+2029 escaped, `,"signatures":[...]}`.
3. Go clients hash their own serialisation of root and targets, not the stored bytes. A document that is not a fixed
   point of 2 makes a snapshot that points at nothing, so it is refused at the door rather than repaired.
4. Refused while parsing: repeated keys, fractions, integers above 2^53, control characters, lone surrogates, nesting
   deeper than 32, more bytes than the budget.
Notary v1 wire: canonical JSON and signed bytes.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

from customhouse.errors import Invalid
from customhouse.keys import Signature

JSON = dict[str, "JSON"] | list["JSON"] | str | int | bool | None

MAXIMUM_BYTES = 16 * 1024 * 1024
MAXIMUM_DEPTH = 32
MAXIMUM_INTEGER = 2**53

_CONTROL = re.compile("[\\x00-\\x1f\\x7f]")
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPE_TABLE = str.maketrans(_ESCAPED)
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False)


class NotCanonical(Invalid):
    """A document that is not JSON of the strict kind: `reason` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the document is not usable: {reason}")
        self.reason = reason


def parse(raw: bytes, *, maximum: int = MAXIMUM_BYTES) -> JSON:
    """Strict JSON of at most `maximum` bytes. Raises NotCanonical."""
    if len(raw) > maximum:
        raise NotCanonical(f"it is longer than {maximum} bytes")
    try:
        value: JSON = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise NotCanonical("it is not UTF-8") from None
    except RecursionError:
        raise NotCanonical(f"it is nested deeper than {MAXIMUM_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise NotCanonical(f"it is not JSON ({error.msg} at byte {error.pos})") from None
    return value


def canonical(value: JSON) -> bytes:
    """The bytes that are signed. Raises NotCanonical for what has no canonical form.

    The library's encoder writes most documents as they should be, in a tenth of the time; what it may not have written
    so is written, or refused, by `_write`.
    """
    text = _quickly(value)
    if text is None:
        parts: list[str] = []
        _write(value, parts, 0)
        text = "".join(parts)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonical("a text in it holds half of a surrogate pair") from None


def published(payload: bytes, signatures: Sequence[Signature]) -> bytes:
    """The file: canonical `signed` bytes and their signatures, as a Go component would write it again."""
    signed = payload.decode("utf-8")
    if any(letter in signed for letter in _ESCAPED):
        signed = signed.translate(_ESCAPE_TABLE)
    listed = ",".join(
        f'{{"keyid":"{each.key_id}","method":"{each.method}","sig":"{base64.b64encode(each.value).decode()}"}}'
        for each in signatures
    )
    return f'{{"signed":{signed},"signatures":[{listed}]}}'.encode()


def _distinct(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise NotCanonical(f"the key {twice[:60]!r} is there twice")
    return found


def _no_fraction(text: str) -> NoReturn:
    raise NotCanonical(f"the number {text[:30]} is not an integer")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(value := int(text)) > MAXIMUM_INTEGER:
        raise NotCanonical(f"the number {text[:30]} is beyond 2^53")
    return value


def _quickly(value: JSON) -> str | None:
    """The canonical form, or None where the library's may be another: it escapes control characters."""
    if _too_deep(value):
        return None
    text = _ENCODER.encode(value)
    if "\x7f" in text or ("\\" in text and "\\" in text.replace("\\\\", "").replace('\\"', "")):
        return None
    return text


def _too_deep(value: JSON) -> bool:
    level: list[JSON] = [value] if isinstance(value, dict | list) else []
    for _ in range(MAXIMUM_DEPTH):
        if not level:
            return False
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            if isinstance(child, dict | list)
        ]
    return any(level)  # what stands in them would be one deeper


def _write(value: JSON, parts: list[str], depth: int) -> None:
    if depth > MAXIMUM_DEPTH:
        raise NotCanonical(f"it is nested deeper than {MAXIMUM_DEPTH}")
    if value is None:
        parts.append("null")
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, int):
        parts.append(str(value))
    elif isinstance(value, str):
        parts.append(_text(value))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            parts.append("," if index else "[")
            _write(item, parts, depth + 1)
        parts.append("]" if value else "[]")
    else:
        for index, name in enumerate(sorted(value)):
            parts.append("," if index else "{")
            parts.append(_text(name) + ":")
            _write(value[name], parts, depth + 1)
        parts.append("}" if value else "{}")


def _text(text: str) -> str:
    if _CONTROL.search(text):
        raise NotCanonical(f"the text {text[:40]!r} holds a control character")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
