"""The policy: which findings block, which need people, and with which settings the checks run.

1. A policy is a TOML file; its digest is that of its bytes and is part of every verdict (S4).
2. Nothing unknown is ignored: a misspelt key, check or parameter is an error with its line, or a rule somebody
   believes in would not exist.
3. Nothing passes by absence (S5): a check without an answer needs review unless the policy names that very check.
4. `bind` ties a policy to the checks there are; after that `required` names every check a verdict must have seen.
5. `[grade]` says how a certification ages (grade.py), `[waivers]` how many people a waiver needs beside its author.
6. Some checks are verification, not taste: that the bytes are those that were signed. No policy and no waiver lets
   anything but their pass through.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from customhouse.certification.check import Check
from customhouse.certification.findings import JSON, Finding, Outcome, Severity
from customhouse.certification.grade import LETTERS, Ageing, Days
from customhouse.errors import Invalid
from customhouse.oci.digest import Digest

MAX_POLICY_BYTES = 1024 * 1024
DEFAULT = "baseline"
_FOLDER = files("customhouse.certification").joinpath("policies")
VERIFICATION = frozenset({"MAN-DIGEST"})
_TOP = {"version", "name", "description", "severity", "outcomes", "review", "advisories", "checks", "grade", "waivers"}
_CHECK_KEYS = {"action", "severity", "params", "not_evaluable", "error"}
_ID = re.compile(r"[A-Z]{2,4}(-[A-Z0-9]+)+")
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?")


@cache
def shipped() -> tuple[str, ...]:
    """The names of the policies of the product."""
    return tuple(sorted(each.name.removesuffix(".toml") for each in _FOLDER.iterdir() if each.name.endswith(".toml")))


class Action(StrEnum):
    BLOCK = "block"
    REVIEW = "review"
    NOTE = "note"


class PolicyError(Invalid):
    """The policy cannot be used. `line` counts from 1, or is None where no line can be named."""

    def __init__(self, why: str, line: int | None = None) -> None:
        where = "the policy" if line is None else f"line {line} of the policy"
        hint = "Correct the policy file; docs/reference/checks.md lists what it may say."
        super().__init__(f"{where}: {why}", hint=hint)
        self.why, self.line = why, line


@dataclass(frozen=True)
class Rule:
    """What the policy says of one check beyond its severity."""

    action: Action | None = None
    severity: Severity | None = None
    params: Mapping[str, JSON] = field(default_factory=dict)
    not_evaluable: Action | None = None
    error: Action | None = None


@dataclass(frozen=True)
class Review:
    """How many people, and whether for every image or only where something needs review."""

    approvals: int
    when: Literal["on_findings", "always"]


@dataclass(frozen=True)
class Policy:
    """`required` is empty until `bind`."""

    name: str
    digest: Digest
    actions: Mapping[Severity, Action]
    not_evaluable: Action
    error: Action
    review: Review
    advisories_max_age: timedelta
    ageing: Ageing
    waiver_approvals: int
    rules: Mapping[str, Rule]
    text: str = field(repr=False, default="")
    required: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, raw: bytes) -> "Policy":
        """Read a policy file. Raises PolicyError."""
        return _Reader(raw).policy()

    @classmethod
    def default(cls) -> "Policy":
        """The policy where none is named."""
        return cls.shipped(DEFAULT)

    @classmethod
    def shipped(cls, name: str) -> "Policy":
        """One of the policies of the product. Raises PolicyError for a name that is none."""
        if name not in shipped():
            raise PolicyError(f"no policy called {name!r} is shipped; there are {', '.join(shipped())}")
        return cls.parse(_FOLDER.joinpath(f"{name}.toml").read_bytes())

    @classmethod
    def load(cls, name: str) -> "Policy":
        """A policy by the name of a shipped one, or by the path of a file. Raises PolicyError."""
        if name in shipped():
            return cls.shipped(name)
        try:
            return cls.parse(Path(name).read_bytes())
        except OSError as error:
            there = ", ".join(shipped())
            raise PolicyError(f"{name!r} is no shipped policy ({there}) and no file: {error.strerror}") from None

    def bind(self, checks: Iterable[Check]) -> "Policy":
        """The policy for these checks. Raises PolicyError when it names a check or parameter that is not there."""
        known = {check.id: check for check in checks}
        for name, rule in self.rules.items():
            if name not in known:
                raise PolicyError(f"there is no check {name}", _line(self.text, ("checks", name)))
            if name in VERIFICATION:
                why = f"{name} verifies that the bytes are those that were signed; no policy changes that"
                raise PolicyError(why, _line(self.text, ("checks", name)))
            declared = known[name].params
            for key, value in rule.params.items():
                where = _line(self.text, ("checks", name, "params", key))
                if key not in declared:
                    raise PolicyError(f"check {name} has no parameter {key!r}", where)
                if not _same_type(value, declared[key]):
                    raise PolicyError(f"parameter {key!r} of {name} must look like {declared[key]!r}", where)
        return replace(self, required=frozenset(known))

    def params(self, check: Check) -> Mapping[str, JSON]:
        """The parameters a check runs with: its defaults, changed by the policy."""
        return {**check.params, **self.rule(check.id).params}

    def rule(self, check: str) -> Rule:
        return self.rules.get(check, Rule())

    def severity(self, check: str, found: Severity) -> Severity:
        """The severity of a failure: the policy's for that check, else the finding's own."""
        return self.rule(check).severity or found

    def action(self, finding: Finding) -> Action | None:
        """What a finding does; None for an answer that is no objection (pass, not applicable)."""
        if finding.check in VERIFICATION:
            return None if finding.outcome is Outcome.PASS else Action.BLOCK
        rule = self.rule(finding.check)
        if finding.outcome is Outcome.FAIL:
            return rule.action or self.actions[self.severity(finding.check, finding.severity)]
        if finding.outcome is Outcome.NOT_EVALUABLE:
            return rule.not_evaluable or self.not_evaluable
        if finding.outcome is Outcome.ERROR:
            return rule.error or self.error
        return None

    def approvals(self, needs_review: bool) -> int:
        """How many people must approve before publication."""
        return self.review.approvals if needs_review or self.review.when == "always" else 0


class _Reader:
    """Goes through one document and names the line of what it refuses."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) > MAX_POLICY_BYTES:
            raise PolicyError(f"it is larger than {MAX_POLICY_BYTES} bytes")
        self.raw = raw
        try:
            self.text = raw.decode("utf-8")
            self.document: dict[str, Any] = tomllib.loads(self.text)
        except UnicodeDecodeError:
            raise PolicyError("it is not UTF-8") from None
        except RecursionError:
            raise PolicyError("it is nested too deeply") from None
        except ValueError as error:  # TOMLDecodeError, and what Python refuses of numbers and dates
            found = re.search(r"at line (\d+)", str(error))
            raise PolicyError(f"not valid TOML: {error}", int(found[1]) if found else None) from None

    def policy(self) -> Policy:
        self.known(self.document, _TOP, ())
        if self.document.get("version") != 1 or self.document.get("version") is True:
            raise self.wrong("version must be 1", ("version",))
        severity = self.table("severity")
        self.known(severity, {item.value for item in Severity}, ("severity",))
        actions = {item: self.action(severity, item.value, ("severity",), missing=True) for item in Severity}
        outcomes = self.table("outcomes")
        self.known(outcomes, {"not_evaluable", "error"}, ("outcomes",))
        return Policy(
            name=self.name(),
            digest=Digest.of(self.raw),
            actions={item: action for item, action in actions.items() if action is not None},
            not_evaluable=self.no_answer(outcomes, "not_evaluable"),
            error=self.no_answer(outcomes, "error"),
            review=self.review(),
            advisories_max_age=self.max_age(),
            ageing=self.ageing(),
            waiver_approvals=self.waiver_approvals(),
            rules=self.rules(),
            text=self.text,
        )

    def name(self) -> str:
        name = self.document.get("name")
        if not isinstance(name, str) or not name.strip():
            raise self.wrong("the policy needs a name", ("name",))
        return name

    def no_answer(self, outcomes: dict[str, Any], key: str) -> Action:
        action = self.action(outcomes, key, ("outcomes",)) or Action.REVIEW
        if action is Action.NOTE:
            why = "a missing answer may pass for a check that is named, under [checks.ID], and never for all"
            raise self.wrong(why, ("outcomes", key))
        return action

    def review(self) -> Review:
        review = self.table("review")
        self.known(review, {"approvals", "when"}, ("review",))
        approvals, when = review.get("approvals", 1), review.get("when", "on_findings")
        if type(approvals) is not int or not 1 <= approvals <= 100:
            why = 'approvals is a number of people from 1 to 100; what needs nobody is a "note"'
            raise self.wrong(why, ("review", "approvals"))
        if when not in ("on_findings", "always"):
            raise self.wrong('when is "on_findings" or "always"', ("review", "when"))
        return Review(approvals, when)

    def max_age(self) -> timedelta:
        advisories = self.table("advisories")
        self.known(advisories, {"max_age_days"}, ("advisories",))
        days = advisories.get("max_age_days", 14)
        if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= 3650:
            raise self.wrong("max_age_days is a number of days above 0", ("advisories", "max_age_days"))
        return timedelta(days=days)

    def ageing(self) -> Ageing:
        document = self.table("grade")
        self.known(document, {"critical", "high", "examined"}, ("grade",))
        usual = Ageing()
        flaws = {name: self.days(document, name, usual.flaws[name]) for name in ("critical", "high")}
        return Ageing(flaws, self.days(document, "examined", usual.examined))

    def days(self, document: dict[str, Any], key: str, usual: Days) -> Days:
        found = document.get(key, dict(usual))
        if not isinstance(found, dict):
            raise self.wrong(f"{key} is a table of days by letter: {{ A = 0, B = 7 }}", ("grade", key))
        self.known(found, set(LETTERS[:-1]), ("grade", key))
        ordered = [found[letter] for letter in LETTERS if letter in found]
        if not all(type(each) is int and 0 <= each <= 36_500 for each in ordered) or ordered != sorted(ordered):
            raise self.wrong(f"the days of {key} are whole numbers that do not fall from A to E", ("grade", key))
        return found

    def waiver_approvals(self) -> int:
        waivers = self.table("waivers")
        self.known(waivers, {"approvals"}, ("waivers",))
        approvals = waivers.get("approvals", 0)
        if type(approvals) is not int or not 0 <= approvals <= 100:
            why = "approvals is a number of people beside the waiver's author, from 0 to 100"
            raise self.wrong(why, ("waivers", "approvals"))
        return approvals

    def rules(self) -> dict[str, Rule]:
        found = {}
        for name, document in self.table("checks").items():
            if not _ID.fullmatch(name) or not isinstance(document, dict):
                raise self.wrong(f"{name!r} is no check; write [checks.MAN-SIZE]", ("checks", name))
            where = ("checks", name)
            self.known(document, _CHECK_KEYS, where)
            severity, params = document.get("severity"), document.get("params", {})
            if severity is not None and severity not in [item.value for item in Severity]:
                raise self.wrong(f"{severity!r} is no severity", (*where, "severity"))
            if not isinstance(params, dict):
                raise self.wrong("params is a table", (*where, "params"))
            found[name] = Rule(
                action=self.action(document, "action", where),
                severity=None if severity is None else Severity(severity),
                params=params,
                not_evaluable=self.action(document, "not_evaluable", where),
                error=self.action(document, "error", where),
            )
        return found

    def table(self, name: str) -> dict[str, Any]:
        value = self.document.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong(f"{name} must be a table: [{name}]", (name,))
        return value

    def known(self, table: Mapping[str, Any], keys: set[str], where: tuple[str, ...]) -> None:
        for key in table:
            if key not in keys:
                raise self.wrong(f"{key!r} is not known here; known are {', '.join(sorted(keys))}", (*where, key))

    def action(
        self, table: Mapping[str, Any], key: str, where: tuple[str, ...], *, missing: bool = False
    ) -> Action | None:
        value = table.get(key)
        if value is None and not missing:
            return None
        if value not in [item.value for item in Action]:
            raise self.wrong(f'{key} must be "block", "review" or "note"', (*where, key))
        return Action(value)

    def wrong(self, why: str, where: tuple[str, ...]) -> PolicyError:
        return PolicyError(why, _line(self.text, where))


def _line(text: str, where: tuple[str, ...]) -> int | None:
    """The line of a key, or of the nearest table above it that has one."""
    table: tuple[str, ...] = ()
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header:
            table = _dotted(header[1])
            path = table
        elif "=" in line and not line.lstrip().startswith("#"):
            path = table + _dotted(line.partition("=")[0])
        else:
            continue
        if path == where[: len(path)] and (best is None or len(path) > best[0]):
            best = (len(path), number)
    return best[1] if best else None


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.strip().split("."))


def _same_type(value: Any, default: JSON) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float)
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, type(default))
