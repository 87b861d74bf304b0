"""Secrets in text that everyone can read who can pull: environment, labels, build history.

1. A value is known by its form (the same rules as for files) or by the name it is given.
2. What is reported is where and by which rule, never the value or anything it could be guessed from.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from customhouse.certification.secrets.engine import find, is_placeholder

MOST_TEXT = 64 * 1024

_OPTION = re.compile(
    r"(?:^|\s)--?(?:password|passwd|token|secret|api-key)[= ]([^\s$\"'<{*/-][^\s\"'$]{3,})", re.IGNORECASE
)
_SECRET_NAME = re.compile(
    r"(?:^|[_.-])(?:PASS|PASSWD|PASSWORD|PASSPHRASE|PWD|SECRET|SECRETS|TOKEN|APIKEY|API[_-]?KEY|ACCESS[_-]?KEY|"
    r"SECRET[_-]?KEY|SECRET[_-]?ACCESS[_-]?KEY|PRIVATE[_-]?KEY|ENCRYPTION[_-]?KEY|SIGNING[_-]?KEY|AUTH[_-]?KEY|"
    r"CREDENTIALS?)$|PASSWORD$",
    re.IGNORECASE,
)
_HARMLESS_NAMES = frozenset({"PWD", "OLDPWD", "GPG_KEY", "GPG_KEYS"})
# A path, a variable, a switch or a plain placeholder is no secret.
_HARMLESS_VALUE = re.compile(
    r"|[/.~].*|\$.*|\{\{.*|<.*>|%.*|true|false|yes|no|on|off|none|null|nil|undefined|required|optional|\*+|x+|file:.*|env:.*",
    re.IGNORECASE | re.DOTALL,
)
_ASSIGNMENT = re.compile(r"""(?<![\w$])([A-Za-z_][A-Za-z0-9_.-]{0,127})=("[^"]*"|'[^']*'|[^\s;&|"']+)""")


@dataclass(frozen=True)
class Sighting:
    """`name` is the variable, if one is known; `length` that of the value in characters."""

    rule: str
    name: str
    length: int


def in_pair(name: str, value: str) -> Iterator[Sighting]:
    """What is wrong with one variable or label; at most one sighting."""
    value = value[:MOST_TEXT]
    for seen in find(f"{name}={value}".encode("utf-8", "surrogatepass"), examples=True):
        yield Sighting(seen.rule, name, seen.length)
        return
    if "-----BEGIN" in value and "PRIVATE KEY" in value:  # what stands behind it may be cut off
        yield Sighting("private-key", name, len(value))
        return
    if name.upper() not in _HARMLESS_NAMES and _SECRET_NAME.search(name) and not _HARMLESS_VALUE.fullmatch(value):
        yield Sighting("secret-name", name, len(value))


def in_text(text: str) -> Iterator[Sighting]:
    """What is wrong with a line of build history: assignments within it, then the rest by form."""
    text = text[:MOST_TEXT]
    told: set[str] = set()
    for match in _ASSIGNMENT.finditer(text):
        for sighting in in_pair(match[1], match[2].strip("\"'")):
            if sighting.name not in told:
                told.add(sighting.name)
                yield sighting
    rest = _ASSIGNMENT.sub(" ", text)
    for seen in find(rest.encode("utf-8", "surrogatepass"), examples=True):
        yield Sighting(seen.rule, "", seen.length)
    option = _OPTION.search(rest)
    if option and not is_placeholder(option[1].encode("utf-8", "surrogatepass")):
        yield Sighting("password-option", "", len(option[1]))


def redacted(text: str) -> str:
    """The text with `***` for each value that would be reported."""

    def assignment(match: re.Match[str]) -> str:
        return f"{match[1]}=***" if any(in_pair(match[1], match[2].strip("\"'"))) else match[0]

    raw = _ASSIGNMENT.sub(assignment, text[:MOST_TEXT]).encode("utf-8", "surrogatepass")
    for seen in sorted(find(raw, examples=True), key=lambda one: -one.offset):
        raw = raw[: seen.offset] + b"***" + raw[seen.offset + seen.length :]
    return _OPTION.sub(lambda found: found[0].replace(found[1], "***"), raw.decode("utf-8", "replace"))
