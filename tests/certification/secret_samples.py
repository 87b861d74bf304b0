"""Made-up secrets, drawn from the rules' own expressions when a test runs: none stands in this repository, so that no
scanner finds one in it."""

import random
import string
from re import _constants as c
from re import _parser
from typing import Any

from customhouse.certification.secrets.rules import Rule

_WORD = string.ascii_letters + string.digits + "_"
_CATEGORIES = {c.CATEGORY_WORD: _WORD, c.CATEGORY_DIGIT: string.digits, c.CATEGORY_SPACE: " "}
_ANY = string.ascii_letters + string.digits


def sample(rule: Rule, seed: int = 0) -> bytes:
    """A text that the rule's expression matches, alone on its line."""
    text = _python(rule.regex)
    return _drawn(_parser.parse(text), random.Random(f"{rule.id} {seed}")).encode()


def token(prefix: str, length: int, seed: int = 0, letters: str = _ANY) -> str:
    """A prefix and letters by lot."""
    lot = random.Random(f"{prefix} {seed}")
    return prefix + "".join(lot.choice(letters) for _ in range(length))


def private_key(label: str = "RSA ", seed: int = 0, headers: str = "") -> str:
    """What looks like a PEM key."""
    lines = [token("", 64, seed * 100 + number) for number in range(12)]
    dashes = "-" * 5
    return "\n".join([f"{dashes}BEGIN {label}PRIVATE KEY{dashes}", *([headers, ""] if headers else []), *lines,
                      f"{dashes}END {label}PRIVATE KEY{dashes}", ""])  # fmt: skip


def _python(expression: str) -> str:
    """RE2's syntax as Python's parser takes it; flags within are dropped, which only narrows what is drawn."""
    words = {r"\z": r"\Z", "[[:alnum:]]": "[A-Za-z0-9]", "(?s:.)": r"[\s\S]", "(?i)": "", "(?im)": "", "(?m)": ""}
    for old, new in {**words, "(?-i:": "(?:", "(?i:": "(?:"}.items():
        expression = expression.replace(old, new)
    return expression


def _drawn(tree: Any, lot: random.Random) -> str:
    return "".join(_one(op, value, lot) for op, value in tree)


def _one(op: Any, value: Any, lot: random.Random) -> str:
    if op is c.LITERAL:
        return chr(value)
    if op is c.NOT_LITERAL or op is c.ANY:
        return lot.choice([letter for letter in _ANY if op is c.ANY or ord(letter) != value])
    if op is c.IN:
        return lot.choice(_set(value))
    if op is c.BRANCH:
        return _drawn(lot.choice(value[1]), lot)
    if op is c.SUBPATTERN:
        return _drawn(value[3], lot)
    if op in (c.MAX_REPEAT, c.MIN_REPEAT):
        low, high, inner = value
        return "".join(_drawn(inner, lot) for _ in range(lot.randint(low, min(int(high), low + 3))))
    assert op is c.AT, op
    return ""


def _set(items: Any) -> str:
    negated = items[0][0] is c.NEGATE
    letters = ""
    for op, value in items:
        if op is c.LITERAL:
            letters += chr(value)
        elif op is c.RANGE:
            letters += "".join(chr(code) for code in range(value[0], value[1] + 1))
        elif op is c.CATEGORY:
            letters += _CATEGORIES.get(value) or _ANY
    if negated:
        return "".join(sorted(set(_ANY) - set(letters))) or " "
    return "".join(sorted(set(letters) - set("\n\r"))) or letters
