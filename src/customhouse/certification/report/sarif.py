"""The report as SARIF 2.1.0, which code hosts and editors show beside the source.

1. A failure is a result; its level says what the policy does: `error` blocks, `warning` needs review, `note` is only
   reported. A waived one is suppressed, with the waiver's id.
2. An answer that is missing is no result: it is a notification of the invocation, so that nobody takes the file for
   a clean one.
3. `partialFingerprints` are the findings' own, which survive a re-scan; a path is given relative to the image's root.
(OASIS SARIF 2.1.0 §3.14, §3.20, §3.27, §3.58.)
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from customhouse.certification.check import Check
from customhouse.certification.findings import JSON, Finding, Outcome
from customhouse.certification.report.model import Report

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"block": "error", "review": "warning", "note": "note", "waived": "note"}


def sarif(report: Report, checks: Iterable[Check]) -> dict[str, JSON]:
    """The SARIF log of one run."""
    used = {item.check for item in report.verdict.findings}
    rules = [check for check in checks if check.id in used]
    places = {check.id: number for number, check in enumerate(rules)}
    findings = report.verdict.findings
    run: dict[str, JSON] = {
        "tool": {
            "driver": {
                "name": "customhouse",
                "semanticVersion": report.version,
                "rules": [_rule(check) for check in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    _notification(item, report.actions, places)
                    for item in findings
                    if item.outcome in (Outcome.NOT_EVALUABLE, Outcome.ERROR)
                ],
            }
        ],
        "automationDetails": {"id": f"customhouse/{report.reference}/"},
        "originalUriBaseIds": {"IMAGE": {"description": {"text": f"the root of {report.reference}@{report.digest}"}}},
        "results": [
            _result(item, report.actions, places) for item in findings if item.outcome is Outcome.FAIL
        ],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "digest": report.digest, "verdict": report.verdict.value, "grade": report.verdict.grade,
            "policy": report.policy, "policyDigest": report.policy_digest,
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(check: Check) -> JSON:
    return {
        "id": check.id,
        "name": "".join(part.capitalize() for part in check.id.split("-")),
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.why},
        "help": {"text": check.remedy, "markdown": f"**Why:** {check.why}\n\n**What to do:** {check.remedy}"},
        "properties": {"severity": check.severity.value},
    }


def _result(item: Finding, actions: Mapping[str, str], places: Mapping[str, int]) -> JSON:
    action = actions.get(item.fingerprint, "note")
    result: dict[str, JSON] = {
        "ruleId": item.check,
        "kind": "fail",
        "level": _LEVELS[action],
        "message": {"text": item.message},
        "locations": [_location(item)],
        "partialFingerprints": {"customhouse/v1": item.fingerprint},
        "properties": {"severity": item.severity.value, "platform": item.platform, "evidence": dict(item.evidence)},
    }
    if item.check in places:
        result["ruleIndex"] = places[item.check]
    if item.waived:
        result["suppressions"] = [{"kind": "external", "justification": f"waiver {item.waived}"}]
    return result


def _location(item: Finding) -> JSON:
    path, location = item.evidence.get("path"), dict[str, JSON]()
    if isinstance(path, str) and path:
        where: dict[str, JSON] = {"artifactLocation": {"uri": _uri(path), "uriBaseId": "IMAGE"}}
        line = item.evidence.get("line")
        if isinstance(line, int) and line > 0:
            where["region"] = {"startLine": line}
        location["physicalLocation"] = where
    names: list[JSON] = [
        {"fullyQualifiedName": str(item.evidence[key]), "kind": kind}
        for key, kind in (("purl", "package"), ("key", "member"), ("layer", "module"))
        if item.evidence.get(key)
    ]
    location["logicalLocations"] = names or [{"fullyQualifiedName": item.platform or "image", "kind": "module"}]
    return location


def _notification(item: Finding, actions: Mapping[str, str], places: Mapping[str, int]) -> JSON:
    rule: dict[str, JSON] = {"id": item.check}
    if item.check in places:
        rule["index"] = places[item.check]
    return {
        "level": _LEVELS[actions.get(item.fingerprint, "note")],
        "message": {"text": f"{item.check} gave no answer: {item.message}"},
        "associatedRule": rule,
    }


def _uri(path: str) -> str:
    """RFC 3986 path; bytes that are no UTF-8 are backslash escapes in paths already."""
    return quote(path.lstrip("/"), safe="/~!$&'()*+,;=:@", errors="surrogatepass")
