"""What the checks of secrets in the config share: the failure that tells of one."""

from customhouse.certification.check import Failure
from customhouse.certification.findings import JSON
from customhouse.certification.secrets.rules import shipped
from customhouse.certification.secrets.text import Sighting

_RULES = {"secret-name": "a value where its name promises a secret", "password-option": "a password as an option"}


def described(where: str, what: str, sighting: Sighting) -> Failure:
    """`where` is env, label, annotation or history; `what` names the thing for a reader."""
    rule = shipped().by_id.get(sighting.rule)
    holds = _RULES.get(sighting.rule) or f"what looks like a secret: {rule.title if rule else sighting.rule}"
    evidence: dict[str, JSON] = {
        "key": f"{where}:{sighting.name or sighting.rule}",
        "where": what,
        "rule": sighting.rule,
        "length": sighting.length,
    }
    return Failure(f"{what} holds {holds}", evidence)
