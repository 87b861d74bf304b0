"""Strict reading of a publisher's JSON: what two parsers could read differently is refused.

1. UTF-8 without a byte order mark, no lone surrogate, no NUL, no NaN or Infinity.
2. No key twice in one object. Go's encoding/json, which docker and containerd use, also takes `Layers` for `layers`
   (Unicode case folding) and lets the last one win; so `misspelt` finds keys that only differ in case.
3. Budgets: bytes, nesting and number of values.
"""

import json
from collections.abc import Callable, Collection
from typing import Any

DEEPEST = 64
MOST_VALUES = 1_000_000


def read_object(raw: bytes, *, most_bytes: int, refuse: Callable[[str], Exception]) -> dict[str, Any]:
    """The JSON object in `raw`. What is wrong is given to `refuse` as half a sentence, and its result is raised."""
    if len(raw) > most_bytes:
        raise refuse(f"is larger than {most_bytes} bytes")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise refuse(f"has the key {twice[:80]!r} twice in one object")
        return made

    def no_constant(name: str) -> Any:
        raise refuse(f"holds {name}, which is not JSON")

    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except RecursionError:
        raise refuse("is nested too deeply") from None
    except UnicodeDecodeError:
        raise refuse("is not UTF-8") from None
    except ValueError as error:
        raise refuse(f"is not JSON: {str(error)[:120]}") from None
    if not isinstance(document, dict):
        raise refuse("is not a JSON object")
    _within_budgets(document, refuse)
    return document


def misspelt(document: dict[str, Any], known: Collection[str]) -> str | None:
    """A key that Go would take for one of `known` though it is written otherwise, or None."""
    folded = {name.casefold() for name in known}
    return next((key for key in document if key not in known and key.casefold() in folded), None)


def _within_budgets(document: dict[str, Any], refuse: Callable[[str], Exception]) -> None:
    level: list[Any] = [document]
    values = 0
    for _ in range(DEEPEST):
        deeper: list[Any] = []
        for value in level:
            values += 1
            if isinstance(value, str):
                _text(value, refuse)
            elif isinstance(value, dict):
                for key in value:
                    _text(key, refuse)
                deeper.extend(value.values())
            elif isinstance(value, list):
                deeper.extend(value)
        if values > MOST_VALUES:
            raise refuse(f"holds more than {MOST_VALUES} values")
        if not deeper:
            return
        level = deeper
    raise refuse("is nested too deeply")


def _text(value: str, refuse: Callable[[str], Exception]) -> None:
    if "\x00" in value:
        raise refuse("holds a NUL character")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise refuse("holds half a surrogate pair") from None
