"""Secrets in text that everyone can read who can pull: environment, labels, build history.

1. A value is known by its form (tokens with a prefix, private keys, passwords in URLs) or by the name it is given.
2. What is reported is where and by which rule, never the value or anything it could be guessed from.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_TEXT = 64 * 1024

_FORMS = (
    ("aws-access-key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    ("github-token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})"),
    ("gitlab-token", r"\bgl(?:pat|dt|rt|ptt|cbt|soat)-[A-Za-z0-9_-]{20,}"),
    ("slack-token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("slack-webhook", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/+_-]{20,}"),
    ("stripe-key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("google-api-key", r"\bAIza[A-Za-z0-9_-]{35}\b"),
    ("npm-token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("pypi-token", r"\bpypi-AgEI[A-Za-z0-9_-]{50,}"),
    ("docker-token", r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    ("sendgrid-key", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("hashicorp-token", r"\bhv[sb]\.[A-Za-z0-9_-]{24,}"),
    ("json-web-token", r"\beyJ[A-Za-z0-9_-]{10,600}\.eyJ[A-Za-z0-9_-]{10,3000}\.[A-Za-z0-9_-]{10}"),
    ("private-key", r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----"),
    ("azure-storage-key", r"AccountKey=[A-Za-z0-9+/]{60,}={0,2}"),
    ("password-in-url", r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@$\"']{0,64}:[^\s/@$\"'{}<>*]{3,128}@[^\s/@]"),
    ("password-option", r"(?:^|\s)--?(?:password|passwd|token|secret|api-key)[= ][^\s$\"'<{*/-][^\s\"'$]{3,}"),
)
FORMS = tuple((name, re.compile(pattern)) for name, pattern in _FORMS)

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
    for rule, form in FORMS:
        if form.search(value):
            yield Sighting(rule, name, len(value))
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
    for rule, form in FORMS:
        found = form.search(rest)
        if found:
            yield Sighting(rule, "", len(found[0]))


def redacted(text: str) -> str:
    """The text with `***` for each value that would be reported."""

    def assignment(match: re.Match[str]) -> str:
        return f"{match[1]}=***" if any(in_pair(match[1], match[2].strip("\"'"))) else match[0]

    text = _ASSIGNMENT.sub(assignment, text[:MOST_TEXT])
    for _, form in FORMS:
        text = form.sub("***", text)
    return text
