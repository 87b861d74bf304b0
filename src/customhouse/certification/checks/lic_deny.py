"""LIC-DENY: no package whose licence the policy refuses.

1. A licence is refused when every choice that the expression leaves holds a refused one: `MIT OR AGPL-3.0-only` is
   fine, `MIT AND AGPL-3.0-only` is not. Patterns with `*` are SPDX identifiers, without regard to case.
2. With `allow`, a choice is fine only if all of it is named there; licences that are not known are LIC-UNKNOWN's.
"""

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate

from customhouse.catalogue.licences import alternatives, together
from customhouse.certification.check import Check, Failure, NotApplicable, Subject, of_package, whole_catalogue
from customhouse.certification.checks._files import texts
from customhouse.certification.findings import JSON, Severity


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    denied, allowed = (_patterns(texts(params[name])) for name in ("deny", "allow"))
    if not denied and not allowed:
        raise NotApplicable("the policy refuses no licence")
    for package in subject.catalogue.packages:
        found, _ = together(package.licenses)
        if found is None:
            continue
        choices = alternatives(found)
        refused = [choice for choice in choices if _refused(choice, denied, allowed)]
        if len(refused) < len(choices):
            continue
        evidence: dict[str, JSON] = {
            **of_package(subject, package),
            "licence": found,
            "declared": [*package.licenses],
        }
        yield Failure(f"{package.name} {package.version} is under {found}, which the policy refuses", evidence)
    whole_catalogue(subject)


def _refused(choice: frozenset[str], denied: list[re.Pattern[str]], allowed: list[re.Pattern[str]]) -> bool:
    if any(pattern.match(name) for name in choice for pattern in denied):
        return True
    return bool(allowed) and not all(any(pattern.match(name) for pattern in allowed) for name in choice)


def _patterns(names: list[str]) -> list[re.Pattern[str]]:
    return [re.compile(translate(name), re.IGNORECASE) for name in names[:1000]]


CHECK = Check(
    id="LIC-DENY",
    title="No package is under a licence that the policy refuses",
    why="Some licences oblige whoever offers the software over a network, or may not be used at all where you work.",
    remedy="Replace the package, use it under another of its licences, or ask a certifier for a waiver that says why "
    "its terms are met.",
    severity=Severity.HIGH,
    evaluate=evaluate,
    params={"deny": ["AGPL-*", "SSPL-*", "BUSL-*", "Elastic-*", "CC-BY-NC-*"], "allow": []},
    not_applicable="the policy refuses no licence",
    not_evaluable="the list of packages is not complete",
    sources=("Scout no AGPL v3",),
)
