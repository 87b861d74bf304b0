"""The reference page of checks, written from their declarations so that it cannot say anything else."""

import json
from collections.abc import Iterable

from customhouse.certification.check import Check
from customhouse.certification.findings import Finding, Outcome
from customhouse.certification.policy import Policy

_HEAD = """\
# Checks

This page is generated from the checks themselves (`scripts/reference.py`); do not edit it.

A check ends in `pass`, `fail`, `not_applicable` (the question has no meaning for this image), `not_evaluable` (it has,
and the answer could not be had) or `error`. What follows from that is said by the policy: **block** refuses the image,
**review** waits for people, **note** is only reported. The columns show the policy that is shipped
([baseline.toml](../../src/customhouse/certification/policies/baseline.toml)); `customhouse serve --policy FILE` uses
another one.

```toml
[checks.MAN-SIZE]
severity = "high"            # block, high, medium, low, info: instead of the check's own
action = "review"            # block, review, note: instead of what the severity means
not_evaluable = "note"       # only for a check that is named; also: error = …
params = { app_compressed_mb = 500 }
```

"""


def page(checks: Iterable[Check], policy: Policy) -> str:
    """Markdown: a table of all checks, then a section for each."""
    checks = list(checks)
    lines = ["| check | severity | a failure | no answer | what it looks at |", "|---|---|---|---|---|"]
    for check in checks:
        failure, unknown = (_action(check, policy, outcome) for outcome in (Outcome.FAIL, Outcome.NOT_EVALUABLE))
        anchor = check.id.lower()
        lines.append(f"| [{check.id}](#{anchor}) | {check.severity} | {failure} | {unknown} | {check.title} |")
    return _HEAD + "\n".join(lines) + "\n" + "".join(_section(check) for check in checks)


def _section(check: Check) -> str:
    text = f"\n## {check.id}\n\n{check.title}.\n\n**Why:** {check.why}\n\n**What to do:** {check.remedy}\n"
    if check.params:
        rows = "\n".join(f"| `{name}` | `{json.dumps(value)}` |" for name, value in check.params.items())
        text += f"\n| parameter | default |\n|---|---|\n{rows}\n"
    if check.needs or check.readers:
        text += f"\n**Reads:** {', '.join(f'`{item}`' for item in _read(check))}\n"
    ends = ["`pass`, `fail`"]
    ends += [f"`{end}`: {when}" for end, when in _unanswered(check) if when]
    text += f"\n**Ends:** {'; '.join(ends)}\n"
    if check.sources:
        text += f"\n**Asked elsewhere as:** {', '.join(check.sources)}\n"
    return text


def _read(check: Check) -> list[str]:
    # Without versions: that of a scanner is also its engine's, and differs from machine to machine.
    return [*check.needs, *(reader.name for reader in check.readers)]


def _unanswered(check: Check) -> tuple[tuple[str, str], ...]:
    return (("not_applicable", check.not_applicable), ("not_evaluable", check.not_evaluable))


def _action(check: Check, policy: Policy, outcome: Outcome) -> str:
    return str(policy.action(Finding(check.id, outcome, check.severity, "")))
