"""The report as one HTML page that needs nothing else: no script, no font, no picture from anywhere.

Everything a publisher wrote is escaped by the template engine, and a content security policy within the page forbids
scripts and loading altogether.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import jinja2

from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.report.model import Report

_TITLES = {
    "block": "Blocks", "review": "Needs review", "silent": "Gave no answer", "note": "Notes", "waived": "Waived",
    "pass": "Passed",
}  # fmt: skip
LONGEST_VALUE = 2000
_UNITS = ("kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Group:
    """The findings of one heading."""

    name: str
    title: str
    findings: Sequence[Finding]


def html(report: Report) -> str:
    """The page."""
    words = report.verdict.value.replace("_", " ")
    return _template().render(report=report, verdict_words=words, groups=_groups(report))


def size(count: int) -> str:
    """Bytes for people, in decimal units."""
    if count < 1000:
        return f"{count} B"
    steps = min((len(str(count)) - 1) // 3, len(_UNITS))
    return f"{count / 1000**steps:.1f} {_UNITS[steps - 1]}"


def evidence(value: JSON) -> str:
    """One value of evidence as text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def _groups(report: Report) -> list[Group]:
    found: dict[str, list[Finding]] = {name: [] for name in _TITLES}
    for item in report.verdict.findings:
        found[_heading(item, report)].append(item)
    for listed in found.values():
        listed.sort(key=lambda item: (-item.severity.rank, item.check))
    return [Group(name, title, found[name]) for name, title in _TITLES.items()]


def _heading(item: Finding, report: Report) -> str:
    action = report.actions.get(item.fingerprint)
    if action is None:
        return "pass"
    if action == "note" and item.outcome in (Outcome.NOT_EVALUABLE, Outcome.ERROR):
        return "silent"
    return action


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"bytes": size, "evidence": evidence}
    source = files("customhouse.certification.report").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(source)
