"""Looking for secrets in bytes.

1. One pass of an automaton finds places where a rule could match; the rules that could are tried on the text around.
2. A sighting says where and by which rule, and how the value is called beside it; never the value, nor anything that
   it could be guessed from: a hash of a weak password is the password.
3. What is plainly no secret is left out: placeholders, variables, words, values without entropy, published examples.
4. Budgets: places looked at and sightings told per file; text that goes beyond is told as `unfinished`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from customhouse.certification.findings import Severity
from customhouse.certification.secrets.rules import BEFORE, Group, Rule, RuleSet, shipped

MOST_PLACES = 5000
MOST_SIGHTINGS = 100
UNFINISHED = "unfinished"
_TAIL = 128
# The name that stands before a value: TOKEN=, "token": ", token => '
_NAMED = re.compile(rb"""([A-Za-z_][A-Za-z0-9_.-]{0,60})["']?[ \t]{0,8}(?:=>|:=|[=:])[ \t]{0,8}["'`]?$""")
_MADE_UP = re.compile(
    rb"(?i)example|sample|placeholder|dummy|change_?me|change_?this|replace_?me|replace_?with|your[_-]|<your|"
    rb"xxxx|\*\*\*|\.\.\.|foobar|not_?a_?secret|redacted|todo|insert_|_here|0123456789|1234567890|deadbeef|abcdefgh|"
    rb"^(.)\1*$",
    re.DOTALL,
)
_PLACEHOLDER = re.compile(
    rb"(?i)(?:(?:my|the|a|some|test|user|admin|db|postgres|mysql|redis|root|guest|default)?[_-]?"
    rb"(?:password|passwd|passw|pass|pwd|secret|secrets|token|apikey|api[_-]key|key|credentials?|admin|root|test|guest|"
    rb"postgres|mysql|user|username|none|null|nil|true|false|undefined|required|optional|string|str|"
    rb"bytes|text|varchar|number|integer|boolean)[0-9]{0,4}|\$[^$]*|%.*|@.*@|/.*|\.\.?/.*|file:.*|env:.*|https?:.*)",
    re.DOTALL,
)
_IDENTIFIER = re.compile(rb"[A-Za-z_][A-Za-z_]*(?:[.:/\\-]+[A-Za-z_]+)*[.:-]?")


@dataclass(frozen=True)
class Sighting:
    """`line` and `column` count from 1, `offset` from 0, in bytes; `length` is that of the secret; `name` what it is
    called there."""

    rule: str
    severity: Severity
    line: int
    column: int
    length: int
    offset: int
    name: str = ""


def find(
    body: bytes, path: str = "", *, strong: bool = False, examples: bool = False, rules: RuleSet | None = None
) -> Iterator[Sighting]:
    """The secrets in one text. `strong` looks only for those that are known by their own form; `examples` takes
    every value for a secret, also one that looks made up."""
    rules = rules or shipped()
    seen: set[tuple[str, int]] = set()
    groups = [rules.strong if strong else rules.everywhere]
    if path:
        encoded = path.encode("utf-8", "surrogateescape")
        named_so = [one for pattern, one in rules.by_path if pattern.search(encoded)]
        groups += [one for one in named_so if not (strong and one.rules[0].weak)]
    lines = _Lines(body)
    for one in groups:
        for rule, start, end in _matches(body, one):
            if rule is None:
                yield Sighting(UNFINISHED, Severity.HIGH, *lines.at(start), 0, start)
                break
            secret = body[start:end]
            if (rule.id, start) in seen or not (examples or _is_secret(rule, secret, rules)):
                continue
            seen.add((rule.id, start))
            if len(seen) > MOST_SIGHTINGS:
                return
            named = _NAMED.search(body[max(0, start - 96) : start])
            name = named[1].decode() if named else ""
            yield Sighting(rule.id, rule.severity, *lines.at(start), end - start, start, name)


def _matches(body: bytes, one: Group) -> Iterator[tuple[Rule | None, int, int]]:
    """(rule, start, end) of secrets; no rule when there are more places than are looked at."""
    at = 0
    for _ in range(MOST_PLACES):
        place = one.anywhere.search(body, at)
        if place is None:
            return
        low, high = place.span()
        for number in one.which.Match(body[low : high + _TAIL]):
            yield from _tried(one.rules[number], body, low, high)
        at = max(high, low + 1)
    if one.anywhere.search(body, at) is not None:
        yield None, at, at


def _tried(rule: Rule, body: bytes, low: int, high: int) -> Iterator[tuple[Rule, int, int]]:
    first = max(0, low - rule.before)
    if rule.before == BEFORE:  # most begin on the line of their place
        first = max(first, body.rfind(b"\n", first, low) + 1)
    window = body[first : high + rule.behind]
    found = rule.pattern.search(window)
    while found is not None and first + found.start() < high:  # what begins behind it has a place of its own
        start, end = _secret_span(rule, found)
        yield rule, first + start, first + end
        found = rule.pattern.search(window, max(found.end(), found.start() + 1))


def _secret_span(rule: Rule, found: Any) -> tuple[int, int]:
    """Where the secret stands: the named group, or the first that took part, or all of it."""
    groups = [rule.group] if rule.group else [*range(1, len(found.groups()) + 1), 0]
    spans: list[tuple[int, int]] = [found.span(number) for number in groups]
    return next((span for span in spans if 0 <= span[0] < span[1]), spans[-1])


def _is_secret(rule: Rule, secret: bytes, rules: RuleSet) -> bool:
    if rule.id == "private-key":
        return b"..." not in secret
    if rule.entropy and entropy(secret) <= rule.entropy:
        return False
    if rules.placeholders.fullmatch(secret) or any(pattern.search(secret) for pattern in rule.allowed):
        return False
    lowered = secret[:512].lower()
    if any(word.encode() in lowered for word in (*rules.stopwords, *rule.stopwords)):
        return False
    if not rule.weak:
        return _MADE_UP.search(secret[:512]) is None
    return not (is_placeholder(secret) or (rule.words and _IDENTIFIER.fullmatch(secret) and _wordy(secret)))


def is_placeholder(value: bytes) -> bool:
    """A variable, a word such as "password", an example: what stands where a secret will be."""
    return not value or bool(_MADE_UP.search(value[:512]) or _PLACEHOLDER.fullmatch(value[:512]))


def _wordy(secret: bytes) -> bool:
    """Letters and separators alone: a word, a class, a path of names, unless the letters look drawn by lot."""
    return len(secret) < 20 or entropy(secret) < 4.2 or any(mark in secret for mark in (b".", b"_", b"-", b"::", b"/"))


def entropy(text: bytes) -> float:
    """Bits a byte, after Shannon."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values()) if size else 0.0


class _Lines:
    """Line and column of growing or falling offsets, without counting the whole text each time."""

    def __init__(self, body: bytes) -> None:
        self._body, self._offset, self._line = body, 0, 1

    def at(self, offset: int) -> tuple[int, int]:
        if offset < self._offset:
            self._offset, self._line = 0, 1
        self._line += self._body.count(b"\n", self._offset, offset)
        self._offset = offset
        return self._line, offset - self._body.rfind(b"\n", 0, offset)
