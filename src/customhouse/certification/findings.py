"""What a check found: values that survive a re-scan, a restart and a change of wording.

1. A finding is evidence, not judgement: whether it blocks is said by the policy (policy.py, verdict.py).
2. `fingerprint` names the fact and not the sentence: check, the thing it is about, platform. A waiver that names it
   holds over re-scans, rebuilt layers and reworded messages.
3. Evidence is JSON and never holds a secret's value.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from customhouse.oci.reader import JSON

__all__ = ["JSON", "Finding", "Outcome", "Severity", "fingerprint"]


class Outcome(StrEnum):
    """`not_evaluable` and `error` never count as a pass (a policy may name them to let them be)."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not_applicable"
    NOT_EVALUABLE = "not_evaluable"
    ERROR = "error"


class Severity(StrEnum):
    BLOCK = "block"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for info up to 4 for block."""
        return _RANKS[self]


_RANKS = {Severity.INFO: 0, Severity.LOW: 1, Severity.MEDIUM: 2, Severity.HIGH: 3, Severity.BLOCK: 4}

# The parts of evidence that say *what* a finding is about, the most telling first.
SUBJECT_KEYS = ("purl", "path", "key")


def fingerprint(check: str, evidence: Mapping[str, JSON], platform: str | None, outcome: Outcome = Outcome.FAIL) -> str:
    """32 hex digits that stay the same while the fact stays the same.

    `vulnerability` joins the named thing, so that two advisories on one package are two facts.
    """
    parts = [check, outcome.value, platform or ""]
    parts += [f"{name}={evidence[name]}" for name in (*SUBJECT_KEYS, "vulnerability") if name in evidence]
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True)
class Finding:
    """One answer of one check about one platform. `waived` is the id of the waiver that accepts it, if any;
    `remedy` is what the check says to do about a failure."""

    check: str
    outcome: Outcome
    severity: Severity
    message: str
    evidence: Mapping[str, JSON] = field(default_factory=dict)
    platform: str | None = None
    fingerprint: str = ""
    waived: str | None = None
    remedy: str = ""

    def __post_init__(self) -> None:
        if not self.fingerprint:
            computed = fingerprint(self.check, self.evidence, self.platform, self.outcome)
            object.__setattr__(self, "fingerprint", computed)

    def as_json(self) -> dict[str, JSON]:
        """The form of the API, of stored records and of `--json`."""
        return {
            "check": self.check,
            "outcome": self.outcome.value,
            "severity": self.severity.value,
            "message": self.message,
            "evidence": dict(self.evidence),
            "platform": self.platform,
            "fingerprint": self.fingerprint,
            "waived": self.waived,
            "remedy": self.remedy,
        }

    @classmethod
    def parse(cls, document: Mapping[str, JSON]) -> "Finding":
        """Read what `as_json` wrote. Raises KeyError or ValueError on anything else."""
        evidence = document.get("evidence") or {}
        platform, waived = document.get("platform"), document.get("waived")
        if not isinstance(evidence, dict):
            raise ValueError("a finding's evidence is a JSON object")
        return cls(
            check=str(document["check"]),
            outcome=Outcome(str(document["outcome"])),
            severity=Severity(str(document["severity"])),
            message=str(document["message"]),
            evidence=evidence,
            platform=None if platform is None else str(platform),
            fingerprint=str(document["fingerprint"]),
            waived=None if waived is None else str(waived),
            remedy=str(document.get("remedy") or ""),
        )
