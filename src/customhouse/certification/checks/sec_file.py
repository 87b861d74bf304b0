"""SEC-FILE: no secret in any file of any layer."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._sightings import Fact, failures
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.secrets.engine import UNFINISHED
from customhouse.certification.secrets.reader import PRIVATE_KEY, SECRETS
from customhouse.certification.secrets.rules import shipped


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    accepted = params["accepted_rules"]
    left_out = {PRIVATE_KEY, *(accepted if isinstance(accepted, list) else ())}
    yield from failures(subject, (SECRETS.name,), lambda fact: fact.get("rule") not in left_out, _described)


def _described(fact: Fact) -> str:
    if fact["rule"] == UNFINISHED:
        return "more places that look like secrets than are looked at"
    rule = shipped().by_id.get(str(fact["rule"]))
    return f"what looks like a secret: {rule.title if rule else fact['rule']}"


CHECK = Check(
    id="SEC-FILE",
    title="No secret in the files of any layer",
    why="Everyone who pulls gets every layer whole, also what a later layer removes or replaces.",
    remedy=(
        "Replace the secret where it is valid, then build without it: give it at run time, or to a build step by "
        "--mount=type=secret. Removing the file in a later layer is not enough."
    ),
    severity=Severity.BLOCK,
    evaluate=evaluate,
    readers=(SECRETS,),
    params={"accepted_rules": []},
    sources=("CIS 4.10", "CIS-DI-0010", "Trivy secrets", "gitleaks"),
    not_evaluable="When a layer could not be read to its end, or a file was too large or too broken to be searched.",
)
