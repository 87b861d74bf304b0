"""SEC-KEY: no private key, key store or file of credentials in any layer."""

from collections.abc import Iterator, Mapping

from customhouse.certification.check import Check, Failure, Subject
from customhouse.certification.checks._sightings import Fact, failures
from customhouse.certification.findings import JSON, Severity
from customhouse.certification.secrets.keys import CREDENTIALS
from customhouse.certification.secrets.reader import PRIVATE_KEY, SECRETS


def evaluate(subject: Subject, params: Mapping[str, JSON]) -> Iterator[Failure]:
    accepted = params["accepted_rules"]
    left_out = set(accepted if isinstance(accepted, list) else ())

    def mine(fact: Fact) -> bool:
        return fact.get("rule") not in left_out and ("kind" in fact or fact.get("rule") == PRIVATE_KEY)

    yield from failures(subject, (CREDENTIALS.name, SECRETS.name), mine, lambda fact: str(fact["kind"]))


CHECK = Check(
    id="SEC-KEY",
    title="No private key, key store or file of credentials in any layer",
    why="A key that is in an image belongs to everyone who pulls it, and is the same in every container.",
    remedy=(
        "Make keys when the container starts, or mount them; keep logins of build tools out of the image by "
        "--mount=type=secret. What was published must be replaced, not only removed."
    ),
    severity=Severity.BLOCK,
    evaluate=evaluate,
    readers=(CREDENTIALS, SECRETS),
    params={"accepted_rules": []},
    sources=("CIS 4.10", "CIS-DI-0010", "Trivy private-key"),
    not_evaluable="When a layer could not be read to its end, or a file was too large or too broken to be searched.",
)
