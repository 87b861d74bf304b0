"""Every static check on images that pass, fail and give no answer (cases.py)."""

from dataclasses import replace

import pytest

from customhouse.certification.check import Check, discover
from customhouse.certification.findings import Outcome
from customhouse.certification.policy import Policy, Rule
from customhouse.certification.runner import run

from .cases import CASES, Case
from .subjects import subject

CHECKS = {check.id: check for check in discover()}
# Their cases stand in files of their own.
ELSEWHERE = {"VUL", "RUN", "SEC", "MAL", "SBOM", "SUP", "CST"}
OLDER = {
    *("MAN-DIGEST", "MAN-MEDIA", "MAN-PLATFORM", "MAN-LAYERS", "MAN-SIZE", "MAN-TAG", "TAR-SAFE"),
    *("CFG-USER", "CFG-HEALTH", "CFG-HEALTH-STATIC", "CFG-ENTRY", "CFG-ENVSECRET", "CFG-LABELS"),
    *("LAY-CACHE", "LAY-EFFICIENCY", "LAY-WASTE", "FS-SETUID", "FS-PASSWD", "PKG-OS"),
}


def ends(check: Check, one: Case) -> set[str]:
    policy = Policy.default()
    policy = replace(policy, rules={**policy.rules, check.id: Rule(params=one.params)})
    looked = subject(one.built, check, tag=one.tag)
    looked = replace(looked, image=replace(looked.image, reference=one.reference))
    found = run([check], looked, policy)
    assert all(item.outcome is not Outcome.ERROR for item in found), found
    return {
        str(item.evidence.get("path") or item.evidence["key"]) if item.outcome is Outcome.FAIL else item.outcome.value
        for item in found
    }


@pytest.mark.parametrize("check", sorted({one.check for one in CASES}))
def test_each_case_ends_as_the_table_says(check: str) -> None:
    for number, one in enumerate(item for item in CASES if item.check == check):
        assert ends(CHECKS[check], one) == one.wants, f"case {number} of {check}"


def test_every_static_check_has_cases_of_every_end_that_it_declares() -> None:
    lacking = []
    for check in CHECKS.values():
        if check.id.split("-")[0] in ELSEWHERE or check.id in OLDER:
            continue
        mine = [one.wants for one in CASES if one.check == check.id]
        others = {"pass", "not_applicable", "not_evaluable"}
        if not any(wants == {"pass"} for wants in mine) or not any(wants - others for wants in mine):
            lacking.append(f"{check.id}: pass and fail")
        for end, declared in (("not_applicable", check.not_applicable), ("not_evaluable", check.not_evaluable)):
            if bool(declared) != any(end in wants for wants in mine):
                lacking.append(f"{check.id}: {end} is declared or has a case, not both")
    assert lacking == []
