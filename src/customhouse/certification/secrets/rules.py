"""The rules for secrets: documents, read once, and the automata made of them.

1. Two documents are shipped: rules.toml (ours) and gitleaks.toml (unchanged, MIT
   licence; ours says what of it is used).
2. Every rule has a `locate` pattern that each of its matches holds. All of them together are one RE2 automaton, so a
   file costs one pass however many rules there are; the rules themselves are tried where that automaton stopped.
3. Expressions are RE2's: time grows with the text, whatever the text is.
4. `RuleSet.version` changes with every byte of the documents and with ENGINE: facts kept from other rules are stale.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import re2

from customhouse.certification.findings import Severity

ENGINE = 1
BEFORE, BEHIND = 256, 1024
_CONTEXT = r"(?:[ \t\w.-]{0,20})"  # how gitleaks writes "the service's name, then perhaps more of a name"
_LONG = {"private-key": 16384, "jwt": 4096, "jwt-base64": 4096, "1password-service-account-token": 4096}


@dataclass(frozen=True)
class Rule:
    """One form of secret. `regex` and the rest are as rules.toml explains them. `weak`: it knows a secret by the
    name beside it, so what others publish (packages, documentation, tests) is not asked. `words`: a value of
    letters alone is a word, not a secret."""

    id: str
    title: str
    regex: str
    locate: str
    group: int | None = None
    severity: Severity = Severity.BLOCK
    entropy: float = 0.0
    paths: str = ""
    allow: tuple[str, ...] = ()
    stopwords: tuple[str, ...] = ()
    before: int = BEFORE
    behind: int = BEHIND
    weak: bool = False
    words: bool = False

    @cached_property
    def pattern(self) -> Any:
        return compiled(self.regex)

    @cached_property
    def allowed(self) -> tuple[Any, ...]:
        return tuple(compiled(text) for text in self.allow)


@dataclass(frozen=True)
class Group:
    """Rules that are looked for together: `anywhere` finds the places, `which` the rules that could match there."""

    rules: tuple[Rule, ...]
    anywhere: Any
    which: Any


@dataclass(frozen=True)
class RuleSet:
    """All rules. `everywhere` holds those for any file, `by_path` those for files of certain names."""

    rules: tuple[Rule, ...]
    digest: str
    never: tuple[str, ...] = ()
    stopwords: tuple[str, ...] = ()
    _by_id: dict[str, Rule] = field(default_factory=dict, compare=False)

    @property
    def version(self) -> int:
        return int(self.digest[:8], 16)

    @cached_property
    def by_id(self) -> Mapping[str, Rule]:
        return {rule.id: rule for rule in self.rules}

    @cached_property
    def everywhere(self) -> Group:
        return group([rule for rule in self.rules if not rule.paths])

    @cached_property
    def strong(self) -> Group:
        """For what others publish: the rules that know a secret by its own form."""
        return group([rule for rule in self.rules if not rule.paths and not rule.weak])

    @cached_property
    def by_path(self) -> tuple[tuple[Any, Group], ...]:
        return tuple((compiled(rule.paths), group([rule])) for rule in self.rules if rule.paths)

    @cached_property
    def placeholders(self) -> Any:
        return compiled("|".join(f"(?:{text})" for text in self.never))


def compiled(pattern: str, *, fold: bool = False) -> Any:
    """An RE2 expression over bytes."""
    return re2.compile(pattern.encode("utf-8"), _options(fold))


def group(rules: Sequence[Rule]) -> Group:
    """The automata of these rules."""
    which = re2.Set.SearchSet(_options(True))
    for rule in rules:
        which.Add(rule.locate.encode("utf-8"))
    which.Compile()
    anywhere = compiled("|".join(_shared(rules)), fold=True)
    return Group(tuple(rules), anywhere, which)


def load(ours: bytes | None = None, gitleaks: bytes | None = None) -> RuleSet:
    """The shipped rules, or those of other documents. Raises what tomllib and re2 raise: a broken rule stops the
    start."""
    folder = files("customhouse.certification.secrets")
    ours = ours if ours is not None else folder.joinpath("rules.toml").read_bytes()
    gitleaks = gitleaks if gitleaks is not None else folder.joinpath("gitleaks.toml").read_bytes()
    document, theirs = tomllib.loads(ours.decode("utf-8")), tomllib.loads(gitleaks.decode("utf-8"))
    rules = [_own(table) for table in document["rules"]]
    rules += _converted(theirs["rules"], document["gitleaks"])
    digest = hashlib.sha256(b"%d\0%b\0%b" % (ENGINE, ours, gitleaks)).hexdigest()
    allow = theirs["allowlist"]
    # Their first expression means the three words and matches every text that holds "false" or ends in "null".
    never = [text for text in allow["regexes"] if not text.endswith("null$")]
    return RuleSet(tuple(rules), digest, tuple(never), tuple(word.lower() for word in allow["stopwords"]))


def _own(table: Mapping[str, Any]) -> Rule:
    return Rule(
        id=table["id"],
        title=table["title"],
        regex=table["regex"],
        locate=table["locate"],
        group=table.get("group"),
        severity=Severity(table.get("severity", "block")),
        entropy=float(table.get("entropy", 0)),
        paths=table.get("paths", ""),
        before=table.get("before", BEFORE),
        behind=table.get("behind", BEHIND),
        weak=table.get("weak", False),
        words=table.get("words", False),
    )


def _converted(tables: Iterable[Mapping[str, Any]], use: Mapping[str, Any]) -> Iterable[Rule]:
    for table in tables:
        name = table["id"]
        if name in use["without"]:
            continue
        lists = [item for item in table.get("allowlists", ()) if item.get("regexTarget", "secret") == "secret"]
        named = _CONTEXT in table["regex"]
        yield Rule(
            id=name,
            title=name.replace("-", " "),
            regex=table["regex"],
            locate=use["locate"].get(name, "").replace("{context}", use["context"])
            or _located(table["keywords"], use["context"] if named else use["token"]),
            group=table.get("secretGroup"),
            severity=Severity.HIGH if name in use["high"] or named else Severity.BLOCK,
            entropy=float(table.get("entropy", 0)),
            paths=table.get("path", ""),
            allow=tuple(text for item in lists if "paths" not in item for text in item.get("regexes", ())),
            stopwords=tuple(word.lower() for item in lists for word in item.get("stopwords", ())),
            behind=_LONG.get(name, BEHIND),
        )


def _located(keywords: Sequence[str], behind: str) -> str:
    return f"(?:{'|'.join(re.escape(word) for word in keywords)}){behind}"


def _shared(rules: Iterable[Rule]) -> Iterable[str]:
    """The locating patterns, those that differ in their first words only as one: a smaller automaton."""
    by_end: dict[str, list[str]] = {}
    for rule in rules:
        start, closing, end = rule.locate.partition(")")
        plain = start.startswith("(?:") and closing and not set(start[3:]) & set("()[]{}")
        if plain:
            by_end.setdefault(end, []).append(start[3:])
        else:
            yield f"(?:{rule.locate})"
    for end, starts in by_end.items():
        words = sorted({word for start in starts for word in start.split("|")})
        yield f"(?:{'|'.join(words)}){end}"


def _options(fold: bool) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = not fold
    options.max_mem = 64 << 20
    options.log_errors = False
    return options


@cache
def shipped() -> RuleSet:
    """The rules of this release."""
    return load()
